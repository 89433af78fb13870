/**
 * Work on a GPU: kernels one after another, each a grid of thread blocks.
 * @module
 */
import { checkOptions, describe, didYouMean, wholeNumber } from "../arguments.ts";
import { advise, GPU_HINTS, type GpuHint, prefetch, prefetchBack } from "../devices/gpu/calls.ts";
import { Gpu } from "../devices/gpu/device.ts";
import type { Grid } from "../devices/gpu/launch.ts";
import { UsageError } from "../errors.ts";
import { checkRegion, Process, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { ENODEV } from "../mm/errno.ts";
import type { Proc } from "../sim/sim.ts";

/**
 * What a workload on a GPU does next: a kernel, or a call of the driver's (a prefetch, a hint). One that says in whose
 * memory it works is refused by a launch in another process.
 */
export type GpuStep = (Grid | ((gpu: Gpu, a: number) => Proc<number>)) & { readonly process?: Process };

/** How a launch looks at what it reads. */
export interface LaunchOptions {
  /** Whether reads compare the words that they find with those of the grids (default false). */
  readonly check?: boolean;
}

const LAUNCH_OPTIONS: Readonly<Record<keyof LaunchOptions, true>> = { check: true };

/** How {@linkcode streamGrid} goes over its region. */
export interface StreamGridOptions {
  /** Whether it writes (default: reads). */
  readonly write?: boolean;
  /** Word written to (or expected of) the first page; the next page's is one more (default 0). */
  readonly value?: number;
  /** Pages that each thread block goes over (default 8). */
  readonly pagesPerBlock?: number;
}

const GRID_OPTIONS: Readonly<Record<keyof StreamGridOptions, true>> = {
  write: true,
  value: true,
  pagesPerBlock: true,
};

/**
 * Runs kernels on a GPU, one after another, in the address space of a process.
 *
 * @param gpu one of the machine's GPUs: `m.gpu`
 * @param process in whose memory they work
 * @param steps the kernels, and calls of the driver between them
 * @param options see {@linkcode LaunchOptions}
 * @returns the workload
 * @throws {UsageError} for what is no GPU, no process of its machine, no step, or a step over another process's memory
 *
 * @example
 * ```ts
 * import { launch, machine, streamGrid } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), heap = p.mmap("16 MiB");
 * const run = await m.run({ gpu: launch(m.gpu, p, [streamGrid(heap, { write: true })]) });
 * console.log(run.actors[0].pages, run.pagesToDevice); // 4096 4096
 * ```
 */
export function launch(
  gpu: Gpu,
  process: Process,
  steps: readonly GpuStep[],
  options: LaunchOptions = {},
): Workload {
  if (!(gpu instanceof Gpu)) {
    throw new UsageError(
      `Cannot launch: got ${describe(gpu)} for the GPU; a GPU of the machine is allowed; ` +
        'write for example launch(m.gpu, p, grids) after machine({ devices: { gpu: { kind: "gpu" } } })',
    );
  }
  if (!(process instanceof Process) || process.machine.kernel !== gpu.k) {
    throw new UsageError(
      `Cannot launch on "${gpu.name}": got ${
        describe(process)
      } for the process; a process of the GPU's machine is allowed; ` +
        "write for example launch(m.gpu, m.process(), grids)",
    );
  }
  const isStep = (s: unknown) =>
    typeof s === "function" || typeof (s as Grid | null | undefined)?.fill === "function";
  if (!Array.isArray(steps) || !steps.every(isStep)) {
    throw new UsageError(
      `Cannot launch on "${gpu.name}": got ${
        Array.isArray(steps)
          ? `${describe(steps.find((s) => !isStep(s)))} for a step`
          : `${describe(steps)} for the steps`
      }; an array of grids is allowed; write for example [streamGrid(heap)]`,
    );
  }
  const stray = steps.find((s: GpuStep) => s.process !== undefined && s.process !== process);
  if (stray !== undefined) {
    const where = stray.process?.machine === process.machine ? "process" : "machine";
    throw new UsageError(
      `Cannot launch on "${gpu.name}": got "${stray.name}" over memory of another ${where}; steps over memory of the ` +
        "process that is given are allowed; write launch(m.gpu, p, …) with the p that mapped it",
    );
  }
  checkOptions(`launch on "${gpu.name}"`, options, LAUNCH_OPTIONS, "{ check: true }");
  const grids = steps.filter((s): s is Grid => typeof s !== "function");
  return {
    name: `${gpu.name} runs ${grids.map((g) => g.name).join(", ")}`,
    start(m, a) {
      if (gpu.k !== m.kernel) {
        throw new UsageError(
          `Cannot launch on "${gpu.name}": the GPU belongs to another machine; those of the machine that runs are allowed; ` +
            `write launch(m.${gpu.name}, …) with the m of m.run`,
        );
      }
      const out = new AccessResult(false, options.check ?? false);
      for (const _ of grids) gpu.driver.expect();
      function* proc(): Proc {
        for (const step of steps) {
          if (typeof step === "function") {
            if (gpu.presence.enter()) {
              yield* step(gpu, a);
              gpu.presence.exit();
            } else out.fail(0, -ENODEV);
          } else yield* gpu.launch(a, process.mm, step, out);
        }
      }
      const total = grids.reduce((n, g) => n + g.pages, 0);
      return { proc: proc(), out, total, done: () => out.pages };
    },
  };
}

/**
 * A step that moves a region to the GPU before a kernel touches it: cudaMemPrefetchAsync(), which the launch waits for.
 *
 * @param region what moves
 * @returns the step, for {@linkcode launch}
 *
 * @example
 * ```ts
 * import { launch, machine, prefetchStep, streamGrid } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), heap = p.mmap("4 MiB");
 * const run = await m.run({ gpu: launch(m.gpu, p, [prefetchStep(heap), streamGrid(heap)]) });
 * console.log(run.pagesToDevice, run.actors[0].pages); // 1024 1024
 * ```
 */
export function prefetchStep(region: Region): GpuStep {
  const { process, vpn, pages } = checkRegion("prefetch", region);
  const step = (gpu: Gpu, a: number) => prefetch(gpu, a, process.mm, vpn, vpn + pages);
  return Object.assign(step, { process });
}

/** A step that moves a region back to system memory; see {@linkcode prefetchStep}. */
export function prefetchBackStep(region: Region): GpuStep {
  const { process, vpn, pages } = checkRegion("prefetch", region);
  const step = (gpu: Gpu, a: number) => prefetchBack(gpu, a, process.mm, vpn, vpn + pages);
  return Object.assign(step, { process });
}

/**
 * A step that tells the GPU's driver something of a region: cudaMemAdvise().
 *
 * @param region what it is about
 * @param hint "prefer-gpu", "prefer-system" or "prefer-none" say where it should be; "accessed-by" that the GPU is to map it
 * wherever it is, "not-accessed-by" takes that back; "read-mostly" is accepted and does nothing, since HMM keeps one
 * physical page for each virtual address
 * @returns the step, for {@linkcode launch}
 * @throws {UsageError} for another hint
 *
 * @example
 * ```ts
 * import { adviseStep, launch, machine, streamGrid } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), heap = p.mmap("1 MiB");
 * p.write(heap, 1);
 * const run = await m.run({ gpu: launch(m.gpu, p, [adviseStep(heap, "prefer-system"), streamGrid(heap)]) });
 * console.log(run.pagesToDevice, run.links[0].total); // 0 1048576
 * ```
 */
export function adviseStep(region: Region, hint: GpuHint): GpuStep {
  const { process, vpn, pages } = checkRegion("advise", region);
  if (!GPU_HINTS.includes(hint)) {
    throw new UsageError(
      `Cannot advise: got ${describe(hint)}; allowed are ${GPU_HINTS.map((h) => `"${h}"`).join(", ")}${
        didYouMean(String(hint), GPU_HINTS)
      }`,
    );
  }
  const step = (gpu: Gpu, a: number) => advise(gpu, a, process.mm, vpn, vpn + pages, hint);
  return Object.assign(step, { process });
}

/**
 * A kernel that goes over a region once, in order: block 0 takes the first pages, block 1 the next, and so on.
 *
 * @param region what it goes over
 * @param options see {@linkcode StreamGridOptions}
 * @returns the grid, for {@linkcode launch}
 * @throws {UsageError} for what is no region, a number that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * import { machine, streamGrid } from "hmmlab";
 *
 * const heap = machine({ memory: "64 MiB" }).process().mmap("1 MiB");
 * console.log(streamGrid(heap, { pagesPerBlock: 16 }).blocks); // 16
 * ```
 */
export function streamGrid(
  region: Region,
  options: StreamGridOptions = {},
): Grid & { readonly process: Process } {
  const { process, vpn, pages } = checkRegion("make a grid", region);
  checkOptions("make a grid", options, GRID_OPTIONS, "{ pagesPerBlock: 8 }");
  const { write = false, value = 0 } = options;
  const each = wholeNumber("make a grid", "pagesPerBlock", options.pagesPerBlock ?? 8, 1, 2 ** 31);
  return {
    name: `${write ? "write" : "read"} ${pages} pages in order`,
    process,
    blocks: Math.ceil(pages / each),
    pages,
    fill(block, _part, runs) {
      const first = block * each;
      runs.add(vpn + first, Math.min(each, pages - first), write, (value + first) >>> 0);
      return false;
    },
  };
}
