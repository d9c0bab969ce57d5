// Text of which nothing is hidden or steers what stands beside it.

const HIDDEN = /[\p{C}\p{Z}]/u;
const EACH = /[\p{C}\p{Z}]/gu;
const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text with what does not print, line breaks and marks of direction included, as commands write it. */
export function visible(text: string): string {
  return HIDDEN.test(text) ? text.replace(EACH, escaped) : text;
}

function escaped(letter: string): string {
  if (letter === " ") return letter;
  const code = letter.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  const long = code < 0x100 ? `\\x${hex.padStart(2, "0")}` : code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
  return SHORT[letter] ?? long;
}
