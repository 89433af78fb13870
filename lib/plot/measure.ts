/** How wide text is, without a browser: titles are broken and images laid out by it. */

/** Advance widths of the characters from space to ~ in hundredths of an em, out of DejaVu Sans Condensed 2.37. */
const REGULAR =
  ("29 36 41 75 57 85 70 25 35 35 45 75 29 32 29 30 57 57 57 57 57 57 57 57 57 57 30 30 75 75 75 48 90 62 62 " +
    "63 69 57 52 70 68 27 27 59 50 78 67 71 54 71 62 57 55 66 62 89 62 55 62 35 30 35 75 45 45 55 57 49 57 55 32 57 57 " +
    "25 25 52 25 88 57 55 57 57 37 47 35 57 53 74 53 53 47 57 30 57 75").split(" ").map(Number);
const BOLD =
  ("31 41 47 75 63 90 78 28 41 41 47 75 34 37 34 33 63 63 63 63 63 63 63 63 63 63 36 36 75 75 75 52 90 70 69 " +
    "66 75 61 61 74 75 33 33 70 57 90 75 76 66 76 69 65 61 73 70 99 69 65 65 41 33 41 75 45 45 61 64 53 64 61 39 64 64 " +
    "31 31 60 31 94 64 62 64 64 44 54 43 64 59 83 58 59 52 64 33 64 75").split(" ").map(Number);

/**
 * The width of one line of text in the charts' font.
 *
 * @param text one line
 * @param fontSize in pixels
 * @param bold whether it is set in bold
 * @returns pixels; characters beyond ASCII count as wide ones, so that the result is rarely too small
 */
export function textWidth(text: string, fontSize: number, bold: boolean = false): number {
  const widths = bold ? BOLD : REGULAR;
  let sum = 0;
  for (const char of text) {
    const code = char.codePointAt(0)!;
    sum += code >= 32 && code < 127 ? widths[code - 32] : code < 0x2000 ? 70 : 100;
  }
  return (sum * fontSize) / 100;
}

/**
 * Breaks a text into lines that fit, so that no title is cut off.
 *
 * @param text one paragraph
 * @param fontSize in pixels
 * @param bold whether it is set in bold
 * @param width of the lines in pixels
 * @returns the lines; a word longer than a line is broken
 */
export function wrap(text: string, fontSize: number, bold: boolean, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of keepUnits(text.trim()).split(/[ \t\r\n]+/)) {
    let rest = word;
    const joined = line === "" ? word : `${line} ${word}`;
    if (textWidth(joined, fontSize, bold) <= width) {
      line = joined;
      continue;
    }
    if (line !== "") lines.push(line);
    while (textWidth(rest, fontSize, bold) > width) {
      const chars = [...rest];
      let fits = 1;
      while (textWidth(chars.slice(0, fits + 1).join(""), fontSize, bold) <= width) fits++;
      lines.push(chars.slice(0, fits).join(""));
      rest = chars.slice(fits).join("");
    }
    line = rest;
  }
  return [...lines, line].map((l) => l.replaceAll(NO_BREAK, " "));
}

const NO_BREAK = "\u00a0";

/**
 * Binds numbers to their units, so that a line does not end between them.
 *
 * @param text any text
 * @returns the text with no-break spaces between numbers and the units that charts print
 */
export function keepUnits(text: string): string {
  return text.replace(/(\d) (?=(?:%|[nµm]?s|[KMGT]i?B|bytes)(?![a-z]))/g, `$1${NO_BREAK}`);
}
