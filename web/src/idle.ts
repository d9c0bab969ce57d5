// Idle time as lanes: where none of a device's streams has work, named by what it waited for.

import { type Lane, laneOf } from "./lanes";
import type { Cell, Head, LaneHead } from "./report";

/** Nanoseconds from the origin of an absolute time, which may be text where it is over 2^53. */
export function sinceOrigin(value: Cell, origin: string): number {
  if (typeof value === "string" && /^-?\d+$/.test(value)) return Number(BigInt(value) - BigInt(origin));
  return Number(value) - Number(origin);
}

/** What a cause is called. */
export const named = (cause: string): string => `idle: ${cause.replaceAll("_", " ")}`;

/** The lanes, and after them one of idle time for each device of each process. */
export function withIdle(lanes: Lane[], head: Head): Lane[] {
  const devices = new Map<string, Lane[]>();
  for (const lane of lanes) {
    if (!lane.idle) continue;
    const key = deviceOf(lane.head);
    devices.set(key, [...(devices.get(key) ?? []), lane]);
  }
  const first = head.names.length;
  for (const cause of devices.size > 0 ? head.causes : []) {
    head.called.push(head.names.length);
    head.names.push(named(cause));
    head.category.push(-1);
  }
  const all = [...lanes];
  for (const of of devices.values()) {
    const { process, device, side } = of[0].head;
    const gaps = gapsOf(of);
    const columns = { columns: {}, stream: null, thread: null, count: gaps.length };
    const made: LaneHead = { kind: "idle", label: `${labelOf(of)} · idle`, process, device, side, ...columns };
    all.push(
      laneOf(
        all.length,
        made,
        Float64Array.from(gaps, (gap) => gap.start),
        Float64Array.from(gaps, (gap) => gap.end - gap.start),
        Uint32Array.from(gaps, (gap) => first + gap.cause),
      ),
    );
  }
  return all;
}

const deviceOf = ({ process, device, side }: LaneHead): string => `${side ?? ""} ${process} ${device}`;

/** What the labels of a device's lanes begin with, up to the stream. */
function labelOf([{ head }]: Lane[]): string {
  const parts = head.label.split(" · ");
  const stream = parts.findIndex((part) => part.startsWith("stream"));
  return parts.slice(0, stream < 1 ? 1 : stream).join(" · ");
}

interface Gap {
  start: number;
  end: number;
  cause: number;
}

/** The gaps in the union of some lanes, with the cause noted on the row that ends each. */
export function gapsOf(lanes: Lane[]): Gap[] {
  const gaps: Gap[] = [];
  const next = lanes.map(() => 0);
  let busy = Infinity;
  for (;;) {
    let at = -1;
    for (let i = 0; i < lanes.length; i++)
      if (next[i] < lanes[i].start.length && (at < 0 || lanes[i].start[next[i]] < lanes[at].start[next[at]])) at = i;
    if (at < 0) return gaps;
    const { start, duration, idle } = lanes[at];
    const row = next[at]++;
    if (start[row] > busy && idle![row] > 0) gaps.push({ start: busy, end: start[row], cause: idle![row] - 1 });
    busy = busy === Infinity ? start[row] + duration[row] : Math.max(busy, start[row] + duration[row]);
  }
}

/** The order in which lanes are drawn: idle time after the last lane of its device. */
export function drawnOrder(lanes: Lane[]): Lane[] {
  const ordered = lanes.filter(({ head }) => head.kind !== "idle");
  for (const lane of lanes.filter(({ head }) => head.kind === "idle")) {
    const key = deviceOf(lane.head);
    const last = ordered.findLastIndex(({ idle, head }) => idle && deviceOf(head) === key);
    ordered.splice(last + 1, 0, lane);
  }
  return ordered;
}
