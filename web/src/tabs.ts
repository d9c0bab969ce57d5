// Tables behind tabs: one is open.

import { element } from "./dom";

export interface Tab {
  name: string;
  label: string;
  node: HTMLElement;
  opened?: () => void;
}

export class Tabs {
  readonly node = element("section", { class: "card tabs" });
  open: string;
  private readonly buttons: HTMLButtonElement[];

  constructor(
    private readonly tabs: Tab[],
    private readonly changed: () => void,
  ) {
    this.open = tabs[0]?.name ?? "";
    this.buttons = tabs.map(({ name, label }) =>
      element("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => this.show(name) }, label),
    );
    const bar = element("div", { class: "tab-bar", role: "tablist" }, ...this.buttons);
    bar.addEventListener("keydown", (event) => {
      const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      if (by === 0) return;
      const at = this.tabs.findIndex(({ name }) => name === this.open);
      const next = (at + by + this.tabs.length) % this.tabs.length;
      this.show(this.tabs[next].name);
      this.buttons[next].focus();
    });
    this.node.append(bar);
    for (const { name, node } of tabs) {
      node.id = `panel-${name}`;
      node.setAttribute("role", "tabpanel");
      node.setAttribute("aria-labelledby", `tab-${name}`);
      this.node.append(node);
    }
    this.show(this.open, false);
  }

  show(wanted: string, tell = true): void {
    if (!this.tabs.some(({ name }) => name === wanted)) return;
    this.open = wanted;
    this.tabs.forEach(({ name, node, opened }, at) => {
      const is = name === wanted;
      node.hidden = !is;
      this.buttons[at].setAttribute("aria-selected", String(is));
      this.buttons[at].tabIndex = is ? 0 : -1;
      if (is) opened?.();
    });
    if (tell) this.changed();
  }
}
