// The time line: lanes of rows under a ruler, on one canvas.

import { drawAxis, rulerOf } from "./axis";
import { eachFrame, element } from "./dom";
import { type Event, endOf, launchedBy, launchOf, onDevice } from "./lanes";
import type { Layout, PlacedRow } from "./layout";
import { hit } from "./hit";
import { Painter, type Place } from "./paint";
import { lines } from "./labels";
import type { Head } from "./report";
import { SHOWN_ROWS } from "./rows";
import type { StandingOut } from "./standing-out";
import type { State } from "./state";
import { cut, FONT, Surface } from "./surface";
import { inks, type Inks } from "./theme";
import { count } from "./units";
import type { View } from "./view";

export class Timeline {
  readonly surface = new Surface("Time line of devices and threads; w, a, s and d move it", "timeline");
  readonly node = element("div", { class: "timeline-box", tabindex: 0 }, this.surface.canvas);
  readonly redraw = eachFrame(() => this.draw());
  /** The height of the ruler over the rows. */
  readonly ruler: number;
  /** How far the rows are scrolled. */
  scroll = 0;
  hovered: Event | null = null;
  /** Milliseconds that the last drawing took, for measurements. */
  drawn_ms = 0;
  private readonly painter: Painter;

  constructor(
    private readonly head: Head,
    readonly layout: Layout,
    readonly view: View,
    private readonly state: State,
    readonly out: StandingOut,
  ) {
    this.ruler = rulerOf(head.steps);
    this.painter = new Painter(this.surface, head.names);
    view.follow(this.redraw);
    state.follow(this.redraw);
    new ResizeObserver(this.redraw).observe(this.surface.canvas);
    this.resize();
  }

  /** As high as its rows, up to most of the window. */
  resize(): void {
    // Where fingers scroll the page over it, it is not scrolled itself.
    const most = matchMedia("(pointer: coarse)").matches ? 3000 : Math.max(260, window.innerHeight * 0.66);
    const wanted = Math.min(this.ruler + this.layout.height + 4, most);
    this.surface.canvas.style.height = `${Math.round(wanted)}px`;
    this.redraw();
  }

  /** The pixels at the left that bear the labels. */
  get gutter(): number {
    return this.surface.width < 600 ? 96 : 210;
  }

  private get lanesHeight(): number {
    return this.surface.height - this.ruler;
  }

  scrollBy(pixels: number): void {
    const most = Math.max(0, this.layout.height - this.lanesHeight);
    this.scroll = Math.min(Math.max(this.scroll + pixels, 0), most);
    this.redraw();
  }

  timeAt(x: number): number {
    return this.view.from + ((x - this.gutter) / (this.surface.width - this.gutter)) * this.view.width;
  }

  xOf(ns: number): number {
    return this.gutter + ((ns - this.view.from) / this.view.width) * (this.surface.width - this.gutter);
  }

  rowAt(y: number): PlacedRow | null {
    return y < this.ruler ? null : this.layout.at(y - this.ruler + this.scroll);
  }

  /** The event at a place on the canvas. */
  eventAt(x: number, y: number): Event | null {
    const row = x < this.gutter ? null : this.rowAt(y);
    const pixel = this.view.width / (this.surface.width - this.gutter);
    return row && hit(row, this.timeAt(x), pixel * 3);
  }

  /** The row that draws an event. */
  rowOf(event: Event): PlacedRow | null {
    const start = event.lane.start[event.row];
    const width = event.lane.duration[event.row];
    const found = this.layout.rows.filter((row) => row.lanes.includes(event.lane));
    return found.find((row) => {
      const there = hit(row, start + Math.min(width / 2, 0.5), 0);
      return there?.lane === event.lane && there.row === event.row;
    }) ?? found.at(-1) ?? null;
  }

  /** Scroll so far that an event's row is seen. */
  reveal(event: Event): void {
    const row = this.rowOf(event);
    if (!row) return;
    if (row.y < this.scroll) this.scrollBy(row.y - this.scroll - 8);
    else if (row.y + row.height > this.scroll + this.lanesHeight)
      this.scrollBy(row.y + row.height - this.scroll - this.lanesHeight + 8);
  }

  draw(): void {
    const began = performance.now();
    const { surface, view, out } = this;
    surface.fit();
    if (surface.width === 0) return;
    this.scroll = Math.min(this.scroll, Math.max(0, this.layout.height - this.lanesHeight));
    out.take(this.state);
    const colours = inks();
    const { context, width, height } = surface;
    context.globalAlpha = 1;
    context.fillStyle = colours.ground;
    context.fillRect(0, 0, width, height);
    const place: Place = { x: this.gutter, y: 0, width: width - this.gutter, height };
    drawAxis(surface, colours, view, place, this.head.steps);
    context.save();
    context.beginPath();
    context.rect(0, this.ruler, width, height - this.ruler);
    context.clip();
    for (const row of this.layout.rows) {
      const y = this.ruler + row.y - this.scroll;
      if (y + row.height < this.ruler || y > height) continue;
      const at = { ...place, y, height: row.height };
      this.painter.row(row, view, at, out.any ? 0.25 : 1);
      if (out.any) this.painter.row(out.of(row), view, at);
      if (row.first) this.label(row, y, colours);
      if (row.levels > 1) this.note(`+ ${count(row.levels - 1)} deeper`, y, row.height, colours);
      else if (row.depths > SHOWN_ROWS && row.depth === row.depths - 1) this.note("fold", y, row.height, colours);
    }
    this.selection(colours);
    context.restore();
    this.scrollbar(colours);
    this.drawn_ms = performance.now() - began;
  }

  private label(row: PlacedRow, y: number, colours: Inks): void {
    const { context } = this.surface;
    context.font = `12px ${FONT}`;
    context.textBaseline = "middle";
    context.fillStyle = row.label.inside ? colours.faint : colours.ink;
    const left = row.label.inside ? 20 : 8;
    const most = Math.min(row.drawn - (row.depths > SHOWN_ROWS ? 1 : 0), 3);
    const measure = (text: string): number => context.measureText(text).width;
    lines(row.label.parts, Math.max(most, 1), this.gutter - left - 8, measure).forEach((line, i) => {
      context.fillText(cut(context, line, this.gutter - left - 8), left, y + row.height / 2 + i * (row.height + 1) + 0.5);
    });
    context.fillStyle = colours.line;
    context.fillRect(row.label.inside ? 20 : 0, y - 3, this.surface.width, 1);
  }

  private note(text: string, y: number, height: number, colours: Inks): void {
    const { context } = this.surface;
    context.font = `11px ${FONT}`;
    context.fillStyle = colours.accent;
    context.fillText(text, 20, y + height / 2 + 0.5);
  }

  /** Frames around what is selected and under the pointer, and lines between a call and its work. */
  private selection(colours: Inks): void {
    const { selected } = this.state;
    if (this.hovered) this.frame(this.hovered, colours.ink, 1);
    if (!selected) return;
    const box = this.frame(selected, colours.accent, 2);
    const call = onDevice(selected.lane) ? launchOf(selected, this.layout.lanes) : null;
    const others = call ? [call] : selected.lane.head.kind === "calls" ? this.launched(selected) : [];
    const { context } = this.surface;
    for (const other of others.slice(0, 200)) {
      const there = this.frame(other, colours.accent, 1);
      if (!there || !box) continue;
      context.strokeStyle = colours.accent;
      context.lineWidth = 1;
      context.beginPath();
      const [low, high] = box.y < there.y ? [box, there] : [there, box];
      const middle = (low.y + low.height + high.y) / 2;
      context.moveTo(low.x, low.y + low.height);
      context.bezierCurveTo(low.x, middle, high.x, middle, high.x, high.y);
      context.stroke();
    }
  }

  private of: Event | null = null;
  private work: Event[] = [];
  private launched(call: Event): Event[] {
    if (this.of !== call) [this.of, this.work] = [call, launchedBy(call, this.layout.lanes)];
    return this.work;
  }

  private frame(event: Event, colour: string, line: number): Place | null {
    const row = this.rowOf(event);
    if (!row) return null;
    const left = Math.max(this.xOf(event.lane.start[event.row]), this.gutter - 4);
    const right = Math.min(this.xOf(endOf(event)), this.surface.width + 4);
    const place = { x: left, y: this.ruler + row.y - this.scroll, width: Math.max(right - left, 2), height: row.height };
    if (right < this.gutter || left > this.surface.width) return place;
    const { context } = this.surface;
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(place.x - 0.5, place.y - 0.5, place.width + 1, place.height + 1);
    return place;
  }

  private scrollbar(colours: Inks): void {
    const { context, width } = this.surface;
    const seen = this.lanesHeight / this.layout.height;
    if (seen >= 1) return;
    context.fillStyle = colours.faint;
    context.globalAlpha = 0.6;
    const top = this.ruler + (this.scroll / this.layout.height) * this.lanesHeight;
    context.fillRect(width - 5, top, 4, Math.max(seen * this.lanesHeight, 16));
    context.globalAlpha = 1;
  }
}
