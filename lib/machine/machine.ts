/**
 * A machine: host, memory, devices and processes put together from a spec, and run.
 * @module
 */
import { checkOptions } from "../arguments.ts";
import { Topology } from "../bus/topology.ts";
import type { Device } from "../devices/device.ts";
import { attachDevice, type DeviceChoice, type DeviceOf } from "../devices/kinds.ts";
import { UsageError } from "../errors.ts";
import { Batches } from "../hmm/batches.ts";
import { Kernel } from "../mm/kernel.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import { Cores } from "../sim/cores.ts";
import { breathe, InterruptedError, watchInterrupts } from "../sim/interrupt.ts";
import { Checkers, checkersOf, InvariantError } from "../check/mod.ts";
import { reverts } from "../sim/revert.ts";
import { type Actor, Clock, complete, steps } from "../sim/runners.ts";
import type { Proc } from "../sim/sim.ts";
import { formatBytes, formatCount } from "../units.ts";
import { checkWorkloads } from "./check_workloads.ts";
import { checkAttach, pluggable } from "./hotplug.ts";
import { Process } from "./process.ts";
import { outcomesOf, Run, type RunEnd } from "./run.ts";
import { checkRunOptions, type RunOptions } from "./run_options.ts";
import { checkNode } from "./nodes.ts";
import { checkDevices, checkMachine, type MachineOptions, type MachineSpec } from "./spec.ts";
import type { Started, Workload } from "./workload.ts";
import { INSPECT } from "../record/inspect.ts";

/** How a process begins. */
export interface ProcessOptions {
  /** NUMA node of the CPU on which it runs (default 0). */
  readonly node?: number;
}

/** "1 vma", "2 vmas". */
function counted(n: number, what: string): string {
  return `${formatCount(n)} ${what}${n === 1 ? "" : "s"}`;
}

/** Wall time between two looks at progress, budget and signal. */
const SLICE_MS = 50;

/**
 * A simulated machine: a host with memory and CPUs, devices, processes. {@linkcode machine} builds it.
 *
 * Each device is also a property of it, by its name: `m.gpu`.
 *
 * @example
 * ```ts
 * import { machine, show } from "hmmlab";
 *
 * const m = machine({ memory: "1 GiB", devices: { gpu: { profile: "titan-v", memory: "256 MiB" } } });
 * m.process().mmap("512 MiB");
 * await show(m); // its memories, and how much of them is in use
 * ```
 */
export class Machine implements Displayable {
  /** What it is made of, devices that were attached later included. */
  spec: MachineSpec;
  /** Its memory management, for those who go below the public face: columns, locks, notifiers. */
  readonly kernel: Kernel;
  /** Its devices by name. */
  readonly devices: Readonly<Record<string, Device>>;
  /** Its devices in the order of the spec. */
  readonly deviceList: readonly Device[];
  /** The rules that are looked after; undefined without any. */
  readonly checkers: Checkers | undefined = undefined;
  /** What the last run left behind, also one that a broken rule has ended; undefined before the first. */
  lastRun: Run | undefined = undefined;
  /** What lies between its devices and its memory. */
  readonly topology: Topology;
  /** Arrays for the pages of its migrations. */
  readonly batches: Batches;
  private broken: string | undefined;

  private running = false;

  /**
   * Use {@linkcode machine}.
   *
   * @param spec a checked description
   */
  constructor(spec: MachineSpec) {
    this.spec = spec;
    const k = this.kernel = new Kernel(spec.kernel, spec.cost, reverts(spec.revert));
    // A migration holds two batches, and a device fault one around it.
    this.batches = new Batches(k.sim, Math.min(4 * spec.kernel.actors, 256), spec.batchPages);
    this.topology = new Topology(k.sim, spec.links);
    this.deviceList = Object.entries(spec.devices).map(([name, d], i) =>
      attachDevice(k, this.batches, name, d, i + 1, this.topology)
    );
    this.devices = Object.fromEntries(this.deviceList.map((d) => [d.name, d]));
    k.sim.actorNames[0] = "main";
    if (spec.checkers.length > 0) {
      this.checkers = new Checkers(k, spec.kernel.seed, checkersOf(spec.checkers), this.batches);
    }
  }

  /**
   * Makes a process with an empty address space.
   *
   * @param options `node`: NUMA node of the CPU on which it runs (default 0)
   * @returns the process
   * @throws {UsageError} when there are as many as the machine was built for: `machine({ processes })`; for a node that
   * the machine does not have
   *
   * @example
   * ```ts
   * import { machine } from "hmmlab";
   *
   * const m = machine({ memory: "64 MiB", nodes: 2 }), p = m.process({ node: 1 }), heap = p.mmap("8 KiB");
   * p.write(heap, 1);
   * console.log(p.nodes(heap)); // [ 1, 1 ]
   * ```
   */
  process(options: ProcessOptions = {}): Process {
    checkOptions("make a process", options, { node: true }, "{ node: 1 }");
    const { node = 0 } = options;
    return new Process(this, checkNode("make a process", "node", node, this.kernel.nodes.count));
  }

  /**
   * Adds a device to the machine, between runs. Its memory takes a part of what `machine({ hotplug })` keeps room for.
   *
   * @param name the name under which it is found in {@linkcode Machine.devices}, and as a property of the machine
   * @param choice a profile, its name, or the options of a kind of device
   * @returns the device
   * @throws {UsageError} during a run, for a name that is taken, options that cannot be, and memory that there is no room for
   *
   * @example
   * ```ts
   * import { machine, stream } from "hmmlab";
   *
   * const m = machine({ memory: "64 MiB", hotplug: "256 MiB" }), heap = m.process().mmap("1 MiB");
   * const gpu = m.attach("gpu", { profile: "titan-v", memory: "256 MiB" });
   * const run = await m.run({ gpu: stream(gpu, heap) });
   * console.log(run.pagesToDevice, m.unplug(gpu), m.plug(gpu)); // 256 0 0
   * ```
   */
  attach<const C extends DeviceChoice>(name: string, choice: C): DeviceOf<C> {
    this.usable();
    const spec = checkDevices({ [name]: choice })[name];
    checkAttach(this, name, spec);
    const device = attachDevice(
      this.kernel,
      this.batches,
      name,
      spec,
      this.deviceList.length + 1,
      this.topology,
    );
    (this.deviceList as Device[]).push(device);
    (this.devices as Record<string, Device>)[name] = device;
    this.spec = { ...this.spec, devices: { ...this.spec.devices, [name]: spec } };
    Object.defineProperty(this, name, { value: device, enumerable: true });
    return device as DeviceOf<C>;
  }

  /**
   * Removes a device from the machine at once, outside of any run: what is on it comes back, its mirrors end, its memory
   * goes. In a run, the workload `unplug(m.gpu)` does it; in a race, a {@linkcode DeviceThread}.
   *
   * @param device a device of this machine
   * @returns 0; -ENODEV when it is away; -ENOMEM, -EIO or -EBUSY when a page could not be brought back: the device stays
   * @throws {UsageError} during a run, and for what is no device of this machine that can be removed
   *
   * @example
   * ```ts
   * import { DeviceThread, machine } from "hmmlab";
   *
   * const m = machine({ memory: "64 MiB", devices: { gpu: "titan-v" } });
   * const p = m.process(), heap = p.mmap("8 KiB"), gpu = new DeviceThread(m.gpu, p);
   * p.write(heap, 7);
   * console.log(p.complete(gpu.migrate(heap)), m.unplug(m.gpu), p.read(heap)); // 2 0 [ 7, 8 ]
   * console.log(p.complete(gpu.fault(heap))); // -19, which is -ENODEV
   * ```
   */
  unplug(device: Device): number {
    return this.complete(pluggable("unplug", device, this.kernel).unplug!(0));
  }

  /**
   * Puts a device back that was removed, or was not plugged when the machine was built. Its memory is empty.
   *
   * @param device a device of this machine
   * @returns 0; -EBUSY when it is there; -ERANGE or -ENOMEM when its memory cannot be added
   * @throws {UsageError} as {@linkcode Machine.unplug}
   */
  plug(device: Device): number {
    return this.complete(pluggable("plug", device, this.kernel).plug!(0));
  }

  /**
   * Runs a generator of the lower floors to completion on actor 0.
   *
   * @param proc what to run
   * @returns what it returns
   * @throws {UsageError} during a run, and on a machine whose last run did not end well
   */
  complete<R>(proc: Proc<R>): R {
    this.usable();
    let result: R | undefined;
    function* keep(): Proc {
      result = yield* proc;
    }
    complete(this.kernel.sim, [{ a: 0, proc: keep() }]);
    return result as R;
  }

  /** Refuses to begin anything in a run, or after one that did not end well. */
  private usable(): void {
    if (this.running) {
      throw new UsageError(
        "Cannot use this machine now: it is in a run; one thing at a time is allowed; write await m.run(…) before this",
      );
    }
    if (this.broken !== undefined) {
      throw new UsageError(
        `Cannot go on with this machine: ${this.broken}; build another with machine(…) and run again`,
      );
    }
  }

  /** Starts workloads as actors 1, 2, … in the order given, and after them the threads of drivers. */
  private start(
    workloads: Readonly<Record<string, Workload>>,
    records: number,
  ): { actors: Actor[]; started: Started[]; threads: number[] } {
    this.usable();
    checkWorkloads(this, workloads);
    const { sim, cpus, nodes } = this.kernel, entries = Object.entries(workloads);
    this.kernel.sim.resetAccounts();
    cpus.fill(0);
    for (const [, w] of entries) {
      if (w.process !== undefined) {
        cpus[w.process.mm] = Math.min(cpus[w.process.mm] + 1, this.spec.cost.cores);
      }
    }
    for (const d of this.deviceList) d.startRecords?.(records);
    const started = entries.map(([name, w], i) => {
      sim.actorNames[i + 1] = name;
      nodes.run(i + 1, w.node ?? w.process?.node ?? 0);
      return w.start(this, i + 1);
    });
    const actors = started.map((s, i): Actor => ({ a: i + 1, proc: s.proc }));
    const threads = entries.flatMap(([, w], i) => w.process === undefined ? [] : [i + 1]);
    for (const { name, start } of this.deviceList.flatMap((d) => d.threads?.() ?? [])) {
      const a = actors.length + 1;
      if (a >= sim.maxActors) {
        throw new UsageError(
          `Cannot run: got ${entries.length} workloads, and drivers of devices need threads beside them; this machine ` +
            `was built for ${sim.maxActors} actors; write machine({ actors: ${2 * sim.maxActors} })`,
        );
      }
      sim.actorNames[a] = name;
      threads.push(a);
      actors.push({ a, proc: start(a) });
    }
    return { started, actors, threads };
  }

  /** The host's cores, if there are more threads than those; else each thread has its own, which costs nothing. */
  private cores(threads: readonly number[]): Cores | undefined {
    const { cores, timeSliceNs } = this.spec.cost;
    return threads.length > cores ? new Cores(this.kernel.sim, cores, timeSliceNs, threads) : undefined;
  }

  /**
   * Runs workloads side by side in virtual time.
   *
   * @param workloads what each actor does, by name; each that has a process is a thread on a CPU core;
   * more threads than the host has cores take turns
   * @param options runner, progress, budget
   * @returns what happened; a run that was cut short says so in `end`
   * @throws {UsageError} for what is no workload of this machine; {@linkcode DeadlockError} and {@linkcode LivelockError}
   * if the model hangs; {@linkcode InvariantError} for a broken rule, and {@linkcode Machine.lastRun} then has what the
   * run came to; {@linkcode InterruptedError} when a notebook's user stops the cell
   *
   * @example
   * ```ts
   * import { machine, stream, touch } from "hmmlab";
   *
   * const m = machine({ devices: { gpu: "titan-v" } });
   * const heap = m.process().mmap("4 MiB");
   * await m.run({ cpu: touch(heap) });
   * const run = await m.run({ gpu: stream(m.gpu, heap) }, { events: 1000 });
   * console.log(run.pagesToDevice, run.events.numRows > 0); // 1024 true
   * ```
   */
  async run(workloads: Readonly<Record<string, Workload>>, options: RunOptions = {}): Promise<Run> {
    checkRunOptions(options);
    const { events = 0, slices = 0 } = options, { sim } = this.kernel;
    const { actors, started, threads } = this.start(workloads, events);
    sim.spans.events.start(events);
    sim.spans.events.on = events > 0;
    sim.spans.slices.start(slices);
    this.running = true;
    const t0 = performance.now(), total = started.reduce((n, s) => n + s.total, 0);
    let end: RunEnd = "done", resumes = 0, told = false, invariant: InvariantError | undefined;
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
        const clock = new Clock(sim, actors, this.cores(threads));
        // An event can be a single page or a batch of a thousand: how many make a slice is found from below.
        let slice = 16;
        for (let from = performance.now(); !clock.run(slice);) {
          const now = performance.now(), ms = now - from;
          if (ms < SLICE_MS / 2) slice = Math.min(slice * 2, 1_000_000);
          else if (ms > SLICE_MS * 2) slice = Math.max(Math.floor((slice * SLICE_MS) / ms), 16);
          if (ms < SLICE_MS / 4) continue;
          this.checkers?.atStop();
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
      if (end === "done") this.checkers?.atRest();
    } catch (e) {
      this.broken = `its last run failed (${e instanceof Error ? e.message.split("\n")[0] : e})`;
      if (!(e instanceof InvariantError)) throw e;
      invariant = e;
      end = "violation";
    } finally {
      interrupts.release();
      this.running = false;
      if (end !== "done") this.broken ??= "its last run was cut short in the middle of operations";
      actors.forEach(({ a }) => sim.spans.abandon(a));
    }
    const outcomes = outcomesOf(workloads, started, sim);
    const virtualNs = outcomes.reduce((t, o) => Math.max(t, o.endNs), 0);
    const wallSeconds = (performance.now() - t0) / 1000;
    const run = new Run(this, outcomes, virtualNs, wallSeconds, resumes, end, invariant?.broken);
    this.lastRun = run;
    // What a process does from here on by itself is not this run's.
    this.kernel.sim.resetAccounts();
    if (invariant !== undefined) throw invariant;
    return run;
  }

  /** SHA-256 of everything that decides behaviour, as 64 hexadecimal digits. */
  stateDigest(): string {
    return this.kernel.sim.state.digest();
  }

  /**
   * Its memories, one a row.
   *
   * @returns columns part, kind, memory, usedPages
   */
  parts(): Columns {
    const { kernel, spec } = this, { pages } = kernel;
    const rows = pages.zones.filter((z) => z.end > z.start).map((z) => ({
      part: z.name,
      kind: z.type === 0 ? `host ${spec.hostName}` : "device memory, not addressable by the CPU",
      memory: formatBytes(4096 * (z.end - z.start)),
      usedPages: pages.used(z),
    }));
    return columnsOf("Machine", rows, { usedPages: "pages" });
  }

  /** What `show` says of it: its sizes, its memories and how much of them is in use. */
  [DISPLAY](): Display {
    const { sim, tables, deviceTables, vmas } = this.kernel;
    return {
      text: `machine with seed ${this.spec.kernel.seed}: ${counted(vmas.length, "vma")}, ${
        counted(tables.tables, "page-table page")
      } and ${formatCount(deviceTables.tables)} on devices, ${formatBytes(sim.state.usedBytes)} of state`,
      tables: [this.parts()],
    };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Machine: host ${this.spec.hostName}, devices ${
      Object.keys(this.devices).join(", ") || "none"
    }, seed ${this.spec.kernel.seed}; await show(m) prints its memories`;
  }
}

/**
 * Builds a machine.
 *
 * Memory costs nothing until it is touched. What the machine can take of this computer's memory is computed before it
 * is built, and refused if that is too much.
 *
 * @param options host, devices, seed, sizes; see {@linkcode MachineOptions}
 * @returns the machine; each device is also a property of it, by its name
 * @throws {UsageError} for an unknown profile or option, sizes that cannot be or that cannot fit, or a device named as
 * one of the machine's own members
 *
 * @example
 * ```ts
 * import { machine, show, stream, touch } from "hmmlab";
 *
 * const m = machine({ host: "epyc-7551p", devices: { gpu: "titan-v" }, seed: 1 });
 * const heap = m.process().mmap("1 MiB");
 * const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
 * await show(run);
 * ```
 */
export function machine<
  const D extends Readonly<Record<string, DeviceChoice>> = Readonly<Record<never, never>>,
>(
  options: MachineOptions<D> = {},
): Machine & { readonly [name in keyof D]: DeviceOf<D[name]> } {
  const built = new Machine(checkMachine(options));
  for (const [name, device] of Object.entries(built.devices)) {
    if (name in built) {
      throw new UsageError(
        `Cannot build the machine: got "${name}" as a device's name; a machine has a member of that name; ` +
          "write for example gpu",
      );
    }
    Object.defineProperty(built, name, { value: device, enumerable: true });
  }
  return built as Machine & { readonly [name in keyof D]: DeviceOf<D[name]> };
}
export type { RunOptions };
