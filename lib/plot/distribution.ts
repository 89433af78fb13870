/** Latencies as counts by bucket, out of a histogram or a table, and binned anew for a logarithmic axis. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Columns } from "../record/columns.ts";
import { LatencyHistogram } from "../record/histogram.ts";
import { checkColumns, isColumns, isStrings, numbersOf } from "../tables/check.ts";
import { logTicks, short } from "./scale.ts";

/** Counts by bucket with the figures that a chart prints. */
export interface Distribution {
  readonly name: string;
  readonly count: number;
  readonly meanNs: number;
  readonly minNs: number;
  readonly maxNs: number;
  /** First value of each bucket, ascending. */
  readonly lowNs: ArrayLike<number>;
  /** First value past each bucket. */
  readonly highNs: ArrayLike<number>;
  readonly counts: ArrayLike<number>;
  percentileNs(p: number): number;
}

/** What latencies can be drawn from. */
export type LatencySource = LatencyHistogram | Columns;

/**
 * Reads latencies from whatever a user has.
 *
 * @param source a histogram, its buckets, a table with one latency a row, or an array of these
 * @returns one distribution for each histogram and each kind in a table
 */
export function distributionsOf(source: LatencySource | readonly LatencySource[]): Distribution[] {
  const sources = Array.isArray(source) ? source as readonly LatencySource[] : [source as LatencySource];
  return sources.flatMap((s) => {
    if (s instanceof LatencyHistogram) return [ofHistogram(s)];
    if (!isColumns(s)) {
      throw new UsageError(
        `Cannot draw latencies: got ${
          describe(s)
        }; a LatencyHistogram, a table of columns or an array of these is ` +
          "allowed; write for example plot.latency(run.invalidations)",
      );
    }
    checkColumns(s, "draw latencies");
    if ("lowNs" in s.columns && "highNs" in s.columns && "count" in s.columns) return [ofBuckets(s)];
    return ofRows(s);
  });
}

function ofHistogram(h: LatencyHistogram): Distribution {
  const { lowNs, highNs, count } = h.buckets().columns as Record<string, Float64Array>;
  return {
    name: h.name,
    count: h.count,
    meanNs: h.meanNs,
    minNs: h.count === 0 ? 0 : h.minNs,
    maxNs: h.maxNs,
    lowNs,
    highNs,
    counts: count,
    percentileNs: (p) => h.percentileNs(p),
  };
}

/** Buckets without the histogram: the mean is that of the buckets' middles, the extremes are those of the buckets. */
function ofBuckets(c: Columns): Distribution {
  const what = "draw latencies";
  const low = numbersOf(c, "lowNs", what),
    high = numbersOf(c, "highNs", what),
    given = numbersOf(c, "count", what);
  const order = Array.from(low, (_, i) => i).filter((i) => given[i] > 0).sort((a, b) => low[a] - low[b]);
  const lowNs = Float64Array.from(order, (i) => low[i]);
  const highNs = Float64Array.from(order, (i) => high[i]);
  const counts = Float64Array.from(order, (i) => given[i]);
  if (lowNs.some((x, i) => !(x >= 0 && highNs[i] > x))) {
    throw new UsageError(
      "Cannot draw latencies: got a bucket whose highNs is not above its lowNs, or below 0; buckets hold the values " +
        "from lowNs up to, not including, highNs; write histogram.buckets()",
    );
  }
  const count = counts.reduce((sum, n) => sum + n, 0);
  const last = order.length - 1;
  return {
    name: c.title,
    count,
    meanNs: count === 0
      ? 0
      : counts.reduce((sum, n, i) => sum + n * (lowNs[i] + highNs[i] - 1) / 2, 0) / count,
    minNs: last < 0 ? 0 : lowNs[0],
    maxNs: last < 0 ? 0 : highNs[last] - 1,
    lowNs,
    highNs,
    counts,
    percentileNs(p) {
      const rank = Math.max(1, Math.ceil((p / 100) * count));
      let seen = 0;
      for (let i = 0; i <= last; i++) if ((seen += counts[i]) >= rank) return highNs[i] - 1;
      return this.maxNs;
    },
  };
}

const ROW_COLUMNS = ["durationNs", "latencyNs", "ns"];

function ofRows(c: Columns): Distribution[] {
  if (c.numRows === 0) return [ofHistogram(new LatencyHistogram(c.title))];
  const name = ROW_COLUMNS.find((n) => n in c.columns);
  if (name === undefined) {
    throw new UsageError(
      `Cannot draw latencies: got the table ${JSON.stringify(c.title)} with ${
        Object.keys(c.columns).join(", ")
      }; ` +
        "buckets (lowNs, highNs, count) or one latency a row (durationNs, latencyNs or ns) are allowed; " +
        'write for example toArquero(table) and rename({ time: "latencyNs" })',
    );
  }
  const values = numbersOf(c, name, "draw latencies");
  const kinds = c.columns.kind;
  const byKind = new Map<string, LatencyHistogram>();
  for (let i = 0; i < c.numRows; i++) {
    const kind = kinds !== undefined && isStrings(kinds) ? kinds[i] : c.title;
    let h = byKind.get(kind);
    if (h === undefined) byKind.set(kind, h = new LatencyHistogram(kind));
    const ns = Math.round(values[i]);
    if (!(ns >= 0 && ns <= Number.MAX_SAFE_INTEGER)) {
      throw new UsageError(
        `Cannot draw latencies: got ${
          values[i]
        } in row ${i} of ${name}; nanoseconds of 0 or more are allowed; ` +
          "leave out what has not ended, for example with filter",
      );
    }
    h.record(ns);
  }
  return [...byKind.values()].map(ofHistogram);
}

/** Bins of equal width on a logarithmic axis. */
export interface LogBins {
  /** Edges of the bins in ns, ascending; one more than there are bins. */
  readonly edgesNs: readonly number[];
  /** Ends of the axis. */
  readonly domainNs: readonly [number, number];
  /** Values to label. */
  readonly ticksNs: readonly number[];
}

/** What a logarithmic axis can show: a latency of 0 ns stands in the first bin. */
const LEAST_NS = 0.5;

/**
 * Chooses bins and an axis that hold all of some distributions.
 *
 * @param all the distributions, at least one of them not empty
 * @returns edges, axis ends at 1, 2 or 5 times a power of ten at least a decade apart, labels
 */
export function logBins(all: readonly Distribution[]): LogBins {
  const filled = all.filter((d) => d.count > 0);
  const least = Math.max(LEAST_NS, Math.min(...filled.map((d) => d.minNs)));
  const most = Math.max(1, ...filled.map((d) => d.maxNs + 1));
  let [low, high] = [round125(least, -1), round125(most, 1)];
  while (high / low < 9.9) {
    if (most / low < high / least) low = round125(low * 0.99, -1);
    else high = round125(high * 1.01, 1);
  }
  const decades = Math.log10(high / low);
  // A bin should be a few pixels wide, and no finer than what the histogram tells apart (3 %).
  const perDecade = [40, 20, 10].find((n) => n * decades <= 64) ?? 8;
  const first = Math.floor(Math.log10(low) * perDecade + 1e-9);
  const last = Math.ceil(Math.log10(high) * perDecade - 1e-9);
  const edgesNs = Array.from({ length: last - first + 1 }, (_, i) => short(10 ** ((first + i) / perDecade)));
  return { edgesNs, domainNs: [low, high], ticksNs: logTicks(Math.max(1, low), high) };
}

/** The next value of 1, 2, 5 times a power of ten at or below (-1) or above (1). */
function round125(x: number, direction: -1 | 1): number {
  const power = 10 ** Math.floor(Math.log10(x) + 1e-12);
  const steps = [1, 2, 5, 10].map((s) => Number((s * power).toPrecision(3)));
  return direction > 0
    ? steps.find((s) => s >= x * (1 - 1e-9))!
    : steps.findLast((s) => s <= x * (1 + 1e-9))!;
}

/**
 * Counts by bin; a bucket that lies in several bins is shared out by the width of each part.
 *
 * @param d the distribution
 * @param edgesNs edges of the bins
 * @returns the share of all events in each bin; they add up to 1
 */
export function binShares(d: Distribution, edgesNs: readonly number[]): Float64Array {
  const bins = edgesNs.length - 1;
  const shares = new Float64Array(bins);
  if (d.count === 0) return shares;
  const bounded = (x: number) => Math.min(Math.max(x, edgesNs[0]), edgesNs[bins]);
  let b = 0;
  for (let i = 0; i < d.counts.length; i++) {
    // The extremes are exact: without them a wide last bucket would reach past the longest latency. And latencies are
    // whole: a bucket of one value is a point, not an interval.
    const from = bounded(Math.max(d.lowNs[i], d.minNs)), to = bounded(Math.min(d.highNs[i] - 1, d.maxNs));
    while (b < bins - 1 && edgesNs[b + 1] <= from) b++;
    if (to <= from) {
      shares[b] += d.counts[i] / d.count;
      continue;
    }
    for (let k = b; k < bins && edgesNs[k] < to; k++) {
      const part = (Math.min(to, edgesNs[k + 1]) - Math.max(from, edgesNs[k])) / (to - from);
      shares[k] += (part * d.counts[i]) / d.count;
    }
  }
  return shares;
}

/**
 * The cumulative distribution as the corners of a step line, thinned to what can be seen. It rises where a bucket ends,
 * as a percentile is the end of its bucket: so percentiles lie on the line.
 *
 * @param d the distribution
 * @returns points (ns, share of events that take no longer), beginning with share 0, to be joined by steps
 */
export function cumulative(d: Distribution): { ns: number; share: number }[] {
  const points: { ns: number; share: number }[] = [];
  let seen = 0, drawn = 0;
  for (let i = 0; i < d.counts.length; i++) {
    const ns = Math.max(LEAST_NS, Math.min(d.highNs[i] - 1, d.maxNs));
    if (i === 0) points.push({ ns, share: 0 });
    seen += d.counts[i];
    const share = seen / d.count;
    if (share - drawn < 0.004 && i < d.counts.length - 1) continue;
    points.push({ ns, share });
    drawn = share;
  }
  return points;
}

/**
 * The exact share of events above a time.
 *
 * @param d the distribution
 * @param ns a percentile of it (the end of a bucket)
 * @returns 0 to 1
 */
export function shareAbove(d: Distribution, ns: number): number {
  let above = 0;
  for (let i = 0; i < d.counts.length; i++) if (d.lowNs[i] > ns) above += d.counts[i];
  return d.count === 0 ? 0 : above / d.count;
}
