/** What `show` hands to a notebook: the same thing as drawing, as HTML and as text. */
import { type Chart, isChart } from "../plot/chart.ts";
import type { Columns } from "../record/columns.ts";
import { DISPLAY, isDisplayable } from "../record/display.ts";
import { isDataTable } from "../tables/data_table.ts";
import { isColumns } from "../tables/check.ts";
import { escapeHtml, toHtml } from "../tables/html.ts";
import type { Bundle } from "./emit.ts";
import { textOf } from "./text.ts";

/** Most bytes of one display: a notebook keeps all it has shown, and reviewers read its diffs. */
export const MAX_BUNDLE_BYTES = 300_000;

/**
 * The bundle for anything that hmmlab knows how to show.
 *
 * @param x a chart, a table, an object that says what it wants shown, or a text
 * @returns data by MIME type; undefined for anything else, which is the kernel's to print
 */
export async function bundleOf(x: unknown): Promise<Bundle | undefined> {
  if (typeof x === "string") return { "text/plain": x };
  const text = textOf(x);
  if (text === undefined) return undefined;
  if (isChart(x)) return await chartBundle(x, text);
  return { "text/html": htmlOf(x), "text/plain": text };
}

function htmlOf(x: unknown): string {
  if (isDataTable(x)) return toHtml(x.toColumns());
  if (!isDisplayable(x)) return isColumns(x) ? toHtml(x) : "";
  const { text, tables = [] } = x[DISPLAY]();
  const lines = text === "" ? "" : `<p style="white-space:pre-line">${escapeHtml(text)}</p>`;
  return lines + tables.map((table: Columns) => toHtml(table)).join("");
}

/**
 * A spec for the front ends that draw, an image for those that do not, text for the rest: SVG, or PNG where SVG is the
 * larger or too large beside the spec; the image alone if it must be.
 */
async function chartBundle(chart: Chart, text: string): Promise<Bundle> {
  const spec = sizeOf(JSON.stringify(chart.spec)), room = MAX_BUNDLE_BYTES - sizeOf(text) - 1000;
  const svg = await chart.svg();
  const plain = { "text/plain": text };
  const drawn = { "application/vnd.vegalite.v5+json": chart.spec };
  if (spec + sizeOf(svg) <= room / 2) return { ...drawn, "image/svg+xml": svg, ...plain };
  const png = { "image/png": base64(await chart.png()) };
  return spec + png["image/png"].length <= room ? { ...drawn, ...png, ...plain } : { ...png, ...plain };
}

function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

function base64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(binary);
}
