// What the colours mean: the categories of work and the causes of idle time that this report has.

import { categoryColour, idleColour } from "./colours";
import { element } from "./dom";
import type { Lane } from "./lanes";
import type { Head } from "./report";

export function legend(head: Head, lanes: Lane[]): HTMLElement {
  const categories = new Set<string>();
  const idle = new Set<string>();
  for (const { head: lane, name } of lanes) {
    if (lane.kind !== "kernels" && lane.kind !== "operators" && lane.kind !== "idle" && lane.kind !== "copies") continue;
    for (const each of name) {
      if (lane.kind === "idle") idle.add(head.names[each]);
      else if (head.category[each] >= 0) categories.add(head.categories[head.category[each]]);
      else if (lane.kind === "copies") categories.add("copy");
    }
  }
  const list = element("ul", { class: "legend", "aria-label": "colours" });
  const add = (text: string, colour: string): void => {
    const swatch = element("i", { "aria-hidden": "true" });
    swatch.style.background = colour;
    list.append(element("li", {}, swatch, text));
  };
  for (const each of head.categories) if (categories.has(each)) add(each, categoryColour(each));
  for (const each of idle) add(each, idleColour(each));
  return list;
}
