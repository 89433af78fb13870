/** Notebooks executed by nbclient as it is, which waits for nothing after a kernel has said idle. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { afterAll, expect, test } from "vitest";
import { digestsOf, outputFaults, smallParameters } from "../../lib/cli/notebooks/execute.ts";
import { ensureJupyter, jupyterEnv, venvProgram } from "../../lib/cli/notebooks/jupyter.ts";
import { KERNELS, writeKernelspecs } from "../../lib/cli/notebooks/kernels.ts";
import { readNotebook } from "../../lib/cli/notebooks/notebook.ts";
import { refreshPackage } from "../../lib/cli/notebooks/package.ts";
import { NOTEBOOKS } from "../../lib/cli/notebooks.ts";
import { needs } from "../needs.ts";

const EXECUTE = `
import sys, nbformat
from nbclient import NotebookClient
source, kernel, out, cwd = sys.argv[1:]
nb = nbformat.read(source, 4)
NotebookClient(nb, kernel_name=kernel, timeout=120, resources={"metadata": {"path": cwd}}).execute()
nbformat.validate(nb)
nbformat.write(nb, out)
`;
const folder = mkdtempSync(join(tmpdir(), "hmmlab-nbclient-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("plain nbclient loses nothing on either kernel", { timeout: 300_000 }, async (t) => {
  needs(t, "python3");
  await ensureJupyter(() => {});
  writeKernelspecs();
  refreshPackage();
  const source = join(NOTEBOOKS, "01-first-light.ipynb"), committed = readNotebook(source);
  const env = {
    ...process.env,
    ...jupyterEnv(),
    HMMLAB_PARAMETERS: JSON.stringify(smallParameters(committed)),
  };
  const digests: string[][] = [];
  for (const kernel of KERNELS) {
    const out = join(folder, `${kernel}.ipynb`);
    const args = ["-c", EXECUTE, source, kernel, out, NOTEBOOKS];
    await promisify(execFile)(venvProgram("python"), args, { env, cwd: folder });
    const { cells } = readNotebook(out), code = cells.filter((cell) => cell.cell_type === "code");
    expect(code.map((cell) => cell.execution_count)).toEqual(code.map((_, i) => i + 1));
    // A short run shows no progress: what else is displayed is the same, cell by cell.
    const displays = (of: typeof code) =>
      of.map((cell) =>
        (cell.outputs ?? []).flatMap((o) =>
          o.output_type === "display_data" && !String(o.data["text/html"]).startsWith("<progress")
            ? [Object.keys(o.data).sort().join()]
            : []
        )
      );
    expect(displays(code), kernel).toEqual(displays(committed.cells.filter((c) => c.cell_type === "code")));
    for (const cell of code) expect(outputFaults(cell.outputs ?? []), cell.id).toEqual([]);
    digests.push(code.flatMap((cell) => digestsOf(cell.outputs ?? [])));
    expect(readFileSync(out, "utf8")).not.toContain("InterruptedError");
  }
  expect(digests[0].length).toBeGreaterThan(0);
  expect(digests[1]).toEqual(digests[0]);
});
