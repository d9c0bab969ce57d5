import { describe, expect, it } from "vitest";
import { fromBase64, inflate, summed, unshuffled, unzigzag } from "../src/bytes";
import { gathered, launchedBy, launchOf } from "../src/lanes";
import { Bytes, head, laneHead } from "./made";

describe("columns of numbers", () => {
  for (const width of [1, 2, 4, 8])
    it(`of ${width} bytes come back as they were`, () => {
      const most = 2 ** Math.min(8 * width, 53) - 1;
      const numbers = [0, 1, 200, most, 7, Math.floor(most / 3)];
      const bytes = new Bytes();
      bytes.column([1, 2, 3]);
      const [offset] = bytes.column(numbers, width);
      expect([...unshuffled(bytes.all(), offset, width, numbers.length)]).toEqual(numbers);
    });
  it("that end too early are refused", () => {
    expect(() => unshuffled(new Uint8Array(7), 0, 4, 2)).toThrow("end before");
  });
  it("of differences are summed, past 2^32 too", () => {
    expect([...summed(Uint32Array.of(5, 0, 4294967295, 10))]).toEqual([5, 5, 4294967300, 4294967310]);
  });
  it("signed by zigzag have their sign again", () => {
    expect([0, 1, 2, 3, 4, 5].map(unzigzag)).toEqual([0, -1, 1, -2, 2, -3]);
  });
  it("are inflated from base64", async () => {
    // zlib's "spanlight" of Python
    expect(new TextDecoder().decode(await inflate(fromBase64("eJwrLkjMy8lMzygBABMIA8s=")))).toBe("spanlight");
  });
});

describe("work and the call that launched it", () => {
  const bytes = new Bytes();
  const lanes = gathered(
    head([
      laneHead("kernels", bytes, {
        start: [10, 20, 30],
        duration: [5, 5, 5],
        name: [0, 1, 0],
        lane: [2, 2, 0],
        call: [2, 0, 0], // rows 1, 2, and an unknown one
      }),
      laneHead("calls", bytes, { start: [1, 2, 3], duration: [1, 1, 1], name: [2, 2, 2] }),
    ]),
    bytes.all(),
  );
  it("are found from the work", () => {
    expect([0, 1, 2].map((row) => launchOf({ lane: lanes[0], row }, lanes)?.row)).toEqual([1, 2, undefined]);
  });
  it("are found from the call", () => {
    expect(launchedBy({ lane: lanes[1], row: 2 }, lanes).map(({ row }) => row)).toEqual([1]);
    expect(launchedBy({ lane: lanes[1], row: 0 }, lanes)).toEqual([]);
  });
});
