// Paints a row: events of some width one by one with their names, all others by their share of each pixel.

import { COLOURS } from "./colours";
import { Columns } from "./columns";
import { type Drawn, eventOf } from "./rows";
import { from as firstFrom } from "./search";
import { cut, FONT, type Surface } from "./surface";

/** More events than this in view are drawn by pixel columns alone. */
const ONE_BY_ONE = 12_000;
const WIDE = 2;
const LEVELS = 12;
const TEXT = "#14181d";

export interface Place {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Window {
  from: number;
  to: number;
}

export class Painter {
  private readonly columns = new Columns();

  constructor(
    private readonly surface: Surface,
    private readonly names: string[],
  ) {}

  /** Paint what `drawn` has in a window of time at a place, as opaque as `alpha`. */
  row(drawn: Drawn, window: Window, place: Place, alpha = 1): void {
    const low = Math.max(0, firstFrom(drawn.start, window.from) - 1);
    const high = firstFrom(drawn.start, window.to, low);
    if (high <= low) return;
    this.shares(drawn, window, place, alpha);
    if (high - low <= ONE_BY_ONE) this.each(drawn, low, high, window, place, alpha);
    this.surface.context.globalAlpha = 1;
  }

  /** Every device pixel by its busy share; neighbours of one colour and level in one stroke. */
  private shares(drawn: Drawn, window: Window, place: Place, alpha: number): void {
    const { context, ratio } = this.surface;
    const width = Math.max(1, Math.round(place.width * ratio));
    this.columns.of(drawn, window.from, window.to, width);
    const { busy, colour } = this.columns;
    const each = (window.to - window.from) / width;
    let begun = 0;
    let key = -1;
    const flush = (end: number): void => {
      if (key >= 0) {
        const level = key % (LEVELS + 1);
        context.globalAlpha = alpha * (0.3 + (0.7 * level) / LEVELS);
        context.fillStyle = COLOURS[(key - level) / (LEVELS + 1)];
        context.fillRect(place.x + begun / ratio, place.y, (end - begun) / ratio, place.height);
      }
    };
    for (let x = 0; x < width; x++) {
      const here = colour[x] < 0 || busy[x] <= 0 ? -1 : colour[x] * (LEVELS + 1) + Math.round(Math.min(1, busy[x] / each) * LEVELS);
      if (here !== key) {
        flush(x);
        [begun, key] = [x, here];
      }
    }
    flush(width);
  }

  /** Events wide enough to be seen as such, each with an edge and, where it fits, its name. */
  private each(drawn: Drawn, low: number, high: number, window: Window, place: Place, alpha: number): void {
    const { context, ratio } = this.surface;
    const scale = place.width / (window.to - window.from);
    const hair = 1 / ratio;
    context.font = `11px ${FONT}`;
    context.textBaseline = "middle";
    for (let i = low; i < high; i++) {
      const width = drawn.duration[i] * scale;
      if (width < WIDE) continue;
      const left = Math.max((drawn.start[i] - window.from) * scale, 0);
      const right = Math.min((drawn.start[i] + drawn.duration[i] - window.from) * scale, place.width);
      if (right <= left) continue;
      const x = Math.round((place.x + left) * ratio) / ratio;
      const wide = Math.max(Math.round((place.x + right) * ratio) / ratio - x - hair, hair);
      context.globalAlpha = alpha;
      context.fillStyle = COLOURS[drawn.colour[i]];
      context.fillRect(x, place.y, wide, place.height);
      if (wide < 22 || place.height < 12) continue;
      const { lane, row } = eventOf(drawn, i);
      const text = cut(context, this.names[lane.name[row]], wide - 8);
      if (text === "") continue;
      context.fillStyle = TEXT;
      context.fillText(text, x + 4, place.y + place.height / 2 + 0.5);
    }
  }
}
