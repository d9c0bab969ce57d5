// Numbers as people read them: the units and digits of the commands' tables.

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** Four significant digits, like the commands. */
function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

export function time(ns: number): string {
  const size = Math.abs(ns);
  if (size < 1e3) return `${Number.isInteger(ns) ? ns : digits(ns)} ns`;
  for (const [unit, scale] of [["µs", 1e3], ["ms", 1e6]] as const)
    if (size / scale < 999.95) return `${digits(ns / scale)} ${unit}`;
  return `${digits(ns / 1e9)} s`;
}

/** An instant to the nanosecond, for a place in the recording. */
export const instant = (ns: number): string => `${(ns / 1e6).toFixed(6)} ms`;

const SCALES = ["", "k", "M", "G", "T", "P", "E"];

export function scaled(value: number, unit: string): string {
  let at = 0;
  let rest = value;
  while (Math.abs(rest) >= 1000 && at < SCALES.length - 1) {
    rest /= 1000;
    at++;
  }
  const shown = at === 0 && Number.isInteger(rest) ? String(rest) : digits(rest);
  return `${shown} ${SCALES[at]}${unit}`;
}

export const share = (value: number): string => `${(value * 100).toFixed(1)} %`;
export const count = (value: number): string => grouped.format(value);

/** A number of a table, by the unit in its column's name. */
export function cell(value: string | number | boolean | null, column: string): string {
  if (value === null) return "";
  if (typeof value !== "number") return String(value);
  if (column.endsWith("_ns") || column === "ns") return time(value);
  if (column.endsWith("flops_per_s")) return scaled(value, "FLOP/s");
  if (column.endsWith("bytes_per_s")) return scaled(value, "B/s");
  if (column.endsWith("flops")) return scaled(value, "FLOP");
  if (column.endsWith("bytes")) return scaled(value, "B");
  if (column.endsWith("share")) return share(value);
  return Number.isInteger(value) ? (IDS.has(column) ? String(value) : count(value)) : digits(value);
}

const IDS = new Set(["device", "stream", "process", "thread", "step", "depth"]);

/** A column's name as a heading. */
export const heading = (column: string): string =>
  column.replace("flops_per_s", "FLOP/s").replace("bytes_per_s", "B/s").replace(/_ns$/, "").replaceAll("_", " ");

/** The distance between ticks that gives at most `most` of them: 1, 2 or 5 times a power of ten. */
export function tickStep(width: number, most: number): number {
  const least = width / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least) ?? 10 * power;
}
