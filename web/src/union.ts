// Busy time: the union of intervals, and how much of it lies before an instant.

import type { Numbers } from "./bytes";
import { after } from "./search";

export class Union {
  private constructor(
    readonly start: Float64Array,
    readonly end: Float64Array,
    /** Busy time before each interval; one entry more than intervals, the last is all. */
    private readonly before: Float64Array,
  ) {}

  /** The union of intervals whose starts ascend. */
  static of(start: Float64Array, duration: Numbers): Union {
    const count = start.length;
    let starts = new Float64Array(count);
    let ends = new Float64Array(count);
    let merged = 0;
    for (let i = 0; i < count; i++) {
      const end = start[i] + duration[i];
      if (merged > 0 && start[i] <= ends[merged - 1]) {
        if (end > ends[merged - 1]) ends[merged - 1] = end;
      } else {
        starts[merged] = start[i];
        ends[merged++] = end;
      }
    }
    if (merged < count) {
      starts = starts.slice(0, merged);
      ends = ends.slice(0, merged);
    }
    const before = new Float64Array(merged + 1);
    for (let i = 0; i < merged; i++) before[i + 1] = before[i] + (ends[i] - starts[i]);
    return new Union(starts, ends, before);
  }

  get total(): number {
    return this.before[this.before.length - 1];
  }

  /** Busy time before `instant`. */
  busyBefore(instant: number): number {
    return this.busyAt(instant, after(this.start, instant));
  }

  /** Busy time in [from, to), exact. */
  busy(from: number, to: number): number {
    return this.busyBefore(to) - this.busyBefore(from);
  }

  /** The busy time in each of `parts.length` equal parts of [from, to), exact, in one walk. */
  busyOf(from: number, to: number, parts: Float64Array): void {
    const width = (to - from) / parts.length;
    let place = after(this.start, from);
    let busy = this.busyAt(from, place);
    for (let i = 0; i < parts.length; i++) {
      const edge = i + 1 === parts.length ? to : from + (i + 1) * width;
      place = this.onwards(place, edge);
      const next = this.busyAt(edge, place);
      parts[i] = next - busy;
      busy = next;
    }
  }

  /** Like `after`, from a place that is near: steps that double, then a search between the last two. */
  private onwards(place: number, instant: number): number {
    let step = 1;
    while (place + step < this.start.length && this.start[place + step] <= instant) step *= 2;
    return after(this.start, instant, place, Math.min(place + step, this.start.length));
  }

  private busyAt(instant: number, place: number): number {
    if (place === 0) return 0;
    return this.before[place - 1] + Math.min(instant, this.end[place - 1]) - this.start[place - 1];
  }
}
