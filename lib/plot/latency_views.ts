/** The views of a latency chart: shares over the cumulative curve, on one logarithmic axis. */
import { cumulative, type Distribution, type LogBins } from "./distribution.ts";
import { textWidth } from "./measure.ts";
import { NS_LABEL, short, timeText } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { WIDTH } from "./theme.ts";

/** The percentiles that are marked. */
export const PERCENTILES: readonly number[] = [50, 90, 99];

/** A bin that is not empty. */
export interface Bar {
  /** Where it begins, in ns. */
  readonly lowNs: number;
  /** Where it ends, in ns. */
  readonly highNs: number;
  /** Its share of the events, 0 to 100. */
  readonly percent: number;
}

type Json = Record<string, unknown>;

const EVENTS = "share of events (%)";
const NO_LONGER = "share of events that take no longer (%)";
/** Both views have labels of one width, so that their axes stand in line. */
const LABELS_WIDTH = 26;

function xAxis(bins: LogBins, labels: boolean): Json {
  const units = [...new Set(bins.ticksNs.map((ns) => timeText(ns).split(" ")[1]))];
  const range = units.length > 1 ? `${units[0]} to ${units[units.length - 1]}` : units[0];
  return {
    type: "quantitative",
    scale: { type: "log", domain: [...bins.domainNs], nice: false },
    axis: {
      values: [...bins.ticksNs],
      labelExpr: NS_LABEL,
      labels,
      ticks: labels,
      grid: true,
      title: labels ? `latency in virtual time (${range}, logarithmic)` : null,
    },
  };
}

function yAxis(title: string, domain?: readonly number[]): Json {
  return {
    type: "quantitative",
    ...(domain ? { scale: { domain: [...domain] } } : {}),
    axis: { title, tickCount: 4, minExtent: LABELS_WIDTH, maxExtent: LABELS_WIDTH },
  };
}

function stacked(upper: Json, lower: Json): Json {
  return {
    vconcat: [{ width: WIDTH, height: 190, ...upper }, { width: WIDTH, height: 130, ...lower }],
    spacing: 34,
    bounds: "flush",
  };
}

/**
 * One distribution: bars, and percentiles as lines through both views.
 *
 * @param d the distribution
 * @param bins bins and axis
 * @param bars its bins that are not empty
 * @returns the body of a spec
 */
export function single(d: Distribution, bins: LogBins, bars: readonly Bar[]): Json {
  const marks = PERCENTILES.map((p) => ({
    ns: short(Math.max(d.percentileNs(p), bins.domainNs[0])),
    percent: p,
    text: timeText(d.percentileNs(p)),
  }));
  const labels = placeLabels(marks, bins);
  const rows = Math.max(...labels.map((m) => m.row));
  const most = Math.max(...bars.map((bar) => bar.percent));
  const x = { field: "ns", ...xAxis(bins, false) };
  const xLower = { field: "ns", ...xAxis(bins, true) };
  const y = { field: "percent", ...yAxis(NO_LONGER, [0, 100]) };
  const rule = {
    data: { values: labels.map(({ ns, text }) => ({ ns, text })) },
    mark: { type: "rule", strokeDash: [4, 3] },
  };
  return stacked({
    layer: [
      {
        data: {
          values: bars.map((bar) => ({ ...bar, range: `${timeText(bar.lowNs)} to ${timeText(bar.highNs)}` })),
        },
        mark: { type: "bar", binSpacing: 1, clip: true },
        encoding: {
          x: { ...x, field: "lowNs" },
          x2: { field: "highNs" },
          // Room over the bars for the labels of the percentiles.
          y: { field: "percent", ...yAxis(EVENTS, [0, short(most * (1.18 + 0.12 * rows))]) },
          y2: { datum: 0 },
          tooltip: [
            { field: "range", type: "nominal", title: "latency" },
            { field: "percent", type: "quantitative", title: "% of events", format: ".3~r" },
          ],
        },
      },
      { ...rule, encoding: { x } },
      // A halo, since on a phone a label may lie over the next line; Vega-Lite strokes over the fill, so it comes first.
      ...["halo", "text"].flatMap((style) =>
        labels.map((m) => ({
          data: { values: [{ ns: m.ns, text: m.text }] },
          mark: {
            type: "text",
            style,
            align: m.toLeft ? "right" : "left",
            baseline: "top",
            dx: m.toLeft ? -5 : 5,
            y: 2 + m.row * 16,
          },
          encoding: { x, text: { field: "text", type: "nominal" } },
        }))
      ),
    ],
  }, {
    layer: [
      {
        data: { values: cumulative(d).map((c) => ({ ns: short(c.ns), percent: short(c.share * 100) })) },
        mark: { type: "line", interpolate: "step-after" },
        encoding: { x: xLower, y },
      },
      { ...rule, encoding: { x: xLower } },
      {
        data: { values: marks.map((m) => ({ ...m, text: `p${m.percent}: ${m.text}` })) },
        mark: { type: "point", opacity: 1 },
        encoding: { x: xLower, y, tooltip: [{ field: "text", type: "nominal", title: "percentile" }] },
      },
    ],
  });
}

interface Label {
  readonly ns: number;
  readonly text: string;
  readonly row: number;
  readonly toLeft: boolean;
}

/** Percentiles that read the same share a label; a label keeps off the next line, and off other labels. */
function placeLabels(
  marks: readonly { ns: number; percent: number; text: string }[],
  bins: LogBins,
): Label[] {
  const [low, high] = bins.domainNs;
  const byText = new Map<string, { ns: number; names: string[] }>();
  for (const m of marks) {
    const names = [...byText.get(m.text)?.names ?? [], `p${m.percent}`];
    byText.set(m.text, { ns: m.ns, names });
  }
  const all = [...byText].map(([text, { ns, names }]) => ({
    ns,
    text: `${names.join(", ")}: ${text}`,
    at: Math.log(ns / low) / Math.log(high / low),
  }));
  const rowEnds: number[] = [];
  return all.map(({ ns, text, at }, i) => {
    const width = (textWidth(text, 11.5) + 12) / WIDTH;
    const crossed = i + 1 < all.length && all[i + 1].at - at < width;
    const toLeft = at + width > 1 || (crossed && at - width > (i > 0 ? all[i - 1].at : 0));
    // On a phone a label takes twice this share of the width: rows are told apart by that.
    const from = toLeft ? at - 2 * width : at, to = toLeft ? at : at + 2 * width;
    let row = rowEnds.findIndex((end) => end <= from);
    if (row < 0) row = rowEnds.length;
    rowEnds[row] = to;
    return { ns, text, row, toLeft };
  });
}

/**
 * Several distributions over each other: outlines, and the cumulative curves with percentiles as dots.
 *
 * @param all the distributions
 * @param bins bins and axis
 * @param bars for each distribution its bins that are not empty
 * @returns the body of a spec
 */
export function compared(
  all: readonly Distribution[],
  bins: LogBins,
  bars: readonly (readonly Bar[])[],
): Json {
  const names = all.map((d) =>
    `${d.name}: p50 ${timeText(d.percentileNs(50))}, p99 ${timeText(d.percentileNs(99))}`
  );
  const { transform, color, strokeDash, tooltip } = seriesOf(names, { columns: 1, symbolType: "stroke" });
  const x = { field: "ns", ...xAxis(bins, true) };
  const y = { field: "percent", ...yAxis(NO_LONGER, [0, 100]) };
  return stacked({
    transform,
    data: { values: all.flatMap((_, s) => outline(bars[s], s)) },
    mark: {
      type: "area",
      interpolate: "step-after",
      line: { strokeWidth: 1.5 },
      fillOpacity: 0.18,
      clip: true,
    },
    encoding: {
      x: { field: "ns", ...xAxis(bins, false) },
      y: { field: "percent", stack: null, ...yAxis(EVENTS) },
      color,
      detail: { field: "piece", type: "nominal" },
    },
  }, {
    layer: [
      {
        data: {
          values: all.flatMap((d, s) =>
            cumulative(d).map((c) => ({ s, ns: short(c.ns), percent: short(c.share * 100) }))
          ),
        },
        transform,
        mark: { type: "line", interpolate: "step-after" },
        encoding: { x, y, color, strokeDash },
      },
      {
        data: {
          values: all.flatMap((d, s) =>
            PERCENTILES.map((p) => ({
              s,
              ns: short(Math.max(d.percentileNs(p), bins.domainNs[0])),
              percent: p,
              text: `p${p}: ${timeText(d.percentileNs(p))}`,
            }))
          ),
        },
        transform,
        mark: { type: "point", opacity: 1 },
        encoding: {
          x,
          y,
          color,
          tooltip: [
            tooltip,
            { field: "text", type: "nominal", title: "percentile" },
          ],
        },
      },
    ],
  });
}

/** A corner of an outline; each run of bins that are not empty is a piece of its own. */
interface Corner {
  readonly s: number;
  readonly piece: number;
  readonly ns: number;
  readonly percent: number;
}

function outline(bars: readonly Bar[], s: number): Corner[] {
  const points: Corner[] = [];
  let piece = 0;
  bars.forEach((bar, i) => {
    if (i === 0 || bar.lowNs > bars[i - 1].highNs * 1.0001) {
      points.push({ s, piece: ++piece, ns: bar.lowNs, percent: 0 });
    }
    points.push({ s, piece, ns: bar.lowNs, percent: bar.percent });
    if (i === bars.length - 1 || bars[i + 1].lowNs > bar.highNs * 1.0001) {
      points.push({ s, piece, ns: bar.highNs, percent: bar.percent }, {
        s,
        piece,
        ns: bar.highNs,
        percent: 0,
      });
    }
  });
  return points;
}
