import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { COLOURS } from "../src/colours";

const [icicle, paint, style] = ["icicle.ts", "paint.ts", "style.css"].map((file) => readFileSync(`src/${file}`, "utf8"));

/** What WCAG calls the relative luminance of a colour written `#rrggbb`. */
function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const colours = (text: string): string[] => text.match(/#[0-9a-f]{6}/g) ?? [];

/** The colours by name of the style's block that a line begins. */
function theme(begin: string): Record<string, string> {
  const block = style.slice(style.indexOf(begin)).split("}")[0];
  return Object.fromEntries([...block.matchAll(/--(\w+): (#[0-9a-f]{6})/g)].map(([, name, colour]) => [name, colour]));
}

const light = theme(":root {");
const themes = { light, dark: { ...light, ...theme(':root[data-theme="dark"]') }, system: { ...light, ...theme(':root:not([data-theme="light"])') } };

describe("text on canvases has a contrast of at least 4.5", () => {
  const [ink] = colours(/TEXT = .*/.exec(paint)?.[0] ?? "");
  it("on every colour of an event", () => {
    expect(COLOURS.length).toBeGreaterThan(20);
    expect(COLOURS.filter((colour) => !(contrast(ink, colour) >= 4.5))).toEqual([]);
  });
  it("on every tone of the tree", () => {
    const tones = colours(/TONES = .*/.exec(icicle)?.[0] ?? "");
    const inks = colours(icicle).filter((colour) => !tones.includes(colour));
    expect([tones.length, inks.length]).toEqual([6, 1]);
    expect(tones.filter((colour) => !(contrast(inks[0], colour) >= 4.5))).toEqual([]);
  });
  it.each(Object.entries(themes))("as labels and on the ruler: %s", (_, of) => {
    for (const name of ["ink", "faint", "accent"]) expect(contrast(of[name], of.card)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(of.ink, of.band)).toBeGreaterThanOrEqual(4.5);
  });
  it("the system's dark is the chosen dark", () => expect(themes.system).toEqual(themes.dark));
});
