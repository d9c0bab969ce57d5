// A canvas as large as its place on the page, crisp on any screen.

import { element } from "./dom";
import { visible } from "./visible";

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif";

export class Surface {
  readonly canvas: HTMLCanvasElement;
  readonly context: CanvasRenderingContext2D;
  width = 0;
  height = 0;
  /** Device pixels a CSS pixel. */
  ratio = 1;

  constructor(label: string, name: string) {
    this.canvas = element("canvas", { class: name, role: "img", "aria-label": label });
    const context = this.canvas.getContext("2d", { alpha: false });
    if (!context) throw new Error("this browser draws no canvas");
    this.context = context;
  }

  /** Fit the canvas to its place; from then on one unit is one CSS pixel. */
  fit(): void {
    const { clientWidth, clientHeight } = this.canvas;
    this.ratio = window.devicePixelRatio || 1;
    const [wide, high] = [Math.round(clientWidth * this.ratio), Math.round(clientHeight * this.ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== high) {
      this.canvas.width = wide;
      this.canvas.height = high;
    }
    this.width = clientWidth;
    this.height = clientHeight;
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
  }
}

const MOST_LETTERS = 300;
const KEPT = 20_000;
const widths = new Map<string, number>();

function widthOf(context: CanvasRenderingContext2D, text: string): number {
  const key = `${context.font}\n${text}`;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > KEPT) widths.clear();
    widths.set(key, (width = context.measureText(text).width));
  }
  return width;
}

/** `text` cut at its end to fit `most` pixels, or "" where nothing useful fits. */
export function cut(context: CanvasRenderingContext2D, text: string, most: number): string {
  if (most < 14) return "";
  let shown = visible(text.slice(0, MOST_LETTERS));
  let width = widthOf(context, shown);
  if (width <= most && text.length <= MOST_LETTERS) return shown;
  // The first letters may be wider than the others, so that what fits by their number need not fit.
  while (width > most) {
    const letters = Math.min(shown.length - 1, Math.floor((shown.length * most) / width));
    if (letters < 4) return "";
    shown = `${shown.slice(0, letters - 1).trimEnd()}…`;
    width = widthOf(context, shown);
  }
  return shown;
}
