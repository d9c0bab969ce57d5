// The tree of ranges as an icicle: width is time; a click goes into a range and shows it on the time line.

import { eachFrame, element, say } from "./dom";
import type { Table } from "./report";
import { cut, FONT, Surface } from "./surface";
import { inks } from "./theme";
import { icicle, type Node, type Placed, roots, values } from "./tree";
import { cell, share, time } from "./units";

const ROW = 20;
const MOST_ROWS = 18;
const MEASURES: [column: string, label: string][] = [
  ["busy_ns", "busy"],
  ["kernel_ns", "kernel"],
  ["lost_ns", "lost"],
  ["backward_ns", "backward"],
  ["wall_ns", "wall"],
];
const TONES = ["#a9bfdc", "#b9c9a3", "#d6bfa0", "#c3b4d8", "#a5cacb", "#d8b3b8"];

export class Icicle {
  readonly node: HTMLElement;
  readonly redraw = eachFrame(() => this.draw());
  private readonly surface = new Surface("Tree of ranges as an icicle", "icicle");
  private readonly all: Node[];
  private readonly path = element("p", { class: "path" });
  private readonly told = element("p", { class: "hint" });
  private readonly measures: [string, string][];
  private measure: string;
  private value: Map<Node, number>;
  private top: Node | null = null;
  private placed: Placed[] = [];

  constructor(
    private readonly table: Table,
    private readonly choose: (name: string) => void,
  ) {
    this.all = roots(table);
    this.measures = MEASURES.filter(([column]) => {
      const at = table.columns.indexOf(column);
      return at >= 0 && table.rows.some((row) => Number(row[at]) > 0);
    });
    this.measure = this.measures[0]?.[0] ?? "";
    this.value = this.weighed();
    const choice = element("div", { class: "choice", role: "group", "aria-label": "width" });
    for (const [column, label] of this.measures)
      choice.append(
        element("button", { type: "button", "aria-pressed": column === this.measure, onclick: () => this.by(column, choice) }, label),
      );
    this.node = element("div", { class: "icicle-box" }, element("div", { class: "table-top" }, this.path, choice), this.surface.canvas, this.told);
    this.mark(choice);
    new ResizeObserver(this.redraw).observe(this.surface.canvas);
    const { canvas } = this.surface;
    canvas.addEventListener("pointermove", (event) => this.tell(this.at(event)));
    canvas.addEventListener("pointerleave", () => this.tell(null));
    canvas.addEventListener("click", (event) => {
      const found = this.at(event);
      if (found) this.go(found === this.top ? found.parent : found);
    });
    this.go(null, false);
  }

  get some(): boolean {
    return this.measures.length > 0;
  }

  private weighed(): Map<Node, number> {
    return values(this.all, this.table.columns.indexOf(this.measure));
  }

  private by(column: string, choice: HTMLElement): void {
    this.measure = column;
    this.value = this.weighed();
    this.mark(choice);
    this.go(this.top, false);
  }

  private mark(choice: HTMLElement): void {
    this.measures.forEach(([column], at) => choice.children[at].setAttribute("aria-pressed", String(column === this.measure)));
  }

  private go(node: Node | null, tell = true): void {
    this.top = node;
    const steps: (HTMLElement | string)[] = [];
    for (let each = node; each; each = each.parent) steps.unshift(" › ", this.step(each.name, each));
    this.path.replaceChildren(this.step("all ranges", null), ...steps);
    this.tell(null);
    if (node && tell) this.choose(node.name);
    this.redraw();
  }

  private step(text: string, target: Node | null): HTMLElement {
    return element("button", { type: "button", class: "link", onclick: () => this.go(target) }, text);
  }

  private tell(node: Node | null): void {
    const about = node ?? this.top;
    if (!about) {
      say(this.told, "Width is time. Click a range to go into it and to see it on the time line.");
      return;
    }
    const { columns } = this.table;
    const of = this.value.get(about)!;
    const parent = about.parent ? ` · ${share(of / Math.max(this.value.get(about.parent)!, 1))} of ${about.parent.name}` : "";
    const others = this.measures.map(([column, label]) => `${label} ${time(Number(about.row[columns.indexOf(column)]))}`);
    const instances = columns.indexOf("instances");
    const times = instances < 0 ? "" : ` · ${cell(about.row[instances], "instances")} ${about.row[instances] === 1 ? "instance" : "instances"}`;
    say(this.told, `${about.name}: ${others.join(", ")}${times}${parent}`);
  }

  private at(event: MouseEvent): Node | null {
    const box = this.surface.canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const level = Math.floor((event.clientY - box.top) / ROW) + (this.top?.depth ?? 0);
    return this.placed.find(({ node, left, width }) => node.depth === level && x >= left && x < left + width)?.node ?? null;
  }

  private draw(): void {
    const { surface } = this;
    const base = this.top?.depth ?? 0;
    this.placed = icicle(this.all, this.top, this.value, 1 / Math.max(surface.canvas.clientWidth * 2, 1));
    const deepest = this.placed.reduce((most, { node }) => Math.max(most, node.depth - base), 0);
    surface.canvas.style.height = `${Math.min(deepest + 1, MOST_ROWS) * ROW}px`;
    surface.fit();
    const { context, width, height, ratio } = surface;
    if (width === 0) return;
    context.fillStyle = inks().ground;
    context.fillRect(0, 0, width, height);
    context.font = `11px ${FONT}`;
    context.textBaseline = "middle";
    for (const { node, left, width: wide } of this.placed) {
      const x = Math.round(left * width * ratio) / ratio;
      const most = Math.round((left + wide) * width * ratio) / ratio - x - 1 / ratio;
      const y = (node.depth - base) * ROW;
      context.fillStyle = TONES[node.depth % TONES.length];
      context.fillRect(x, y, Math.max(most, 0.5), ROW - 1);
      const text = cut(context, node.name, most - 8);
      if (text === "") continue;
      context.fillStyle = "#14181d";
      context.fillText(text, x + 4, y + ROW / 2);
    }
  }
}
