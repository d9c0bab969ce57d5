// The whole recording in a strip: how busy it was, and the part in view, to be moved and drawn anew.

import { COLOURS } from "./colours";
import { Columns } from "./columns";
import { eachFrame } from "./dom";
import { onDevice } from "./lanes";
import type { Layout } from "./layout";
import { Surface } from "./surface";
import { inks } from "./theme";
import type { View } from "./view";

const EDGE = 6;

export class Overview {
  readonly surface = new Surface("Overview of the whole recording; drag to choose a part", "overview");
  readonly redraw = eachFrame(() => this.draw());
  private readonly columns = new Columns();

  constructor(
    private readonly layout: Layout,
    private readonly view: View,
  ) {
    view.follow(this.redraw);
    new ResizeObserver(this.redraw).observe(this.surface.canvas);
    this.listen();
  }

  /** The rows that tell most: the first of each device's lanes, or of each thread's without devices. */
  private get shown() {
    const first = this.layout.rows.filter((row) => row.first && row.lane.head.kind !== "idle");
    const device = first.filter((row) => onDevice(row.lane));
    return (device.length > 0 ? device : first).slice(0, 12);
  }

  draw(): void {
    const { surface, view, columns } = this;
    surface.fit();
    const { context, width, height, ratio } = surface;
    if (width === 0) return;
    const colours = inks();
    context.globalAlpha = 1;
    context.fillStyle = colours.band;
    context.fillRect(0, 0, width, height);
    const rows = this.shown;
    const each = (height - 8) / Math.max(rows.length, 1);
    const pixels = Math.round(width * ratio);
    const ns = view.span / pixels;
    rows.forEach((row, at) => {
      columns.of(row, 0, view.span, pixels);
      const floor = 4 + (at + 1) * each - Math.min(1, each / 4);
      for (let x = 0; x < pixels; x++) {
        if (columns.colour[x] < 0) continue;
        const high = Math.max((columns.busy[x] / ns) * (each - 1), 1 / ratio);
        context.fillStyle = COLOURS[columns.colour[x]];
        context.fillRect(x / ratio, floor - high, 1 / ratio, high);
      }
    });
    const [left, right] = [view.from, view.to].map((ns) => (ns / view.span) * width);
    context.globalAlpha = 0.62;
    context.fillStyle = colours.band;
    context.fillRect(0, 0, left, height);
    context.fillRect(right, 0, width - right, height);
    context.globalAlpha = 1;
    context.strokeStyle = colours.accent;
    context.lineWidth = 1;
    context.strokeRect(Math.round(left) + 0.5, 0.5, Math.max(Math.round(right - left) - 1, 2), height - 1);
  }

  private listen(): void {
    const { canvas } = this.surface;
    const { view } = this;
    let drag: ((ns: number) => void) | null = null;
    canvas.addEventListener("pointerdown", (event) => {
      const at = this.timeAt(event);
      const edge = (EDGE / this.surface.width) * view.span;
      const { from, to } = view;
      if (Math.abs(at - from) < edge) drag = (ns) => view.show(Math.min(ns, to), Math.max(ns, to));
      else if (Math.abs(at - to) < edge) drag = (ns) => view.show(Math.min(ns, from), Math.max(ns, from));
      else if (at > from && at < to && view.width < view.span) drag = (ns) => view.show(from + ns - at, to + ns - at);
      else drag = (ns) => Math.abs(ns - at) > edge / 2 && view.show(Math.min(at, ns), Math.max(at, ns));
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => drag?.(this.timeAt(event)));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));
    canvas.addEventListener("dblclick", () => view.all());
  }

  private timeAt(event: PointerEvent): number {
    const box = this.surface.canvas.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * this.view.span;
  }
}
