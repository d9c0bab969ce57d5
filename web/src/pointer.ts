// Moving the time line with a mouse, a touch pad or fingers.

import type { Timeline } from "./timeline";

export interface Pointing {
  hover(x: number, y: number, clientX: number, clientY: number): void;
  leave(): void;
  click(x: number, y: number): void;
}

const STILL = 4;

export function usePointer(timeline: Timeline, on: Pointing): void {
  const { canvas } = timeline.surface;
  const { view } = timeline;
  const down = new Map<number, { x: number; y: number }>();
  let moved = 0;
  let brush: number | null = null;
  const place = (event: MouseEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const nsOf = (pixels: number): number =>
    (pixels / Math.max(timeline.surface.width - timeline.gutter, 1)) * view.width;

  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = place(event);
    down.set(event.pointerId, { x, y });
    moved = 0;
    brush = event.shiftKey || y < timeline.ruler ? timeline.timeAt(x) : null;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const last = down.get(event.pointerId);
    if (!last) {
      on.hover(x, y, event.clientX, event.clientY);
      return;
    }
    const [dx, dy] = [x - last.x, y - last.y];
    moved += Math.abs(dx) + Math.abs(dy);
    const other = [...down.entries()].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const [before, now] = [Math.abs(last.x - other.x), Math.abs(x - other.x)];
      if (before > 8 && now > 8) view.zoom(before / now, timeline.timeAt((x + other.x) / 2));
      view.pan(-nsOf(dx / 2));
    } else if (brush === null && moved > STILL) {
      view.pan(-nsOf(dx));
      timeline.scrollBy(-dy);
    }
    down.set(event.pointerId, { x, y });
    canvas.classList.toggle("dragging", moved > STILL && brush === null);
    if (moved > STILL) on.leave();
  });
  const up = (event: PointerEvent): void => {
    if (!down.delete(event.pointerId)) return;
    canvas.classList.remove("dragging");
    const [x, y] = place(event);
    if (moved <= STILL && event.type === "pointerup") on.click(x, y);
    else if (brush !== null && moved > STILL) view.show(...ordered(brush, timeline.timeAt(x)));
    brush = null;
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => {
    if (down.size === 0) on.leave();
  });
  canvas.addEventListener(
    "wheel",
    (event) => {
      const [x] = place(event);
      if (x < timeline.gutter && !event.ctrlKey) return; // over the labels the page scrolls
      event.preventDefault();
      on.leave();
      const lines = event.deltaMode === 1 ? 16 : 1;
      const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(nsOf(sideways * lines));
      else view.zoom(Math.exp(Math.max(-200, Math.min(200, event.deltaY * lines)) * (event.ctrlKey ? 0.01 : 0.002)), timeline.timeAt(x));
    },
    { passive: false },
  );
}

const ordered = (a: number, b: number): [number, number] => (a < b ? [a, b] : [b, a]);
