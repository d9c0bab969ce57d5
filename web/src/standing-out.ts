// Which events stand out: those that a search finds, else those of a marked name.

import type { Event, Lane } from "./lanes";
import type { Head } from "./report";
import { type Drawn, only, type Row } from "./rows";
import type { State } from "./state";

export class StandingOut {
  private names: Uint8Array | null = null;
  private kinds: Set<string> | null = null;
  private key = "";
  private made = new Map<Drawn["rows"], Drawn>();

  constructor(
    private readonly head: Head,
    private readonly lanes: Lane[],
  ) {}

  /** Take over what is searched or marked; true where that is another than before. */
  take({ query, marked }: State): boolean {
    const key = JSON.stringify([query, marked]);
    if (key === this.key) return false;
    this.key = key;
    this.made = new Map();
    this.kinds = query === "" && marked && marked.kinds.length > 0 ? new Set(marked.kinds) : null;
    const { names, called } = this.head;
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length > 0)
      this.names = Uint8Array.from(names, (name) => {
        const lower = name.toLowerCase();
        return words.every((word) => lower.includes(word)) ? 1 : 0;
      });
    else this.names = marked ? Uint8Array.from(names, (name, i) => Number(name === marked.name || names[called[i]] === marked.name)) : null;
    return true;
  }

  get any(): boolean {
    return this.names !== null;
  }

  has({ lane, row }: Event): boolean {
    return this.names !== null && this.names[lane.name[row]] === 1 && (!this.kinds || this.kinds.has(lane.head.kind));
  }

  /** What of a row stands out. */
  of(row: Row): Drawn {
    let found = this.made.get(row.rows);
    if (!found) this.made.set(row.rows, (found = only(row, (event) => this.has(event))));
    return found;
  }

  /** How many events stand out, and how long they are together. */
  sum(): { count: number; ns: number } {
    let count = 0;
    let ns = 0;
    for (const lane of this.lanes)
      for (let row = 0; row < lane.start.length; row++)
        if (this.has({ lane, row })) {
          count++;
          ns += lane.duration[row];
        }
    return { count, ns };
  }

  /** The next event that stands out after (or, with -1, before) an instant, or the first from that end. */
  next(instant: number, direction: 1 | -1): Event | null {
    let best: Event | null = null;
    let least = Infinity;
    for (const lane of this.lanes)
      for (let row = 0; row < lane.start.length; row++) {
        if (!this.has({ lane, row })) continue;
        const away = (lane.start[row] - instant) * direction;
        const distance = away > 0 ? away : away + 1e15;
        if (distance < least) [best, least] = [{ lane, row }, distance];
      }
    return best;
  }
}
