/** Tables as HTML for pages and notebooks. */
import type { Columns } from "../record/columns.ts";
import { checkColumns, isStrings } from "./check.ts";
import { formatCells, shownRows, type TextOptions, unitShown } from "./text.ts";

/**
 * Makes text safe inside HTML, in an element or a quoted attribute.
 *
 * @param s any text
 * @returns the text with &, <, >, " and ' as entities
 */
export function escapeHtml(s: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return s.replace(/[&<>"']/g, (c) => entities[c]);
}

/**
 * Writes a table as an HTML `<table>`: caption, names with units, head and tail with a row count.
 *
 * It brings no colours: it takes those of the page, so that it can be read in light and dark.
 *
 * @param c the table
 * @param options how many rows at most
 * @returns one element
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * const html = toHtml({ title: "Pages", numRows: 1, columns: { pages: Uint32Array.of(512) }, units: {} });
 * console.log(html.includes("<td")); // true
 * ```
 */
export function toHtml(c: Columns, options: TextOptions = {}): string {
  checkColumns(c, "write HTML");
  const names = Object.keys(c.columns);
  const { rows, head, hidden } = shownRows(c.numRows, options.maxRows ?? 20);
  const cells = names.map((name) => formatCells(c.columns[name], rows));
  const align = names.map((name) => ` style="text-align:${isStrings(c.columns[name]) ? "left" : "right"}"`);
  const header = names.map((name, i) => {
    const unit = unitShown(c, name) === "" ? "" : `<br><small>${escapeHtml(unitShown(c, name))}</small>`;
    return `<th scope="col"${align[i]}>${escapeHtml(name)}${unit}</th>`;
  });
  const body = rows.map((_, r) =>
    `<tr>${cells.map((cell, i) => `<td${align[i]}>${escapeHtml(cell[r])}</td>`).join("")}</tr>`
  );
  const span = ` colspan="${Math.max(1, names.length)}"`;
  if (hidden > 0) {
    body.splice(head, 0, `<tr><td${span}>… ${hidden.toLocaleString("en-US")} more rows …</td></tr>`);
  }
  if (c.numRows === 0) body.push(`<tr><td${span}>no rows</td></tr>`);
  const count = hidden > 0 ? ` <small>(${c.numRows.toLocaleString("en-US")} rows)</small>` : "";
  const caption = options.title === false && hidden === 0
    ? ""
    : `<caption style="text-align:left">${
      options.title === false ? "" : escapeHtml(c.title)
    }${count}</caption>`;
  return `<table class="hmmlab" style="font-variant-numeric:tabular-nums">${caption}<thead><tr>${
    header.join("")
  }</tr></thead><tbody>${body.join("")}</tbody></table>`;
}
