// What is under the pointer, beside it.

import { facts, nameOf } from "./described";
import { element } from "./dom";
import type { Event, Lane } from "./lanes";
import type { Head } from "./report";

/** More letters than this of a name or a chain say nothing more here; the details show them whole. */
const MOST = 300;

export class Tooltip {
  readonly node = element("div", { class: "tooltip", role: "tooltip", hidden: true });

  constructor(
    private readonly head: Head,
    private readonly lanes: Lane[],
  ) {}

  show(event: Event, clientX: number, clientY: number): void {
    const short = (text: string): string => (text.length > MOST ? `${text.slice(0, MOST)}…` : text);
    const list = element("dl");
    for (const { label, text } of facts(event, this.head, this.lanes))
      list.append(element("dt", {}, label), element("dd", {}, short(text)));
    this.node.replaceChildren(element("strong", {}, short(nameOf(event, this.head))), list);
    this.node.hidden = false;
    const { offsetWidth, offsetHeight } = this.node;
    const left = Math.max(8, Math.min(clientX + 14, window.innerWidth - offsetWidth - 8));
    const below = clientY + 18 + offsetHeight < window.innerHeight;
    this.node.style.left = `${left}px`;
    this.node.style.top = `${below ? clientY + 18 : Math.max(8, clientY - offsetHeight - 12)}px`;
  }

  hide(): void {
    this.node.hidden = true;
  }
}
