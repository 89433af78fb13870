/** The whole site: every link followed, every chart drawn, without a network. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildSite } from "../../../lib/cli/site.ts";
import { mended } from "../../../lib/cli/site/reference.ts";
import { summaryOf } from "../../../lib/cli/site/notebook.ts";
import type { LinksFound } from "../../../lib/cli/site/links.ts";
import { readNotebook } from "../../../lib/cli/notebooks/notebook.ts";
import { NOTEBOOKS, storyNames } from "../../../lib/cli/notebooks.ts";
import { ROOT } from "../../../lib/cli/setup.ts";
import { needs } from "../../needs.ts";
import { Chromium } from "../../notebook/lab.ts";

const out = mkdtempSync(join(tmpdir(), "hmmlab-site-"));
let links: LinksFound;
beforeAll(async () => {
  links = await buildSite(out);
}, 120_000);
afterAll(() => rmSync(out, { recursive: true, force: true }));

test("no link is dead, nothing is fetched from outside, no path of this machine stands in it", () => {
  expect(links.faults).toEqual([]);
  expect(links.checked).toBeGreaterThan(1000);
  for (const address of links.outside) expect(address).toMatch(/^https:/);
  for (const page of ["index.html", "reference/index.html", "reference/~/machine.html"]) {
    expect(readFileSync(join(out, page), "utf8"), page).not.toContain(ROOT);
  }
});

test("the index leads to every notebook, with its question, and to the reference", () => {
  const html = readFileSync(join(out, "index.html"), "utf8");
  for (const name of storyNames()) {
    expect(html).toContain(`<a href="notebooks/${name}.html">`);
    const { title, question } = summaryOf(readNotebook(join(NOTEBOOKS, `${name}.ipynb`)));
    expect(title).not.toBe("Untitled");
    expect(question.length, name).toBeGreaterThan(20);
  }
  expect(html).toContain('<a href="reference/index.html">');
});

test("the reference says how hmmlab is imported, and shows its sources", () => {
  const html = readFileSync(join(out, "reference/~/machine.html"), "utf8");
  expect(html).toContain("import { machine } from &quot;hmmlab&quot;;");
  expect(html).toContain('href="../../source/lib/machine/machine.ts.html"');
  expect(readFileSync(join(out, "source/lib/machine/machine.ts.html"), "utf8")).toContain(
    "export function machine&lt;",
  );
});

test("links of deno doc that lead nowhere are mended", () => {
  const sources = new Set<string>();
  const source = pathToFileURL(join(ROOT, "lib/units.ts")).href.replaceAll("/", "&#x2F;");
  const html = `<body><a id="type_param_t" href="#type_param_t">T</a><a href="#type_param_k">K</a>` +
    `<a href="${source}">s</a><a href="file:&#x2F;&#x2F;&#x2F;etc&#x2F;x">e</a><a href="..&#x2F;">up</a>`;
  expect(mended(html, "../..", sources)).toBe(
    '<body><p style="margin:.5rem 1rem"><a href="../../index.html">← notebooks and README</a></p>' +
      '<a id="type_param_t" href="#type_param_t">T</a><a>K</a>' +
      '<a href="../../source/lib/units.ts.html">s</a><a>e</a><a href="..&#x2F;index.html">up</a>',
  );
  expect([...sources]).toEqual(["lib/units.ts"]);
});

test("every chart of every notebook is drawn from the files alone", { timeout: 120_000 }, async (t) => {
  needs(t, "chromium");
  const browser = await Chromium.start();
  try {
    const page = await browser.page(1100, 900), faults: string[] = [];
    page.on("request", (r) => void (/^(file|data|blob):/.test(r.url()) || faults.push(r.url())));
    page.on("requestfailed", (r) => void faults.push(r.url()));
    page.on("pageerror", (error) => void faults.push(String(error)));
    for (const name of storyNames()) {
      await page.goto(pathToFileURL(join(out, "notebooks", `${name}.html`)).href);
      const { cells } = readNotebook(join(NOTEBOOKS, `${name}.ipynb`));
      const charts = cells.flatMap((cell) =>
        cell.outputs ?? []
      ).filter((o) => o.output_type === "display_data" && "application/vnd.vegalite.v5+json" in o.data)
        .length;
      const drawn =
        `[...document.querySelectorAll(".chart")].filter((c) => c.querySelector("svg.marks path")).length`;
      await page.waitForFunction(`${drawn} === ${charts}`, undefined, { timeout: 20_000 });
    }
    expect(faults).toEqual([]);
  } finally {
    await browser.close();
  }
});
