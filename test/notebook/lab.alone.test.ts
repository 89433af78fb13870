/** 01 in JupyterLab, on both kernels, with all cells run by the menu: what a reader sees. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { smallParameters } from "../../lib/cli/notebooks/execute.ts";
import { type Kernel, KERNELS } from "../../lib/cli/notebooks/kernels.ts";
import { readNotebook, writeNotebook } from "../../lib/cli/notebooks/notebook.ts";
import { NOTEBOOKS } from "../../lib/cli/notebooks.ts";
import { isUsable, ROOT, SYSTEM_PROGRAMS } from "../../lib/cli/setup.ts";
import { needs } from "../needs.ts";
import { Chromium, Lab } from "./lab.ts";

/** Screenshots stay here to be looked at. */
const OUT = join(ROOT, "out", "notebooks-in-lab");
const NAMES: Readonly<Record<Kernel, string>> = { deno: "Deno", tslab: "TypeScript (tslab)" };
const notebook = readNotebook(join(NOTEBOOKS, "01-first-light.ipynb"));
const code = notebook.cells.filter((cell) => cell.cell_type === "code");

let lab: Lab | undefined, browser: Chromium | undefined;

beforeAll(async () => {
  if (!SYSTEM_PROGRAMS.every((p) => !["python3", "chromium"].includes(p.program) || isUsable(p))) return;
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT, { recursive: true });
  for (const kernel of KERNELS) {
    const kernelspec = { name: kernel, display_name: NAMES[kernel], language: "typescript" };
    // As a new reader gets it: nothing executed yet.
    const cells = notebook.cells.map((c) =>
      c.cell_type === "code" ? { ...c, execution_count: null, outputs: [] } : c
    );
    writeNotebook(join(OUT, `01-${kernel}.ipynb`), {
      ...notebook,
      cells,
      metadata: { ...notebook.metadata, kernelspec },
    });
  }
  lab = await Lab.start(OUT, smallParameters(notebook));
  browser = await Chromium.start();
}, 300_000);

afterAll(async () => {
  try {
    await browser?.close();
  } finally {
    await lab?.close();
  }
}, 60_000);

/** How much of each drawn chart is neither background nor nothing. */
function inkOfCharts(page: Page): Promise<number[]> {
  return page.$$eval(
    ".jp-OutputArea-output .vega-embed canvas",
    (charts) =>
      charts.map((chart) => {
        const canvas = chart as unknown as {
          width: number;
          height: number;
          getContext(kind: "2d"): {
            getImageData(x: number, y: number, w: number, h: number): { data: Uint8ClampedArray };
          };
        };
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let ink = 0;
        for (let i = 0; i < data.length; i += 4) {
          if (data[i + 3] > 0 && Math.min(data[i], data[i + 1], data[i + 2]) < 200) ink++;
        }
        return (4 * ink) / data.length;
      }),
  );
}

test.for(KERNELS)(
  "on %s every cell runs, every chart is drawn, nothing is an error",
  { timeout: 180_000 },
  async (kernel, t) => {
    needs(t, "python3");
    needs(t, "chromium");
    const page = await browser!.page(1300, 7000);
    await page.goto(lab!.url(`01-${kernel}.ipynb`));
    await page.waitForSelector(`.jp-Toolbar-kernelName:has-text("${NAMES[kernel]}")`, { timeout: 60_000 });
    await page.waitForSelector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', { timeout: 60_000 });
    await page.getByRole("menuitem", { name: "Run", exact: true }).click();
    await page.getByRole("menuitem", { name: "Run All Cells", exact: true }).click();
    const last = `.jp-CodeCell .jp-InputPrompt:text-is("[${code.length}]:")`;
    await page.waitForSelector(last, { timeout: 90_000 });
    // The last chart is drawn after its cell has ended.
    const charts = code.flatMap((cell) => cell.outputs ?? []).filter((o) =>
      o.output_type === "display_data" && "application/vnd.vegalite.v5+json" in o.data
    );
    await page.waitForFunction(
      `document.querySelectorAll(".jp-OutputArea-output .vega-embed canvas").length === ${charts.length}`,
      undefined,
      { timeout: 30_000 },
    );
    await page.screenshot({ path: join(OUT, `01-${kernel}.png`) });

    const prompts = await page.$$eval(".jp-CodeCell .jp-InputPrompt", (all) => all.map((e) => e.textContent));
    expect(prompts).toEqual(code.map((_, i) => `[${i + 1}]:`));
    const ink = await inkOfCharts(page);
    expect(ink).toHaveLength(charts.length);
    for (const share of ink) expect(share).toBeGreaterThan(0.01);
    const errors =
      '[data-mime-type="application/vnd.jupyter.error"], [data-mime-type="application/vnd.jupyter.stderr"]';
    expect(await page.$$eval(errors, (all) => all.map((e) => e.textContent))).toEqual([]);
    expect(await page.$$eval(".jp-OutputArea-output table.hmmlab", (all) => all.length)).toBeGreaterThan(5);
    // Progress stands at its end.
    const bars = await page.$$eval(
      ".jp-OutputArea-output progress",
      (all) => all.map((e) => Number(e.getAttribute("value")) / Number(e.getAttribute("max"))),
    );
    expect(new Set(bars)).toEqual(new Set([1]));
    await page.close();
  },
);
