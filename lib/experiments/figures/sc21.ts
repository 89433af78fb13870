/**
 * What Allen and Ge (SC'21) measured on a Titan V: how batches of faults are composed, how much of their time is transfer,
 * what prefetching saves.
 *
 * Two parameters were taken from the same paper (faults of a batch, outstanding faults of a uTLB) and one was fitted: how many
 * thread blocks of a multiprocessor mix their accesses, on the VA blocks of "regular". Everything else is predicted. Times
 * are compared as quotients: the costs of a fault are another simulator's, and a kernel computes nothing here.
 * @module
 */
import published from "../../../datasets/published/sc21.json" with { type: "json" };
import type { Grid } from "../../devices/gpu/launch.ts";
import { machine } from "../../machine/machine.ts";
import type { Run } from "../../machine/run.ts";
import { gaussSeidel } from "../../workloads/kernels/gauss_seidel.ts";
import { type GpuProgram } from "../../workloads/kernels/kernel.ts";
import { multigrid } from "../../workloads/kernels/multigrid.ts";
import { pageKernel } from "../../workloads/kernels/pages.ts";
import { gridsOf, mapArrays } from "../../workloads/kernels/place.ts";
import { sgemm } from "../../workloads/kernels/sgemm.ts";
import { streamTriad } from "../../workloads/kernels/stream_triad.ts";
import { launch } from "../../workloads/launch.ts";
import { touch } from "../../workloads/touch.ts";
import { figuresOf, fittedIn, linesOf, namesOf } from "./published.ts";
import type { FigureRow } from "./row.ts";

const WORK = "Allen and Ge, SC'21 (Titan V)";

/** What they published. */
export const SC21_FIGURES = figuresOf(published);

const MIXED = fittedIn("titan-v", "mixedBlocks");
const BATCH = fittedIn("titan-v", "faultBatch");
const OUTSTANDING = fittedIn("titan-v", "outstandingFaults");

/** What was fitted on it. */
export const SC21_PARAMETERS = [MIXED, BATCH, OUTSTANDING];

/** How much of the programs is run. */
export interface Sc21Options {
  /** Whether only a part is run, for a test: fewer thread blocks, smaller arrays (default false). */
  readonly sample?: boolean;
}

/** What is counted of one run. */
interface Counted {
  readonly batches: number;
  readonly blocksPerBatch: number;
  /** The same of the first and of the last tenth of the batches. */
  readonly atFirst: number;
  readonly atLast: number;
  readonly largestBatch: number;
  readonly batchNs: number;
  readonly transferNs: number;
  readonly kernelNs: number;
}

function totals(run: Run, kind: string): Map<string, number> {
  const { columns: c, numRows } = run.phases, kinds = c.kind as readonly string[];
  const phases = c.phase as readonly string[], ns = c.ns as Float64Array, sums = new Map<string, number>();
  for (let i = 0; i < numRows; i++) if (kinds[i] === kind) sums.set(phases[i], ns[i]);
  return sums;
}

const sum = (xs: Iterable<number>) => [...xs].reduce((n, x) => n + x, 0);

/** Runs a program whose arrays the host has written, with as many thread blocks of each launch as are asked for. */
async function measure(
  program: GpuProgram,
  prefetch: string,
  most = Infinity,
): Promise<Counted> {
  const m = machine({
    host: "epyc-7551p",
    memory: "24 GiB",
    devices: { gpu: { kind: "gpu", profile: "titan-v", prefetch } },
  });
  const p = m.process(), arrays = mapArrays(p, program);
  for (const array of arrays) await m.run({ cpu: touch(array) });
  const grids = gridsOf(program, arrays).map((g): Grid => ({
    ...g,
    blocks: Math.min(g.blocks, most),
    fill: (block, part, runs) => g.fill(block, part, runs),
  }));
  const run = await m.run({ gpu: launch(m.gpu, p, grids) }, { events: 1 << 16 });
  const { faults, blocks } = run.records.gpu.batches.columns as Readonly<Record<string, Float64Array>>;
  const inBatches = totals(run, "fault batch"), tenth = Math.max(1, Math.floor(blocks.length / 10));
  return {
    batches: faults.length,
    blocksPerBatch: sum(blocks) / blocks.length,
    atFirst: sum(blocks.subarray(0, tenth)) / tenth,
    atLast: sum(blocks.subarray(-tenth)) / tenth,
    largestBatch: faults.reduce((n, x) => Math.max(n, x), 0),
    batchNs: sum(inBatches.values()),
    transferNs: inBatches.get("copy over the link") ?? 0,
    kernelNs: run.virtualNs,
  };
}

/** Far faults of one uTLB that the driver finds at once: a thread block touches more pages than may be outstanding. */
async function outstanding(): Promise<number> {
  const { largestBatch } = await measure(pageKernel("regular", { pages: 256, threadsPerBlock: 256 }), "none");
  return largestBatch;
}

const digits = (x: number, decimals: number) => Number(x.toFixed(decimals));

/**
 * Table 3, Figure 7 and Figure 14, on the same four programs.
 *
 * @param options how much of them is run
 * @returns a line for each figure
 */
export async function sc21Batches(options: Sc21Options = {}): Promise<FigureRow[]> {
  const line = linesOf(WORK, SC21_FIGURES), { sample = false } = options;
  const stream = streamTriad(sample ? { elements: 8_192_000 } : {}),
    gemms = sgemm(sample ? { size: 2048 } : {});
  const regularBlocks = sample ? 2048 : Infinity, randomBlocks = sample ? 256 : 1024;
  const regular = await measure(pageKernel("regular"), "none", regularBlocks);
  const random = await measure(pageKernel("random"), "none", randomBlocks);
  const triad = await measure(stream, "none"), gemm = await measure(gemms, "none");
  const shares = [regular, random, triad, gemm].map((c) => 100 * c.transferNs / c.batchNs);
  const saved = (without: Counted, with_: Counted) => digits(100 * (1 - with_.batches / without.batches), 1);
  const fetched = {
    regular: await measure(pageKernel("regular"), "tree51", regularBlocks),
    stream: await measure(stream, "tree51"),
    sgemm: await measure(gemms, "tree51"),
  };
  const atBatch = (c: Counted) => digits(c.blocksPerBatch, 2);
  return [
    line(
      "regular: VA blocks a batch",
      atBatch(regular),
      `${regular.batches} batches, prefetch none; ${regular.atFirst.toFixed(1)} in the first tenth of them, ${
        regular.atLast.toFixed(1)
      } in the last`,
      { verdict: "calibrated", within: 0.1, fittedOn: namesOf(MIXED) },
    ),
    line(
      "random: VA blocks a batch",
      atBatch(random),
      `the first ${randomBlocks} of 16,384 thread blocks; ${
        random.atFirst.toFixed(1)
      } in the first tenth of the batches, ${random.atLast.toFixed(1)} in the last`,
      { verdict: "predicted", within: 0.1 },
    ),
    line("stream: VA blocks a batch", atBatch(triad), `${triad.batches} batches`, {
      verdict: "predicted",
      within: 0.25,
    }),
    line("sgemm: VA blocks a batch", atBatch(gemm), "tiles of cuBLAS assumed", {
      verdict: "predicted",
      within: 0.25,
    }),
    line("faults of the largest batch", random.largestBatch, "", {
      verdict: "calibrated",
      within: 0,
      fittedOn: namesOf(BATCH),
    }),
    line("outstanding faults of a uTLB, at most", await outstanding(), "one thread block on 256 pages", {
      verdict: "calibrated",
      within: 0,
      fittedOn: namesOf(OUTSTANDING),
    }),
    line(
      "transfer's share of batch time, at most, %",
      digits(Math.max(...shares), 1),
      `regular, random, stream, sgemm: ${shares.map((x) => x.toFixed(1)).join(", ")} %; a bound`,
      { verdict: "predicted", atMost: true },
    ),
    line(
      "batches that prefetch removes, %",
      saved(gemm, fetched.sgemm),
      `sgemm (the program of the figure is assumed); regular ${saved(regular, fetched.regular)} %, stream ${
        saved(triad, fetched.stream)
      } %`,
      { verdict: "predicted", within: 0.05 },
    ),
  ];
}

/** Quotients of Table 4, each with what it is made of. */
const QUOTIENTS: Readonly<Record<string, (without: Counted, with_: Counted) => number>> = {
  "batch time without over with prefetch": (without, with_) => without.batchNs / with_.batchNs,
  "kernel time without over with prefetch": (without, with_) => without.kernelNs / with_.kernelNs,
  "batch over kernel time without prefetch": (without) => without.batchNs / without.kernelNs,
  "batch over kernel time with prefetch": (_, with_) => with_.batchNs / with_.kernelNs,
};

/**
 * Table 4: Gauss-Seidel and HPGMG with and without prefetch, as quotients of times; the two programs rank each quotient.
 *
 * @param options how much of them is run
 * @returns four lines for each
 */
export async function sc21Prefetch({ sample = false }: Sc21Options = {}): Promise<FigureRow[]> {
  const line = linesOf(WORK, SC21_FIGURES), rows: FigureRow[] = [], size = sample ? 1024 : 4096;
  const boxCells = sample ? 32 : 128;
  const programs: readonly (readonly [string, GpuProgram, string])[] = [
    ["Gauss-Seidel", gaussSeidel({ size, sweeps: 2 }), `${size} x ${size} cells, 2 sweeps`],
    ["HPGMG", multigrid({ boxCells }), `7 boxes of ${boxCells}^3 cells, one cycle`],
  ];
  const runs = [];
  for (const [, program] of programs) {
    runs.push([await measure(program, "none"), await measure(program, "tree51")] as const);
  }
  const theirs = (figure: string) => SC21_FIGURES.find((f) => f.figure === figure)!.value;
  for (const [what, quotient] of Object.entries(QUOTIENTS)) {
    const figures = programs.map(([name]) => `${name}: ${what}`), ours = runs.map((r) => quotient(...r));
    const ranked = theirs(figures[0]) < theirs(figures[1]) === ours[0] < ours[1];
    programs.forEach(([, , size], i) =>
      rows.push(line(
        figures[i],
        digits(ours[i], 3),
        `${size}, geometry partly assumed; computing takes no time here${
          ranked ? "" : "; the two programs rank the other way round"
        }`,
        { verdict: "trend", factor: 2, ranked },
      ))
    );
  }
  return rows;
}
