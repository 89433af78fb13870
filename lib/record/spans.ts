/**
 * Spans: what each actor is doing, since when, and where every nanosecond of it went.
 *
 * A span has a kind ("cpu fault", "invalidation"); spans of one actor nest. Time enters an actor only through
 * {@link Spans.spend}, which books it under exactly one phase in every open span of that actor. So the phases of a kind
 * add up to the sum of its latencies, exactly: all are integers below 2^53.
 * @module
 */
import { type Columns, columnsOf } from "./columns.ts";
import { EventLog } from "./events.ts";
import { HISTOGRAM_UNITS, LatencyHistogram } from "./histogram.ts";
import { SliceLog } from "./slices.ts";

const MAX_DEPTH = 8;
const MAX_PHASES = 128;

/** Latency histograms, phase sums and (on request) events of all kinds of spans. */
export class Spans {
  /** Virtual time of each actor in ns. It decides order on the clock, but it is not state of the modelled machine. */
  readonly nowNs: Float64Array;
  /** Names of the phases by number. */
  readonly phaseNames: string[] = [];
  /** One histogram for each kind of span, by number. */
  readonly kinds: LatencyHistogram[] = [];
  /** Single spans as rows; off until {@link EventLog.start}. */
  readonly events: EventLog = new EventLog();
  /** What actors spent their time on inside spans, stretch by stretch; off until {@link SliceLog.start}. */
  readonly slices: SliceLog;
  /** Waits for something that others had, by phase; undefined where nobody ever waited. */
  private readonly waits: (LatencyHistogram | undefined)[] = [];
  /** ns by kind and phase, at `kind * MAX_PHASES + phase`. */
  private phaseNs = new Float64Array(0);
  /** Parts of the latency that {@link overlapping} will record: phase, ns, phase, ns, … */
  private readonly booked: number[] = [];
  /** By kind: time in phases of spans that never ended, because their run was cut short. */
  private cutShortNs = new Float64Array(0);
  private readonly depth: Uint8Array;
  private readonly openKind: Uint8Array;
  private readonly openSince: Float64Array;
  private readonly openAt: Float64Array;

  /**
   * Makes the accounts of a machine, all clocks at 0.
   *
   * @param actors how many actors there can be
   */
  constructor(actors: number) {
    this.nowNs = new Float64Array(actors);
    this.slices = new SliceLog(actors);
    this.depth = new Uint8Array(actors);
    this.openKind = new Uint8Array(actors * MAX_DEPTH);
    this.openSince = new Float64Array(actors * MAX_DEPTH);
    this.openAt = new Float64Array(actors * MAX_DEPTH);
  }

  /**
   * Names a phase; the same name gives the same number.
   *
   * @param name what the time goes into, for example "copy"
   * @returns the phase's number, for {@link spend}
   */
  phase(name: string): number {
    const known = this.phaseNames.indexOf(name);
    if (known >= 0) return known;
    if (this.phaseNames.length === MAX_PHASES) throw new RangeError(`more than ${MAX_PHASES} phases`);
    return this.phaseNames.push(name) - 1;
  }

  /**
   * Names a kind of span; the same name gives the same number.
   *
   * @param name what is measured, for example "cpu fault"
   * @returns the kind's number, for {@link begin}
   */
  kind(name: string): number {
    const known = this.kinds.findIndex((h) => h.name === name);
    if (known >= 0) return known;
    this.kinds.push(new LatencyHistogram(name));
    const grown = new Float64Array(this.kinds.length * MAX_PHASES);
    grown.set(this.phaseNs);
    this.phaseNs = grown;
    this.cutShortNs = Float64Array.from([...this.cutShortNs, 0]);
    return this.kinds.length - 1;
  }

  /**
   * Lets time pass for an actor.
   *
   * @param a actor
   * @param phase what the time went into
   * @param ns non-negative integer
   */
  spend(a: number, phase: number, ns: number): void {
    if (this.slices.on && this.depth[a] > 0) this.slices.add(a, this.nowNs[a], ns, phase);
    this.nowNs[a] += ns;
    for (let i = a * MAX_DEPTH, end = i + this.depth[a]; i < end; i++) {
      this.phaseNs[this.openKind[i] * MAX_PHASES + phase] += ns;
    }
  }

  /**
   * Counts one wait for something that others had.
   *
   * @param phase the phase under which its time was spent
   * @param ns how long it was
   */
  wait(phase: number, ns: number): void {
    (this.waits[phase] ??= new LatencyHistogram(this.phaseNames[phase].replace(/^wait: /, ""))).record(ns);
  }

  /**
   * Opens a span.
   *
   * @param a actor
   * @param kind kind of span
   * @param at what it is about, for the event log: a virtual page number
   */
  begin(a: number, kind: number, at = 0): void {
    const depth = this.depth[a]++;
    if (depth >= MAX_DEPTH) throw new RangeError(`spans nested deeper than ${MAX_DEPTH}`);
    if (this.slices.on) this.slices.cut(a);
    const i = a * MAX_DEPTH + depth;
    this.openKind[i] = kind;
    this.openSince[i] = this.nowNs[a];
    this.openAt[i] = at;
  }

  /**
   * Closes the innermost span and records its latency.
   *
   * @param a actor
   * @param kind the kind it was opened with; anything else is a bug in the model and throws
   * @param pages how many pages it was about, for the event log
   * @returns its latency in ns
   */
  end(a: number, kind: number, pages = 1): number {
    const i = a * MAX_DEPTH + this.depth[a] - 1;
    if (this.depth[a] === 0 || this.openKind[i] !== kind) {
      throw new Error(`span "${this.kinds[kind]?.name}" of actor ${a} is not the innermost open one`);
    }
    this.depth[a]--;
    if (this.slices.on) this.slices.cut(a);
    const ns = this.nowNs[a] - this.openSince[i];
    this.kinds[kind].record(ns);
    if (this.events.on) this.events.add(this.openSince[i], ns, a, kind, this.openAt[i], pages);
    return ns;
  }

  /**
   * Records a latency that overlaps others of its actor, so that it is no span of it: a far fault among many. Its parts were
   * booked with {@link book}.
   *
   * @param a actor
   * @param kind kind of span
   * @param startNs when it began
   * @param ns how long it was
   * @param at what it is about, for the event log: a virtual page number
   */
  overlapping(a: number, kind: number, startNs: number, ns: number, at: number): void {
    this.kinds[kind].record(ns);
    if (!this.events.on) return;
    const row = this.events.add(startNs, ns, a, kind, at, 1);
    if (!this.slices.on) return;
    let from = startNs;
    for (let i = 0; i < this.booked.length; i += 2) {
      if (row >= 0) this.slices.part(a, from, this.booked[i + 1], this.booked[i], row);
      from += this.booked[i + 1];
    }
    this.booked.length = 0;
  }

  /** Books a part of a latency under a phase, in the order of time, before {@link overlapping} records the whole. */
  book(kind: number, phase: number, ns: number): void {
    this.phaseNs[kind * MAX_PHASES + phase] += ns;
    if (this.slices.on) this.booked.push(phase, ns);
  }

  /** Begins afresh: new histograms (readers keep the old ones), no phases, no open spans. */
  reset(): void {
    this.kinds.forEach((h, i) => this.kinds[i] = new LatencyHistogram(h.name));
    this.waits.length = 0;
    this.phaseNs.fill(0);
    this.cutShortNs.fill(0);
    this.booked.length = 0;
    this.depth.fill(0);
  }

  /** Number of open spans of actor `a`. */
  openSpans(a: number): number {
    return this.depth[a];
  }

  /** Closes what an actor left open when its run was cut short; it counts in {@link cutShort}, not as a latency. */
  abandon(a: number): void {
    for (let i = a * MAX_DEPTH, end = i + this.depth[a]; i < end; i++) {
      this.cutShortNs[this.openKind[i]] += this.nowNs[a] - this.openSince[i];
    }
    this.depth[a] = 0;
  }

  /**
   * Time in the phases of a kind that belongs to no latency, because its spans were cut short.
   *
   * @param name as given to {@link kind}
   * @returns ns; 0 after a run that came to its end, and then the phases add up to the latencies
   */
  cutShort(name: string): number {
    return this.cutShortNs[this.kinds.findIndex((h) => h.name === name)] ?? 0;
  }

  /**
   * The histogram of a kind by its name.
   *
   * @param name as given to {@link kind}
   * @returns the histogram; an empty one when nothing of that name exists
   */
  histogram(name: string): LatencyHistogram {
    return this.kinds.find((h) => h.name === name) ?? new LatencyHistogram(name);
  }

  /**
   * Time by kind and phase.
   *
   * @returns columns kind, phase, ns, share (of the kind's total); only what is not zero
   */
  phases(): Columns {
    const rows = this.kinds.flatMap((h, kind) =>
      this.phaseNames
        .map((phase, p) => ({ kind: h.name, phase, ns: this.phaseNs[kind * MAX_PHASES + p] }))
        .filter((row) => row.ns > 0)
        .map((row) => ({ ...row, share: h.sumNs === 0 ? 0 : row.ns / h.sumNs }))
    );
    return columnsOf("Where the time went", rows, { ns: "ns" });
  }

  /**
   * Count, mean and percentiles by kind.
   *
   * @returns one row for each kind that happened
   */
  summary(): Columns {
    return columnsOf("Latencies", this.kinds.filter((h) => h.count > 0).map((h) => h.row()), HISTOGRAM_UNITS);
  }

  /**
   * Who waited for what: locks, CPU cores, links, DMA channels that somebody else had.
   *
   * @returns one row for each that was waited for, the longest in all first: columns contended, waits, totalNs, p50Ns,
   * p99Ns, maxNs
   */
  contention(): Columns {
    const rows = this.waits.filter((h) => h !== undefined).sort((x, y) => y.sumNs - x.sumNs).map((h) => ({
      contended: h.name,
      waits: h.count,
      totalNs: h.sumNs,
      p50Ns: h.percentileNs(50),
      p99Ns: h.percentileNs(99),
      maxNs: h.maxNs,
    }));
    return columnsOf("What was waited for", rows, { totalNs: "ns", p50Ns: "ns", p99Ns: "ns", maxNs: "ns" });
  }

  /** Everything that belongs into a digest: counts, sums and phases, in a fixed order. */
  *digestParts(): Generator<Float64Array> {
    for (const h of this.kinds) {
      yield h.counts;
      yield Float64Array.of(h.count, h.sumNs, h.maxNs);
    }
    yield this.phaseNs;
  }
}
