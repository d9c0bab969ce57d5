// The stretch of time in view, and those who follow it.

export class View {
  from: number;
  to: number;
  private readonly followers: (() => void)[] = [];

  /** A view of [0, span); nothing narrower than `least` ns is shown. */
  constructor(
    readonly span: number,
    private readonly least = 20,
  ) {
    this.from = 0;
    this.to = span;
  }

  get width(): number {
    return this.to - this.from;
  }

  follow(follower: () => void): void {
    this.followers.push(follower);
  }

  /** Show [from, to), kept inside the recording. */
  show(from: number, to: number): void {
    const width = Math.min(Math.max(to - from, Math.min(this.least, this.span)), this.span);
    const centre = (from + to) / 2;
    this.from = Math.min(Math.max(centre - width / 2, 0), this.span - width);
    this.to = this.from + width;
    for (const each of this.followers) each();
  }

  all(): void {
    this.show(0, this.span);
  }

  pan(ns: number): void {
    this.show(this.from + ns, this.to + ns);
  }

  /** Make the view `factor` times as wide, `instant` staying where it is. */
  zoom(factor: number, instant: number): void {
    const width = Math.min(Math.max(this.width * factor, Math.min(this.least, this.span)), this.span);
    const left = ((instant - this.from) / this.width) * width;
    this.show(instant - left, instant - left + width);
  }

  /** Show [start, end) with room on both sides, `room` times as wide. */
  around(start: number, end: number, room = 3): void {
    const width = Math.max(end - start, this.least) * room;
    const centre = (start + end) / 2;
    this.show(centre - width / 2, centre + width / 2);
  }
}
