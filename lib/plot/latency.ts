/** How long things took: distribution and percentiles on a logarithmic axis. */
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { binShares, type Distribution, distributionsOf, type LatencySource } from "./distribution.ts";
import { type LogBins, logBins, shareAbove } from "./distribution.ts";
import { type Bar, compared, PERCENTILES, single } from "./latency_views.ts";
import { capital, countOf, shareText, short, timeText } from "./scale.ts";
import { MAX_SERIES } from "./theme.ts";

/** What can be said about a latency chart beside its data. */
export interface LatencyOptions {
  /** A title instead of the finding. */
  readonly title?: string;
}

/**
 * Draws how long events took: the share of events by latency, and under it the share that took no longer, with the
 * 50th, 90th and 99th percentile marked. Several histograms are drawn over each other for comparison.
 *
 * @param source a histogram, its buckets (lowNs, highNs, count), a table with one latency a row (durationNs, latencyNs
 * or ns; one distribution for each `kind`), or up to seven of these
 * @param options a title of one's own
 * @returns the chart; its table holds share by bin, its summary the percentiles
 * @throws {UsageError} if the source is none of these, or holds more than seven distributions
 *
 * @example
 * ```ts
 * const latencyNs = Uint32Array.from({ length: 1000 }, (_, i) => 1000 + i);
 * const chart = latency({ title: "invalidation", numRows: 1000, columns: { latencyNs }, units: { latencyNs: "ns" } });
 * console.log(chart.title); // Invalidation: half take at most 1.5 µs, the longest 2 µs
 * ```
 */
export function latency(
  source: LatencySource | readonly LatencySource[],
  options: LatencyOptions = {},
): Chart {
  const all = distributionsOf(source);
  if (all.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot draw latencies: got ${all.length} distributions (${all.map((d) => d.name).join(", ")}); ` +
        `at most ${MAX_SERIES} can be told apart; leave out some, for example with filter`,
    );
  }
  const filled = all.filter((d) => d.count > 0);
  if (filled.length === 0) {
    const name = all.map((d) => d.name).join(", ") || "latency";
    return emptyChart(options.title ?? `${capital(name)}: no events were recorded`, summaryOf(all));
  }
  const bins = logBins(filled);
  const bars = filled.map((d) => barsOf(d, bins));
  const none = all.filter((d) => d.count === 0).map((d) => d.name);
  return makeChart({
    title: options.title ?? (filled.length === 1 ? finding(filled[0]) : comparison(filled)),
    subtitle: subtitle(filled, none),
    body: filled.length === 1 ? single(filled[0], bins, bars[0]) : compared(filled, bins, bars),
    table: columnsOf(
      "Share of events by latency",
      filled.flatMap((d, i) => bars[i].map((bar) => ({ kind: d.name, ...bar }))),
      { lowNs: "ns", highNs: "ns", percent: "%" },
    ),
    summary: summaryOf(all),
  });
}

/** What one distribution says: how long half or more take, and the tail. */
function finding(d: Distribution): string {
  const [half, tail, most] = [d.percentileNs(50), d.percentileNs(99), d.maxNs].map(timeText);
  const name = capital(d.name);
  if (d.count === 1) return `${name}: the only one takes ${most}`;
  if (timeText(d.minNs) === most) return `${name}: all take ${most}`;
  // Where many take the same time, those at the median are more than half: say how many.
  const within = 1 - shareAbove(d, d.percentileNs(50));
  const lead = `${name}: ${within < 0.6 ? "half" : shareText(within)} take at most ${half}`;
  if (half === most) return lead;
  const above = shareAbove(d, d.percentileNs(99));
  // Of fewer than a hundred events no percent can be told; and a last bucket may hold more than one percent.
  return d.count < 100 || above === 0 || half === tail
    ? `${lead}, the longest ${most}`
    : `${lead}, ${shareText(above)} over ${tail}`;
}

function comparison(all: readonly Distribution[]): string {
  const sorted = [...all].sort((a, b) => a.percentileNs(99) - b.percentileNs(99));
  const [fast, slow] = [sorted[0], sorted[sorted.length - 1]];
  const [fastText, slowText] = [timeText(fast.percentileNs(99)), timeText(slow.percentileNs(99))];
  if (fastText === slowText) return `99 % of each kind end within ${slowText}`;
  return `99 % end within ${fastText} (${fast.name}) to ${slowText} (${slow.name})`;
}

function subtitle(filled: readonly Distribution[], none: readonly string[]): string {
  const [first] = filled;
  const parts = filled.length === 1
    ? [countOf(first.count, "event"), `mean ${timeText(first.meanNs)}`, `longest ${timeText(first.maxNs)}`]
    : [countOf(filled.reduce((sum, d) => sum + d.count, 0), "event"), "dots mark p50, p90 and p99"];
  if (none.length > 0) parts.push(`nothing recorded for ${none.join(", ")}`);
  return parts.join(" · ");
}

function summaryOf(all: readonly Distribution[]): Columns {
  const rows = all.map((d) => {
    const [p50Ns, p90Ns, p99Ns] = PERCENTILES.map((p) => d.count === 0 ? 0 : d.percentileNs(p));
    return {
      kind: d.name,
      count: d.count,
      meanNs: Math.round(d.meanNs),
      p50Ns,
      p90Ns,
      p99Ns,
      maxNs: d.maxNs,
    };
  });
  return columnsOf("Latency", rows, { meanNs: "ns", p50Ns: "ns", p90Ns: "ns", p99Ns: "ns", maxNs: "ns" });
}

function barsOf(d: Distribution, { edgesNs }: LogBins): Bar[] {
  return Array.from(binShares(d, edgesNs), (share, b) => ({
    lowNs: edgesNs[b],
    highNs: edgesNs[b + 1],
    percent: short(share * 100),
  })).filter((bar) => bar.percent > 0);
}
