/**
 * First light: the main job in one experiment, to run as it is or to copy from.
 *
 * A process fills a heap piece by piece. A device without memory maps a quarter of each piece; a device with memory that
 * the CPU cannot address then writes the piece, which moves it there and takes it from the first device; a second thread
 * reads random pages of it, which brings those back. Beside them a real program's page trace runs on a CPU of its own,
 * while the device with memory pulls the program's largest region over, again and again.
 * @module
 */
import { checkOptions, describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Machine, machine, type RunOptions } from "../machine/machine.ts";
import type { Run } from "../machine/run.ts";
import type { Workload } from "../machine/workload.ts";
import { PAGE_SIZE } from "../units.ts";
import { stream } from "../workloads/stream.ts";
import { scatter } from "../workloads/scatter.ts";
import { repeat } from "../workloads/repeat.ts";
import { replayTrace } from "../workloads/replay.ts";
import { touch } from "../workloads/touch.ts";
import type { PageTrace } from "../workloads/trace_file.ts";
import { inTurns } from "../workloads/turns.ts";

/** What can be varied in {@linkcode firstLight}. */
export interface FirstLightOptions {
  /** Seed of the random reads (default 1). */
  readonly seed?: number;
  /** Length of the heap, in whole pages (default "4 GiB"). */
  readonly heap?: string | number;
  /** Length of a piece, in whole pages, which must divide the heap (default "64 MiB"). */
  readonly piece?: string | number;
  /** Random reads of each piece, as a share of its pages (default 0.25). */
  readonly readBack?: number;
  /** Trace of a real program to replay beside it; left out if there is none. */
  readonly trace?: PageTrace;
}

const OPTIONS: Readonly<Record<keyof FirstLightOptions, true>> = {
  seed: true,
  heap: true,
  piece: true,
  readBack: true,
  trace: true,
};

/** What came of {@linkcode firstLight}. */
export interface FirstLight {
  /** The machine, in its last state. */
  readonly machine: Machine;
  /** The run. */
  readonly run: Run;
}

/**
 * Runs the first experiment: a process fills a heap piece by piece, one device maps a part of each piece, another one
 * takes the piece into memory that the CPU cannot address, and the CPU reads some of it back.
 *
 * @param options sizes and seed
 * @param run progress, budget, signal
 * @returns machine and run; every read was checked against the word last written (`run.mismatches`)
 * @throws {UsageError} for sizes that cannot be
 *
 * @example
 * ```ts
 * import { firstLight } from "hmmlab";
 *
 * const { run } = await firstLight({ heap: "8 MiB", piece: "2 MiB", seed: 1 });
 * console.log(run.pagesToDevice, run.mismatches); // 2048 0
 * ```
 */
export async function firstLight(options: FirstLightOptions = {}, run: RunOptions = {}): Promise<FirstLight> {
  checkOptions("run first light", options, OPTIONS, '{ heap: "1 GiB", seed: 1 }');
  const { readBack = 0.25 } = options;
  if (!(readBack > 0 && readBack <= 16)) {
    throw new UsageError(
      `Cannot run first light: got ${
        describe(readBack)
      } for readBack; a share above 0 and up to 16 is allowed; ` +
        "write for example readBack: 0.25",
    );
  }
  const m = machine({
    host: "epyc-7551p",
    devices: { gpu: "titan-v", mirror: { memory: 0, onFault: "map" } },
    seed: options.seed ?? 1,
  });
  const heap = m.process().mmap(options.heap ?? "4 GiB");
  const parties = inTurns(heap, options.piece ?? "64 MiB", {
    fill: (piece) => touch(piece, { value: 1 }),
    mirror: (piece) => stream(m.mirror, piece.slice(0, PAGE_SIZE * Math.max(1, piece.pages >>> 2))),
    gpu: (piece) => stream(m.gpu, piece, { write: true, value: 1_000_000 }),
    back: (piece) => {
      const reads = Math.max(1, Math.round(piece.pages * readBack));
      return scatter(piece, reads, { value: 1_000_000, check: true });
    },
  });
  const actors: Record<string, Workload> = { ...parties };
  if (options.trace !== undefined) {
    const program = actors.program = replayTrace(m.process(), options.trace);
    // The device takes the program's largest region from under it, again and again; the program never knows.
    const largest = program.regions.reduce((a, b) => b.pages > a.pages ? b : a);
    actors.pull = repeat(stream(m.gpu, largest), 20, { pause: "250 ms" });
  }
  return { machine: m, run: await m.run(actors, run) };
}
