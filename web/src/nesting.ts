// Which event is drawn inside which, and in which row.

import type { Numbers } from "./bytes";

export interface Nesting {
  /** The place of the event that each lies in, or -1. */
  parent: Int32Array;
  /** How many lie around it. */
  depth: Uint16Array;
  depths: number;
}

/**
 * Nesting by time of one thread's ranges, starts ascending and the longer first among equals.
 * What overlaps without lying inside goes one row deeper, so that no row holds two at once.
 */
export function nested(start: Float64Array, duration: Numbers): Nesting {
  const parent = new Int32Array(start.length);
  const depth = new Uint16Array(start.length);
  const open: number[] = [];
  let depths = 0;
  for (let i = 0; i < start.length; i++) {
    while (open.length > 0 && ended(start, duration, open[open.length - 1], start[i])) open.pop();
    const level = Math.min(open.length, 0xffff);
    depth[i] = level;
    depths = Math.max(depths, level + 1);
    parent[i] = open.length > 0 ? open[open.length - 1] : -1;
    open.push(i);
  }
  return { parent, depth, depths };
}

/** Has event `i` ended at `instant`? One without duration has, unless it starts there. */
function ended(start: Float64Array, duration: Numbers, i: number, instant: number): boolean {
  const end = start[i] + duration[i];
  return end < instant || (end === instant && duration[i] > 0) || (duration[i] === 0 && start[i] <= instant);
}

/** The first row that is free, for work of one stream, which may overlap. */
export function stacked(start: Float64Array, duration: Numbers): Nesting {
  const parent = new Int32Array(start.length).fill(-1);
  const depth = new Uint16Array(start.length);
  const free: number[] = [];
  for (let i = 0; i < start.length; i++) {
    let row = 0;
    while (row < free.length && free[row] > start[i] && row < 0xffff) row++;
    free[row] = start[i] + duration[i];
    depth[i] = row;
  }
  return { parent, depth, depths: free.length };
}
