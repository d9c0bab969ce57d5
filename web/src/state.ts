// What is chosen on the page: an event or a name, a search, and those who follow.

import type { Event } from "./lanes";

/** Which events stand out: those of a name, and of a kind of lane where that is said. */
export interface Marked {
  name: string;
  kinds: string[];
}

export class State {
  selected: Event | null = null;
  marked: Marked | null = null;
  query = "";
  private readonly followers: (() => void)[] = [];

  follow(follower: () => void): void {
    this.followers.push(follower);
  }

  change(change: Partial<Pick<State, "selected" | "marked" | "query">>): void {
    Object.assign(this, change);
    for (const each of this.followers) each();
  }
}
