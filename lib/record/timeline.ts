/**
 * Amounts over virtual time in a bounded number of bins.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Columns } from "./columns.ts";
import { INSPECT } from "./inspect.ts";
import { formatCount, formatNs } from "../units.ts";

const MAX_BINS = 512;

/**
 * Adds up an amount (bytes, pages) by virtual time, in at most 512 bins: when they are full, neighbours merge and the
 * width doubles.
 *
 * @example
 * ```ts
 * const t = new Timeline("moved", "bytes", 100);
 * t.addSpan(50, 150, 4096);
 * console.log(t.columns().columns.amount); // Float64Array [ 2048, 2048 ]
 * ```
 */
export class Timeline {
  /** What is added up, as a chart's legend names it. */
  readonly name: string;
  /** Unit of the amounts. */
  readonly unit: string;
  /** Width of a bin in ns: a power of two times the first width. */
  binNs: number;
  /** Amount by bin. */
  readonly amounts: Float64Array = new Float64Array(MAX_BINS);
  /** Number of bins up to the last one that holds something. */
  bins = 0;

  /**
   * Makes an empty timeline from time 0 on.
   *
   * @param name what is added up
   * @param unit unit of the amounts, for example "bytes"
   * @param binNs first width of a bin in ns
   * @throws {UsageError} for no width
   */
  constructor(name: string, unit: string, binNs = 1024) {
    if (!(Number.isSafeInteger(binNs) && binNs > 0)) {
      throw new UsageError(
        `Cannot make a timeline: got ${
          describe(binNs)
        } for the width of a bin; whole nanoseconds above 0 are allowed; ` +
          "write for example 1024",
      );
    }
    this.name = name;
    this.unit = unit;
    this.binNs = binNs;
  }

  /**
   * Adds an amount spread evenly over a span of time, as a transfer moves its bytes.
   *
   * @param startNs when it began
   * @param endNs when it ended; the same as `startNs` for an instant
   * @param amount how much in all
   */
  addSpan(startNs: number, endNs: number, amount: number): void {
    while (endNs >= this.binNs * MAX_BINS) this.widen();
    const first = Math.floor(startNs / this.binNs), last = Math.floor(endNs / this.binNs);
    if (last >= this.bins) this.bins = last + 1;
    if (first === last) {
      this.amounts[first] += amount;
      return;
    }
    // Whole units only: rounding down and giving the rest to the last bin keeps the sum exact on every machine.
    let left = amount;
    const span = endNs - startNs;
    for (let b = first; b < last; b++) {
      const from = Math.max(startNs, b * this.binNs), to = (b + 1) * this.binNs;
      const part = Math.min(left, Math.floor((amount * (to - from)) / span));
      this.amounts[b] += part;
      left -= part;
    }
    this.amounts[last] += left;
  }

  /** Merges neighbours, so that twice the time fits. */
  private widen(): void {
    const { amounts } = this;
    for (let b = 0; b < MAX_BINS / 2; b++) amounts[b] = amounts[2 * b] + amounts[2 * b + 1];
    amounts.fill(0, MAX_BINS / 2);
    this.binNs *= 2;
    this.bins = (this.bins + 1) >> 1;
  }

  /** The sum of all amounts. */
  get total(): number {
    return this.amounts.reduce((sum, x) => sum + x, 0);
  }

  /**
   * The bins in order, from time 0.
   *
   * @returns columns startNs, amount, perSecond (amount by second of virtual time)
   */
  columns(): Columns {
    const { bins, binNs } = this;
    const amount = this.amounts.slice(0, bins);
    return {
      title: this.name,
      numRows: bins,
      columns: {
        startNs: Float64Array.from({ length: bins }, (_, b) => b * binNs),
        amount,
        perSecond: amount.map((x) => (x * 1e9) / binNs),
      },
      units: { startNs: "ns", amount: this.unit, perSecond: `${this.unit}/s` },
    };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Timeline "${this.name}": ${formatCount(this.total)} ${this.unit} in ${this.bins} bins of ${
      formatNs(this.binNs)
    }`;
  }
}
