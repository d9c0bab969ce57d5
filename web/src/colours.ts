// One colour for each kind of work, the same in light and dark: mid tones that dark text can stand on.

import type { Head } from "./report";

const CATEGORIES: Record<string, string> = {
  gemm: "#7fa8e0",
  attention: "#b79ae0",
  convolution: "#8fb5d9",
  softmax: "#d49ad0",
  normalization: "#dba3b4",
  embedding: "#9fc6b8",
  elementwise: "#7fc4bd",
  reduction: "#9ccb8e",
  optimizer: "#c6bf78",
  copy: "#e2b36f",
  collective: "#e78f79",
  other: "#b3b9c2",
};
const RANGES = ["#a9bfdc", "#b9c9a3", "#d6bfa0", "#c3b4d8", "#a5cacb", "#d8b3b8", "#c5c6a0", "#b5bfc9"];
const CALL = "#c3c9d1";
const WAIT = "#dfa98a";
const IDLE: Record<string, string> = {
  host: "#e4a3a0",
  copy: "#e2b36f",
  synchronisation: "#dfa98a",
  "launch latency": "#d9c28a",
  "stream wait": "#c7aede",
  unknown: "#b3b9c2",
};

/** Every colour that there is; what is drawn names one by its place. */
export const COLOURS: string[] = [];
const places = new Map<string, number>();
function place(colour: string): number {
  let found = places.get(colour);
  if (found === undefined) {
    places.set(colour, (found = COLOURS.length));
    COLOURS.push(colour);
  }
  return found;
}
for (const all of [Object.values(CATEGORIES), RANGES, [CALL, WAIT], Object.values(IDLE)]) all.forEach(place);

export const categoryColour = (category: string): string => CATEGORIES[category] ?? CATEGORIES.other;
/** The colour of idle time, by what `named` calls it. */
export const idleColour = (name: string): string => IDLE[name.replace("idle: ", "")] ?? IDLE.unknown;

/** A name's colour among the calm ones, the same in every report. */
function byName(name: string): string {
  let hash = 2166136261;
  for (let i = 0; i < Math.min(name.length, 200); i++) hash = Math.imul(hash ^ name.charCodeAt(i), 16777619);
  return RANGES[(hash >>> 0) % RANGES.length];
}

/** The colour of each name on a lane of a kind, by its place in COLOURS. */
export function coloursOf(kind: string, { names, categories, category, called }: Head): Uint8Array {
  return Uint8Array.from(names, (name, i) => {
    if (kind === "idle") return place(idleColour(name));
    if (kind === "calls") return place(/synchroni[sz]e|wait/i.test(name) ? WAIT : CALL);
    if (kind === "copies") return place(CATEGORIES.copy);
    if (kind === "ranges") return place(byName(names[called[i]]));
    return place(category[i] >= 0 ? categoryColour(categories[category[i]]) : byName(names[called[i]]));
  });
}
