// The tables, each row tied to what it is about on the time line.

import { Icicle } from "./icicle";
import { element } from "./dom";
import { sinceOrigin } from "./idle";
import type { Event, Lane } from "./lanes";
import type { Cell, Packed, Table } from "./report";
import { Roofline } from "./roofline";
import { TableView } from "./table";
import type { Tab } from "./tabs";

/** The tables of names, the kinds of lanes on which these stand, and the column they are in. */
const NAMED: [table: string, kinds: string[], column: string][] = [
  ["kernels", ["kernels", "operators"], "name"],
  ["ranges", ["ranges"], "range"],
  ["copies", ["copies"], "kind"],
];
/** Tables that stand for themselves. */
const PLAIN = ["phases", "categories", "attention"];
const TOTALS = "totals";
const GAPS = "gaps";
const CALLED = ["ranges", "operators"];

/** A table whose `start_ns` is counted as the time line is. */
function fromOrigin(table: Table, origin: string): Table {
  const at = table.columns.indexOf("start_ns");
  const rows = table.rows.map((row) => row.map((cell, i) => (i === at ? sinceOrigin(cell, origin) : cell)));
  return { ...table, rows };
}

export interface Choosing {
  /** Let all events of a name, on lanes of these kinds, stand out. */
  mark(name: string, kinds: string[], zoom?: boolean): void;
  go(event: Event): void;
}

export class LinkedTables {
  readonly tabs: Tab[] = [];
  private readonly views = new Map<string, TableView>();
  private readonly drawn: { redraw: () => void }[] = [];

  constructor(
    private readonly packed: Packed,
    private readonly lanes: Lane[],
    private readonly choosing: Choosing,
  ) {
    const { tables } = packed;
    const named = (name: string): void => {
      const [, kinds, column] = NAMED.find(([table]) => table === name)!;
      const table = tables[name];
      if (table) this.add(name, table, (row) => choosing.mark(String(row[table.columns.indexOf(column)]), kinds));
    };
    if (tables[TOTALS]) this.add(TOTALS, tables[TOTALS]);
    named("kernels");
    named("ranges");
    if (tables[GAPS]) {
      const gaps = fromOrigin(tables[GAPS], packed.head.origin_ns);
      this.add(GAPS, gaps, (row) => this.toGap(gaps, row));
    }
    named("copies");
    this.tree(tables.tree);
    this.roofline(tables.roofline);
    for (const name of PLAIN) if (tables[name]) this.add(name, tables[name]);
  }

  /** Bring the row of an event into sight, in its table. */
  show(event: Event): void {
    const { head } = this.packed;
    const { kind } = event.lane.head;
    if (kind === "idle") {
      const view = this.views.get(GAPS);
      const at = view?.table.columns.indexOf("start_ns") ?? -1;
      const start = event.lane.start[event.row];
      view?.show(view.table.rows.findIndex((row) => row[at] === start));
      return;
    }
    const name = event.lane.name[event.row];
    const texts = [head.names[name], head.names[head.called[name]]];
    for (const [table, kinds, column] of NAMED) {
      const view = this.views.get(table);
      if (!view || !kinds.includes(kind)) continue;
      const at = view.table.columns.indexOf(column);
      view.show(view.table.rows.findIndex((row) => texts.includes(String(row[at]))));
    }
  }

  redraw(): void {
    for (const each of this.drawn) each.redraw();
  }

  private add(name: string, table: Table, choose?: (row: Cell[]) => void, above?: HTMLElement): TableView {
    const view = new TableView(name, table, choose);
    this.views.set(name, view);
    this.tabs.push({ name, label: name, node: above ? element("div", {}, above, view.node) : view.node });
    return view;
  }

  private tree(table: Table | undefined): void {
    if (!table || table.rows.length === 0) return;
    const icicle = new Icicle(table, (name) => this.choosing.mark(name, ["ranges"], true));
    if (!icicle.some) return;
    this.drawn.push(icicle);
    this.tabs.push({ name: "tree", label: "tree of ranges", node: icicle.node, opened: icicle.redraw });
  }

  private roofline(table: Table | undefined): void {
    if (!table) return;
    const roofline = new Roofline(table, (name) => this.choosing.mark(name, CALLED));
    this.add("roofline", table, (row) => this.choosing.mark(String(row[0]), CALLED), roofline.some ? roofline.node : undefined);
    if (!roofline.some) return;
    this.drawn.push(roofline);
    this.tabs[this.tabs.length - 1].opened = roofline.redraw;
  }

  private toGap(table: Table, row: Cell[]): void {
    const value = (column: string): Cell => row[table.columns.indexOf(column)];
    const lane = this.lanes.find(
      ({ head }) => head.kind === "idle" && head.device === value("device") && head.process === (value("process") ?? head.process),
    );
    const at = lane?.start.indexOf(Number(value("start_ns"))) ?? -1;
    if (lane && at >= 0) this.choosing.go({ lane, row: at });
  }
}
