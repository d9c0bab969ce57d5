// Keys like those of other trace viewers, and the list of them.

import { element } from "./dom";
import type { Timeline } from "./timeline";

export interface Keyed {
  search(): void;
  next(direction: 1 | -1): void;
  fit(): void;
  clear(): void;
}

const KEYS: [keys: string, what: string][] = [
  ["w / s, wheel", "zoom in, zoom out"],
  ["a / d, drag, shift + wheel", "move left, move right"],
  ["arrows, with the time line chosen", "move in any direction"],
  ["f", "fit what is selected"],
  ["0", "the whole recording"],
  ["/", "search events by name"],
  ["n / p, Enter", "next, previous of those found"],
  ["shift + drag, drag on the ruler", "zoom to a stretch"],
  ["Escape", "clear search and selection"],
  ["?", "this list"],
];

export function help(): HTMLDialogElement {
  const list = element("dl");
  for (const [keys, what] of KEYS) list.append(element("dt", {}, keys), element("dd", {}, what));
  const dialog = element("dialog", { class: "help", "aria-label": "Keys" }, element("h2", {}, "Keys"), list);
  const close = element("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "close");
  dialog.append(close);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}

export function useKeys(timeline: Timeline, dialog: HTMLDialogElement, on: Keyed): void {
  const { view } = timeline;
  const centre = (): number => (view.from + view.to) / 2;
  const actions: Record<string, () => void> = {
    w: () => view.zoom(0.7, centre()),
    s: () => view.zoom(1 / 0.7, centre()),
    a: () => view.pan(-view.width * 0.15),
    d: () => view.pan(view.width * 0.15),
    f: () => on.fit(),
    "0": () => view.all(),
    "/": () => on.search(),
    n: () => on.next(1),
    p: () => on.next(-1),
    "?": () => (dialog.open ? dialog.close() : dialog.showModal()),
    Escape: () => on.clear(),
  };
  const arrows: Record<string, () => void> = {
    ArrowLeft: actions.a,
    ArrowRight: actions.d,
    ArrowUp: () => timeline.scrollBy(-40),
    ArrowDown: () => timeline.scrollBy(40),
  };
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const typing = target instanceof HTMLInputElement || target instanceof HTMLSelectElement;
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
    if (dialog.open && event.key !== "?") return;
    const own = document.activeElement === timeline.node ? arrows[event.key] : undefined;
    const action = own ?? actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
