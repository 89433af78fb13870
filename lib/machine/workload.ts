/**
 * What `m.run` takes: programs and device work as sources of batches.
 * @module
 */
import type { AccessResult } from "../mm/access.ts";
import type { Proc } from "../sim/sim.ts";
import type { Machine } from "./machine.ts";
import type { Process } from "./process.ts";

/** How far a run is. */
export interface Progress {
  /** Pages accessed so far. */
  readonly done: number;
  /** Pages that the workloads said they will access. */
  readonly total: number;
  /** Wall time since the start. */
  readonly wallSeconds: number;
  /** Virtual time since the start. */
  readonly virtualNs: number;
}

/** A workload that has begun. */
export interface Started {
  /** What the actor runs. */
  readonly proc: Proc<unknown>;
  /** What comes of it. */
  readonly out: AccessResult;
  /** Pages it will access. */
  readonly total: number;
  /** Pages it has accessed. */
  done(): number;
}

/** Something an actor can do. */
export interface Workload {
  /** What it does, for tables. */
  readonly name: string;
  /** The process that it runs in, if it runs on a CPU. */
  readonly process?: Process;
  /** Begins it on a machine as actor `a`. */
  start(m: Machine, a: number): Started;
}
