/** How much moved, over virtual time. */
import { describe, during } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { Timeline } from "../record/timeline.ts";
import { checkColumns, isColumns, numbersOf, unitOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { bytesPerSecond } from "../units.ts";
import { axisUnit, capital, countLabel, shareText, short, timeText, valueText, withUnit } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { LEGEND_ABOVE_TITLE, MAX_SERIES, WIDTH } from "./theme.ts";

/** What rates can be drawn from: a timeline, or a table with columns startNs and amount. */
export type RateSource = Timeline | Columns;

/** What can be said about a throughput chart beside its data. */
export interface ThroughputOptions {
  /** A title instead of the finding. */
  readonly title?: string;
  /** When the run ended, in ns of virtual time; the end of the last bin if not given. Means are taken up to it. */
  readonly endNs?: number;
  /** What a source could move at most, in its unit a second ("13 GB/s" or a number): drawn as a line, and use in percent. */
  readonly capacity?: number | string;
}

/** Most bins that are drawn: a bin is then a few pixels wide. */
const MAX_BINS = 240;

/** One source, binned: rates in its unit a second. */
interface Rates {
  readonly name: string;
  readonly unit: string;
  readonly binNs: number;
  readonly endNs: number;
  readonly total: number;
  readonly perSecond: Float64Array;
}

/**
 * Draws a rate over virtual time, with its mean as a line; several timelines are drawn over each other.
 *
 * @param source a timeline, or a table with columns startNs (bins of one width, ascending; gaps are zero) and amount, or
 * up to seven of these in one unit; bytes are drawn as GB/s
 * @param options a title of one's own, the end of the run, the most that a source could move
 * @returns the chart; its table holds the rate by bin, its summary mean, peak and total
 * @throws {UsageError} if the source is none of these, the sources have different units, or the capacity is no rate
 *
 * @example
 * ```ts
 * const chart = throughput({
 *   title: "migration",
 *   numRows: 2,
 *   columns: { startNs: Float64Array.of(0, 1000), amount: Float64Array.of(12_000, 6_000) },
 *   units: { startNs: "ns", amount: "bytes" },
 * });
 * console.log(chart.title); // Migration: 9 GB/s on average, 12 GB/s at its peak
 * ```
 */
export function throughput(
  source: RateSource | readonly RateSource[],
  options: ThroughputOptions = {},
): Chart {
  const sources = Array.isArray(source) ? source as readonly RateSource[] : [source as RateSource];
  const all = sources.map((s) => ratesOf(s, options.endNs));
  const units = [...new Set(all.map((r) => r.unit))];
  if (units.length > 1 || all.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot draw rates: got ${all.length} timelines in ${
        units.join(" and ")
      }; up to ${MAX_SERIES} in one unit ` +
        "are allowed; draw one chart for each unit",
    );
  }
  const filled = all.filter((r) => r.total > 0);
  const summary = summaryOf(all);
  if (filled.length === 0) {
    const name = all.map((r) => r.name).join(", ") || "throughput";
    return emptyChart(options.title ?? `${capital(name)}: nothing was moved`, summary);
  }
  const capacity = capacityOf(options.capacity, filled[0].unit);
  const peak = Math.max(capacity ?? 0, ...filled.flatMap((r) => Array.from(r.perSecond)));
  const y = axisUnit(`${filled[0].unit}/s`, peak);
  const x = axisUnit("ns", Math.max(...filled.map((r) => r.endNs)));
  const rows = filled.flatMap((r, s) => {
    const points = Array.from(r.perSecond, (rate, b) => ({
      s,
      time: short((b * r.binNs) / x.factor),
      rate: short(rate / y.factor),
    }));
    // A step needs an end as well as a start.
    return [...points, { ...points[points.length - 1], time: short(r.endNs / x.factor) }];
  });
  const table = columnsOf(
    "Rate over virtual time",
    rows.map(({ s, ...row }) => ({ name: filled[s].name, ...row })),
    { time: x.unit, rate: y.unit },
  );
  const timeTitle = withUnit("virtual time", x.unit), rateTitle = withUnit("rate", y.unit);
  const encoding = {
    x: {
      field: "time",
      type: "quantitative",
      scale: { domain: [0, short(Math.max(...filled.map((r) => r.endNs)) / x.factor)], nice: false },
      axis: { title: timeTitle, tickCount: 8 },
    },
    y: {
      field: "rate",
      type: "quantitative",
      scale: { zero: true },
      axis: { title: rateTitle, tickCount: 5, labelExpr: countLabel(peak / y.factor) },
    },
  };
  const tooltip = [
    { field: "time", type: "quantitative", title: timeTitle, format: ".4~r" },
    { field: "rate", type: "quantitative", title: rateTitle, format: ".3~r" },
  ];
  const means = filled.map((r) => ({ name: r.name, mean: short(meanOf(r) / y.factor) }));
  return makeChart({
    title: options.title ?? (capacity === undefined ? findingOf(filled) : useOf(filled, capacity)),
    subtitle: subtitleOf(all, filled),
    body: withCapacity(
      filled.length === 1
        ? one(rows, means[0].mean, { encoding, tooltip })
        : many(rows, filled, { encoding, tooltip }),
      capacity === undefined ? undefined : short(capacity / y.factor),
      encoding.y,
    ),
    table,
    summary,
  });
}

function ratesOf(source: RateSource, endNs: number | undefined): Rates {
  if (!(source instanceof Timeline) && !isColumns(source)) {
    throw new UsageError(
      `Cannot draw rates: got ${
        describe(source)
      }; a Timeline, a table with startNs and amount, or an array of these is ` +
        "allowed; write for example plot.throughput(run.links)",
    );
  }
  const c = source instanceof Timeline ? source.columns() : source;
  checkColumns(c, "draw rates");
  const none = { name: c.title, unit: unitOf(c.units, "amount"), binNs: 1, endNs: 0, total: 0 };
  if (c.numRows === 0) return { ...none, perSecond: new Float64Array(0) };
  const startNs = numbersOf(c, "startNs", "draw rates"), amount = numbersOf(c, "amount", "draw rates");
  let step = source instanceof Timeline ? source.binNs : Infinity;
  for (let i = 1; i < c.numRows; i++) {
    const width = startNs[i] - startNs[i - 1];
    if (!(width > 0)) {
      throw new UsageError(
        `Cannot draw rates: got startNs ${startNs[i]} after ${
          startNs[i - 1]
        } in row ${i}; ascending times are allowed; ` +
          'sort the table first, for example with orderby("startNs")',
      );
    }
    step = Math.min(step, width);
  }
  // A transfer that ends where a bin begins leaves an empty last bin: the run did not last through it.
  let rows = c.numRows;
  while (endNs === undefined && rows > 1 && amount[rows - 1] === 0) rows--;
  const last = startNs[rows - 1];
  if (!Number.isFinite(step)) step = Math.max(1, (endNs ?? last + 1) - last);
  const end = Math.max(last + 1, endNs ?? last + step);
  // Bins are only ever joined, so that no amount has to be split.
  const bins = Math.ceil(end / step);
  const joined = Math.ceil(bins / MAX_BINS);
  const binNs = step * joined;
  const sums = new Float64Array(Math.ceil(bins / joined));
  for (let i = 0; i < rows; i++) sums[Math.floor(Math.round(startNs[i] / step) / joined)] += amount[i];
  const perSecond = sums.map((sum, b) => (sum * 1e9) / (Math.min((b + 1) * binNs, end) - b * binNs));
  const total = sums.reduce((x, y) => x + y, 0);
  return { ...none, binNs, endNs: end, total, perSecond };
}

function capacityOf(given: number | string | undefined, unit: string): number | undefined {
  if (given === undefined) return undefined;
  if (typeof given === "string" && unit === "bytes") {
    return during("draw rates: capacity", () => bytesPerSecond(given));
  }
  if (typeof given === "number" && given > 0 && given < Infinity) return given;
  throw new UsageError(
    `Cannot draw rates: got ${describe(given)} for capacity; a number of ${unit}/s above 0 is allowed` +
      `${
        unit === "bytes" ? ', or a text; write for example capacity: "13 GB/s"' : "; write for example 1000"
      }`,
  );
}

/** How much of what it could move each source moved. */
function useOf(filled: readonly Rates[], capacity: number): string {
  const use = (x: number) => shareText(x / capacity), most = valueText(capacity, `${filled[0].unit}/s`);
  if (filled.length === 1) {
    const [r] = filled;
    return `${capital(r.name)}: ${use(meanOf(r))} of ${most} is used on average, ${
      use(peakOf(r))
    } at its peak`;
  }
  const sorted = [...filled].sort((a, b) => b.total - a.total);
  return `Of ${most} are used on average: ${sorted.map((r) => `${use(meanOf(r))} by ${r.name}`).join(", ")}`;
}

/** Adds the line at which a source can move no more. */
function withCapacity(
  body: Record<string, unknown>,
  rate: number | undefined,
  y: Record<string, unknown>,
): Record<string, unknown> {
  if (rate === undefined) return body;
  const { width, height, layer, ...alone } = body, data = { values: [{ rate, text: "most that fits" }] };
  const rule = { data, mark: { type: "rule", strokeDash: [2, 3] }, encoding: { y } };
  const label = {
    data,
    mark: { type: "text", style: "label-muted", align: "left", baseline: "top", dx: 4, dy: 5, x: 0 },
    encoding: { y, text: { field: "text", type: "nominal" } },
  };
  return {
    width,
    height,
    layer: [...(layer as Record<string, unknown>[] | undefined ?? [alone]), rule, label],
  };
}

function meanOf(r: Rates): number {
  return r.endNs === 0 ? 0 : (r.total * 1e9) / r.endNs;
}

function peakOf(r: Rates): number {
  return r.perSecond.reduce((max, x) => Math.max(max, x), 0);
}

function findingOf(filled: readonly Rates[]): string {
  const rate = (x: number) => valueText(x, `${filled[0].unit}/s`);
  if (filled.length === 1) {
    const [r] = filled;
    const [mean, peak] = [rate(meanOf(r)), rate(peakOf(r))];
    return mean === peak
      ? `${capital(r.name)}: a steady ${mean}`
      : `${capital(r.name)}: ${mean} on average, ${peak} at its peak`;
  }
  const sorted = [...filled].sort((a, b) => b.total - a.total);
  return sorted.map((r, i) => `${i === 0 ? capital(r.name) : r.name} ${rate(meanOf(r))}`).join(", ") +
    " on average";
}

function subtitleOf(all: readonly Rates[], filled: readonly Rates[]): string {
  const [first] = filled;
  const end = Math.max(...filled.map((r) => r.endNs));
  const total = filled.reduce((sum, r) => sum + r.total, 0);
  const bins = [...new Set(filled.map((r) => timeText(r.binNs)))].join(" and ");
  const parts = [
    `${valueText(total, first.unit)} in ${timeText(end)} of virtual time`,
    `a step is ${bins}`,
  ];
  const none = all.filter((r) => r.total === 0).map((r) => r.name);
  if (none.length > 0) parts.push(`nothing moved by ${none.join(", ")}`);
  return parts.join(" · ");
}

function summaryOf(all: readonly Rates[]): Columns {
  const unit = all[0]?.unit ?? "";
  return columnsOf(
    "Throughput",
    all.map((r) => ({ name: r.name, total: r.total, meanPerSecond: meanOf(r), peakPerSecond: peakOf(r) })),
    unit === "" ? {} : { total: unit, meanPerSecond: `${unit}/s`, peakPerSecond: `${unit}/s` },
  );
}

interface Axes {
  readonly encoding: { readonly x: Record<string, unknown>; readonly y: Record<string, unknown> };
  readonly tooltip: readonly Record<string, unknown>[];
}

function one(rows: readonly object[], mean: number, { encoding, tooltip }: Axes): Record<string, unknown> {
  return {
    width: WIDTH,
    height: 260,
    layer: [
      {
        data: { values: rows },
        mark: { type: "area", interpolate: "step-after", line: { strokeWidth: 1.5 }, fillOpacity: 0.25 },
        encoding: { ...encoding, tooltip },
      },
      {
        data: { values: [{ rate: mean }] },
        mark: { type: "rule", strokeDash: [6, 4], style: "rule-accent" },
        encoding: { y: encoding.y },
      },
      // Text over the area needs a halo, and Vega-Lite strokes over the fill: so it is written twice.
      ...["halo", "label-accent"].map((style) => ({
        data: { values: [{ rate: mean, text: "mean" }] },
        mark: { type: "text", style, align: "right", baseline: "bottom", dx: -4, dy: -4, x: "width" },
        encoding: { y: encoding.y, text: { field: "text", type: "nominal" } },
      })),
    ],
  };
}

function many(
  rows: readonly object[],
  all: readonly Rates[],
  { encoding, tooltip }: Axes,
): Record<string, unknown> {
  const domain = all.map((r) => r.name);
  const series = seriesOf(domain, {
    columns: domain.join("").length > 60 ? 1 : domain.length,
    symbolType: "stroke",
    offset: LEGEND_ABOVE_TITLE,
  });
  return {
    width: WIDTH,
    height: 260,
    data: { values: rows },
    transform: series.transform,
    mark: { type: "line", interpolate: "step-after", strokeWidth: 1.75 },
    encoding: {
      ...encoding,
      color: series.color,
      strokeDash: series.strokeDash,
      tooltip: [series.tooltip, ...tooltip],
    },
  };
}
