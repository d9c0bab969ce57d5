// The view in the address's hash: written so that a link shows what one saw, read with distrust.

import type { Theme } from "./theme";

export interface Shown {
  from?: number;
  to?: number;
  /** Lane and row of the selected event. */
  selected?: [lane: number, row: number];
  query?: string;
  table?: string;
  theme?: Theme;
}

const LONGEST = 4000;
const NUMBER = /^(0|[1-9]\d{0,15})$/;
const THEMES: readonly string[] = ["light", "dark"];

/** What a hash says; every part that is not exactly as it is written is as if it were not there. */
export function parsed(hash: string): Shown {
  const shown: Shown = {};
  if (hash.length > LONGEST) return shown;
  for (const part of hash.replace(/^#/, "").split("&")) {
    const at = part.indexOf("=");
    if (at < 1) continue;
    const value = decoded(part.slice(at + 1));
    if (value === null) continue;
    const pair = value.split("-");
    switch (part.slice(0, at)) {
      case "time":
        if (pair.length === 2 && pair.every((each) => NUMBER.test(each)) && Number(pair[0]) < Number(pair[1]))
          [shown.from, shown.to] = pair.map(Number);
        break;
      case "event":
        if (pair.length === 2 && pair.every((each) => NUMBER.test(each)))
          shown.selected = [Number(pair[0]), Number(pair[1])];
        break;
      case "search":
        if (value !== "") shown.query = value;
        break;
      case "table":
        if (/^[a-z]{1,20}$/.test(value)) shown.table = value;
        break;
      case "theme":
        if (THEMES.includes(value)) shown.theme = value as Theme;
    }
  }
  return shown;
}

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

export function written({ from, to, selected, query, table, theme }: Shown): string {
  const parts: string[] = [];
  if (from !== undefined && to !== undefined) parts.push(`time=${Math.floor(from)}-${Math.ceil(to)}`);
  if (selected) parts.push(`event=${selected.join("-")}`);
  if (query) parts.push(`search=${encodeURIComponent(query.toWellFormed().slice(0, 200))}`);
  if (table) parts.push(`table=${table}`);
  if (theme && theme !== "auto") parts.push(`theme=${theme}`);
  return parts.length > 0 ? `#${parts.join("&")}` : "";
}
