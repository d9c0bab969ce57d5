// What is selected, in full, with ways to what belongs to it.

import { type Fact, facts, further, nameOf } from "./described";
import { element } from "./dom";
import type { Event, Lane } from "./lanes";
import type { Head } from "./report";
import { count, time } from "./units";

export interface Going {
  to(event: Event): void;
  mark(event: Event): void;
  clear(): void;
  /** What tables know of an event besides. */
  about(event: Event): Fact[];
}

export class Details {
  readonly node = element("section", { class: "details", "aria-live": "polite" });

  constructor(
    private readonly head: Head,
    private readonly lanes: Lane[],
    private readonly going: Going,
  ) {
    this.show(null, null);
  }

  show(event: Event | null, found: { count: number; ns: number; text: string } | null): void {
    const parts: (Node | null)[] = [];
    if (found) {
      const words = found.count === 1 ? `1 event stands out, ${time(found.ns)}: ` : `${count(found.count)} events stand out, ${time(found.ns)} together: `;
      parts.push(element("p", { class: "found" }, words, element("em", {}, found.text), " ", this.button("clear", () => this.going.clear())));
    }
    if (event) {
      const list = element("dl");
      const all = [...facts(event, this.head, this.lanes), ...this.going.about(event), ...further(event, this.head, this.lanes)];
      for (const { label, text, event: other } of all) {
        const wide = other || text.length > 40 ? "wide" : "";
        list.append(
          element("dt", { class: wide }, label),
          element("dd", { class: wide }, other ? this.button(text, () => this.going.to(other), "link") : text),
        );
      }
      parts.push(
        element("h3", {}, nameOf(event, this.head)),
        list,
        element(
          "p",
          { class: "actions" },
          this.button("zoom to it", () => this.going.to(event)),
          this.button("show all of this name", () => this.going.mark(event)),
        ),
      );
    }
    if (parts.length === 0)
      parts.push(element("p", { class: "hint" }, "Click an event to see what launched it and where it belongs. ? lists the keys."));
    this.node.replaceChildren(...parts.filter((part) => part !== null));
  }

  private button(text: string, onclick: () => void, name = "quiet"): HTMLButtonElement {
    return element("button", { type: "button", class: name, onclick }, text);
  }
}
