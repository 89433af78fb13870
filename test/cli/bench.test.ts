import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { expect, test } from "vitest";
import { FloorColumns } from "../../lib/cli/bench/floor.ts";
import { median, type Report, tablesOf } from "../../lib/cli/bench/report.ts";
import { ROOT } from "../../lib/cli/setup.ts";

/** Runs the bench as its task does. Not synchronously: a worker of vitest must go on answering. */
function runBench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const command = ["run", "-A", "--frozen", join(ROOT, "lib/cli/bench.ts"), ...args];
  return new Promise((done) => {
    execFile(process.execPath, command, { cwd: ROOT }, (error, stdout, stderr) => {
      done({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, stdout, stderr });
    });
  });
}

test("task bench --quick --json measures every row and prints nothing but JSON", async () => {
  const { code, stdout, stderr } = await runBench("--quick", "--json");
  expect(code, stderr).toBe(0);
  const report = JSON.parse(stdout) as Report;
  expect(report.quick).toBe(true);
  expect(report.runtime).toMatch(/^deno \d/);

  const floors = report.pages.filter((r) => r.runner === "bare loop");
  expect(floors.map((r) => r.timesFloor)).toEqual([1, 1, 1]);
  const operations = new Set(report.pages.map((r) => r.operation));
  expect([...operations].some((o) => o.startsWith("migrate to device, batches of 16"))).toBe(true);
  for (const operation of operations) {
    for (const runner of ["complete", "clock", "steps"]) {
      for (const actors of [1, 8]) {
        const rows = report.pages.filter((r) =>
          r.operation === operation && r.runner === runner && r.actors === actors
        );
        expect(rows, `${operation}, ${runner}, ${actors}`).toHaveLength(1);
        expect(rows[0].pages).toBeGreaterThan(0);
      }
    }
  }
  for (const r of report.pages) {
    expect(r.timesFloor, r.operation).toBeGreaterThan(0);
    expect(r.nsPerPage * r.pagesPerSecond).toBeCloseTo(1e9, -1);
  }

  const clock = report.rates.filter((r) => r.what === "resumes on the clock");
  expect(clock.map((r) => r.actors)).toEqual([1, 8, 64]);
  expect(report.rates.some((r) => r.what.startsWith("explored fresh transitions") && r.count > 1000)).toBe(
    true,
  );
  for (const r of report.rates) expect(r.perSecond, r.what).toBeGreaterThan(0);

  // Columns in use are counted, not timed: they are the same on every computer.
  const [untouched, touched, mirrored] = report.memory.map((r) => r.stateBytesPerPage);
  expect(untouched).toBeLessThan(0.01);
  expect(touched).toBeGreaterThan(25);
  expect(mirrored).toBeGreaterThan(touched + 5);
  expect(mirrored).toBeLessThan(48);
  for (const r of report.memory) expect(r.residentBytesPerPage, r.what).toBeGreaterThanOrEqual(0);
  for (const r of report.start) expect(r.seconds, r.what).toBeGreaterThan(0);
  const [hotspot, large] = report.gpu;
  expect([hotspot.pages, hotspot.movedPages]).toEqual([3072, 3072]);
  // Each pass brings most of what the pass before had to evict.
  expect(large.movedPages).toBeGreaterThan(large.pages * 3);
  for (const r of report.gpu) expect(r.seconds, r.what).toBeGreaterThan(0);

  const tables = tablesOf(report);
  expect(tables.map((t) => t.numRows)).toEqual([
    report.pages.length,
    report.rates.length,
    report.memory.length,
    report.gpu.length,
    report.start.length,
  ]);
}, 180_000);

test("task bench says how it is used when it is used wrong", async () => {
  const { code, stdout, stderr } = await runBench("--quik");
  expect(code).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toContain("usage: deno task bench -- [--json] [--quick]");
}, 60_000);

test("the median of an even number of times is between the two in the middle", () => {
  expect(median([5])).toBe(5);
  expect(median([9, 1, 5])).toBe(5);
  expect(median([10, 9, 1, 5])).toBe(7);
});

test("the bare loop gives every page a frame, and moves it there and back", () => {
  const columns = new FloorColumns(1024);
  expect(columns.checksum()).toBe(0);
  columns.touch();
  const touched = columns.checksum();
  columns.move(true);
  expect(columns.checksum()).not.toBe(touched);
  columns.move(false);
  // Frames and words are where they were; the clock and the histogram have gone on.
  expect(columns.checksum() - touched).toBe(2 * 1024 * 690 + 2 * 64);
});
