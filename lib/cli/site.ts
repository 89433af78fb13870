/** `deno task site`: a static site out of the executed notebooks and the documentation of lib/mod.ts. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import process from "node:process";
import { marked } from "marked";
import { UsageError } from "../errors.ts";
import { browserScripts } from "../plot/render.ts";
import { escapeHtml } from "../tables/html.ts";
import { NOTEBOOKS, storyNames } from "./notebooks.ts";
import { readNotebook } from "./notebooks/notebook.ts";
import { ROOT } from "./setup.ts";
import { checkLinks, type LinksFound } from "./site/links.ts";
import { notebookPage, summaryOf } from "./site/notebook.ts";
import { writeReference } from "./site/reference.ts";
import { shell, STYLE } from "./site/shell.ts";

/** Copies the files of the repository to which a page's text links, such as images, to the same place in the site. */
function copyLinked(html: string, from: string, out: string): void {
  for (const [, target] of html.matchAll(/\s(?:href|src)="([^"#?:]+)"/g)) {
    const path = join(ROOT, from, decodeURIComponent(target)), to = join(out, relative(ROOT, path));
    if (relative(ROOT, path).startsWith("..") || existsSync(to) || !existsSync(path)) continue;
    if (!statSync(path).isFile()) continue;
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(path, to);
  }
}

function notebooks(out: string): string {
  mkdirSync(join(out, "notebooks"), { recursive: true });
  const items = storyNames().map((name) => {
    const notebook = readNotebook(join(NOTEBOOKS, `${name}.ipynb`)),
      { title, question } = summaryOf(notebook);
    const html = notebookPage(notebook, name);
    writeFileSync(join(out, "notebooks", `${name}.html`), html);
    copyLinked(html, "notebooks", out);
    return `<li><a href="notebooks/${name}.html">${escapeHtml(title)}</a><br>${
      marked.parseInline(question, { async: false })
    }</li>`;
  });
  return `<h2 id="notebooks">Notebooks</h2>\n<ul>\n${items.join("\n")}\n</ul>\n`;
}

/** The README, with the list of notebooks after its introduction. */
function index(out: string, list: string): void {
  const readme = marked.parse(readFileSync(join(ROOT, "README.md"), "utf8"), { async: false });
  const at = readme.indexOf("<h2");
  const links = `${list}<p>The <a href="reference/index.html">reference</a> explains everything that ` +
    "<code>hmmlab</code> exports.</p>\n";
  const body = at < 0 ? readme + links : readme.slice(0, at) + links + readme.slice(at);
  const html = shell({ title: "hmmlab", up: "", body });
  copyLinked(html, ".", out);
  writeFileSync(join(out, "index.html"), html.replace(/(<a href="notebooks\/[^"]*)\.ipynb"/g, '$1.html"'));
}

/**
 * Builds the site.
 *
 * @param out the folder, which is made anew
 * @returns what its links come to
 * @throws {UsageError} If lib/ cannot be documented, or a notebook cannot be read
 */
export async function buildSite(out: string): Promise<LinksFound> {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "scripts"), { recursive: true });
  writeReference(out);
  const names = ["vega", "vega-lite", "vega-embed"], scripts = await browserScripts();
  names.forEach((name, i) => writeFileSync(join(out, "scripts", `${name}.min.js`), scripts[i]));
  writeFileSync(join(out, "site.css"), STYLE);
  index(out, notebooks(out));
  return checkLinks(out);
}

if (import.meta.main) {
  try {
    const out = join(ROOT, "out", "site"), { checked, outside, faults } = await buildSite(out);
    for (const fault of faults) console.log(fault);
    console.log(
      `${
        posix.join("out", "site", "index.html")
      }: ${checked} links within the site, ${faults.length} of them dead`,
    );
    if (outside.length > 0) console.log(`outside, not followed: ${outside.join(", ")}`);
    process.exitCode = faults.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
