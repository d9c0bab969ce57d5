// The order of a table's rows, and which of them a search keeps.

import type { Cell } from "./report";

/** Places of rows ordered by a column, ties as they were. */
export function sorted(rows: Cell[][], places: number[], column: number, descending: boolean): number[] {
  const sign = descending ? -1 : 1;
  return [...places].sort((a, b) => sign * compared(rows[a][column], rows[b][column]) || a - b);
}

/** Numbers before texts, nothing last of all. */
function compared(a: Cell, b: Cell): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (a === null || b === null) return Number(a === null) - Number(b === null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return String(a) < String(b) ? -1 : Number(String(a) > String(b));
}

/** Places of rows with every word in some text of theirs. */
export function kept(rows: Cell[][], query: string): number[] {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found: number[] = [];
  rows.forEach((row, at) => {
    const texts = row.filter((cell) => typeof cell === "string").map((text) => text.toLowerCase());
    if (words.every((word) => texts.some((text) => text.includes(word)))) found.push(at);
  });
  return found;
}
