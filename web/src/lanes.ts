// Lanes: what one stream, thread or device did, as columns of numbers from the origin on.

import { type Numbers, summed, unshuffled, unzigzag } from "./bytes";
import { type Nesting, nested, stacked } from "./nesting";
import type { Head, LaneHead } from "./report";
import { after } from "./search";
import { Union } from "./union";

export interface Lane {
  index: number;
  head: LaneHead;
  start: Float64Array;
  duration: Numbers;
  name: Numbers;
  nesting: Nesting;
  union: Union;
  /** The lane of calls that launched each, + 1, and the row there; 0 where it is not known. */
  launchLane?: Numbers;
  launchCall?: Int32Array;
  bytes?: Numbers;
  /** For autograd's ranges: the lane and the row there, both + 1, that they are drawn under. */
  ownerLane?: Numbers;
  owner?: Numbers;
  /** Why the device had been idle before each: the cause + 1, or 0. */
  idle?: Numbers;
  /** 1 for ranges that follow from others and were not recorded. */
  inferred?: Numbers;
  /** The name, + 1, of the forward range whose backward this is. */
  origin?: Numbers;
}

/** An event: a row of a lane. */
export interface Event {
  lane: Lane;
  row: number;
}

const ON_DEVICE = new Set(["kernels", "copies", "idle"]);
export const onDevice = (lane: Lane): boolean => ON_DEVICE.has(lane.head.kind);

/** A lane of columns, nested for threads, stacked for devices. */
export function laneOf(index: number, head: LaneHead, start: Float64Array, duration: Numbers, name: Numbers): Lane {
  const nesting = ON_DEVICE.has(head.kind) ? stacked(start, duration) : nested(start, duration);
  return { index, head, start, duration, name, nesting, union: Union.of(start, duration) };
}

/** Every lane of the report, decoded. */
export function gathered(head: Head, events: Uint8Array): Lane[] {
  return head.lanes.map((each, index) => {
    const column = (name: string): Numbers | undefined => {
      const place = each.columns[name];
      return place && unshuffled(events, place[0], place[1], each.count);
    };
    const wanted = (name: string): Numbers => {
      const found = column(name);
      if (!found) throw new Error(`lane ${each.label} has no column ${name}`);
      return found;
    };
    const lane = laneOf(index, each, summed(wanted("start")), wanted("duration"), wanted("name"));
    lane.launchLane = column("lane");
    const call = column("call");
    if (call) lane.launchCall = rowsOf(call);
    lane.bytes = column("bytes");
    lane.owner = column("owner");
    lane.ownerLane = column("owner_lane");
    lane.idle = column("idle");
    lane.inferred = column("inferred");
    lane.origin = column("origin");
    return lane;
  });
}

/** Rows of launching calls: each is written as its distance to the one after the row before it. */
function rowsOf(written: Numbers): Int32Array {
  const rows = new Int32Array(written.length);
  let before = -1;
  for (let i = 0; i < rows.length; i++) rows[i] = before = before + 1 + unzigzag(written[i]);
  return rows;
}

export const endOf = ({ lane, row }: Event): number => lane.start[row] + lane.duration[row];

/** The call that launched a piece of device work, where it is known. */
export function launchOf({ lane, row }: Event, all: Lane[]): Event | null {
  const of = lane.launchLane?.[row] ?? 0;
  if (of === 0 || !lane.launchCall) return null;
  const launched = all[of - 1];
  const call = lane.launchCall[row];
  return launched && call >= 0 && call < launched.start.length ? { lane: launched, row: call } : null;
}

/** The device work that a call launched. */
export function launchedBy(call: Event, all: Lane[]): Event[] {
  const found: Event[] = [];
  for (const lane of all) {
    if (!lane.launchLane || !lane.launchCall) continue;
    for (let row = 0; row < lane.launchCall.length; row++)
      if (lane.launchCall[row] === call.row && lane.launchLane[row] === call.lane.index + 1) found.push({ lane, row });
  }
  return found;
}

/** The innermost event of a nested lane that is open at `instant`, or null. */
export function innermost(lane: Lane, instant: number): Event | null {
  let row = after(lane.start, instant) - 1;
  while (row >= 0 && lane.start[row] + lane.duration[row] <= instant) row = lane.nesting.parent[row];
  return row >= 0 ? { lane, row } : null;
}
