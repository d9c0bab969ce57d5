// What is said of an event: under the pointer in short, selected in full.

import { rangeChain } from "./chain";
import { type Event, launchedBy, launchOf, onDevice } from "./lanes";
import type { Lane } from "./lanes";
import type { Head } from "./report";
import { count, instant, scaled, time } from "./units";

export interface Fact {
  label: string;
  text: string;
  /** The event that the fact is about, to go there. */
  event?: Event;
}

export const nameOf = ({ lane, row }: Event, head: Head): string => head.names[lane.name[row]] ?? "";

/** Facts of an event, the most telling first. */
export function facts(event: Event, head: Head, lanes: Lane[]): Fact[] {
  const { lane, row } = event;
  const start = lane.start[row];
  const found: Fact[] = [
    { label: "duration", text: time(lane.duration[row]) },
    { label: "start", text: instant(start) },
    { label: "lane", text: lane.head.label },
  ];
  const category = head.category[lane.name[row]] ?? -1;
  if (category >= 0 && lane.head.kind !== "ranges") found.push({ label: "category", text: head.categories[category] });
  if (lane.bytes) {
    const bytes = lane.bytes[row];
    const rate = lane.duration[row] > 0 ? ` · ${scaled((bytes / lane.duration[row]) * 1e9, "B/s")}` : "";
    found.push({ label: "bytes", text: `${scaled(bytes, "B")}${rate}` });
  }
  if (lane.inferred?.[row]) found.push({ label: "recorded", text: "not itself: it follows from others" });
  const chain = rangeChain(event, lanes);
  if (chain.length > 0)
    found.push({ label: "ranges", text: chain.map((each) => nameOf(each, head)).join(" › "), event: chain.at(-1) });
  const origin = lane.origin?.[row] ?? 0;
  if (origin > 0) found.push({ label: "backward of", text: head.names[origin - 1] });
  if (onDevice(lane) && lane.head.kind !== "idle") {
    const call = launchOf(event, lanes);
    if (call) {
      const lag = start - call.lane.start[call.row];
      found.push({ label: "launched by", text: `${nameOf(call, head)}, ${time(lag)} earlier`, event: call });
    } else found.push({ label: "launched by", text: "not recorded" });
  }
  return found;
}

/** Further facts that are sought only for what is selected. */
export function further(event: Event, head: Head, lanes: Lane[]): Fact[] {
  if (event.lane.head.kind !== "calls") return [];
  const work = launchedBy(event, lanes);
  return work.slice(0, 20).map((each, i) => ({
    label: i === 0 ? (work.length > 1 ? `launched ${count(work.length)}` : "launched") : "",
    text: `${nameOf(each, head)}, ${time(each.lane.duration[each.row])}`,
    event: each,
  }));
}
