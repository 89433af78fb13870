/** What has to be measured in a fresh process: memory, and the time to a first chart. */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT } from "../setup.ts";
import { type BenchSizes, median, type MemoryRow, type TimeRow } from "./report.ts";

/** Runs deno in the project's root and returns what it printed. */
function deno(args: readonly string[], input?: string): string {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    encoding: "utf8",
    input,
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`deno ${args.join(" ")} failed:\n${stderr}`);
  return stdout;
}

/** Bytes a page, measured in a process of its own. */
export function benchMemory(sizes: BenchSizes): MemoryRow[] {
  const script = fileURLToPath(new URL("./footprint.ts", import.meta.url));
  const flags = ["run", "-A", "--frozen", "--v8-flags=--expose-gc"];
  return JSON.parse(deno([...flags, script, String(sizes.touchedPages), String(sizes.untouchedPages)]));
}

/** What a user types first. */
const FIRST_CHART = `
import { machine, plot, stream, touch } from "hmmlab";
const m = machine({ devices: { gpu: "titan-v" } }), heap = m.process().mmap("16 MiB");
const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
const svg = await plot.latency(run.invalidations).svg();
console.log(JSON.stringify({ seconds: performance.now() / 1000, length: svg.length }));
`;

/** Time from starting deno on a script to its first chart as SVG, once everything is in deno's cache. */
export function benchStart(sizes: BenchSizes): TimeRow[] {
  const inside: number[] = [], outside: number[] = [];
  for (let r = 0; r <= sizes.repeats; r++) {
    const t0 = performance.now();
    const { seconds, length } = JSON.parse(deno(["run", "-A", "--frozen", "-"], FIRST_CHART)) as {
      seconds: number;
      length: number;
    };
    if (length < 1000) throw new Error("the first chart is empty");
    if (r === 0) continue;
    inside.push(seconds);
    outside.push((performance.now() - t0) / 1000);
  }
  return [
    { what: "from import to the first chart", seconds: median(inside), aimSeconds: 2 },
    { what: "the same, with deno's own start and end", seconds: median(outside), aimSeconds: null },
  ];
}
