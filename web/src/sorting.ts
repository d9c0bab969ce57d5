// The order of a table's rows, and which of them a search keeps.

import type { Cell } from "./report";

/** Places of rows ordered by a column, ties as they were, nothing last of all in either direction. */
export function sorted(rows: Cell[][], places: number[], column: number, descending: boolean): number[] {
  const sign = descending ? -1 : 1;
  return [...places].sort((a, b) => {
    const [one, other] = [rows[a][column], rows[b][column]];
    const apart = Number(one === null) - Number(other === null);
    return apart || sign * compared(one, other) || a - b;
  });
}

/** Numbers before texts. */
function compared(a: Cell, b: Cell): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
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
