/** `deno task test`: the whole suite in vitest, closed by one plain line `N passed, N failed`. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { ROOT } from "./setup.ts";

/** What one run of the suite came to, as test/reporter.ts counts it. */
export interface Summary {
  /** Tests that passed. */
  passed: number;
  /** Tests that failed or never ran, and files and hooks that failed without any test of theirs failing. */
  failed: number;
  /** Tests that were skipped, with the reason each gave (empty when it gave none). */
  skipped: { test: string; why: string }[];
}

/** How a run of vitest ended: its exit status, and what was counted (null when it never came to an end). */
export interface VitestRun {
  /** The exit status of vitest. */
  readonly status: number;
  /** What the reporter counted. */
  readonly summary: Summary | null;
}

/**
 * Runs vitest on this repository with its output going to the terminal.
 *
 * @param filters What vitest takes: parts of test paths, or options such as `-t NAME`.
 * @returns Its exit status and counts.
 */
export function runVitest(filters: readonly string[]): VitestRun {
  const folder = mkdtempSync(join(tmpdir(), "hmmlab-test-"));
  const summaryPath = join(folder, "summary.json");
  try {
    // The installed package, not `npm:vitest`: the lock decides its version.
    const { status, error } = spawnSync(process.execPath, [
      "run",
      "-A",
      "--frozen",
      "node_modules/vitest/vitest.mjs",
      "run",
      "--config=test/vitest.config.ts",
      "--pool=forks",
      "--reporter=default",
      "--reporter=./test/reporter.ts",
      ...filters,
    ], { cwd: ROOT, stdio: "inherit", env: { ...process.env, HMMLAB_TEST_SUMMARY: summaryPath } });
    if (error) throw error;
    const summary = readSummary(summaryPath);
    // Vitest calls what `-t` leaves out skipped as well; only those that say why were meant to be.
    const byName = filters.some((f) => /^(-t|--testNamePattern)/.test(f));
    if (summary && byName) summary.skipped = summary.skipped.filter((s) => s.why !== "");
    return { status: status ?? 1, summary };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readSummary(path: string): Summary | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  return JSON.parse(text) as Summary;
}

/**
 * The closing lines of a run, and the exit status they amount to.
 *
 * @param run How vitest ended.
 * @param inCi Whether a skipped test counts as failed, as it does where everything ought to be installed.
 * @returns The lines to print, the last of which is `N passed, N failed`, and the exit status.
 */
export function closing(run: VitestRun, inCi: boolean): { lines: string[]; status: number } {
  const lines: string[] = [];
  if (run.summary === null) {
    return { lines: ["vitest did not come to an end", "0 passed, 1 failed"], status: run.status || 1 };
  }
  const { passed, skipped } = run.summary;
  let { failed } = run.summary;
  for (const s of skipped) lines.push(`skipped: ${s.why || "no reason given"} (${s.test})`);
  if (inCi && skipped.length > 0) {
    lines.push("In CI a skipped test is a failed one.");
    failed += skipped.length;
  }
  // Vitest can fail for reasons of its own, such as a filter that no file matches.
  if (run.status !== 0 && failed === 0) failed = 1;
  const rest = skipped.length > 0 && !inCi ? `, ${skipped.length} skipped` : "";
  lines.push(`${passed} passed, ${failed} failed${rest}`);
  return { lines, status: failed > 0 ? 1 : 0 };
}

if (import.meta.main) {
  const filters = process.argv.slice(2).filter((arg, i) => !(i === 0 && arg === "--"));
  const ci = process.env.CI;
  const end = closing(runVitest(filters), ci !== undefined && ci !== "" && ci !== "false" && ci !== "0");
  for (const line of end.lines) console.log(line);
  process.exitCode = end.status;
}
