// Light and dark: what the system prefers, or what was chosen; and the colours of canvases.

export type Theme = "auto" | "light" | "dark";

export interface Inks {
  ground: string;
  band: string;
  line: string;
  ink: string;
  faint: string;
  accent: string;
}

export function chooseTheme(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** The style's colours, for what is drawn on a canvas. */
export function inks(): Inks {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: of("card"),
    band: of("band"),
    line: of("line"),
    ink: of("ink"),
    faint: of("faint"),
    accent: of("accent"),
  };
}
