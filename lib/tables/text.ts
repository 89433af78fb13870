/** Tables as text for a terminal. */
import type { ColumnData, Columns } from "../record/columns.ts";
import { checkColumns, isStrings, unitOf } from "./check.ts";

const MAX_CELL = 60;

/** How a table is laid out as text. */
export interface TextOptions {
  /** Most rows to print, head and tail together; the rest is counted. 20 if not given, at least 2. */
  readonly maxRows?: number;
  /** Whether the title stands over the table; it does if not given. */
  readonly title?: boolean;
}

/** The rows of a table that are shown when not all are: a head and a tail. */
export interface ShownRows {
  /** Row numbers in order. */
  readonly rows: readonly number[];
  /** How many of them are the head; equal to `rows.length` when nothing is left out. */
  readonly head: number;
  /** How many rows are not shown. */
  readonly hidden: number;
}

/**
 * Chooses head and tail.
 *
 * @param numRows rows of the table
 * @param maxRows most rows to show
 * @returns the row numbers
 */
export function shownRows(numRows: number, maxRows: number): ShownRows {
  const most = Math.max(2, Math.floor(maxRows));
  if (numRows <= most) {
    return { rows: Array.from({ length: numRows }, (_, i) => i), head: numRows, hidden: 0 };
  }
  const head = Math.ceil(most / 2);
  const tail = most - head;
  const rows = Array.from({ length: most }, (_, i) => i < head ? i : numRows - tail + (i - head));
  return { rows, head, hidden: numRows - most };
}

/**
 * Prints the cells of a column: thousands apart, four significant digits (the whole part in full), control characters
 * escaped.
 *
 * @param data the column
 * @param rows row numbers to print
 * @returns one string a row
 */
export function formatCells(data: ColumnData, rows: readonly number[]): string[] {
  return isStrings(data) ? rows.map((r) => clip(data[r])) : rows.map((r) => formatNumber(data[r]));
}

function formatNumber(x: number): string {
  if (!Number.isFinite(x) || Math.abs(x) >= 1e15) return String(x);
  if (x !== 0 && Math.abs(x) < 1e-6) return x.toExponential(3);
  const decimals = Number.isInteger(x) ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(x))));
  const [whole, fraction = ""] = Math.abs(x).toFixed(decimals).split(".");
  const digits = fraction.replace(/0+$/, "");
  const text = whole.replace(/\B(?=(\d{3})+$)/g, ",") + (digits === "" ? "" : `.${digits}`);
  return x < 0 && text !== "0" ? `-${text}` : text;
}

/** Adds spaces after the shorter fractions, so that decimal points stand under each other. */
function alignPoints(cells: readonly string[]): string[] {
  const after = cells.map((s) => s.includes(".") ? s.length - s.indexOf(".") : 0);
  const most = Math.max(0, ...after);
  return cells.map((s, i) => s + " ".repeat(most - after[i]));
}

function clip(s: string): string {
  // deno-lint-ignore no-control-regex -- these are what would break the lines of a table
  const safe = s.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (c) => JSON.stringify(c).slice(1, -1));
  const chars = [...safe];
  return chars.length <= MAX_CELL ? safe : chars.slice(0, MAX_CELL - 1).join("") + "…";
}

/** A column that is named like its unit needs no second line. */
export function unitShown(c: Columns, name: string): string {
  const unit = unitOf(c.units, name);
  return unit === name ? "" : unit;
}

function widthOf(s: string): number {
  return [...s].length;
}

/**
 * Prints a table aligned in a fixed-width font: title, names, units where there are any, rows.
 *
 * @param c the table
 * @param options how many rows at most
 * @returns lines without a trailing newline; a long table shows head and tail and says how many rows there are
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * console.log(toText({
 *   title: "Latencies",
 *   numRows: 2,
 *   columns: { kind: ["cpu fault", "invalidation"], p50Ns: Float64Array.of(14200, 1180) },
 *   units: { p50Ns: "ns" },
 * }));
 * ```
 */
export function toText(c: Columns, options: TextOptions = {}): string {
  checkColumns(c, "print a table");
  const names = Object.keys(c.columns);
  if (names.length === 0) return options.title === false ? "(no rows)" : `${c.title}\n(no rows)`;
  const { rows, head, hidden } = shownRows(c.numRows, options.maxRows ?? 20);
  const hasUnits = names.some((name) => unitShown(c, name) !== "");
  const blocks = names.map((name) => {
    const data = c.columns[name];
    const header = hasUnits ? [clip(name), unitShown(c, name)] : [clip(name)];
    const cells = isStrings(data) ? formatCells(data, rows) : alignPoints(formatCells(data, rows));
    const width = [...header, ...cells].reduce((w, s) => Math.max(w, widthOf(s)), 0);
    const pad = (s: string) => {
      const space = " ".repeat(width - widthOf(s));
      return isStrings(data) ? s + space : space + s;
    };
    return { header: header.map(pad), cells: cells.map(pad), width };
  });
  const line = (pick: (b: typeof blocks[number]) => string) => blocks.map(pick).join("  ").trimEnd();
  const lines = options.title === false ? [] : [c.title];
  for (let h = 0; h < (hasUnits ? 2 : 1); h++) lines.push(line((b) => b.header[h]));
  lines.push(blocks.map((b) => "─".repeat(b.width)).join("  "));
  rows.forEach((_, i) => {
    if (hidden > 0 && i === head) lines.push("…");
    lines.push(line((b) => b.cells[i]));
  });
  if (c.numRows === 0) lines.push("(no rows)");
  if (hidden > 0) {
    lines.push(`(${formatNumber(c.numRows)} rows: the first ${head}, the last ${rows.length - head})`);
  }
  return lines.join("\n");
}
