/** Bars and lines of any table, for what the other constructors do not draw. */
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, columnOf, isStrings, numbersOf, unitOf, unitsOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { textWidth } from "./measure.ts";
import {
  type AxisUnit,
  axisUnit,
  capital,
  columnLabel,
  countLabel,
  countOf,
  logTicks,
  short,
} from "./scale.ts";
import { valueText, withUnit } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { LEGEND_ABOVE_TITLE, MAX_SERIES, WIDTH } from "./theme.ts";

/** Which columns {@linkcode bars} draws. */
export interface BarsOptions {
  /** The column with a name for each bar. */
  readonly x: string;
  /** The column with its length. */
  readonly y: string;
  /** The column that splits each bar into several beside each other. */
  readonly series?: string;
  /** A title instead of the finding. */
  readonly title?: string;
}

/** Which columns {@linkcode lines} draws. */
export interface LinesOptions {
  /** The numeric column along the horizontal axis. */
  readonly x: string;
  /** The numeric column along the vertical axis. */
  readonly y: string;
  /** The column that tells lines apart. */
  readonly series?: string;
  /** Whether the horizontal axis is logarithmic. */
  readonly xLog?: boolean;
  /** Whether the vertical axis is logarithmic. */
  readonly yLog?: boolean;
  /** A title instead of the finding. */
  readonly title?: string;
}

/** Most bars of a chart; more cannot be read. */
const MAX_BARS = 60;
/** Most points of a line; longer ones are averaged. */
const MAX_POINTS = 400;

interface Point {
  readonly series: string;
  readonly x: number;
  readonly y: number;
}

/**
 * Draws a horizontal bar for each row, in the table's order.
 *
 * @param c the table
 * @param options columns by name; values below 0 are drawn to the left
 * @returns the chart; ns, bytes and bytes/s are scaled to a unit that suits the axis
 * @throws {UsageError} if a column is missing or has the wrong type, or there are more than 60 bars or seven series
 *
 * @example
 * ```ts
 * const c = { title: "Faults", numRows: 2, columns: { program: ["gzip", "cc"], faults: Uint32Array.of(120, 900) }, units: {} };
 * console.log(bars(c, { x: "program", y: "faults" }).title); // Faults: largest for cc, 900
 * ```
 */
export function bars(c: Columns, options: BarsOptions): Chart {
  checkColumns(c, "draw bars");
  if (c.numRows === 0) return emptyChart(options.title ?? `${c.title}: no rows`, c);
  const names = Array.from(columnOf(c, options.x, "draw bars"), String);
  const values = numbersOf(c, options.y, "draw bars");
  const series = options.series === undefined
    ? []
    : Array.from(columnOf(c, options.series, "draw bars"), String);
  const kept = names.map((_, i) => i).filter((i) => Number.isFinite(values[i]));
  const table = columnsOf(
    c.title,
    kept.map((i) => ({
      [options.x]: names[i],
      ...(options.series === undefined ? {} : { [options.series]: series[i] }),
      [options.y]: values[i],
    })),
    unitsOf(c.units, [options.y]),
  );
  if (kept.length === 0) return emptyChart(options.title ?? `${c.title}: no rows`, table);
  const seriesNames = [...new Set(kept.map((i) => series[i] ?? ""))];
  if (kept.length > MAX_BARS || seriesNames.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot draw bars: got ${kept.length} of them in ${seriesNames.length} series; at most ${MAX_BARS} bars and ` +
        `${MAX_SERIES} series can be read; keep the largest, for example with orderby(desc("${options.y}")) and ` +
        "slice(0, 20), or draw lines",
    );
  }
  const unit = axisUnitOf(c, options.y, kept.map((i) => values[i]));
  const largest = kept.reduce((best, i) => values[i] > values[best] ? i : best, kept[0]);
  const of = series[largest] === undefined ? names[largest] : `${names[largest]}, ${series[largest]}`;
  const rows = kept.map((i) => ({
    name: names[i],
    series: series[i] ?? "",
    value: short(values[i] / unit.factor),
    text: valueText(values[i], unitOf(c.units, options.y)),
  }));
  const grouped = options.series !== undefined;
  const x = {
    field: "value",
    type: "quantitative",
    axis: {
      title: withUnit(columnLabel(options.y), unit.unit),
      grid: true,
      tickCount: 5,
      labelExpr: countLabel(Math.max(...rows.map((r) => Math.abs(r.value)))),
    },
    scale: { domain: withRoom(rows), nice: false },
  };
  const y = {
    field: "name",
    type: "nominal",
    axis: { title: null, labelLimit: 200, labelFontSize: 12 },
    // A domain keeps the table's order; a sort would make an expression of the names, and not every name can be in one.
    scale: {
      domain: [...new Set(rows.map((r) => r.name))],
      paddingInner: grouped ? 0.3 : 0.4,
      paddingOuter: 0.2,
    },
  };
  const color = {
    field: "series",
    type: "nominal",
    scale: { domain: seriesNames },
    legend: legendOf(seriesNames, "square"),
  };
  const offset = grouped
    ? { yOffset: { field: "series", type: "nominal", scale: { domain: seriesNames } } }
    : {};
  const step = grouped ? seriesNames.length * 15 + 10 : 28;
  return makeChart({
    title: options.title ??
      `${c.title}: largest for ${of}, ${valueText(values[largest], unitOf(c.units, options.y))}`,
    subtitle: kept.length < c.numRows
      ? `${countOf(c.numRows - kept.length, "row")} without a value left out`
      : "",
    body: {
      width: WIDTH,
      height: new Set(rows.map((r) => r.name)).size * step + 8,
      data: { values: rows },
      layer: [
        { mark: "bar", encoding: { x, y, ...offset, ...(grouped ? { color } : {}) } },
        {
          mark: {
            type: "text",
            align: { expr: "datum.value < 0 ? 'right' : 'left'" },
            dx: { expr: "datum.value < 0 ? -5 : 5" },
          },
          encoding: { x, y, ...offset, text: { field: "text", type: "nominal" } },
        },
      ],
    },
    table,
    summary: table,
  });
}

/**
 * Draws a line through the rows of each series, from small x to large.
 *
 * A series of more than 400 rows is averaged in 400 bins of equal width, and the subtitle says so.
 *
 * @param c the table
 * @param options columns by name, logarithmic axes
 * @returns the chart; rows with a value that is not a number, or not above 0 on a logarithmic axis, are left out, and
 * the subtitle says so
 * @throws {UsageError} if a column is missing or holds strings, or there are more than seven series
 *
 * @example
 * ```ts
 * const c = {
 *   title: "Invalidation",
 *   numRows: 3,
 *   columns: { pages: Uint32Array.of(1, 64, 512), ns: Uint32Array.of(900, 2100, 9800) },
 *   units: { ns: "ns", pages: "pages" },
 * };
 * console.log(lines(c, { x: "pages", y: "ns", xLog: true }).title);
 * ```
 */
export function lines(c: Columns, options: LinesOptions): Chart {
  checkColumns(c, "draw lines");
  if (c.numRows === 0) return emptyChart(options.title ?? `${c.title}: no rows`, c);
  const x = numbersOf(c, options.x, "draw lines"), y = numbersOf(c, options.y, "draw lines");
  const given = options.series === undefined ? undefined : columnOf(c, options.series, "draw lines");
  const usable = (value: number, log?: boolean) => Number.isFinite(value) && (!log || value > 0);
  const bySeries = new Map<string, Point[]>();
  let left = c.numRows;
  for (let i = 0; i < c.numRows; i++) {
    if (!usable(x[i], options.xLog) || !usable(y[i], options.yLog)) continue;
    left--;
    const name = given === undefined ? "" : String(given[i]);
    const points = bySeries.get(name) ?? [];
    if (points.length === 0) bySeries.set(name, points);
    points.push({ series: name, x: x[i], y: y[i] });
  }
  const names = [...bySeries.keys()];
  if (names.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot draw lines: got ${names.length} series in ${options.series}; at most ${MAX_SERIES} can be told apart; ` +
        "keep some, for example with filter, or roll them up",
    );
  }
  let averaged = 0;
  const points = [...bySeries.values()].flatMap((rows) => {
    if (rows.length <= MAX_POINTS) return rows.sort((a, b) => a.x - b.x);
    averaged += rows.length;
    return average(rows, options.xLog ?? false);
  });
  const table = columnsOf(
    c.title,
    points.map((p) => ({
      ...(options.series === undefined ? {} : { [options.series]: p.series }),
      [options.x]: p.x,
      [options.y]: p.y,
    })),
    unitsOf(c.units, [options.x, options.y]),
  );
  if (points.length === 0) return emptyChart(options.title ?? `${c.title}: no rows`, table);
  const xUnit = axisUnitOf(c, options.x, points.map((p) => p.x)),
    yUnit = axisUnitOf(c, options.y, points.map((p) => p.y));
  const xAxis = axisOf(options.x, xUnit, points.map((p) => p.x), options.xLog);
  const yAxis = axisOf(options.y, yUnit, points.map((p) => p.y), options.yLog);
  const series = seriesOf(names, { ...legendOf(names, "stroke"), offset: LEGEND_ABOVE_TITLE });
  const many = options.series === undefined ? {} : { color: series.color, strokeDash: series.strokeDash };
  return makeChart({
    title: options.title ?? findingOf(c, options, points),
    subtitle: [
      ...(averaged > 0 ? [`mean of ${countOf(averaged, "row")} in ${MAX_POINTS} bins`] : []),
      ...(left > 0 ? [`${countOf(left, "row")} without a usable value left out`] : []),
    ].join(" · "),
    body: {
      width: WIDTH,
      height: 280,
      data: {
        values: points.map((p) => ({
          s: names.indexOf(p.series),
          x: short(p.x / xUnit.factor),
          y: short(p.y / yUnit.factor),
        })),
      },
      transform: series.transform,
      mark: { type: "line", point: points.length <= 60 * names.length },
      encoding: {
        x: { field: "x", ...xAxis },
        y: { field: "y", ...yAxis },
        ...many,
        tooltip: [
          ...(options.series === undefined
            ? []
            : [{ field: "series", type: "nominal", title: options.series }]),
          {
            field: "x",
            type: "quantitative",
            title: withUnit(columnLabel(options.x), xUnit.unit),
            format: ".4~r",
          },
          {
            field: "y",
            type: "quantitative",
            title: withUnit(columnLabel(options.y), yUnit.unit),
            format: ".4~r",
          },
        ],
      },
    },
    table,
    summary: averaged > 0 ? firstAndLast(table) : table,
  });
}

function axisOf(
  name: string,
  unit: AxisUnit,
  values: readonly number[],
  log = false,
): Record<string, unknown> {
  const title = withUnit(columnLabel(name), unit.unit) + (log ? ", logarithmic" : "");
  const largest = values.reduce((max, x) => Math.max(max, Math.abs(x)), 0) / unit.factor;
  const axis = { title, labelExpr: countLabel(largest) };
  if (!log) return { type: "quantitative", scale: { zero: false }, axis: { ...axis, tickCount: 6 } };
  // A sweep has few values, and those are what a reader looks for.
  const different = [...new Set(values)].sort((a, b) => a - b);
  const [low, high] = [different[0], different[different.length - 1]];
  const ticks = different.length <= 12 ? different : logTicks(low, high);
  return {
    type: "quantitative",
    scale: {
      type: "log",
      nice: false,
      ...(low === high ? { domain: [short(low / 2 / unit.factor), short(high * 2 / unit.factor)] } : {}),
    },
    axis: { ...axis, values: ticks.map((x) => short(x / unit.factor)), labelOverlap: "greedy" },
  };
}

function axisUnitOf(c: Columns, name: string, values: readonly number[]): AxisUnit {
  return axisUnit(unitOf(c.units, name), values.reduce((max, x) => Math.max(max, Math.abs(x)), 0));
}

/** Ends of the axis of bars that leave room for the figures at the bars' ends, on a phone as well. */
function withRoom(rows: readonly { value: number; text: string }[]): [number, number] {
  const room = Math.max(...rows.map((r) => textWidth(r.text, 11.5) + 10)) / (WIDTH / 2.2);
  const low = Math.min(0, ...rows.map((r) => r.value)), high = Math.max(0, ...rows.map((r) => r.value));
  const extra = (high - low || 1) * room;
  return [low < 0 ? short(low - extra) : 0, high > 0 || low === 0 ? short(high + extra) : 0];
}

function legendOf(names: readonly string[], symbolType: string): Record<string, unknown> {
  const total = names.reduce((sum, name) => sum + textWidth(name, 12) + 40, 0);
  return { symbolType, columns: total > WIDTH / 2 ? 1 : names.length };
}

function average(points: readonly Point[], log: boolean): Point[] {
  const at = (p: Point) => log ? Math.log(p.x) : p.x;
  const low = points.reduce((min, p) => Math.min(min, at(p)), Infinity);
  const high = points.reduce((max, p) => Math.max(max, at(p)), -Infinity);
  const bins = Array.from({ length: MAX_POINTS }, () => ({ n: 0, x: 0, y: 0 }));
  for (const p of points) {
    const bin = bins[Math.min(MAX_POINTS - 1, Math.floor(((at(p) - low) / (high - low || 1)) * MAX_POINTS))];
    bin.n++;
    bin.x += p.x;
    bin.y += p.y;
  }
  return bins.filter((b) => b.n > 0).map((b) => ({ series: points[0].series, x: b.x / b.n, y: b.y / b.n }));
}

function firstAndLast(table: Columns): Columns {
  const keep = [0, table.numRows - 1];
  const columns = Object.entries(table.columns).map(([name, data]) => [
    name,
    isStrings(data) ? keep.map((i) => data[i]) : Float64Array.from(keep, (i) => data[i]),
  ]);
  return { ...table, numRows: keep.length, columns: Object.fromEntries(columns) };
}

/** One line is said by its ends, several by where they end. */
function findingOf(c: Columns, options: LinesOptions, points: readonly Point[]): string {
  const yText = (y: number) => valueText(y, unitOf(c.units, options.y)),
    xText = (x: number) => valueText(x, unitOf(c.units, options.x));
  const ends = new Map<string, { first: Point; last: Point }>();
  for (const p of points) ends.set(p.series, { first: ends.get(p.series)?.first ?? p, last: p });
  const all = [...ends.values()];
  if (all.length === 1) {
    const [{ first, last }] = all;
    return `${capital(c.title)}: ${columnLabel(options.y)} from ${yText(first.y)} at ${xText(first.x)} to ${
      yText(last.y)
    } at ${xText(last.x)}`;
  }
  const sorted = [...all].sort((a, b) => b.last.y - a.last.y);
  const [top, bottom] = [sorted[0].last, sorted[sorted.length - 1].last];
  return `${capital(c.title)}: ${columnLabel(options.y)} ends at ${yText(top.y)} (${top.series}) to ${
    yText(bottom.y)
  } (${bottom.series})`;
}
