// Rows of the time line: a lane's events by depth, each row with nothing over anything else.

import type { Numbers } from "./bytes";
import type { Event, Lane } from "./lanes";
import { nested } from "./nesting";
import { Union } from "./union";
import { Weights } from "./weights";

/** Of a lane that is not opened, so many rows are drawn; what lies deeper shares the last. */
export const SHOWN_ROWS = 8;

/** Which events a row draws, and what is needed to draw them. */
export interface Drawn {
  start: Float64Array;
  duration: Numbers;
  colour: Uint8Array;
  union: Union;
  weights: Weights;
  /** The row in its lane of each. */
  rows: Numbers;
  /** The lane of each, where not all are of the same. */
  lanes: Lane[];
  laneOf: Uint16Array | null;
}

export interface Row extends Drawn {
  lane: Lane;
  depth: number;
  /** How many levels share this row. */
  levels: number;
}

export const eventOf = (drawn: Drawn, i: number): Event => ({
  lane: drawn.lanes[drawn.laneOf ? drawn.laneOf[i] : 0],
  row: drawn.rows[i],
});

type Colouring = (lane: Lane) => Uint8Array;

/** The rows of a lane, with ranges of other threads that belong under its own (`guests`). */
export function rowsOf(lane: Lane, guests: Lane[], colours: Colouring, most: number): Row[] {
  const own = lane.owner ? (row: number) => lane.owner![row] === 0 : null;
  const parts = [
    { lane, keep: own },
    ...guests.map((guest) => ({ lane: guest, keep: (row: number) => guest.ownerLane![row] === lane.index + 1 })),
  ];
  const all = merged(parts);
  const plain = parts.length === 1 && !own;
  const { depth, depths } = plain ? lane.nesting : nested(all.start, all.duration);
  const shown = depths > most ? most : depths;
  const counts = new Uint32Array(shown);
  for (const level of depth) counts[Math.min(level, shown - 1)]++;
  const places = Array.from(counts, (count) => new Uint32Array(count));
  counts.fill(0);
  for (let i = 0; i < depth.length; i++) {
    const level = Math.min(depth[i], shown - 1);
    places[level][counts[level]++] = i;
  }
  return places.map((chosen, level) => ({
    ...picked(all, chosen, colours, plain && shown === 1 ? lane.union : null),
    lane,
    depth: level,
    levels: level === shown - 1 ? depths - level : 1,
  }));
}

type Merged = Pick<Drawn, "start" | "duration" | "rows" | "lanes" | "laneOf"> & { name: Numbers };

/** The events of several lanes in the order of time, of each those that are kept. */
function merged(parts: { lane: Lane; keep: ((row: number) => boolean) | null }[]): Merged {
  const [{ lane, keep }] = parts;
  const lanes = parts.map((part) => part.lane);
  if (parts.length === 1 && !keep) {
    const rows = new Uint32Array(lane.start.length);
    for (let i = 0; i < rows.length; i++) rows[i] = i;
    return { start: lane.start, duration: lane.duration, name: lane.name, rows, lanes, laneOf: null };
  }
  const found: { start: number; duration: number; name: number; lane: number; row: number }[] = [];
  parts.forEach((part, at) => {
    const { start, duration, name } = part.lane;
    for (let row = 0; row < start.length; row++)
      if (!part.keep || part.keep(row))
        found.push({ start: start[row], duration: duration[row], name: name[row], lane: at, row });
  });
  found.sort((a, b) => a.start - b.start || b.duration - a.duration || a.lane - b.lane);
  return {
    start: Float64Array.from(found, (each) => each.start),
    duration: Float64Array.from(found, (each) => each.duration),
    name: Uint32Array.from(found, (each) => each.name),
    rows: Uint32Array.from(found, (each) => each.row),
    lanes,
    laneOf: Uint16Array.from(found, (each) => each.lane),
  };
}

function picked(all: Merged, chosen: Uint32Array, colours: Colouring, union: Union | null): Drawn {
  const { start, duration, name, rows, lanes, laneOf } = all;
  const whole = chosen.length === start.length;
  const by = lanes.map(colours);
  const colour = new Uint8Array(chosen.length);
  for (let i = 0; i < chosen.length; i++) colour[i] = by[laneOf ? laneOf[chosen[i]] : 0][name[chosen[i]]];
  const starts = whole ? start : taken(start, chosen, new Float64Array(chosen.length));
  const durations = whole ? duration : taken(duration, chosen, new Float64Array(chosen.length));
  return {
    start: starts,
    duration: durations,
    colour,
    union: union ?? Union.of(starts, durations),
    weights: new Weights(durations, colour),
    rows: whole ? rows : taken(rows, chosen, new Uint32Array(chosen.length)),
    lanes,
    laneOf: laneOf && (whole ? laneOf : taken(laneOf, chosen, new Uint16Array(chosen.length))),
  };
}

/** The numbers at chosen places, put into `into`. */
function taken<T extends Numbers | Uint16Array | Uint8Array>(numbers: ArrayLike<number>, chosen: ArrayLike<number>, into: T): T {
  for (let i = 0; i < chosen.length; i++) into[i] = numbers[chosen[i]];
  return into;
}

/** Of what a row draws, the events that `wanted` keeps. */
export function only(drawn: Drawn, wanted: (event: Event) => boolean): Drawn {
  const chosen: number[] = [];
  for (let i = 0; i < drawn.start.length; i++) if (wanted(eventOf(drawn, i))) chosen.push(i);
  const count = chosen.length;
  const start = taken(drawn.start, chosen, new Float64Array(count));
  const duration = taken(drawn.duration, chosen, new Float64Array(count));
  const colour = taken(drawn.colour, chosen, new Uint8Array(count));
  return {
    start,
    duration,
    colour,
    union: Union.of(start, duration),
    weights: new Weights(duration, colour),
    rows: taken(drawn.rows, chosen, new Uint32Array(count)),
    lanes: drawn.lanes,
    laneOf: drawn.laneOf && taken(drawn.laneOf, chosen, new Uint16Array(count)),
  };
}
