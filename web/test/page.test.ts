import { describe, expect, it } from "vitest";
import { ticks } from "../src/axis";
import { parsed, written } from "../src/hash";
import { labels, lines } from "../src/labels";
import { after, from } from "../src/search";
import { kept, sorted } from "../src/sorting";
import { icicle, roots, values } from "../src/tree";
import { cell, digits, scaled, share, tickStep, time } from "../src/units";
import { View } from "../src/view";
import { visible } from "../src/visible";
import { random } from "./made";

describe("the address's hash", () => {
  it("says again what was written", () => {
    const shown = { from: 5, to: 900, selected: [2, 77] as [number, number], query: "a&b=c #%", table: "ranges", theme: "dark" as const };
    expect(parsed(written(shown))).toEqual(shown);
  });
  it.each([
    "#time=5", "#time=9-5", "#time=-5-9", "#time=1e3-2e3", "#time=0x1-0x9", "#time=1-2-3", "#time=00-9", "#event=1", "#event=a-b",
    "#table=<b>", "#table=__proto__", "#theme=blue", "#search=%E0%A4%A", "#nothing", "#=", "#&&", `#search=${"x".repeat(5000)}`, "#time=99999999999999999-1",
  ])("is not believed where it is wrong: %s", (hash) => expect(parsed(hash)).toEqual({}));
  it("loses only the part that is wrong", () => {
    expect(parsed("#time=zero-9&search=mm&theme=loud")).toEqual({ query: "mm" });
  });
});

describe("a place among ascending numbers", () => {
  it("is what looking at each gives", () => {
    const next = random(9);
    const numbers = Float64Array.from({ length: 40 }, () => next(30)).sort();
    for (let value = -1; value <= 31; value++) {
      expect(after(numbers, value)).toBe(numbers.filter((each) => each <= value).length);
      expect(from(numbers, value)).toBe(numbers.filter((each) => each < value).length);
    }
  });
});

describe("the view", () => {
  it("stays inside the recording and keeps the instant that is zoomed at", () => {
    const view = new View(1000, 1);
    view.zoom(0.1, 400);
    expect([view.from, view.to]).toEqual([360, 460]);
    view.pan(900);
    expect([view.from, view.to]).toEqual([900, 1000]);
    view.zoom(100, 950);
    expect([view.from, view.to]).toEqual([0, 1000]);
  });
});

describe("tables", () => {
  const rows = [["b", 3], ["a", null], ["c", 12], ["A", 3]];
  it("sort numbers as numbers, ties as they were, nothing last", () => {
    expect(sorted(rows, [0, 1, 2, 3], 1, true)).toEqual([2, 0, 3, 1]);
    expect(sorted(rows, [0, 1, 2, 3], 1, false)).toEqual([0, 3, 2, 1]);
    expect(sorted(rows, [0, 1, 2, 3], 0, false)).toEqual([3, 1, 0, 2]);
  });
  it("keep rows that have every word", () => {
    expect(kept([["void mm<float>", 1], ["mm", 2], ["copy", 3]], "MM float")).toEqual([0]);
  });
});

describe("the tree of ranges", () => {
  const table = { heading: "", columns: ["range", "depth", "busy_ns"], rows: [["step", 0, 10], ["forward", 1, 4], ["mm", 2, 3], ["backward", 1, 8], ["other", 0, 8]] };
  const all = roots(table);
  it("hangs each range under the one above it", () => {
    expect(all.map((node) => [node.name, node.children.map((child) => child.name)])).toEqual([["step", ["forward", "backward"]], ["other", []]]);
  });
  it("is never narrower than what is inside it, and widest first", () => {
    const placed = icicle(all, null, values(all, 2), 0); // step: 4 + 8 are inside its 10
    expect(placed.map(({ node, left, width }) => [node.name, left * 20, width * 20])).toEqual(
      expect.arrayContaining([["step", 0, 12], ["other", 12, 8], ["backward", 0, 8], ["forward", 8, 4], ["mm", 8, 3]]),
    );
  });
});

describe("units", () => {
  it("are those of the commands", () => {
    expect([0, 999, 1500, 12345, 146_900_000, 2_345_000_000].map(time)).toEqual(["0 ns", "999 ns", "1.500 µs", "12.35 µs", "146.9 ms", "2.345 s"]);
    expect([999_949, 999_951, 9_999_900, 12_345_600_000_000, 0.5].map(time)).toEqual(["999.9 µs", "1.000 ms", "10.00 ms", "12,346 s", "0.500 ns"]);
    expect([545_150, 12_125, 12_375, 1_234_500].map(time)).toEqual(["545.1 µs", "12.12 µs", "12.38 µs", "1.234 ms"]);
    expect([0.1225, 0.3125, 0.0015, -0.0625].map(share)).toEqual(["12.2 %", "31.2 %", "0.1 %", "-6.2 %"]);
    expect([12_344.5, 0.03125, 1_234_567.5, -12.125].map(digits)).toEqual(["12,344", "0.031", "1,234,568", "-12.12"]);
    expect([12, 1536, 20 * 2 ** 20].map((bytes) => cell(bytes, "peak_bytes"))).toEqual(["12 B", "1.500 KiB", "20.00 MiB"]);
    expect(scaled(811_597_824, "FLOP")).toBe("811.6 MFLOP");
    expect(scaled(1.602e12, "FLOP")).toBe("1.602 TFLOP");
    expect(cell(0.1234, "share")).toBe("12.3 %");
    expect(cell(12345, "calls")).toBe("12,345");
    expect(cell(12345, "process")).toBe("12345");
  });
  it("of ticks are round and at most as many as wanted", () => {
    expect(tickStep(100, 10)).toBe(10);
    expect(tickStep(101, 10)).toBe(20);
    expect(ticks({ from: 3, to: 27 }, 5)).toEqual([5, 10, 15, 20, 25]);
  });
});

describe("labels", () => {
  it("leave out what the lane above says", () => {
    expect(labels(["GPU 0 · stream 7", "GPU 0 · stream 7 · copies", "GPU 0 · idle", "thread 5"]).map(({ parts }) => parts.join("|"))).toEqual([
      "GPU 0|stream 7", "copies", "idle", "thread 5",
    ]);
  });
  it("break between parts, and lose the longest between where there is one line", () => {
    const measure = (text: string): number => text.length;
    expect(lines(["process 1", "thread 2", "python"], 3, 20, measure)).toEqual(["process 1 · thread 2", "python"]);
    expect(lines(["thread 2", "python", "calls"], 1, 18, measure)).toEqual(["thread 2 · calls"]);
    expect(lines(["after", "GPU 0", "process 148", "stream 7"], 1, 25, measure)).toEqual(["after · GPU 0 · stream 7"]);
  });
});

describe("names", () => {
  it("hide nothing, as in the commands' tables", () => {
    expect(visible("a\nb\t\x1b[31m\u202e\u2028\ud800\u00a0 c \u{e0001}")).toBe("a\\nb\\t\\x1b[31m\\u202e\\u2028\\ud800\\xa0 c \\U000e0001");
    expect(visible("void f<T>(int) · µs 名前 😀")).toBe("void f<T>(int) · µs 名前 😀");
  });
});
