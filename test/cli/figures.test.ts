import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import type { FigureRow } from "../../lib/experiments/figures/row.ts";

/** Runs the command as its task does. Not synchronously: a worker of vitest must go on answering. */
function figures(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = ["run", "-A", "--frozen", join(ROOT, "lib/cli/figures.ts"), ...args];
  return new Promise((done) => {
    execFile(process.execPath, command, { cwd: ROOT, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      done({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

interface Report {
  readonly faults: readonly string[];
  readonly works: readonly { readonly name: string; readonly rows: readonly FigureRow[] }[];
}

test(
  "task figures --json: SC'21 calibrated on regular predicts random within 10 % and stream within 25 %",
  async () => {
    const { code, stdout, stderr } = await figures("--json", "--sample", "sc21");
    expect([code, stderr]).toEqual([0, ""]);
    const { faults, works: [{ name, rows }] } = JSON.parse(stdout) as Report;
    expect([faults, name]).toEqual([[], "sc21"]);
    const find = (figure: string) => rows.find((r) => r.figure === figure)!;
    const batches = (program: string) => find(`${program}: VA blocks a batch`);
    expect(Math.abs(batches("regular").ratio - 1)).toBeLessThan(0.1);
    expect(Math.abs(batches("random").ratio - 1)).toBeLessThan(0.1);
    expect(Math.abs(batches("stream").ratio - 1)).toBeLessThan(0.25);
    expect([batches("regular").verdict, batches("regular").fittedOn]).toEqual([
      "calibrated",
      "titan-v: mixedBlocks",
    ]);
    for (const program of ["random", "stream", "sgemm"]) expect(batches(program).fittedOn).toBe("");
    expect([batches("random").verdict, batches("stream").verdict]).toEqual(["predicted", "predicted"]);
    expect(find("faults of the largest batch").ours).toBe(256);
    expect(find("outstanding faults of a uTLB, at most").ours).toBe(56);
    const transfer = find("transfer's share of batch time, at most, %");
    expect(transfer.ours).toBeGreaterThan(1);
    expect(transfer.verdict).toBe(transfer.ours <= 25 ? "predicted" : "missed");
    // The quotients of Table 4 are a trend only where both programs rank as published.
    const quotients = rows.filter((r) => / over .* prefetch$/.test(r.figure));
    expect(quotients).toHaveLength(8);
    for (const what of new Set(quotients.map((r) => r.figure.split(": ")[1]))) {
      const [a, b] = quotients.filter((r) => r.figure.endsWith(`: ${what}`));
      const ranked = a.published < b.published === a.ours < b.ours;
      for (const r of [a, b]) {
        expect(r.verdict).toBe(ranked && r.ratio <= 2 && r.ratio >= 0.5 ? "trend" : "missed");
      }
    }
  },
  180_000,
);

test("task figures NAME prints a table with verdicts, and refuses what it does not know", async () => {
  const tree = await figures("gtx1080-tree");
  expect(tree.code).toBe(0);
  expect(tree.stdout).toContain("moved at block 16, KiB");
  expect(tree.stdout).toMatch(/all +12 +12 +0/);
  const { code, stdout, stderr } = await figures("gtx1080-tre");
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch('Cannot compare with "gtx1080-tre"');
  expect(stderr).toMatch("there are uvm-smart, gtx1080-tree, sc21");
  expect((await figures("--jsn")).stderr).toMatch("usage: deno task figures");
}, 60_000);
