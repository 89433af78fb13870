/**
 * What `m.run` takes: programs and device work as sources of batches.
 * @module
 */
import type { AccessResult } from "../mm/access.ts";
import type { Proc } from "../sim/sim.ts";
import type { Machine } from "./machine.ts";
import type { Process } from "./process.ts";

/** How far a run is, as {@linkcode RunOptions.progress} hears it. */
export interface Progress {
  /** Pages accessed so far, by all workloads. */
  readonly done: number;
  /** Pages that the workloads said they will access. */
  readonly total: number;
  /** Wall time since the start, in seconds. */
  readonly wallSeconds: number;
  /** Virtual time since the start, in ns: that of the actor furthest on. */
  readonly virtualNs: number;
}

/** A workload that has begun on some machine. */
export interface Started {
  /** What the actor runs. */
  readonly proc: Proc<unknown>;
  /** What comes of it: pages accessed, signals, mismatches; filled while `proc` runs. */
  readonly out: AccessResult;
  /** Pages it will access, for progress. */
  readonly total: number;
  /** Pages it has accessed. */
  done(): number;
}

/**
 * Something an actor can do in a run: a program on a CPU, work on a device.
 *
 * `touch`, `scatter`, `stream`, `replayTrace` and `inTurns` make workloads. One of your own is an object with a generator
 * over the operations of a {@linkcode Thread} or a {@linkcode DeviceThread}.
 *
 * @example
 * ```ts
 * import { AccessResult, machine, Thread, type Workload } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" }), p = m.process(), heap = p.mmap("64 KiB"), t = new Thread(p);
 * const out = new AccessResult();
 * const fillAndFree: Workload = {
 *   name: "fill, free",
 *   process: p,
 *   start() {
 *     function* program() {
 *       yield* t.write(heap, 1);
 *       out.pages += heap.pages;
 *       yield* t.munmap(heap);
 *     }
 *     return { proc: program(), out, total: heap.pages, done: () => out.pages };
 *   },
 * };
 * console.log((await m.run({ cpu: fillAndFree })).actors[0].pages); // 16
 * ```
 */
export interface Workload {
  /** What it does, for tables. */
  readonly name: string;
  /** The process that it runs in, if it runs on a CPU. */
  readonly process?: Process;
  /** NUMA node of the CPU that it runs on; its process's if left out. */
  readonly node?: number | undefined;
  /** The workloads that must be in the same run, itself included, if it cannot run alone. */
  readonly together?: readonly Workload[];
  /**
   * Begins it.
   *
   * @param m the machine that runs it
   * @param a number of its actor
   * @returns what runs, and what comes of it
   * @throws {UsageError} if it cannot run on this machine
   */
  start(m: Machine, a: number): Started;
}
