/** Drawing without a browser: SVG by Vega, PNG by resvg. Both are loaded when first needed. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { textWidth } from "./measure.ts";

const FONTS = ["DejaVuSansCondensed.ttf", "DejaVuSansCondensed-Bold.ttf"];

/** Where a package's file lies, on Deno and Node, in this repository and in an installed package. */
export function packageFile(specifier: string, ...beside: readonly string[]): string {
  const path = createRequire(import.meta.url).resolve(specifier);
  return beside.length > 0 ? join(dirname(path), ...beside) : path;
}

/** What Vega lays text out by; without a canvas it takes 0.8 em for every character, far too wide. */
interface TextMetrics {
  width: (item: { fontSize?: number; fontWeight?: string | number; limit?: number }, text: unknown) => number;
}

let drawing = 0;
let metricsBefore: TextMetrics["width"] | undefined;

/** Runs `draw` with the widths of the charts' font, and gives Vega its own back: others may use it in this process. */
async function withMetrics<T>(metrics: TextMetrics, draw: () => Promise<T>): Promise<T> {
  if (drawing++ === 0) {
    metricsBefore = metrics.width;
    metrics.width = (item, text) =>
      textWidth(String(text ?? ""), item.fontSize ?? 11, item.fontWeight === "bold");
  }
  try {
    return await draw();
  } finally {
    if (--drawing === 0 && metricsBefore !== undefined) metrics.width = metricsBefore;
  }
}

/**
 * Draws a Vega-Lite spec whose data are inline.
 *
 * @param spec Vega-Lite 5 JSON
 * @returns SVG text
 */
export async function renderSvg(spec: Record<string, unknown>): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  // Vega marks the rows that it is given: draw a copy.
  const compiled = vegaLite.compile(
    structuredClone(spec) as unknown as Parameters<typeof vegaLite.compile>[0],
  );
  const view = new vega.View(vega.parse(compiled.spec), { renderer: "none", logLevel: vega.Warn });
  const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
  try {
    return roundCoordinates(await withMetrics(textMetrics, () => view.toSVG()));
  } finally {
    view.finalize();
  }
}

/**
 * A thousandth of a pixel is fine enough: the digits behind it differ between JavaScript engines, whose logarithms do,
 * and are a third of a drawing.
 */
function roundCoordinates(svg: string): string {
  const attribute = / (?:d|transform|[xy][12]?|d[xy]|width|height|viewBox)="[^"]*"/g;
  return svg.replace(
    attribute,
    (s) => s.replace(/-?\d+\.\d{4,}(?:e-?\d+)?/g, (n) => String(Number(Number(n).toFixed(3)) || 0)),
  );
}

/**
 * Turns SVG into PNG with the fonts of the project only, so that every machine draws the same bytes.
 *
 * @param svg SVG text
 * @returns the PNG file's bytes, at twice the size in pixels
 */
export async function renderPng(svg: string): Promise<Uint8Array> {
  const { Resvg } = await import("@resvg/resvg-js");
  const image = new Resvg(svg, {
    fitTo: { mode: "zoom", value: 2 },
    font: {
      loadSystemFonts: false,
      fontFiles: FONTS.map((file) => packageFile("dejavu-fonts-ttf/package.json", "ttf", file)),
      defaultFontFamily: "DejaVu Sans Condensed",
      sansSerifFamily: "DejaVu Sans Condensed",
    },
  }).render();
  return new Uint8Array(image.asPng());
}

/**
 * The scripts that draw charts in a browser: Vega, Vega-Lite, Vega-Embed, minified.
 *
 * @returns their text in the order in which they must run
 */
export async function browserScripts(): Promise<string[]> {
  const files = ["vega", "vega-lite", "vega-embed"].map((name) => packageFile(name, `${name}.min.js`));
  return await Promise.all(files.map((file) => readFile(file, "utf8")));
}
