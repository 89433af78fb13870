/** What all pages of the site share: head, navigation, looks. */
import { escapeHtml } from "../../tables/html.ts";

/** The stylesheet of the site; it follows the reader's light or dark mode. */
export const STYLE = `
:root { color-scheme: light dark; --page: #f4f5f7; --card: #ffffff; --ink: #1f2328; --muted: #57606a; --line: #dfe3e8;
  --link: #0a5a9c; --code: #eef0f3; --word: #8a3ffc; --text: #0b6e4f; --note: #66707b; --figure: #b04a00; }
@media (prefers-color-scheme: dark) {
  :root { --page: #0f1216; --card: #1b1f24; --ink: #e6e9ed; --muted: #a3acb7; --line: #343b44;
    --link: #6cb6ff; --code: #252b32; --word: #c297ff; --text: #6fd3a8; --note: #8f99a5; --figure: #f0833a; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.6 "Helvetica Neue", Arial, "DejaVu Sans Condensed", sans-serif; }
nav, main { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
nav { display: flex; gap: 1.25rem; align-items: baseline; padding-top: 1rem; }
nav a:first-child { font-weight: bold; color: var(--ink); }
main { padding-bottom: 4rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 1.2rem 0 .6rem; }
h2 { font-size: 1.35rem; line-height: 1.3; margin: 2.2rem 0 .5rem; }
h3 { font-size: 1.05rem; line-height: 1.3; margin: 0 0 .2rem; }
h1, h2, h3, p, li { overflow-wrap: anywhere; }
p, ul, ol { margin: 0 0 .9rem; max-width: 46rem; }
img { max-width: 100%; height: auto; }
code { background: var(--code); border-radius: 3px; padding: .1em .3em; font-size: .875em; }
pre { background: var(--code); border-radius: 6px; padding: .8rem 1rem; overflow-x: auto; font-size: .85rem;
  line-height: 1.5; margin: 0 0 .9rem; }
pre code { background: none; padding: 0; font-size: 1em; }
pre.out { background: none; border-left: 3px solid var(--line); border-radius: 0; padding: .1rem 0 .1rem 1rem; }
pre.error { border-color: #c0392b; }
.output { margin: 0 0 1.2rem; overflow-x: auto; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem 1.2rem; }
.card p, .small { font-size: .875rem; color: var(--muted); }
.chart, .chart.vega-embed { display: block; min-height: 60px; }
.chart svg { display: block; max-width: 100%; }
table { border-collapse: collapse; font-size: .875rem; margin: .4rem 0 1rem; display: block; overflow-x: auto; }
caption { text-align: left; font-weight: bold; padding-bottom: .3rem; white-space: nowrap; }
th, td { padding: .25rem 1rem .25rem 0; vertical-align: bottom; text-align: left; }
th { color: var(--muted); font-weight: normal; border-bottom: 1px solid var(--line); }
table.hmmlab th, table.hmmlab td { white-space: nowrap; }
tbody tr + tr td { border-top: 1px solid var(--line); }
.token.keyword, .token.boolean { color: var(--word); } .token.string, .token.template-string { color: var(--text); }
.token.comment { color: var(--note); font-style: italic; } .token.number { color: var(--figure); }
@media print { nav { display: none; } .card { break-inside: avoid; } }
`;

/** A page of the site. */
export interface Page {
  /** Its title. */
  readonly title: string;
  /** What leads from it to the site's root: "" or "../". */
  readonly up: string;
  /** What stands in it. */
  readonly body: string;
  /** Script elements at its end. */
  readonly scripts?: string;
}

/**
 * Writes a page with the site's navigation.
 *
 * @param page title, body
 * @returns HTML that reads only files of the site
 */
export function shell({ title, up, body, scripts = "" }: Page): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${up}site.css">
</head>
<body>
<nav><a href="${up}index.html">hmmlab</a><a href="${up}index.html#notebooks">Notebooks</a><a href="${up}reference/index.html">Reference</a></nav>
<main>
${body}
</main>
<script src="${up}reference/prism.js"></script>
${scripts}
</body>
</html>
`;
}
