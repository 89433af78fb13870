/**
 * `deno task bench`: times the simulator on this computer and prints a table, or `-- --json`.
 *
 * Ratios to the bare loop are taken within one run; times are medians; nothing is asserted of any of them.
 */
import { availableParallelism, cpus } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { toText } from "../tables/mod.ts";
import { benchMemory, benchStart } from "./bench/children.ts";
import { benchGpu } from "./bench/gpu.ts";
import { benchPages } from "./bench/pages.ts";
import { benchRates } from "./bench/rates.ts";
import { type BenchSizes, type Report, tablesOf } from "./bench/report.ts";

const USAGE = "usage: deno task bench -- [--json] [--quick]";

const FULL: BenchSizes = {
  pages: 1 << 16,
  repeats: 5,
  resumes: 1_000_000,
  touchedPages: 1 << 20,
  untouchedPages: 1 << 22,
  gpuPages: 1 << 23,
};
const QUICK: BenchSizes = {
  pages: 1 << 13,
  repeats: 1,
  resumes: 20_000,
  touchedPages: 1 << 16,
  untouchedPages: 1 << 16,
  gpuPages: 1 << 12,
};

/**
 * Measures everything.
 *
 * @param quick tiny sizes and one repeat, to see that it runs
 * @param progress told what is being measured
 */
export async function bench(quick: boolean, progress: (what: string) => void = () => {}): Promise<Report> {
  const sizes = quick ? QUICK : FULL;
  const { deno, node } = process.versions as Readonly<Record<string, string | undefined>>;
  progress("pages");
  const pages = await benchPages(sizes);
  progress("clock and explorer");
  const rates = await benchRates(sizes);
  progress("memory");
  const memory = benchMemory(sizes);
  progress("GPU");
  const gpu = await benchGpu(sizes);
  progress("start");
  const start = benchStart(sizes);
  return {
    runtime: `${deno === undefined ? `node ${node}` : `deno ${deno}`}, v8 ${process.versions.v8}`,
    processor: `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} cores`,
    quick,
    repeats: sizes.repeats,
    pages,
    rates,
    memory,
    start,
    gpu,
  };
}

async function main(argv: readonly string[]): Promise<number> {
  let flags: { json?: boolean; quick?: boolean };
  try {
    const args = argv.filter((arg, i) => !(i === 0 && arg === "--"));
    flags = parseArgs({ args, options: { json: { type: "boolean" }, quick: { type: "boolean" } } }).values;
  } catch (e) {
    console.error(`bench: ${e instanceof Error ? e.message : e}\n${USAGE}`);
    return 2;
  }
  const { isTTY } = process.stderr;
  const say = (what: string) => isTTY && process.stderr.write(`\rmeasuring ${what}\x1b[K`);
  const report = await bench(flags.quick ?? false, say);
  if (isTTY) process.stderr.write("\r\x1b[K");
  if (flags.json) console.log(JSON.stringify(report, null, 2));
  else {
    console.log(`${report.runtime} on ${report.processor}; medians of ${report.repeats}`);
    for (const table of tablesOf(report)) console.log(`\n${toText(table, { maxRows: 60 })}`);
  }
  return 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
