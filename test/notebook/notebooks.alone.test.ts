/** Every notebook from a fresh kernel, on both kernels, with its small parameters. */
import { join } from "node:path";
import { expect, test } from "vitest";
import { executeNotebook, outputFaults, smallParameters } from "../../lib/cli/notebooks/execute.ts";
import { KERNELS } from "../../lib/cli/notebooks/kernels.ts";
import { type Notebook, plainText, readNotebook } from "../../lib/cli/notebooks/notebook.ts";
import { NOTEBOOKS, storyNames } from "../../lib/cli/notebooks.ts";

/** The text of every display, without wall times; progress, which is about nothing else, apart. */
function displaysOf(notebook: Notebook): string[] {
  return notebook.cells.flatMap((cell) => cell.outputs ?? []).filter((o) =>
    o.output_type === "display_data" && !String(o.data["text/html"]).startsWith("<progress")
  ).map((o) => plainText(o).replace(/simulated in .*/g, "simulated"));
}

test.each(storyNames())("%s runs on both kernels alike", async (name) => {
  const notebook = readNotebook(join(NOTEBOOKS, `${name}.ipynb`)), parameters = smallParameters(notebook);
  expect(Object.keys(parameters)).not.toEqual([]);
  const runs = await Promise.all(
    KERNELS.map((kernel) => executeNotebook(notebook, kernel, { cwd: NOTEBOOKS, parameters })),
  );
  for (const run of runs) {
    expect(run.faults, run.kernel).toEqual([]);
    expect(run.late, `outputs of ${run.kernel} that a plain client would lose`).toBe(0);
  }
  expect(runs[1].digests).toEqual(runs[0].digests);
  // Digests are of runs; what is displayed beside them is the same too, but for the wall clock.
  const [deno, tslab] = runs.map((run) => displaysOf(run.notebook));
  expect(deno.length).toBeGreaterThan(0);
  expect(tslab).toEqual(deno);
}, 300_000);

test.each(storyNames())("%s is committed with outputs that render everywhere", (name) => {
  const { cells, metadata } = readNotebook(join(NOTEBOOKS, `${name}.ipynb`));
  const code = cells.filter((cell) => cell.cell_type === "code");
  expect(code.map((cell) => cell.execution_count)).toEqual(code.map((_, i) => i + 1));
  for (const cell of code) {
    expect(outputFaults(cell.outputs ?? []), cell.id).toEqual([]);
    expect(cell.outputs?.filter((o) => o.output_type === "error"), cell.id).toEqual([]);
  }
  expect(new Set(cells.map((cell) => cell.id)).size).toBe(cells.length);
  expect((metadata.kernelspec as { name: string }).name).toBe("deno");
  // The Deno kernel may say idle before it prints, and a plain client then loses it; a display waits.
  for (const { id, source } of code) {
    const statements = source.trimEnd().split(/\n(?=\S)(?![)}\]])/);
    expect(statements.at(-1), `${id} ends with console.log; write await show(text)`).not.toMatch(
      /^console\.log/,
    );
  }
  // A story: it begins with a title and a question, and charts answer.
  expect(cells[0].source).toMatch(/^# /);
  expect(cells.some((cell) => cell.cell_type === "markdown" && cell.source.includes("?"))).toBe(true);
  const charts = code.flatMap((cell) => cell.outputs ?? []).filter((o) =>
    o.output_type === "display_data" && "application/vnd.vegalite.v5+json" in o.data
  );
  expect(charts.length).toBeGreaterThan(0);
});
