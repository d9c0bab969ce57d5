import { describe, expect, it } from "vitest";
import { COLOURS } from "../src/colours";
import { Columns } from "../src/columns";
import { hit } from "../src/hit";
import { gapsOf } from "../src/idle";
import { gathered, innermost, laneOf } from "../src/lanes";
import { nested, stacked } from "../src/nesting";
import { eventOf, only, rowsOf } from "../src/rows";
import { Union } from "../src/union";
import { Bytes, head, laneHead, random } from "./made";

/** Events with starts ascending, the longer first, some without duration and some long. */
function events(seed: number, count: number, most: number) {
  const next = random(seed);
  const rows = Array.from({ length: count }, () => [next(most), next(10) === 0 ? 0 : next(next(8) === 0 ? most : 20)]);
  rows.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
  return { start: Float64Array.from(rows, (row) => row[0]), duration: Uint32Array.from(rows, (row) => row[1]) };
}

/** Is an instant [ns, ns + 1) busy? Looked up in every event. */
const busyAt = (ns: number, { start, duration }: ReturnType<typeof events>): boolean =>
  start.some((begin, i) => begin <= ns && ns < begin + duration[i]);

describe("busy time", () => {
  for (const seed of [1, 2, 3, 4, 5, 6])
    it(`of every pixel is what counting nanoseconds gives (${seed})`, () => {
      const all = events(seed, seed * 9, 240);
      const union = Union.of(all.start, all.duration);
      const busy = Array.from({ length: 600 }, (_, ns) => Number(busyAt(ns, all)));
      const counted = (from: number, to: number): number => busy.slice(from, to).reduce((sum, each) => sum + each, 0);
      for (const [from, to, width] of [[0, 600, 60], [0, 600, 600], [13, 253, 24], [100, 110, 5], [0, 600, 1]]) {
        const parts = new Float64Array(width);
        union.busyOf(from, to, parts);
        const each = (to - from) / width;
        expect([...parts]).toEqual(Array.from(parts, (_, x) => counted(from + x * each, from + (x + 1) * each)));
        expect(union.busy(from, to)).toBe(counted(from, to));
      }
    });
  it("is shared exactly between pixels whose edges lie inside an event", () => {
    const parts = new Float64Array(4);
    Union.of(Float64Array.of(3), Uint32Array.of(4)).busyOf(0, 10, parts); // edges at 2.5, 5, 7.5
    expect([...parts]).toEqual([0, 2, 2, 0]);
  });
});

describe("rows", () => {
  for (const seed of [11, 12, 13])
    it(`never hold two events at once, and hold every event (${seed})`, () => {
      const { start, duration } = events(seed, 150, 400);
      for (const make of [nested, stacked]) {
        const { depth } = make(start, duration);
        const ends = new Map<number, number>();
        depth.forEach((level, i) => {
          expect(start[i]).toBeGreaterThanOrEqual(ends.get(level) ?? 0);
          ends.set(level, start[i] + duration[i]);
        });
      }
    });
  it("nest ranges by time, with the innermost as parent", () => {
    const start = Float64Array.of(0, 0, 2, 5, 10);
    const duration = Uint32Array.of(10, 4, 1, 5, 3);
    const { parent, depths } = nested(start, duration);
    expect([...parent]).toEqual([-1, 0, 1, 0, -1]);
    expect(depths).toBe(3);
    const lane = laneOf(0, laneHead("ranges", new Bytes(), { start: [0] }), start, duration, new Uint32Array(5));
    expect([1, 2, 4, 9, 12, 13].map((instant) => innermost(lane, instant)?.row)).toEqual([1, 2, 0, 3, 4, undefined]);
  });
  it("share the last row where more levels are than are drawn, and keep every event", () => {
    const count = 30;
    const start = Float64Array.from({ length: count }, (_, i) => i);
    const duration = Uint32Array.from({ length: count }, (_, i) => 100 - 2 * i);
    const lane = laneOf(0, laneHead("ranges", new Bytes(), { start: [0] }), start, duration, new Uint32Array(count));
    const rows = rowsOf(lane, [], () => new Uint8Array(1), 8);
    expect(rows.map((row) => row.start.length)).toEqual([1, 1, 1, 1, 1, 1, 1, 23]);
    expect(rows.map((row) => row.levels)).toEqual([1, 1, 1, 1, 1, 1, 1, 23]);
  });
  it("draw another thread's ranges under the one that they belong to", () => {
    const bytes = new Bytes();
    const lanes = gathered(
      head([
        laneHead("ranges", bytes, { start: [0, 50], duration: [100, 40], name: [0, 1] }),
        laneHead("ranges", bytes, { start: [55, 5], duration: [20, 5], name: [2, 2], owner: [2, 2], owner_lane: [1, 1] }),
      ]),
      bytes.all(),
    );
    const rows = rowsOf(lanes[0], [lanes[1]], () => new Uint8Array(3), 8);
    expect(rows.map((row) => [...row.start])).toEqual([[0], [50], [55], [60]]);
    expect(eventOf(rows[2], 0).lane).toBe(lanes[1]);
    expect(rowsOf(lanes[1], [], () => new Uint8Array(3), 8)).toEqual([]);
  });
  it("keep of a search what it finds, with its own busy time", () => {
    const { start, duration } = events(5, 200, 900);
    const lane = laneOf(0, laneHead("kernels", new Bytes(), { start: [0] }), start, duration, new Uint32Array(200));
    const [row] = rowsOf(lane, [], () => new Uint8Array(1), 1);
    const found = only(row, (event) => event.row % 3 === 0);
    expect([...found.rows]).toEqual(Array.from({ length: 67 }, (_, i) => 3 * i));
  });
});

describe("a pixel's colour", () => {
  it("is that of the longest time in it, however many events there are", () => {
    const next = random(3);
    const count = 700;
    const start = Float64Array.from({ length: count }, (_, i) => 10 * i);
    const duration = Uint32Array.from({ length: count }, () => 1 + next(10));
    const name = Uint32Array.from({ length: count }, () => next(4));
    const lane = laneOf(0, laneHead("kernels", new Bytes(), { start: [0] }), start, duration, name);
    const [row] = rowsOf(lane, [], () => Uint8Array.of(0, 1, 2, 3), 8);
    const columns = new Columns();
    for (const width of [1, 3, 50, 700]) {
      const each = (10 * count) / width;
      columns.of(row, 0, 10 * count, width);
      for (let x = 0; x < width; x++) {
        const sums = [0, 0, 0, 0];
        start.forEach((begin, i) => {
          const inside = Math.min(begin + duration[i], (x + 1) * each) - Math.max(begin, x * each);
          if (inside > 0) sums[name[i]] += inside;
        });
        expect(sums[columns.colour[x]]).toBeCloseTo(Math.max(...sums), 6);
      }
    }
    expect(COLOURS.length).toBeLessThan(256);
  });
});

describe("idle time", () => {
  it("is what no stream of the device fills, with the cause of what ended it", () => {
    const bytes = new Bytes();
    const lanes = gathered(
      head([
        laneHead("kernels", bytes, { start: [10, 30], duration: [10, 10], name: [0, 0], idle: [0, 1] }),
        laneHead("copies", bytes, { start: [15, 45], duration: [15, 5], name: [1, 1], idle: [0, 2] }),
      ]),
      bytes.all(),
    );
    expect(gapsOf(lanes)).toEqual([
      { start: 30, end: 40, cause: 0 },
      { start: 50, end: 60, cause: 1 },
    ]);
  });
});

describe("what is under the pointer", () => {
  const lane = laneOf(0, laneHead("kernels", new Bytes(), { start: [0] }), Float64Array.of(10, 30), Uint32Array.of(10, 0), new Uint32Array(2));
  const [row] = rowsOf(lane, [], () => new Uint8Array(1), 8);
  it("is the event that covers the instant", () => expect(hit(row, 15, 0)?.row).toBe(0));
  it("is the nearest within reach else", () => {
    expect(hit(row, 22, 3)?.row).toBe(0);
    expect(hit(row, 28, 3)?.row).toBe(1);
    expect(hit(row, 25, 3)).toBeNull();
  });
});
