// Which event of a row is at an instant.

import type { Event } from "./lanes";
import { type Drawn, eventOf } from "./rows";
import { after } from "./search";

/** In a row that several levels share, so many events before the instant are looked at. */
const LOOK_BACK = 256;

/** The event that covers `instant`, the shortest of several; else the nearest within `reach`. */
export function hit(drawn: Drawn, instant: number, reach: number): Event | null {
  const { start, duration } = drawn;
  const next = after(start, instant);
  let covering = -1;
  let nearest = -1;
  let least = reach;
  for (let i = next - 1; i >= Math.max(0, next - LOOK_BACK); i--) {
    const end = start[i] + duration[i];
    if (end > instant || (end === instant && duration[i] === 0)) {
      if (covering < 0 || duration[i] < duration[covering]) covering = i;
    } else if (instant - end < least || (instant - end === 0 && nearest < 0)) [nearest, least] = [i, instant - end];
  }
  if (covering >= 0) return eventOf(drawn, covering);
  if (next < start.length && start[next] - instant <= least) nearest = next;
  return nearest >= 0 ? eventOf(drawn, nearest) : null;
}
