// The roofline: FLOPs a second over FLOPs a byte, on logarithmic axes, under the device's roof.

import uPlot from "uplot";
import { eachFrame, element, say } from "./dom";
import type { Table } from "./report";
import { cut, FONT } from "./surface";
import { inks, type Inks } from "./theme";
import { scaled, share, time } from "./units";

export interface Point {
  name: string;
  intensity: number;
  rate: number;
  lost: number;
  peakShare: number | null;
  at: number;
}

/** The rows that have a place in the picture, the most lost time first. */
export function points(table: Table): Point[] {
  const column = (name: string): number => table.columns.indexOf(name);
  const name = Math.max(column("range"), column("operator"));
  const [x, y, lost, peak] = ["intensity", "flops_per_s", "lost_ns", "peak_share"].map(column);
  return table.rows
    .map((row, at) => ({
      name: String(row[name]),
      intensity: Number(row[x]),
      rate: Number(row[y]),
      lost: Number(row[lost]) || 0,
      peakShare: typeof row[peak] === "number" ? row[peak] : null,
      at,
    }))
    .filter((point) => point.intensity > 0 && point.rate > 0 && Number.isFinite(point.rate))
    .sort((a, b) => b.lost - a.lost);
}

/** The highest rate and the bandwidth that the rows' ideal times were made with, or null. */
export function roof(table: Table): { flops: number; bytes: number } | null {
  const column = (name: string): number => table.columns.indexOf(name);
  const [flops, bytes, bound, ideal] = ["flops", "bytes", "bound", "ideal_ns"].map(column);
  const best = (kind: string, of: number): number =>
    Math.max(...table.rows.filter((row) => row[bound] === kind && Number(row[ideal]) > 1000).map((row) => (Number(row[of]) / Number(row[ideal])) * 1e9));
  const found = { flops: best("compute", flops), bytes: best("memory", bytes) };
  return found.flops > 0 && found.bytes > 0 && Number.isFinite(found.flops + found.bytes) ? found : null;
}

const power = (value: number, up: boolean): number => 10 ** (up ? Math.ceil(Math.log10(value)) : Math.floor(Math.log10(value)));
const range = (least: number, most: number): [number, number] => [power(least, false), power(most, true)];

export class Roofline {
  readonly node = element("div", { class: "roofline-box" });
  private readonly told = element("p", { class: "hint" }, "Each point is a range or operator; the further under the roof, the more of its time is lost.");
  private readonly place = element("div", { class: "plot" });
  private readonly points: Point[];
  private plot: uPlot | null = null;
  readonly redraw = eachFrame(() => this.draw());

  constructor(
    private readonly table: Table,
    private readonly choose: (name: string) => void,
  ) {
    this.points = points(table).sort((a, b) => a.intensity - b.intensity);
    this.node.append(this.place, this.told);
    new ResizeObserver(() => {
      if (this.place.clientWidth > 0) this.plot?.setSize({ width: this.place.clientWidth, height: 340 });
    }).observe(this.place);
  }

  get some(): boolean {
    return this.points.length > 0;
  }

  /** Draw the plot in the place that it has. */
  private draw(): void {
    const width = this.place.clientWidth;
    if (width === 0 || !this.some) return;
    this.plot?.destroy();
    const colours = inks();
    const top = roof(this.table);
    const xs = this.points.map((point) => point.intensity);
    const ys = this.points.map((point) => point.rate);
    const ridge = top ? top.flops / top.bytes : xs[0];
    const [left, right] = range(Math.min(...xs, ridge), Math.max(...xs, ridge));
    const [low, high] = range(Math.min(...ys), Math.max(...ys, top?.flops ?? 0));
    const x = [left, ...xs, ...(top ? [ridge] : []), right].sort((a, b) => a - b);
    const roofs = x.map((each) => (top ? Math.min(top.flops, each * top.bytes) : null));
    const decades = (_: uPlot, all: number[]): (number | null)[] => all.map((value) => (Math.abs(Math.log10(value) % 1) < 1e-9 ? value : null));
    const axis = { stroke: colours.faint, grid: { stroke: colours.line, width: 1, filter: decades }, ticks: { stroke: colours.line, width: 1, filter: decades }, font: `11px ${FONT}`, labelFont: `12px ${FONT}` };
    const shown = (unit: string) => (_: uPlot, all: (number | null)[]): string[] => all.map((value) => (value === null ? "" : value < 1 ? `${value} ${unit}`.trim() : scaled(value, unit).replace(/\.0+ /, " ").trim()));
    this.plot = new uPlot(
      {
        width,
        height: 340,
        legend: { show: false },
        cursor: { points: { show: false }, drag: { x: false, y: false } },
        scales: { x: { time: false, distr: 3, range: [left, right] }, y: { distr: 3, range: [low, high] } },
        axes: [
          { ...axis, label: "FLOP per byte", labelSize: 20, size: 34, filter: decades, values: shown("") },
          { ...axis, size: 86, filter: decades, values: shown("FLOP/s") },
        ],
        series: [{}, { stroke: colours.ink, width: 1.5, points: { show: false } }],
        hooks: { draw: [(plot) => this.dots(plot, colours)] },
      },
      [x, roofs],
      this.place,
    );
    this.listen(this.plot);
  }

  /** The points over the roof's line, since some share an intensity; those that lost most by name. */
  private dots(plot: uPlot, colours: Inks): void {
    const { ctx } = plot;
    const ratio = uPlot.pxRatio;
    const places = this.points.map((point) => ({
      point,
      x: plot.valToPos(point.intensity, "x", true),
      y: plot.valToPos(point.rate, "y", true),
    }));
    ctx.save();
    for (const { x, y } of places) {
      ctx.beginPath();
      ctx.arc(x, y, 4.5 * ratio, 0, 2 * Math.PI);
      ctx.globalAlpha = 0.75;
      ctx.fillStyle = colours.accent;
      ctx.fill();
      ctx.globalAlpha = 1;
      ctx.strokeStyle = colours.ground;
      ctx.stroke();
    }
    ctx.font = `${11 * ratio}px ${FONT}`;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.fillStyle = colours.ink;
    const free: { left: number; right: number; y: number }[] = [];
    for (const { point, x, y } of [...places].sort((a, b) => b.point.lost - a.point.lost).slice(0, 12)) {
      const text = cut(ctx, point.name, 180 * ratio);
      const right = x - 9 * ratio;
      const left = right - ctx.measureText(text).width;
      const at = y + 12 * ratio;
      const taken =
        left < plot.bbox.left ||
        free.some((other) => left < other.right && right > other.left && Math.abs(at - other.y) < 14 * ratio) ||
        places.some((other) => other.x > left - 6 * ratio && other.x < right + 5 * ratio && Math.abs(other.y - at) < 11 * ratio);
      if (taken) continue;
      free.push({ left, right, y: at });
      ctx.fillText(text, left, at);
    }
    ctx.restore();
  }

  private listen(plot: uPlot): void {
    const nearest = (event: MouseEvent): Point | null => {
      const box = plot.over.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      let found: Point | null = null;
      let least = 16;
      for (const point of this.points) {
        const away = Math.hypot(plot.valToPos(point.intensity, "x") - x, plot.valToPos(point.rate, "y") - y);
        if (away < least) [found, least] = [point, away];
      }
      return found;
    };
    plot.over.addEventListener("pointermove", (event) => {
      const point = nearest(event);
      plot.over.classList.toggle("at", point !== null);
      if (!point) return;
      const peak = point.peakShare === null ? "" : ` · ${share(point.peakShare)} of the peak`;
      const at = `${scaled(point.rate, "FLOP/s")} at ${point.intensity.toPrecision(3)} FLOP per byte`;
      say(this.told, `${point.name}: ${at}${peak} · ${time(point.lost)} lost`);
    });
    plot.over.addEventListener("click", (event) => {
      const point = nearest(event);
      if (point) this.choose(point.name);
    });
  }
}
