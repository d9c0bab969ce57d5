// What each lane is called at its left: what the lane above does not already say.

const BETWEEN = " · ";

export interface Label {
  /** The parts that are new here. */
  parts: string[];
  /** Does the lane above share its beginning? */
  inside: boolean;
}

/** Labels of lanes, top to bottom, each without the beginning that it shares with the one above. */
export function labels(texts: string[]): Label[] {
  let above: string[] = [];
  return texts.map((text) => {
    const parts = text.split(BETWEEN);
    let shared = 0;
    while (shared < parts.length - 1 && parts[shared] === above[shared]) shared++;
    above = parts;
    return { parts: parts.slice(shared), inside: shared > 0 };
  });
}

/**
 * The parts put into at most `most` lines of `width`, as `measure` has it; the last line takes the
 * rest, and one line that is too short loses the longest parts between its first and its last.
 */
export function lines(parts: string[], most: number, width: number, measure: (text: string) => number): string[] {
  const whole = parts.join(BETWEEN);
  if (measure(whole) <= width) return [whole];
  if (most === 1 && parts.length > 2) {
    const between = parts.slice(1, -1);
    const longest = between.reduce((found, part, at) => (part.length > between[found].length ? at : found), 0);
    return lines(parts.toSpliced(longest + 1, 1), 1, width, measure);
  }
  const made: string[] = [];
  for (const part of parts) {
    const joined = made.length > 0 ? `${made[made.length - 1]}${BETWEEN}${part}` : part;
    if (made.length > 0 && (made.length === most || measure(joined) <= width)) made[made.length - 1] = joined;
    else made.push(part);
  }
  return made;
}
