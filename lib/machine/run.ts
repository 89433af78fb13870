/**
 * What a run leaves behind: counts, latencies, phases, throughput, a digest.
 * @module
 */
import { createHash } from "node:crypto";
import type { BrokenRule } from "../check/mod.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import type { LatencyHistogram } from "../record/histogram.ts";
import type { Timeline } from "../record/timeline.ts";
import { errnoName } from "../mm/errno.ts";
import { formatBytes, formatCount, formatNs, formatRate } from "../units.ts";
import type { Sim } from "../sim/sim.ts";
import type { Machine } from "./machine.ts";
import { signalName } from "./process.ts";
import type { Started, Workload } from "./workload.ts";
import { INSPECT } from "../record/inspect.ts";

/** Why a run ended. */
export type RunEnd = "done" | "budget" | "interrupted" | "violation";

/** What came of one actor's program. */
export interface ActorOutcome {
  /** The actor's name in `m.run({ name: … })`. */
  readonly name: string;
  /** What it ran. */
  readonly workload: string;
  /** Pages accessed. */
  readonly pages: number;
  /** Accesses that ended in a signal or an errno. */
  readonly signals: number;
  /** What the first of these ended in, for example "SIGBUS" or "ENODEV"; "" if none did. */
  readonly firstSignal: string;
  /** Reads that did not find the word last written. */
  readonly mismatches: number;
  /** Virtual time at which it ended (or was when the run was cut short). */
  readonly endNs: number;
}

/** What came of each workload, now. */
export function outcomesOf(
  workloads: Readonly<Record<string, Workload>>,
  started: readonly Started[],
  { nowNs }: Sim,
): ActorOutcome[] {
  return Object.entries(workloads).map(([name, w], i) => {
    const { out } = started[i], cause = out.signals[0]?.cause ?? 0;
    return {
      name,
      workload: w.name,
      pages: out.pages,
      signals: out.failed,
      // A device's accesses end in a negated errno, a CPU's in a VM_FAULT_ result.
      firstSignal: cause > 0 ? signalName(cause) : errnoName(cause),
      mismatches: out.mismatches,
      endNs: nowNs[i + 1],
    };
  });
}

/**
 * The result of `m.run(…)`: all in virtual time, but for `wallSeconds`.
 *
 * @example
 * ```ts
 * import { machine, stream, touch } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: "titan-v" } });
 * const heap = m.process().mmap("1 MiB");
 * const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
 * console.log(run.end, run.cpuFaults.count > 0, run.phases.numRows > 0, run.digest.length); // done true true 64
 * ```
 */
export class Run implements Displayable {
  /** CPU faults, from the access to its return. */
  readonly cpuFaults: LatencyHistogram;
  /** Device faults, with the migration that they cause. */
  readonly deviceFaults: LatencyHistogram;
  /** Far faults of GPUs, from the access that faults to the replay that lets it through. */
  readonly farFaults: LatencyHistogram;
  /** Batches of far faults that drivers of GPUs served. */
  readonly faultBatches: LatencyHistogram;
  /** Invalidations: the time until all subscribers are done. */
  readonly invalidations: LatencyHistogram;
  /** Migrations to the device, one a batch. */
  readonly migrationsToDevice: LatencyHistogram;
  /** Migrations back to system memory, one a batch. */
  readonly migrationsToSystem: LatencyHistogram;
  /**
   * Bytes over each link by virtual time: of each device in the machine's order, one for a dummy device, to the device and
   * to the host for a GPU; then of each link of `machine({ links })`, to the devices and to the host.
   */
  readonly links: readonly Timeline[];
  /** Bytes over the devices' own links. */
  private readonly linkBytes: number;
  /** Count, mean and percentiles of every kind of span. */
  readonly latencies: Columns;
  /** Where the time of every kind of span went: columns kind, phase, ns, share; a kind's phases add up to its latencies. */
  readonly phases: Columns;
  /** What was waited for because others had it (locks, cores, links): columns contended, waits, totalNs, p50Ns, p99Ns, maxNs. */
  readonly contention: Columns;
  /** Event counts by name, as /proc/vmstat has them: columns counter, count. */
  readonly counters: Columns;
  /** Single spans, when the run was asked to keep them: columns startNs, durationNs, actor, kind, vpn, pages. */
  readonly events: Columns;
  /** What actors spent their time on inside spans, when slices were kept: columns startNs, durationNs, actor, phase. */
  readonly slices: Columns;
  /** Names of the actors by the number that events have. */
  readonly actorNames: readonly string[];
  /** What each device kept of its work, when the run was asked to keep events: tables by name, by name of the device. */
  readonly records: Readonly<Record<string, Readonly<Record<string, Columns>>>>;
  /** Broken rules that ended the run: columns rule, fact, what, actor, atNs, page, seed; empty without any. */
  readonly violations: Columns;
  /** SHA-256 of state, counts and histograms: the same seed and parameters give the same digest anywhere. */
  readonly digest: string;

  /**
   * Takes the accounts of a machine; {@linkcode Machine.run} calls it.
   *
   * @param m the machine that ran
   * @param actors what came of each actor
   * @param virtualNs virtual time from start to end
   * @param wallSeconds time that the simulation took on this computer
   * @param resumes how often an actor was resumed
   * @param end why it ended
   * @param broken the rules whose breaking ended it
   */
  constructor(
    m: Machine,
    readonly actors: readonly ActorOutcome[],
    readonly virtualNs: number,
    readonly wallSeconds: number,
    readonly resumes: number,
    readonly end: RunEnd,
    broken: readonly BrokenRule[] = [],
  ) {
    this.violations = columnsOf("Broken rules", broken.map((b) => ({ ...b })), { atNs: "ns" });
    const { spans, counters } = m.kernel.sim;
    this.cpuFaults = spans.histogram("cpu fault");
    this.deviceFaults = spans.histogram("device fault");
    this.farFaults = spans.histogram("far fault");
    this.faultBatches = spans.histogram("fault batch");
    this.invalidations = spans.histogram("invalidation");
    this.migrationsToDevice = spans.histogram("migration to device");
    this.migrationsToSystem = spans.histogram("migration to system");
    const own = m.deviceList.flatMap((d) => d.link.timelines());
    this.linkBytes = own.reduce((n, link) => n + link.total, 0);
    this.links = [...own, ...m.topology.timelines()];
    this.records = Object.fromEntries(m.deviceList.map((d) => [d.name, d.records?.() ?? {}]));
    this.latencies = spans.summary();
    this.phases = spans.phases();
    this.contention = spans.contention();
    this.counters = counters.columns();
    this.events = spans.events.columns(spans.kinds.map((h) => h.name));
    this.slices = spans.slices.columns(spans.phaseNames);
    this.actorNames = [...m.kernel.sim.actorNames];
    const sha = createHash("sha256");
    sha.update(m.kernel.sim.state.digest());
    sha.update(counters.values);
    for (const part of spans.digestParts()) sha.update(part);
    for (const link of this.links) sha.update(link.amounts);
    sha.update(
      Float64Array.of(virtualNs, ...actors.flatMap((a) => [a.pages, a.signals, a.mismatches, a.endNs])),
    );
    this.digest = sha.digest("hex");
  }

  /** A counter by its name; 0 if nothing was counted under it. */
  private counter(name: string): number {
    const i = (this.counters.columns.counter as readonly string[] | undefined)?.indexOf(name) ?? -1;
    return i < 0 ? 0 : (this.counters.columns.count as Float64Array)[i];
  }

  /** Pages that went to a device. */
  get pagesToDevice(): number {
    return this.counter("pages_to_device");
  }

  /** Pages that came back to system memory. */
  get pagesToSystem(): number {
    return this.counter("pages_to_system");
  }

  /** Bytes that migrated, both ways. */
  get movedBytes(): number {
    return 4096 * (this.pagesToDevice + this.pagesToSystem);
  }

  /** Reads of all programs that did not find the word last written; 0 or the model is wrong. */
  get mismatches(): number {
    return this.actors.reduce((n, a) => n + a.mismatches, 0);
  }

  /** The main figures, one a row. */
  summary(): Columns {
    const h = this.invalidations, seconds = this.virtualNs / 1e9;
    const rate = seconds === 0 ? 0 : Math.round(this.movedBytes / seconds),
      p50 = h.percentileNs(50),
      p99 = h.percentileNs(99);
    const rows = [
      { figure: "virtual time", text: formatNs(this.virtualNs), value: this.virtualNs, unit: "ns" },
      {
        figure: "CPU faults",
        text: formatCount(this.cpuFaults.count),
        value: this.cpuFaults.count,
        unit: "",
      },
      {
        figure: "device faults",
        text: formatCount(this.deviceFaults.count),
        value: this.deviceFaults.count,
        unit: "",
      },
      ...this.ofGpus(),
      {
        figure: "pages to device",
        text: formatCount(this.pagesToDevice),
        value: this.pagesToDevice,
        unit: "pages",
      },
      {
        figure: "pages back to system",
        text: formatCount(this.pagesToSystem),
        value: this.pagesToSystem,
        unit: "pages",
      },
      {
        figure: "pages migrated, as bytes",
        text: formatBytes(this.movedBytes),
        value: this.movedBytes,
        unit: "bytes",
      },
      // Pages of zeros are made where they shall be and do not cross a link; a remote access crosses it and moves nothing.
      {
        figure: "bytes over the links",
        text: formatBytes(this.linkBytes),
        value: this.linkBytes,
        unit: "bytes",
      },
      { figure: "migration throughput", text: formatRate(rate), value: rate, unit: "bytes/s" },
      { figure: "invalidations", text: formatCount(h.count), value: h.count, unit: "" },
      { figure: "invalidation p50", text: formatNs(p50), value: p50, unit: "ns" },
      { figure: "invalidation p99", text: formatNs(p99), value: p99, unit: "ns" },
    ];
    return columnsOf(
      this.end === "done" ? "What happened" : `What happened until the run was cut short (${this.end})`,
      rows,
    );
  }

  /** Far faults and their batches, where a GPU ran. */
  private ofGpus(): { figure: string; text: string; value: number; unit: string }[] {
    const kinds: readonly (readonly [string, LatencyHistogram])[] = this.faultBatches.count === 0
      ? []
      : [["far faults", this.farFaults], ["batches of far faults", this.faultBatches]];
    return kinds.map(([figure, { count }]) => ({ figure, text: formatCount(count), value: count, unit: "" }));
  }

  /** The main figures as people read them. */
  private figures(): Columns {
    const { title, numRows, columns: { figure, text } } = this.summary();
    return { title, numRows, columns: { figure, value: text }, units: {} };
  }

  /** What `show` says of it: virtual and wall time, what went wrong, the main figures and the latencies. */
  [DISPLAY](): Display {
    const faults = this.cpuFaults.count + this.deviceFaults.count + this.farFaults.count;
    const speed = this.wallSeconds > 0
      ? `, ${formatCount(Math.round(faults / this.wallSeconds))} faults a second`
      : "";
    const wrong = this.actors.flatMap((a) => [
      ...(a.signals > 0
        ? [`${a.name}: ${formatCount(a.signals)} accesses failed, the first with ${a.firstSignal}`]
        : []),
      ...(a.mismatches > 0
        ? [`${a.name}: ${formatCount(a.mismatches)} reads found another word than was written`]
        : []),
    ]);
    const text = [
      `${formatNs(this.virtualNs)} of virtual time, simulated in ${this.wallSeconds.toFixed(2)} s${speed}`,
      ...wrong,
      ...(this.violations.columns.what as readonly string[] | undefined ?? []).map((what) =>
        `broken rule: ${what}`
      ),
      `digest ${this.digest.slice(0, 16)}`,
    ];
    return { text: text.join("\n"), tables: [this.figures(), this.latencies] };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Run: ${formatNs(this.virtualNs)} of virtual time, ${this.end}, digest ${
      this.digest.slice(0, 16)
    }; ` +
      "await show(run) prints what happened";
  }
}
