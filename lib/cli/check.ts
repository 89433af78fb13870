/** `deno task check`: format, lint, types, documentation and the house rules, each run even if one before it failed. */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { ROOT } from "./setup.ts";
import { runVitest } from "./test.ts";

/** One thing that is checked. */
interface Step {
  readonly name: string;
  /** What the step says when it fails, to be put right by hand or by a command. */
  readonly remedy: string;
  /** Answers whether all is well, after printing what is not. */
  readonly run: () => boolean;
}

/** Runs deno on the repository and shows what it said only when it fails. */
function deno(...args: string[]): boolean {
  const { status, error, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: "utf8",
    // deno doc prints the whole documentation beside what it finds wrong in it.
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  if (status !== 0) process.stderr.write(stdout + stderr);
  return status === 0;
}

const STEPS: readonly Step[] = [
  { name: "format", remedy: "run `deno fmt`", run: () => deno("fmt", "--check") },
  { name: "lint", remedy: "see above", run: () => deno("lint") },
  { name: "types", remedy: "see above", run: () => deno("check", "--quiet", "--frozen", "lib", "test") },
  {
    name: "documentation",
    remedy: "see above: every symbol of lib/mod.ts is explained and explicitly typed",
    run: () => deno("doc", "--lint", "lib/mod.ts"),
  },
  { name: "house rules", remedy: "see test/house/", run: () => runVitest(["test/house/"]).status === 0 },
];

const failed: Step[] = [];
for (const step of STEPS) {
  const ok = step.run();
  console.log(`check ${step.name}: ${ok ? "ok" : "FAILED"}`);
  if (!ok) failed.push(step);
}
// Never "N passed, N failed": that line belongs to `task test`.
if (failed.length === 0) console.log("check: all clean");
else for (const step of failed) console.log(`check: ${step.name} is not clean: ${step.remedy}`);
process.exitCode = failed.length === 0 ? 0 : 1;
