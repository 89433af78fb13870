/** A notebook as a page: its text, its code, its outputs, its charts live. */
import { stripVTControlCharacters } from "node:util";
import { marked } from "marked";
import { drawingScripts } from "../../plot/page.ts";
import { escapeHtml } from "../../tables/html.ts";
import type { MimeData, Notebook, Output } from "../notebooks/notebook.ts";
import { shell } from "./shell.ts";

const VEGA = "application/vnd.vegalite.v5+json";
type Spec = Readonly<Record<string, unknown>>;

/** What a list of notebooks says of one. */
export interface Summary {
  /** Its first heading. */
  readonly title: string;
  /** Its question: what stands in bold, or else its first paragraph. */
  readonly question: string;
}

/** The title and question of a notebook. */
export function summaryOf(notebook: Notebook): Summary {
  const text = notebook.cells.find((cell) => cell.cell_type === "markdown")?.source ?? "";
  const title = /^# (.+)$/m.exec(text)?.[1] ?? "Untitled";
  const paragraphs = text.split(/\n\s*\n/).filter((p) => !p.startsWith("#"));
  const bold = paragraphs.find((p) => /^\*\*[^]+\*\*$/.test(p.trim()));
  return { title, question: (bold ?? paragraphs[0] ?? "").replaceAll("**", "").replaceAll("\n", " ").trim() };
}

/** A title of Vega-Lite, which is a text or lines of it. */
function textOf(title: unknown): string {
  return Array.isArray(title) ? title.join(" ") : String(title ?? "");
}

function chart(spec: Spec, data: MimeData): string {
  const { text, subtitle } = (spec.title ?? {}) as { text?: unknown; subtitle?: unknown };
  const image = typeof data["image/svg+xml"] === "string"
    ? data["image/svg+xml"]
    : `<img alt="${escapeHtml(textOf(text))}" src="data:image/png;base64,${data["image/png"]}">`;
  return `<div class="output card"><h3>${escapeHtml(textOf(text))}</h3>` +
    (subtitle === undefined ? "" : `<p>${escapeHtml(textOf(subtitle))}</p>`) +
    `<div class="chart" role="img" aria-label="${
      escapeHtml(textOf(text))
    }"><noscript>${image}</noscript></div></div>`;
}

/** One output; charts are counted into `specs`, in the order of their elements. */
function outputHtml(output: Output, specs: Spec[]): string {
  if (output.output_type === "stream") return `<pre class="out">${plain(output.text)}</pre>`;
  if (output.output_type === "error") {
    return `<pre class="out error">${plain(output.traceback.join("\n"))}</pre>`;
  }
  const { data } = output, html = data["text/html"];
  if (data[VEGA] !== undefined) {
    specs.push(data[VEGA] as Spec);
    return chart(data[VEGA] as Spec, data);
  }
  // How far something had come is of no interest once it is done.
  if (typeof html === "string") {
    return html.startsWith("<progress") ? "" : `<div class="output">${html}</div>`;
  }
  if (typeof data["image/svg+xml"] === "string") return `<div class="output">${data["image/svg+xml"]}</div>`;
  if (typeof data["image/png"] === "string") {
    return `<div class="output"><img alt="" src="data:image/png;base64,${data["image/png"]}"></div>`;
  }
  return `<pre class="out">${plain(String(data["text/plain"] ?? ""))}</pre>`;
}

function plain(text: string): string {
  return escapeHtml(stripVTControlCharacters(text).trimEnd());
}

/**
 * Writes the page of an executed notebook.
 *
 * @param notebook with its outputs
 * @param name of its file without ending
 * @returns HTML for `notebooks/NAME.html`; what its text links to beside it is left as it is
 */
export function notebookPage(notebook: Notebook, name: string): string {
  const specs: Spec[] = [];
  const parts = notebook.cells.map((cell) => {
    if (cell.cell_type === "markdown") return marked.parse(cell.source, { async: false });
    if (cell.cell_type !== "code") return "";
    const outputs = (cell.outputs ?? []).map((output) => outputHtml(output, specs));
    const code = `<pre><code class="language-typescript">${escapeHtml(cell.source)}</code></pre>`;
    return [code, ...outputs].filter((part) => part !== "").join("\n");
  });
  const body = parts.join("\n") +
    `\n<p class="small">Executed by <code>task notebooks</code>; to change and run it yourself open ` +
    `<a href="${name}.ipynb">${name}.ipynb</a> in <code>task lab</code>.</p>`;
  const vega = ["vega", "vega-lite", "vega-embed"].map((script) =>
    `<script src="../scripts/${script}.min.js"></script>`
  );
  const scripts = specs.length > 0 ? [...vega, drawingScripts(specs)].join("\n") : "";
  return shell({ title: `${summaryOf(notebook).title} · hmmlab`, up: "../", body, scripts });
}
