// What the report hands to the page: the types of its data blocks, and reading them.

import { fromBase64, inflate } from "./bytes";

export type Cell = string | number | boolean | null;

/** A table as a command prints it: whole names, integer nanoseconds. */
export interface Table {
  columns: string[];
  rows: Cell[][];
  heading: string;
  notes?: string[];
  /** Columns that the text table leaves out. */
  hidden?: string[];
}

export interface LaneHead {
  kind: "kernels" | "copies" | "ranges" | "calls" | "operators" | "idle";
  label: string;
  process: number | null;
  thread: number | null;
  device: number | null;
  stream: number | null;
  count: number;
  /** Of two reports, the one that it is of. */
  side?: "before" | "after";
  /** Where each column's bytes begin in the inflated events, and how wide a number is. */
  columns: Record<string, [offset: number, width: number]>;
}

export interface Step {
  start: number;
  end: number;
  number: number;
  process: number;
}

export interface Advice {
  text: string;
  gain: string | null;
  command: string | null;
  saved_ns?: number | null;
  /** The range that it is about. */
  range?: string | null;
}

export interface BudgetPart {
  part: string;
  label: string;
  ns: number;
  share: number;
  device: number | string;
  process: number;
  step: number;
}

export interface Head {
  version: number;
  title: string;
  described: string[];
  verdict: string;
  advice: Advice[];
  /** Lines under the advice. */
  rest?: string[];
  origin_ns: string;
  span_ns: number;
  names: string[];
  categories: string[];
  category: number[];
  /** Of each name, the name that tables have: a range's without its sequence number and sizes. */
  called: number[];
  /** Why a device was idle. */
  causes: string[];
  lanes: LaneHead[];
  steps: Step[];
  median_step: number | null;
  /** From when until when the budget is: the median step. */
  window?: [start: number, end: number] | null;
  budget: BudgetPart[];
}

export interface Packed {
  head: Head;
  tables: Record<string, Table>;
  events: Uint8Array;
}

const block = (id: string): string => document.getElementById(id)?.textContent ?? "";

/** The three data blocks of this document, inflated. */
export async function packed(): Promise<Packed> {
  const head = JSON.parse(block("head")) as Omit<Head, "names"> & { names: string };
  if (head.version !== 1) throw new Error(`this page reads version 1, its data are of version ${head.version}`);
  const events = await inflate(fromBase64(block("events")));
  const names = JSON.parse(new TextDecoder().decode(await inflate(fromBase64(head.names)))) as string[];
  return { head: { ...head, names }, tables: JSON.parse(block("tables")) as Record<string, Table>, events };
}
