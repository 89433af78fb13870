/** Pages that need no network: charts and tables in one HTML file. */
import type { Columns } from "../record/columns.ts";
import { escapeHtml, toHtml } from "../tables/html.ts";
import type { Chart } from "./chart.ts";
import { keepUnits } from "./measure.ts";
import { browserScripts, renderSvg } from "./render.ts";
import { config } from "./theme.ts";

/** What stands on a page besides charts and tables. */
export interface PageOptions {
  /** A paragraph under the page's title. */
  readonly lead?: string;
}

const STYLE = `
:root { color-scheme: light dark; --page: #f4f5f7; --card: #ffffff; --ink: #1f2328; --muted: #57606a; --line: #dfe3e8; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1216; --card: #1b1f24; --ink: #e6e9ed; --muted: #a3acb7; --line: #343b44; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 "Helvetica Neue", Arial, "DejaVu Sans Condensed", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; line-height: 1.3; margin: 0 0 .25rem; }
h1, h2, p { overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; color: var(--muted); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem 1.2rem;
  margin: 1rem 0; }
section p { font-size: .875rem; }
.chart, .chart.vega-embed { display: block; min-height: 60px; }
.chart svg { display: block; max-width: 100%; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; min-width: 50%; }
caption { text-align: left; font-weight: bold; padding-bottom: .4rem; white-space: nowrap; }
th, td { padding: .25rem .9rem .25rem 0; white-space: nowrap; vertical-align: bottom; }
th { color: var(--muted); font-weight: normal; border-bottom: 1px solid var(--line); }
tbody tr + tr td { border-top: 1px solid var(--line); }
details { margin-top: .5rem; } summary { cursor: pointer; color: var(--muted); font-size: .875rem; }
@media (max-width: 40rem) { main { padding: 1rem .5rem 2rem; } section { padding: .9rem .8rem; } }
@media print { section { break-inside: avoid; } }
`;

/** Runs in the browser. Views are as wide as their card: Vega-Lite cannot do that for charts of several views. */
const DRAW = `
(function () {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const specs = read("hmmlab-specs"), configs = read("hmmlab-configs");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const fit = (view, width) => {
    if (typeof view.width === "number") view.width = width;
    for (const key of ["vconcat", "layer"]) (view[key] || []).forEach((v) => fit(v, width));
  };
  let last = "";
  async function draw() {
    const mode = dark.matches ? "dark" : "light";
    const cards = document.querySelectorAll(".chart");
    const key = mode + (cards[0] ? cards[0].clientWidth : 0);
    if (key === last) return;
    last = key;
    for (let i = 0; i < specs.length; i++) {
      const spec = structuredClone(specs[i].spec);
      const room = cards[i].clientWidth - specs[i].beside;
      fit(spec, Math.max(140, room));
      await vegaEmbed(cards[i], spec, {
        mode: "vega-lite", renderer: "svg", actions: false, config: configs[mode], tooltip: { theme: mode },
      });
      // What labels take is known once they are drawn: give the rest to the plot.
      const over = cards[i].querySelector("svg").getAttribute("width") - cards[i].clientWidth;
      if (over > 0 || over < -2) {
        fit(spec, Math.max(140, room - over));
        await vegaEmbed(cards[i], spec, {
          mode: "vega-lite", renderer: "svg", actions: false, config: configs[mode], tooltip: { theme: mode },
        });
      }
    }
  }
  let timer = 0;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 120); });
  dark.addEventListener("change", draw);
  draw();
})();
`;

/** JSON that can stand in a script element: nothing in it can end the element or start a comment. */
export function scriptJson(x: unknown): string {
  return JSON.stringify(x).replace(
    /[<>&\u2028\u2029]/g,
    (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"),
  );
}

/** A chart's spec as a page draws it: the page says title, background and width. */
function forPage(spec: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const {
    $schema: _schema,
    title: _title,
    config: _config,
    background: _background,
    padding: _padding,
    ...body
  } = spec;
  return body;
}

/**
 * The scripts that draw charts into the elements of class `chart` of a page, in order: each spec without its title, as
 * wide as its element, light or dark as the reader has it. The scripts of `browserScripts` must stand before them.
 *
 * @param specs Vega-Lite specs with their data in them
 * @returns script elements
 */
export function drawingScripts(specs: readonly Readonly<Record<string, unknown>>[]): string {
  const transparent = { background: "transparent", padding: { left: 0, top: 4, right: 8, bottom: 2 } };
  const configs = {
    light: { ...config("light"), ...transparent },
    dark: { ...config("dark"), ...transparent },
  };
  const drawn = specs.map((spec) => ({ spec: forPage(spec), beside: 60 }));
  return `<script type="application/json" id="hmmlab-specs">${scriptJson(drawn)}</script>
<script type="application/json" id="hmmlab-configs">${scriptJson(configs)}</script>
<script>${DRAW}</script>`;
}

/**
 * Writes charts and tables into one HTML page that needs no network, follows the reader's light or dark mode, fits a
 * phone, and shows still images where scripts are not allowed.
 *
 * @param charts in order, each with its data folded away under it
 * @param tables in order, under the charts; long ones show head and tail
 * @param title the page's title
 * @param options a lead paragraph
 * @returns the page's text (UTF-8, some 900 kB, most of it the drawing scripts)
 *
 * @example
 * ```ts
 * import { columnsOf, renderPage } from "hmmlab";
 *
 * const runs = columnsOf("Runs", [{ seed: 1, faults: 80 }]);
 * console.log((await renderPage([], [runs], "Two seeds")).includes("<table")); // true
 * ```
 */
export async function renderPage(
  charts: readonly Chart[],
  tables: readonly Columns[],
  title: string,
  options: PageOptions = {},
): Promise<string> {
  const scripts = charts.length > 0 ? await browserScripts() : [];
  const figures: string[] = [];
  for (const chart of charts) {
    const { title: _title, ...untitled } = chart.spec;
    const svg = await renderSvg(untitled);
    const heading = charts.length === 1 && chart.title === title
      ? ""
      : `<h2>${escapeHtml(keepUnits(chart.title))}</h2>`;
    figures.push(
      `<section>${heading}${chart.subtitle ? `<p>${escapeHtml(keepUnits(chart.subtitle))}</p>` : ""}` +
        `<div class="chart" role="img" aria-label="${
          escapeHtml(chart.title)
        }"><noscript>${svg}</noscript></div>` +
        `<details><summary>The data</summary><div class="scroll">${
          toHtml(chart.table)
        }</div></details></section>`,
    );
  }
  const sheets = tables.map((table) => `<section><div class="scroll">${toHtml(table)}</div></section>`);
  const data = charts.length > 0
    ? scripts.map((text) => `<script>${text.replace(/<\/(script)/gi, "<\\/$1")}</script>\n`).join("") +
      drawingScripts(charts.map((chart) => chart.spec))
    : "";
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(keepUnits(title))}</h1>
${options.lead ? `<p>${escapeHtml(options.lead)}</p>` : ""}
${figures.join("\n")}
${sheets.join("\n")}
</main>
${data}
</body>
</html>
`;
}
