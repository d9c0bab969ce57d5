// The ranges around an event, across threads where autograd's belong to another's.

import { type Event, innermost, type Lane, launchOf, onDevice } from "./lanes";

/** The events around `event` on its lane, the nearest first; then those that own the outermost. */
function around(event: Event, all: Lane[]): Event[] {
  const found: Event[] = [];
  let { lane, row } = event;
  for (;;) {
    const parent = lane.nesting.parent[row];
    if (parent >= 0) row = parent;
    else {
      const owner = lane.owner?.[row] ?? 0;
      const above = all[(lane.ownerLane?.[row] ?? 0) - 1];
      if (owner === 0 || !above || above === lane || owner > above.start.length) return found;
      [lane, row] = [above, owner - 1];
    }
    found.push({ lane, row });
  }
}

/** The chain of ranges of an event, outermost first: those of its launch for work of a device. */
export function rangeChain(event: Event, all: Lane[]): Event[] {
  if (event.lane.head.kind === "ranges" || event.lane.head.kind === "operators")
    return around(event, all).reverse();
  const call = onDevice(event.lane) ? launchOf(event, all) : event;
  if (!call) return [];
  const instant = call.lane.start[call.row];
  const { process, thread } = call.lane.head;
  const chains = all
    .filter(({ head }) => head.kind === "ranges" && head.process === process && head.thread === thread)
    .map((lane) => innermost(lane, instant))
    .filter((found) => found !== null)
    .map((found) => [found, ...around(found, all)].reverse());
  return chains.sort((a, b) => b.length - a.length)[0] ?? [];
}
