/**
 * A machine: host, memory, devices and processes put together from a spec, and run.
 * @module
 */
import { DummyDevice } from "../devices/dummy/device.ts";
import type { DummyOptions } from "../devices/dummy/spec.ts";
import { UsageError } from "../errors.ts";
import { Batches } from "../hmm/batches.ts";
import { Kernel } from "../mm/kernel.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import { breathe, InterruptedError, watchInterrupts } from "../sim/interrupt.ts";
import { reverts } from "../sim/revert.ts";
import { type Actor, Clock, complete, steps } from "../sim/runners.ts";
import type { Proc } from "../sim/sim.ts";
import { formatBytes, formatCount } from "../units.ts";
import { Process } from "./process.ts";
import { type ActorOutcome, Run, type RunEnd } from "./run.ts";
import { checkMachine, type MachineOptions, type MachineSpec } from "./spec.ts";
import type { Progress, Started, Workload } from "./workload.ts";

/** How a run is driven. */
export interface RunOptions {
  /** "clock" (default): in virtual time, side by side; "complete": one after the other; "steps": a turn each at every stop. */
  readonly runner?: "clock" | "complete" | "steps";
  /** Called some ten times a second. */
  readonly progress?: (p: Progress) => void;
  /** Ends the run after so many seconds of wall time, with what it has. */
  readonly budgetSeconds?: number;
  /** Ends the run when aborted, with what it has. */
  readonly signal?: AbortSignal;
  /** Keeps up to so many single spans as rows (`run.events`). */
  readonly events?: number;
}

/** Wall time between two looks at progress, budget and signal. */
const SLICE_MS = 50;

/** A simulated machine. */
export class Machine implements Displayable {
  /** What it is made of. */
  readonly spec: MachineSpec;
  /** Its memory management: columns, locks, notifiers. */
  readonly kernel: Kernel;
  /** Its devices by name. */
  readonly devices: Readonly<Record<string, DummyDevice>>;
  /** Its devices in the order of the spec. */
  readonly deviceList: readonly DummyDevice[];
  private broken: string | undefined;

  /** Use {@link machine}. */
  constructor(spec: MachineSpec) {
    this.spec = spec;
    const k = this.kernel = new Kernel(spec.kernel, spec.cost, reverts(spec.revert));
    // A migration holds two batches, and a device fault one around it.
    const batches = new Batches(k.sim, Math.min(4 * spec.kernel.actors, 256), spec.batchPages);
    this.deviceList = Object.entries(spec.devices).map(([name, d], i) =>
      new DummyDevice(k, batches, name, d, i + 1)
    );
    this.devices = Object.fromEntries(this.deviceList.map((d) => [d.name, d]));
    k.sim.actorNames[0] = "main";
  }

  /** Makes a process with an empty address space. */
  process(): Process {
    return new Process(this);
  }

  /** Runs a generator of the lower floors to completion on actor 0. */
  complete<R>(proc: Proc<R>): R {
    this.usable();
    let result: R | undefined;
    function* keep(): Proc {
      result = yield* proc;
    }
    complete(this.kernel.sim, [{ a: 0, proc: keep() }]);
    return result as R;
  }

  private usable(): void {
    if (this.broken !== undefined) {
      throw new UsageError(`Cannot go on with this machine: ${this.broken}. Build another with machine(…).`);
    }
  }

  /** Starts workloads as actors 1, 2, … in the order given. */
  private start(workloads: Readonly<Record<string, Workload>>): { actors: Actor[]; started: Started[] } {
    this.usable();
    const { sim, cpus } = this.kernel, entries = Object.entries(workloads);
    if (entries.length === 0) {
      throw new UsageError("Cannot run nothing: give workloads by name, as in m.run({ cpu: touch(heap) }).");
    }
    if (entries.length >= sim.maxActors) {
      throw new UsageError(
        `Cannot run ${entries.length} workloads: the machine was built for ${
          sim.maxActors - 1
        }; give machine({ actors }).`,
      );
    }
    sim.resetAccounts();
    for (const d of this.deviceList) d.link.reset();
    cpus.fill(0);
    for (const [name, w] of entries) {
      if (typeof w?.start !== "function") {
        throw new UsageError(
          `Cannot run "${name}": it is no workload; write touch(…), stream(…), replay(…).`,
        );
      }
      if (w.process !== undefined && w.process.machine !== this) {
        throw new UsageError(
          `Cannot run "${name}": its process belongs to another machine; use this one's process().`,
        );
      }
      if (w.process !== undefined) cpus[w.process.mm]++;
    }
    const started = entries.map(([name, w], i) => {
      sim.actorNames[i + 1] = name;
      return w.start(this, i + 1);
    });
    return { started, actors: started.map((s, i) => ({ a: i + 1, proc: s.proc })) };
  }

  /**
   * Runs workloads side by side in virtual time.
   *
   * @param workloads what each actor does, by name
   * @param options runner, progress, budget
   * @returns what happened; a run that was cut short says so in `end`
   * @throws UsageError for what is no workload; DeadlockError, LivelockError if the model hangs; InterruptedError when
   * a notebook's user stops the cell
   */
  async run(workloads: Readonly<Record<string, Workload>>, options: RunOptions = {}): Promise<Run> {
    const { actors, started } = this.start(workloads), { sim } = this.kernel;
    if (options.events !== undefined) sim.spans.events.start(options.events);
    else sim.spans.events.on = false;
    const t0 = performance.now(), total = started.reduce((n, s) => n + s.total, 0);
    let end: RunEnd = "done", resumes = 0, told = false;
    const tell = (wallSeconds: number) =>
      options.progress?.({
        done: started.reduce((n, s) => n + s.done(), 0),
        total,
        wallSeconds,
        virtualNs: sim.latestNs,
      });
    const interrupts = watchInterrupts();
    try {
      if (options.runner === "complete") complete(sim, actors);
      else if (options.runner === "steps") steps(sim, actors);
      else {
        const clock = new Clock(sim, actors);
        let slice = 1000;
        for (let from = performance.now(); !clock.run(slice);) {
          const now = performance.now(), ms = now - from;
          if (ms < SLICE_MS / 2) slice = Math.min(slice * 2, 1_000_000);
          else if (ms > SLICE_MS * 2) slice = Math.max(slice >> 1, 16);
          if (ms < SLICE_MS / 4) continue;
          const wallSeconds = (now - t0) / 1000;
          tell(wallSeconds);
          told = true;
          if (interrupts.raised || options.signal?.aborted) end = "interrupted";
          else if (options.budgetSeconds !== undefined && wallSeconds > options.budgetSeconds) end = "budget";
          if (end !== "done") break;
          await breathe();
          from = performance.now();
        }
        resumes = clock.events;
        // Many short runs in a row must let an interrupt through as well as a long one.
        await breathe(SLICE_MS);
        if (interrupts.raised) {
          const seconds = ((performance.now() - t0) / 1000).toFixed(1);
          const pages = formatCount(started.reduce((n, s) => n + s.done(), 0));
          throw new InterruptedError(
            `The run was interrupted after ${seconds} s, at ${pages} of ${formatCount(total)} pages. ` +
              "To keep what a run has by some time, give m.run(…, { budgetSeconds }).",
          );
        }
        // The last word to whoever followed it.
        if (told && end === "done") tell((performance.now() - t0) / 1000);
      }
    } catch (e) {
      this.broken = `its last run failed (${e instanceof Error ? e.message.split("\n")[0] : e})`;
      throw e;
    } finally {
      interrupts.release();
      if (end !== "done") this.broken = "its last run was cut short in the middle of operations";
      actors.forEach(({ a }) => sim.spans.abandon(a));
    }
    const outcomes = Object.entries(workloads).map(([name, w], i): ActorOutcome => {
      const { out } = started[i];
      return {
        name,
        workload: w.name,
        pages: out.pages,
        signals: out.signals.length,
        mismatches: out.mismatches,
        endNs: sim.nowNs[i + 1],
      };
    });
    const virtualNs = outcomes.reduce((t, o) => Math.max(t, o.endNs), 0);
    return new Run(this, outcomes, virtualNs, (performance.now() - t0) / 1000, resumes, end);
  }

  /** SHA-256 of everything that decides behaviour. */
  stateDigest(): string {
    return this.kernel.sim.state.digest();
  }

  /** Its parts, one a row. */
  parts(): Columns {
    const { kernel, spec } = this, { pages } = kernel;
    const rows = pages.zones.map((z) => ({
      part: z.name,
      kind: z.type === 0 ? `host ${spec.hostName}` : "device memory, not addressable by the CPU",
      memory: formatBytes(4096 * (z.end - z.start)),
      usedPages: pages.used(z),
    }));
    return columnsOf("Machine", rows, { usedPages: "pages" });
  }

  /** @inheritdoc */
  [DISPLAY](): Display {
    const { sim, tables, deviceTables, vmas } = this.kernel;
    return {
      text: `machine with seed ${this.spec.kernel.seed}: ${formatCount(vmas.length)} vmas, ${
        formatCount(tables.tables)
      } page-table pages, ${formatCount(deviceTables.tables)} on devices, ${
        formatBytes(sim.state.usedBytes)
      } of state`,
      tables: [this.parts()],
    };
  }
}

/**
 * Builds a machine.
 *
 * @param options host, devices, seed, sizes; see {@link MachineOptions}
 * @returns the machine; each device is also a property of it, by its name
 * @throws UsageError for an unknown profile or option, or sizes that cannot be
 *
 * @example
 * ```ts
 * import { machine, show, stream, touch } from "hmmlab";
 *
 * const m = machine({ host: "epyc-7551p", devices: { gpu: "titan-v" }, seed: 1 });
 * const heap = m.process().mmap("16 MiB");
 * const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
 * await show(run);
 * ```
 */
export function machine<D extends string = never>(
  options: MachineOptions<D> = {},
): Machine & { readonly [name in D]: DummyDevice } {
  const built = new Machine(checkMachine(options as MachineOptions));
  for (const [name, device] of Object.entries(built.devices)) {
    if (name in built) {
      throw new UsageError(`Cannot name a device "${name}": a machine has a member of that name.`);
    }
    Object.defineProperty(built, name, { value: device, enumerable: true });
  }
  return built as Machine & { readonly [name in D]: DummyDevice };
}

export type { DummyOptions };
