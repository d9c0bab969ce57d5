// Which colour weighs most among neighbouring events: sums by colour, kept for each block of them.

import type { Numbers } from "./bytes";

const BLOCK = 64;

export class Weights {
  private readonly colours: number;
  private readonly sums: Float64Array;
  private readonly scratch: Float64Array;

  constructor(
    private readonly duration: Numbers,
    private readonly colour: Uint8Array,
  ) {
    let most = 0;
    for (const each of colour) if (each > most) most = each;
    this.colours = most + 1;
    this.scratch = new Float64Array(this.colours);
    const blocks = Math.floor(colour.length / BLOCK);
    this.sums = new Float64Array((blocks + 1) * this.colours);
    for (let block = 0; block < blocks; block++) {
      const at = block * this.colours;
      const next = at + this.colours;
      for (let c = 0; c < this.colours; c++) this.sums[next + c] = this.sums[at + c];
      for (let i = block * BLOCK; i < (block + 1) * BLOCK; i++) this.sums[next + colour[i]] += duration[i];
    }
  }

  /**
   * The colour with the longest time among events [low, high), of which the last counts `less`
   * less, and one more event of `colour` counts `more`; -1 without any.
   */
  heaviest(low: number, high: number, less = 0, colour = -1, more = 0): number {
    const sums = this.scratch.fill(0);
    const first = Math.ceil(low / BLOCK);
    const last = Math.floor(high / BLOCK);
    if (first < last) {
      for (let c = 0; c < this.colours; c++)
        sums[c] = this.sums[last * this.colours + c] - this.sums[first * this.colours + c];
      for (let i = low; i < first * BLOCK; i++) sums[this.colour[i]] += this.duration[i];
      for (let i = last * BLOCK; i < high; i++) sums[this.colour[i]] += this.duration[i];
    } else for (let i = low; i < high; i++) sums[this.colour[i]] += this.duration[i];
    if (high > low) sums[this.colour[high - 1]] -= less;
    if (colour >= 0) sums[colour] += more;
    let found = -1;
    for (let c = 0; c < this.colours; c++) if (sums[c] > (found < 0 ? 0 : sums[found])) found = c;
    return found >= 0 ? found : high > low ? this.colour[low] : colour;
  }
}
