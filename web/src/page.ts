// The page put together: what is chosen in one part shows in all others.

import { Details } from "./details";
import { nameOf } from "./described";
import { afterwards, element } from "./dom";
import { parsed, type Shown, written } from "./hash";
import { drawnOrder, withIdle } from "./idle";
import { help, useKeys } from "./keys";
import { endOf, type Event, gathered } from "./lanes";
import { Layout } from "./layout";
import { Overview } from "./overview";
import { usePointer } from "./pointer";
import { legend } from "./legend";
import { LinkedTables } from "./linked";
import type { Packed } from "./report";
import { SHOWN_ROWS } from "./rows";
import { StandingOut } from "./standing-out";
import { State } from "./state";
import { summary } from "./summary";
import { Tabs } from "./tabs";
import { chooseTheme, type Theme } from "./theme";
import { Timeline } from "./timeline";
import { Tooltip } from "./tooltip";
import { View } from "./view";
import { visible } from "./visible";

export class Page {
  readonly lanes;
  readonly view: View;
  readonly timeline: Timeline;
  private readonly state = new State();
  private readonly out: StandingOut;
  private readonly details: Details;
  private readonly tabs: Tabs;
  private readonly tables: LinkedTables;
  private readonly search: HTMLInputElement;
  private readonly overview: Overview;
  private theme: Theme = "auto";

  constructor(
    private readonly packed: Packed,
    root: HTMLElement,
  ) {
    const { head } = packed;
    this.lanes = withIdle(gathered(head, packed.events), head);
    const last = this.lanes.reduce((most, { union: { end } }) => Math.max(most, end.at(-1) ?? 0), 0);
    this.view = new View(Math.max(head.span_ns, last, 1));
    this.out = new StandingOut(head, this.lanes);
    const layout = new Layout(drawnOrder(this.lanes), this.lanes, head);
    this.timeline = new Timeline(head, layout, this.view, this.state, this.out);
    this.overview = new Overview(layout, this.view);
    this.details = new Details(head, this.lanes, {
      to: (event) => this.go(event),
      mark: (event) => this.mark(nameOf(event, head), [event.lane.head.kind]),
      clear: () => this.clear(),
      about: (event) => this.tables.about(event),
    });
    this.search = element("input", {
      type: "search",
      placeholder: "search events  ( / )",
      "aria-label": "search events by name",
      oninput: () => this.state.change({ query: this.search.value, marked: null }),
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === "Enter") this.next(event.shiftKey ? -1 : 1);
      },
    });
    this.tables = new LinkedTables(packed, this.lanes, {
      mark: (name, kinds, zoom) => this.mark(name, kinds, zoom),
      go: (event) => this.go(event),
    });
    this.tabs = new Tabs(this.tables.tabs, () => this.remember());
    root.replaceChildren(...this.parts());
    this.wire();
    this.restore();
  }

  private parts(): HTMLElement[] {
    const { head } = this.packed;
    const dialog = help();
    const tip = new Tooltip(head, this.lanes);
    useKeys(this.timeline, dialog, {
      search: () => this.search.focus(),
      next: (direction) => this.next(direction),
      fit: () => this.fit(),
      clear: () => this.clear(),
    });
    usePointer(this.timeline, {
      hover: (x, y, clientX, clientY) => {
        const event = this.timeline.eventAt(x, y);
        const row = x < this.timeline.gutter ? this.timeline.rowAt(y) : null;
        this.timeline.surface.canvas.title = visible(row?.lane.head.label ?? "");
        const before = this.timeline.hovered;
        if (event?.lane !== before?.lane || event?.row !== before?.row) {
          this.timeline.hovered = event;
          this.timeline.redraw();
        }
        if (event) tip.show(event, clientX, clientY);
        else tip.hide();
      },
      leave: () => {
        tip.hide();
        if (this.timeline.hovered) this.timeline.redraw();
        this.timeline.hovered = null;
      },
      click: (x, y) => this.click(x, y),
    });
    const theme = element("button", { type: "button", class: "quiet", id: "theme", onclick: () => this.turn() }, "light / dark");
    const keys = element("button", { type: "button", class: "quiet", onclick: () => dialog.showModal() }, "keys  ( ? )");
    const all = element("button", { type: "button", class: "quiet", onclick: () => this.view.all() }, "all");
    const bar = element("div", { class: "bar-top" }, element("h2", {}, "Time line"), this.search, all, keys, theme);
    const card = element("section", { class: "card time" }, bar, this.overview.surface.canvas, this.timeline.node, legend(head, this.lanes), this.details.node);
    return [summary(head, (range) => this.mark(range, ["ranges"], true)), card, this.tabs.node, dialog, tip.node];
  }

  private wire(): void {
    // Browsers refuse an address that is rewritten with every frame.
    const remember = afterwards(() => this.remember(), 200);
    this.view.follow(remember);
    this.state.follow(() => {
      const { selected, query, marked } = this.state;
      this.out.take(this.state);
      const found = this.out.any ? { ...this.out.sum(), text: query || marked?.name || "" } : null;
      this.details.show(selected, found);
      remember();
    });
    window.addEventListener("resize", () => this.timeline.resize());
    window.addEventListener("hashchange", () => this.restore());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
  }

  private go(event: Event): void {
    this.state.change({ selected: event });
    this.view.around(event.lane.start[event.row], endOf(event), 5);
    this.timeline.reveal(event);
  }

  /**
   * Let events of a name stand out, and select the next of them; with `zoom` that one fills the view
   * and all that is in it stays as it was.
   */
  private mark(name: string, kinds: string[], zoom = false): void {
    this.search.value = "";
    this.state.change({ query: "", marked: { name, kinds } });
    const first = this.out.next(this.view.from, 1);
    if (!first) return;
    const start = first.lane.start[first.row];
    this.state.change({ selected: first, marked: zoom ? null : this.state.marked });
    if (zoom) this.view.around(start, endOf(first), 1.2);
    else if (start > this.view.to || endOf(first) - start < this.view.width / 2000)
      this.view.around(start, endOf(first), 40);
    this.timeline.reveal(first);
  }

  private click(x: number, y: number): void {
    const { timeline } = this;
    const row = timeline.rowAt(y);
    if (x < timeline.gutter) {
      if (row && row.depths > SHOWN_ROWS) {
        timeline.layout.toggle(row.lane);
        timeline.resize();
      }
      return;
    }
    const selected = timeline.eventAt(x, y);
    this.state.change({ selected });
    if (selected) this.tables.show(selected);
  }

  private fit(): void {
    const { selected } = this.state;
    if (selected) this.view.around(selected.lane.start[selected.row], endOf(selected), 1.2);
  }

  private next(direction: 1 | -1): void {
    const { selected } = this.state;
    const found = this.out.next(selected ? selected.lane.start[selected.row] : this.view.from, direction);
    if (found) this.go(found);
  }

  private clear(): void {
    this.search.value = "";
    this.search.blur();
    this.state.change({ selected: null, marked: null, query: "" });
  }

  private turn(): void {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = this.theme === "auto" ? (dark ? "dark" : "light") : this.theme;
    this.theme = now === "dark" ? "light" : "dark";
    this.repaint();
    this.remember();
  }

  private repaint(): void {
    chooseTheme(this.theme);
    this.timeline.redraw();
    this.overview.redraw();
    this.tables.redraw();
  }

  private remember(): void {
    const { selected, query } = this.state;
    const shown: Shown = { from: this.view.from, to: this.view.to, query, table: this.tabs.open, theme: this.theme };
    if (selected) shown.selected = [selected.lane.index, selected.row];
    try {
      history.replaceState(null, "", written(shown) || "#");
    } catch {
      // In a notebook's frame there is no address to write.
    }
  }

  /** What the address says, else what the budget is of (the median step), else all. */
  private restore(): void {
    const { head } = this.packed;
    const shown = parsed(location.hash);
    this.theme = shown.theme ?? "auto";
    this.repaint();
    if (shown.table) this.tabs.show(shown.table, false);
    if (shown.query) this.search.value = shown.query;
    const [lane, row] = shown.selected ?? [-1, -1];
    const there = this.lanes[lane];
    const selected = there && row < there.start.length ? { lane: there, row } : null;
    this.state.change({ query: shown.query ?? "", selected });
    if (shown.from !== undefined && shown.to !== undefined) this.view.show(shown.from, shown.to);
    else if (head.window) this.view.around(...head.window, 1.04);
    else this.view.all();
  }
}
