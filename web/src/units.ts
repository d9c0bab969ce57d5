// Numbers as people read them: the units and digits of the commands' tables (analysis/show/render.py).

/** A number to four digits, without an exponent, thousands apart. */
export function digits(value: number): string {
  const whole = String(Math.floor(Math.abs(Number(value.toPrecision(4))))).length;
  return fixed(value, Math.max(0, 4 - whole)).replace(/\B(?=(\d{3})+(?!\d))(?<!\.\d*)/g, ",");
}

/** A number to so many places, as Python rounds it: what is exactly in the middle to the even digit. */
function fixed(value: number, places: number): string {
  const up = value.toFixed(places);
  const rest = value.toFixed(places + 30).split(".")[1] ?? "";
  const middle = /^50*$/.test(rest.slice(places));
  const odd = Number(up.at(-1)) % 2 === 1;
  return middle && odd ? (Number(up) - Math.sign(value) * 10 ** -places).toFixed(places) : up;
}

export function time(ns: number): string {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]] as const)
    if (Math.abs(ns) >= size * 0.99995) return `${digits(ns / size)} ${unit}`;
  return `${Number.isInteger(ns) ? ns : digits(ns)} ns`;
}

/** An instant to the nanosecond, for a place in the recording. */
export const instant = (ns: number): string => `${(ns / 1e6).toFixed(6)} ms`;

/** A count with a decimal prefix and its unit. */
export function scaled(value: number, unit: string): string {
  for (const [prefix, size] of [["P", 1e15], ["T", 1e12], ["G", 1e9], ["M", 1e6], ["k", 1e3]] as const)
    if (Math.abs(value) >= size) return `${digits(value / size)} ${prefix}${unit}`.trim();
  return `${Number(value.toPrecision(6))} ${unit}`.trim();
}

/** Bytes of memory with a binary prefix, as memory is sold and allocated. */
function binary(count: number): string {
  for (const [prefix, size] of [["Ti", 2 ** 40], ["Gi", 2 ** 30], ["Mi", 2 ** 20], ["Ki", 2 ** 10]] as const)
    if (Math.abs(count) >= size) return `${digits(count / size)} ${prefix}B`;
  return `${count} B`;
}

export const share = (value: number): string => `${fixed(value * 100, 1)} %`;
export const count = (value: number): string => value.toLocaleString("en-US", { maximumFractionDigits: 0 });

/** By the end of a column's name: what its title becomes, and how its values are shown. */
const UNITS: [name: RegExp, title: string, shown: (value: number) => string][] = [
  [/_ns$|^ns$/, "", time],
  [/(^|_)share$/, "$1share", share],
  [/^flops_per_s$/, "FLOP/s", (value) => scaled(value, "FLOP/s")],
  [/(^|_)bytes_per_s$/, "$1bytes/s", (value) => scaled(value, "B/s")],
  [/^flops$/, "FLOPs", (value) => scaled(value, "FLOP")],
  [/^bytes$/, "bytes", (value) => scaled(value, "B")],
  [/_bytes$/, "", binary],
];
const IDS = new Set(["device", "stream", "process", "thread", "step", "depth"]);

/** A value of a table's column, as a person reads it; `whole` where the column has no parts of one. */
export function cell(value: string | number | boolean | null, column: string, whole = true): string {
  if (value === null) return "";
  if (typeof value !== "number") return String(value);
  const unit = UNITS.find(([name]) => name.test(column));
  if (unit) return unit[2](value);
  if (IDS.has(column)) return String(value);
  return whole && Number.isInteger(value) ? count(value) : digits(value);
}

/** Headings where operators take the kernels' place. */
const OF_OPERATORS: Record<string, string> = { kernel_ns: "operators", gpu_ops: "calls" };

/** A column's name as a heading. */
export function heading(column: string, ofOperators = false): string {
  if (ofOperators && column in OF_OPERATORS) return OF_OPERATORS[column];
  const unit = UNITS.find(([name]) => name.test(column));
  return (unit ? column.replace(unit[0], unit[1]) || column : column).replaceAll("_", " ");
}

/** The distance between ticks that gives at most `most` of them: 1, 2 or 5 times a power of ten. */
export function tickStep(width: number, most: number): number {
  const least = width / Math.max(most, 1);
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least) ?? 10 * power;
}
