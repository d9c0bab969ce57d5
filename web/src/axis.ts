// The ruler over the time line: ticks of time, and the steps.

import type { Step } from "./report";
import { FONT, type Surface, cut } from "./surface";
import type { Inks } from "./theme";
import { tickStep, time } from "./units";
import type { Place, Window } from "./paint";

/** The height of the ruler, with the steps and without any. */
export const rulerOf = (steps: Step[]): number => (steps.length > 0 ? 38 : 22);

/** The ticks of a window of time. */
export function ticks({ from, to }: Window, most: number): number[] {
  const step = tickStep(to - from, most);
  const found: number[] = [];
  for (let at = Math.ceil(from / step); at * step <= to; at++) found.push(at * step);
  return found;
}

export function drawAxis(surface: Surface, inks: Inks, window: Window, place: Place, steps: Step[]): void {
  const { context } = surface;
  const ruler = rulerOf(steps);
  const scale = place.width / (window.to - window.from);
  const xOf = (ns: number): number => place.x + (ns - window.from) * scale;
  context.font = `11px ${FONT}`;
  context.textBaseline = "middle";
  for (const at of ticks(window, place.width / 110)) {
    const x = Math.round(xOf(at)) + 0.5;
    context.fillStyle = inks.line;
    context.fillRect(x - 0.5, ruler - 8, 1, place.height - ruler + 8);
    context.fillStyle = inks.faint;
    const text = time(at);
    if (x + 5 + context.measureText(text).width < place.x + place.width) context.fillText(text, x + 4, ruler - 10);
  }
  let free = -Infinity;
  for (const step of steps) {
    if (step.end < window.from || step.start > window.to) continue;
    const left = Math.max(xOf(step.start), place.x);
    const right = Math.min(xOf(step.end), place.x + place.width);
    if (right - left < 3 || left < free - 1) continue;
    free = right;
    context.fillStyle = inks.band;
    context.fillRect(left, 2, right - left - 1, 16);
    context.fillStyle = inks.accent;
    context.fillRect(Math.round(left), 2, 1, place.height);
    context.fillStyle = inks.ink;
    const text = cut(context, `step ${step.number} · ${time(step.end - step.start)}`, right - left - 10);
    context.fillText(text, left + 6, 10.5);
  }
}
