// What each pixel column of a row holds: its busy time, exact, and the colour that weighs most.

import type { Drawn } from "./rows";
import { from as firstFrom } from "./search";

export class Columns {
  /** Nanoseconds of each column in which the row is busy. */
  busy = new Float64Array(0);
  colour = new Int16Array(0);

  /** Sum up [from, to) in `width` columns. Nothing in it is left out, however short. */
  of(drawn: Drawn, from: number, to: number, width: number): void {
    if (this.busy.length !== width) {
      this.busy = new Float64Array(width);
      this.colour = new Int16Array(width);
    }
    drawn.union.busyOf(from, to, this.busy);
    const { start, duration, colour, weights } = drawn;
    const each = (to - from) / width;
    let low = firstFrom(start, from);
    for (let x = 0; x < width; x++) {
      const left = from + x * each;
      const right = left + each;
      let high = low;
      while (high < start.length && start[high] < right) {
        if (high - low < 32) high++;
        else {
          high = firstFrom(start, right, high);
          break;
        }
      }
      const before = low - 1;
      const open = before >= 0 ? Math.min(start[before] + duration[before], right) - left : 0;
      if (high === low && open <= 0) {
        this.colour[x] = this.busy[x] > 0 ? colour[Math.max(before, 0)] : -1;
        continue;
      }
      const over = high > low ? Math.max(0, start[high - 1] + duration[high - 1] - right) : 0;
      this.colour[x] = weights.heaviest(low, high, over, open > 0 ? colour[before] : -1, Math.max(open, 0));
      low = high;
    }
  }
}
