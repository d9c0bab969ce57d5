// What the tests pack: columns as Python writes them, and heads around them.

import type { Head, LaneHead } from "../src/report";

export class Bytes {
  private readonly bytes: number[] = [];

  /** Put numbers plane by plane; their place and width. */
  column(numbers: number[], width = 4): [number, number] {
    const offset = this.bytes.length;
    for (let plane = 0; plane < width; plane++)
      for (const number of numbers) this.bytes.push(Number((BigInt(number) >> BigInt(8 * plane)) & 255n));
    return [offset, width];
  }

  all(): Uint8Array {
    return Uint8Array.from(this.bytes);
  }
}

/** A lane of columns, `start` being differences. */
export function laneHead(kind: LaneHead["kind"], bytes: Bytes, columns: Record<string, number[]>): LaneHead {
  const placed = Object.entries(columns).map(([name, numbers]) => [name, bytes.column(numbers)] as const);
  const count = columns.start.length;
  return { kind, label: kind, process: 1, thread: 2, device: 0, stream: 7, count, columns: Object.fromEntries(placed) };
}

export function head(lanes: LaneHead[], names = ["gemm", "copy", "launch"]): Head {
  return {
    version: 1,
    title: "made",
    described: [],
    verdict: "",
    advice: [],
    origin_ns: "0",
    span_ns: 100,
    names,
    categories: ["gemm", "copy"],
    category: names.map((name) => ["gemm", "copy"].indexOf(name)),
    called: names.map((_, at) => at),
    causes: ["host", "launch_latency"],
    lanes,
    steps: [],
    median_step: null,
    budget: [],
  };
}

/** Numbers from 0 to below `most`, the same in every run. */
export function random(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}
