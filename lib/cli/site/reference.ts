/** The documentation of lib/mod.ts by `deno doc --html`, with its sources beside it. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { UsageError } from "../../errors.ts";
import { escapeHtml } from "../../tables/html.ts";
import { ROOT } from "../setup.ts";
import { anchorsOf, unescaped } from "./links.ts";
import { shell } from "./shell.ts";

/**
 * Writes the reference into `reference/` of the site and every source that it names into `source/`.
 *
 * @param out the site's folder
 * @throws {UsageError} If deno cannot document lib/mod.ts
 */
export function writeReference(out: string): void {
  const folder = join(out, "reference");
  const args = ["doc", "--html", "--name=hmmlab", `--output=${folder}`, "lib/mod.ts"];
  const { status, error, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (error) throw error;
  if (status !== 0) throw new UsageError(`Cannot make the reference: deno doc failed:\n${stdout}${stderr}`);
  const sources = new Set<string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".html")) continue;
    const path = join(folder, name), html = readFileSync(path, "utf8");
    writeFileSync(path, mended(html, relative(dirname(path), out).replaceAll("\\", "/"), sources));
  }
  for (const source of sources) {
    const path = join(out, "source", `${source}.html`), up = "../".repeat(source.split("/").length);
    const code = escapeHtml(readFileSync(join(ROOT, source), "utf8"));
    const body = `<h1>${
      escapeHtml(source)
    }</h1>\n<pre><code class="language-typescript">${code}</code></pre>`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, shell({ title: `${source} · hmmlab`, up, body }));
  }
}

/**
 * deno doc links to sources by their place on this machine, and to type parameters that have no place on the page; it
 * knows neither the rest of the site nor the name under which hmmlab is imported.
 *
 * @param html a page of it
 * @param up what leads from the page to the site's root
 * @param sources takes the sources that the page names, from the root of the repository
 * @returns the page with links that lead somewhere
 */
export function mended(html: string, up: string, sources: Set<string>): string {
  const anchors = anchorsOf(html), root = posix.join(up, "index.html");
  return html
    .replace("<body>", `<body><p style="margin:.5rem 1rem"><a href="${root}">← notebooks and README</a></p>`)
    .replace(/(\sfrom (?:&quot;|"))\.(?=&quot;|")/g, "$1hmmlab")
    // Without a server a folder has no index.
    .replace(/\shref="([^":]*(?:\/|&#x2F;))"/g, ' href="$1index.html"')
    .replace(/\shref="(file:[^"]*|#type_param_[^"]*)"/g, (link, escaped: string) => {
      const target = unescaped(escaped);
      if (target.startsWith("#")) return anchors.has(target.slice(1)) ? link : "";
      const source = relative(ROOT, fileURLToPath(target.replace(/#.*$/, ""))).replaceAll("\\", "/");
      if (source.startsWith("..")) return "";
      sources.add(source);
      return ` href="${posix.join(up, "source", source)}.html"`;
    });
}
