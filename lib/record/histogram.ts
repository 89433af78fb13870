/**
 * Latency histograms: always on, constant memory, exact count, sum, minimum and maximum.
 *
 * Buckets are logarithmic with 32 steps an octave, so a percentile is right to 3.2 %.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "./columns.ts";
import { INSPECT } from "./inspect.ts";
import { formatCount, formatNs } from "../units.ts";

const STEP_BITS = 5;
const STEPS = 1 << STEP_BITS;
/** Octaves above the exact range: 2^53 ns is 104 days, past any run. */
const OCTAVES = 53 - STEP_BITS;
const BUCKETS = STEPS * (OCTAVES + 1);
const TWO32 = 0x1_0000_0000;

function bucketOf(ns: number): number {
  if (ns < STEPS) return ns;
  if (ns < TWO32) {
    const shift = 31 - Math.clz32(ns) - STEP_BITS;
    return (shift << STEP_BITS) + (ns >>> shift);
  }
  const high = Math.floor(ns / TWO32);
  const shift = 63 - Math.clz32(high) - STEP_BITS;
  return (shift << STEP_BITS) + Math.floor(ns / 2 ** shift);
}

/** The least value of bucket `b`, in ns; the next bucket's is where it ends. */
function lowOf(b: number): number {
  const shift = Math.max(0, (b >>> STEP_BITS) - 1);
  return (b - (shift << STEP_BITS)) * 2 ** shift;
}

/**
 * Counts latencies of one kind of event in logarithmic buckets, 32 an octave: a percentile is right to 3.2 %.
 *
 * @example
 * ```ts
 * const h = new LatencyHistogram("invalidation");
 * for (let ns = 1; ns <= 100; ns++) h.record(ns);
 * console.log(h.count, h.meanNs, h.percentileNs(50), h.maxNs); // 100 50.5 50 100
 * ```
 */
export class LatencyHistogram {
  /** What was measured, as a chart's legend names it. */
  readonly name: string;
  /** Counts by bucket; part of a run's digest. */
  readonly counts: Float64Array = new Float64Array(BUCKETS);
  /** Number of recorded values. */
  count = 0;
  /** Sum of all values in ns, exact below 2^53. */
  sumNs = 0;
  /** Smallest value in ns; Infinity when empty. */
  minNs: number = Infinity;
  /** Largest value in ns; 0 when empty. */
  maxNs = 0;

  /**
   * Makes an empty histogram.
   *
   * @param name what is measured
   */
  constructor(name: string) {
    this.name = name;
  }

  /**
   * Counts one latency.
   *
   * @param ns a non-negative integer of nanoseconds
   */
  record(ns: number): void {
    this.counts[bucketOf(ns)]++;
    this.count++;
    this.sumNs += ns;
    if (ns < this.minNs) this.minNs = ns;
    if (ns > this.maxNs) this.maxNs = ns;
  }

  /** Mean in ns; 0 when empty. */
  get meanNs(): number {
    return this.count === 0 ? 0 : this.sumNs / this.count;
  }

  /**
   * The value that `p` percent of the recorded ones do not exceed, to the width of a bucket.
   *
   * @param p percentage from 0 to 100
   * @returns nanoseconds, never above the maximum; 0 when empty
   * @throws {UsageError} for what is no percentage
   */
  percentileNs(p: number): number {
    if (!(p >= 0 && p <= 100)) {
      throw new UsageError(
        `Cannot take a percentile: got ${
          describe(p)
        }; a percentage from 0 to 100 is allowed; write for example 99`,
      );
    }
    if (this.count === 0) return 0;
    // Multiplied first: 7 / 100 * 100 is more than 7, and its ceiling the next rank.
    const rank = Math.max(1, Math.ceil((p * this.count) / 100));
    let seen = 0;
    for (let b = 0; b < BUCKETS; b++) {
      seen += this.counts[b];
      if (seen >= rank) return Math.max(this.minNs, Math.min(this.maxNs, lowOf(b + 1) - 1));
    }
    return this.maxNs;
  }

  /**
   * The non-empty buckets, in order.
   *
   * @returns columns lowNs (first value of the bucket), highNs (first value past it), count
   */
  buckets(): Columns {
    const used: number[] = [];
    for (let b = 0; b < BUCKETS; b++) if (this.counts[b] > 0) used.push(b);
    return {
      title: this.name,
      numRows: used.length,
      columns: {
        lowNs: Float64Array.from(used, lowOf),
        highNs: Float64Array.from(used, (b) => lowOf(b + 1)),
        count: Float64Array.from(used, (b) => this.counts[b]),
      },
      units: { lowNs: "ns", highNs: "ns" },
    };
  }

  /**
   * One row of figures, for tables that compare several kinds.
   *
   * @returns columns kind, count, mean, p50, p90, p99, max (ns)
   */
  summary(): Columns {
    return columnsOf(this.name, [this.row()], HISTOGRAM_UNITS);
  }

  /** The row of {@link summary} as an object. */
  row(): Record<string, number | string> {
    return {
      kind: this.name,
      count: this.count,
      meanNs: Math.round(this.meanNs),
      p50Ns: this.percentileNs(50),
      p90Ns: this.percentileNs(90),
      p99Ns: this.percentileNs(99),
      maxNs: this.maxNs,
    };
  }

  /** Forgets everything that was recorded. */
  reset(): void {
    this.counts.fill(0);
    this.count = this.sumNs = this.maxNs = 0;
    this.minNs = Infinity;
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `LatencyHistogram "${this.name}": ${formatCount(this.count)} events, p50 ${
      formatNs(this.percentileNs(50))
    }, p99 ${formatNs(this.percentileNs(99))}`;
  }
}

/** Units of {@link LatencyHistogram.summary}. */
export const HISTOGRAM_UNITS: Readonly<Record<string, string>> = {
  meanNs: "ns",
  p50Ns: "ns",
  p90Ns: "ns",
  p99Ns: "ns",
  maxNs: "ns",
};
