// A table that sorts by its headings and searches; its rows choose what the time line shows.

import { element } from "./dom";
import type { Cell, Table } from "./report";
import { kept, sorted } from "./sorting";
import { cell, count, heading } from "./units";

const AT_ONCE = 100;

export class TableView {
  readonly node = element("div", { class: "table-box" });
  private readonly body = element("tbody");
  private readonly foot = element("p", { class: "more" });
  private readonly columns: number[];
  /** Which columns hold numbers. */
  private readonly numbers: boolean[];
  /** Which columns hold numbers that are all whole. */
  private readonly whole: boolean[];
  private readonly headings: HTMLTableCellElement[];
  private query = "";
  private column = -1;
  private descending = true;
  private shown = AT_ONCE;
  private chosen = -1;

  constructor(
    readonly name: string,
    readonly table: Table,
    private readonly choose?: (row: Cell[]) => void,
  ) {
    const { columns, rows } = table;
    this.numbers = columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
    this.whole = columns.map((_, at) => rows.every((row) => typeof row[at] !== "number" || Number.isInteger(row[at])));
    this.columns = columns.map((_, at) => at).filter((at) => !this.empty(at) && !table.hidden?.includes(columns[at]));
    const source = columns.indexOf("source");
    const ofOperators = rows.some((row) => row[source] === "operator");
    this.headings = this.columns.map((at) =>
      element(
        "th",
        { scope: "col", class: this.numbers[at] ? "number" : "text" },
        element("button", { type: "button", onclick: () => this.sort(at) }, heading(columns[at], ofOperators)),
      ),
    );
    const search = element("input", {
      type: "search",
      placeholder: `search ${name}`,
      "aria-label": `search ${name}`,
      oninput: () => {
        this.query = search.value;
        this.shown = AT_ONCE;
        this.fill();
      },
    });
    const made = element("table", { class: choose ? "choosing" : "" }, element("thead", {}, element("tr", {}, ...this.headings)), this.body);
    const notes = (table.notes ?? []).map((note) => element("p", { class: "note" }, note));
    const lines = table.heading.split("\n").map((line) => element("span", {}, line));
    const above = element("p", { class: "heading" }, ...lines);
    this.node.append(element("div", { class: "table-top" }, above, rows.length > 0 && search));
    if (rows.length > 0) this.node.append(element("div", { class: "scroll" }, made), this.foot);
    this.node.append(...notes);
    this.fill();
  }

  /** Show a row as the chosen one, and bring it into sight. */
  show(at: number): void {
    this.chosen = at;
    const place = this.places().indexOf(at);
    if (place >= this.shown) this.shown = place + 1;
    this.fill();
    const row = this.body.querySelector<HTMLElement>("tr.chosen");
    const box = this.body.closest<HTMLElement>(".scroll");
    if (row && box) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  }

  private sort(column: number): void {
    this.descending = this.column === column ? !this.descending : this.numbers[column];
    this.column = column;
    this.fill();
  }

  private empty(at: number): boolean {
    return this.table.rows.every((row) => row[at] === null || row[at] === "");
  }


  private places(): number[] {
    const { rows } = this.table;
    const found = kept(rows, this.query);
    return this.column < 0 ? found : sorted(rows, found, this.column, this.descending);
  }

  private fill(): void {
    const places = this.places();
    this.headings.forEach((heading, i) => {
      if (this.columns[i] === this.column) heading.setAttribute("aria-sort", this.descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
    this.body.replaceChildren(...places.slice(0, this.shown).map((at) => this.row(at)));
    const rest = places.length - Math.min(this.shown, places.length);
    this.foot.replaceChildren(`${count(places.length)} of ${count(this.table.rows.length)} rows`);
    if (rest > 0) {
      const more = (): void => {
        this.shown += 10 * AT_ONCE;
        this.fill();
      };
      this.foot.append(" ", element("button", { type: "button", class: "quiet", onclick: more }, `show ${count(Math.min(rest, 10 * AT_ONCE))} more`));
    }
  }

  private row(at: number): HTMLTableRowElement {
    const { columns, rows } = this.table;
    const pick = (): void => {
      this.choose?.(rows[at]);
      this.chosen = at;
      for (const each of this.body.children) each.classList.toggle("chosen", each === made);
    };
    const made = element("tr", {
      tabindex: this.choose && 0,
      class: at === this.chosen ? "chosen" : "",
      onclick: this.choose && pick,
      onkeydown: (event: KeyboardEvent) => {
        if (event.key === "Enter" && this.choose) pick();
      },
    });
    for (const i of this.columns) {
      const value = rows[at][i];
      const number = this.numbers[i];
      const text = value === null && number ? "-" : cell(value, columns[i], this.whole[i]);
      made.append(
        element("td", { class: number ? "number" : "text", title: typeof value === "number" ? String(value) : undefined }, number ? text : element("span", {}, text)),
      );
    }
    return made;
  }
}
