// Which rows stand where, top to bottom: devices, then threads.

import { coloursOf } from "./colours";
import { type Lane, onDevice } from "./lanes";
import { type Label, labels } from "./labels";
import type { Head } from "./report";
import { type Row, rowsOf, SHOWN_ROWS } from "./rows";

export interface PlacedRow extends Row {
  y: number;
  height: number;
  /** The first row of its lane, which bears the label. */
  first: boolean;
  /** How many levels the lane has, and how many of its rows are drawn. */
  depths: number;
  drawn: number;
  label: Label;
}

const GAP = 5;
const HEIGHT = { kernels: 22, copies: 14, idle: 14, ranges: 17, operators: 17, calls: 17 };

export class Layout {
  rows: PlacedRow[] = [];
  height = 0;
  readonly opened = new Set<number>();
  private readonly made = new Map<string, Row[]>();
  private readonly colours = new Map<string, Uint8Array>();

  /** Lanes in the order drawn (`drawn`) and in the order in which events name them (`lanes`). */
  constructor(
    private readonly drawn: Lane[],
    readonly lanes: Lane[],
    private readonly head: Head,
  ) {
    this.arrange();
  }

  /** Open or fold a lane with more levels than are shown. */
  toggle(lane: Lane): void {
    if (!this.opened.delete(lane.index)) this.opened.add(lane.index);
    this.arrange();
  }

  /** The row at height `y`, or null. */
  at(y: number): PlacedRow | null {
    return this.rows.find((row) => y >= row.y && y < row.y + row.height) ?? null;
  }

  colour(lane: Lane): Uint8Array {
    const { kind } = lane.head;
    let found = this.colours.get(kind);
    if (!found) {
      found = coloursOf(kind, this.head);
      this.colours.set(kind, found);
    }
    return found;
  }

  private arrange(): void {
    this.rows = [];
    let y = 4;
    const shown = this.drawn.filter((lane) => this.of(lane).length > 0);
    const called = labels(shown.map(({ head }) => head.label));
    for (const [at, lane] of shown.entries()) {
      const rows = this.of(lane);
      const height = HEIGHT[lane.head.kind];
      rows.forEach((row, i) => {
        const depths = rows.length - 1 + rows[rows.length - 1].levels;
        this.rows.push({ ...row, y, height, first: i === 0, depths, drawn: rows.length, label: called[at] });
        y += height + 1;
      });
      y += GAP;
    }
    this.height = y;
  }

  private of(lane: Lane): Row[] {
    const most = this.opened.has(lane.index) ? Infinity : SHOWN_ROWS;
    const key = `${lane.index} ${most}`;
    let found = this.made.get(key);
    if (!found) {
      const guests = this.lanes.filter((each) => each !== lane && each.ownerLane?.includes(lane.index + 1));
      found = rowsOf(lane, onDevice(lane) ? [] : guests, (each) => this.colour(each), most);
      this.made.set(key, found);
    }
    return found;
  }
}
