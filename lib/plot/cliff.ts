/** What over-subscription costs: a measure against the working set as a part of the memory that it must fit into. */
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, columnOf, numbersOf, unitOf, unitsOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { axisUnit, capital, columnLabel, countLabel, logTicks, short, valueText, withUnit } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { LEGEND_ABOVE_TITLE, MAX_SERIES, WIDTH } from "./theme.ts";

/** Which columns {@linkcode cliff} draws. */
export interface CliffOptions {
  /** The column with the working set divided by the memory: 1 is where memory is full. */
  readonly x: string;
  /** The column with what is measured: a time, or a rate (its unit ends in "/s"). */
  readonly y: string;
  /** The column that tells lines apart, for example the eviction policy. */
  readonly series?: string;
  /** A title instead of the finding. */
  readonly title?: string;
}

interface Point {
  readonly series: string;
  readonly x: number;
  readonly y: number;
}

const WHAT = "draw a cliff";

/**
 * Draws a measure against over-subscription, both axes with a line where memory is full, the vertical one logarithmic.
 *
 * @param c a table with one row a run
 * @param options columns by name
 * @returns the chart; the finding compares the largest working set that fits with the largest of all
 * @throws {UsageError} if a column is missing or holds strings, a value is not above 0, or there are more than seven series
 *
 * @example
 * ```ts
 * import { columnsOf, plot } from "hmmlab";
 *
 * const runs = columnsOf("Three passes", [
 *   { oversubscription: 0.5, elapsedNs: 2e6 },
 *   { oversubscription: 1, elapsedNs: 4e6 },
 *   { oversubscription: 1.5, elapsedNs: 6e7 },
 * ], { elapsedNs: "ns" });
 * console.log(plot.cliff(runs, { x: "oversubscription", y: "elapsedNs" }).title);
 * // Three passes: elapsed grows 15-fold from 100 % to 150 % of memory
 * ```
 */
export function cliff(c: Columns, options: CliffOptions): Chart {
  checkColumns(c, WHAT);
  if (c.numRows === 0) return emptyChart(options.title ?? `${c.title}: no rows`, c);
  const x = numbersOf(c, options.x, WHAT), y = numbersOf(c, options.y, WHAT);
  const given = options.series === undefined ? undefined : columnOf(c, options.series, WHAT);
  const points = Array.from(x, (at, i): Point => {
    if (at > 0 && at < Infinity && y[i] > 0 && y[i] < Infinity) {
      return { series: given === undefined ? "" : String(given[i]), x: at, y: y[i] };
    }
    throw new UsageError(
      `Cannot ${WHAT}: got ${options.x} ${at} and ${options.y} ${
        y[i]
      } in row ${i}; numbers above 0 are allowed; ` +
        "leave out the rows without a result, for example with filter",
    );
  }).sort((a, b) => a.x - b.x);
  const names = [...new Set(given === undefined ? [""] : Array.from(given, String))];
  if (names.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${names.length} series in ${options.series}; at most ${MAX_SERIES} can be told apart; ` +
        "keep some, for example with filter",
    );
  }
  const unit = axisUnit(unitOf(c.units, options.y), points.reduce((max, p) => Math.max(max, p.y), 0));
  const [low, high] = [
    points.reduce((m, p) => Math.min(m, p.y), Infinity),
    points.reduce((m, p) => Math.max(m, p.y), 0),
  ];
  const yTitle = `${withUnit(columnLabel(options.y), unit.unit)}, logarithmic`;
  const rows = points.map((p) => ({
    s: names.indexOf(p.series),
    x: short(p.x * 100),
    y: short(p.y / unit.factor),
  }));
  const ends = [short(low / unit.factor / 1.15), short(high / unit.factor * 1.15)];
  const xChannel = {
    field: "x",
    type: "quantitative",
    scale: {
      zero: false,
      nice: false,
      domain: [Math.min(100, rows[0].x), Math.max(100, rows[rows.length - 1].x)],
    },
    axis: { title: "working set, as a part of memory (%)", tickCount: 8, grid: true },
  };
  const yChannel = {
    field: "y",
    type: "quantitative",
    scale: { type: "log", nice: false, domain: ends },
    axis: {
      title: yTitle,
      values: logTicks(ends[0], ends[1]),
      labelExpr: countLabel(ends[1]),
      labelOverlap: "greedy",
    },
  };
  const series = seriesOf(names, {
    symbolType: "stroke",
    columns: names.join("").length > 60 ? 1 : names.length,
    offset: LEGEND_ABOVE_TITLE,
  });
  const many = options.series === undefined ? {} : { color: series.color, strokeDash: series.strokeDash };
  const full = { values: [{ x: 100, text: "memory is full" }] };
  const table = columnsOf(
    c.title,
    points.map((p) => ({
      ...(options.series === undefined ? {} : { [options.series]: p.series }),
      [options.x]: p.x,
      [options.y]: p.y,
    })),
    unitsOf(c.units, [options.x, options.y]),
  );
  return makeChart({
    title: options.title ?? findingOf(c, options, points, names),
    body: {
      width: WIDTH,
      height: 300,
      layer: [
        {
          data: { values: rows },
          transform: series.transform,
          mark: { type: "line", point: { size: 45 } },
          encoding: {
            x: xChannel,
            y: yChannel,
            ...many,
            tooltip: [
              ...(options.series === undefined
                ? []
                : [{ field: "series", type: "nominal", title: options.series }]),
              { field: "x", type: "quantitative", title: "% of memory", format: ".4~r" },
              { field: "y", type: "quantitative", title: yTitle, format: ".4~r" },
            ],
          },
        },
        {
          data: full,
          mark: { type: "rule", style: "rule-accent", strokeDash: [6, 4] },
          encoding: { x: xChannel },
        },
        ...["halo", "label-accent"].map((style) => ({
          data: full,
          mark: { type: "text", style, align: "right", baseline: "top", dx: -5, y: 2 },
          encoding: { x: xChannel, text: { field: "text", type: "nominal" } },
        })),
      ],
    },
    table,
    summary: table,
  });
}

/** What leaving memory costs the line that it costs most. */
function findingOf(
  c: Columns,
  options: CliffOptions,
  points: readonly Point[],
  names: readonly string[],
): string {
  const rate = unitOf(c.units, options.y).endsWith("/s"),
    what = columnLabel(options.y),
    title = capital(c.title);
  const steps = names.flatMap((name) => {
    const of = points.filter((p) => p.series === name),
      inside = of.filter((p) => p.x <= 1).at(-1),
      last = of.at(-1)!;
    return inside === undefined || last.x <= 1
      ? []
      : [{ name, inside, last, fold: rate ? inside.y / last.y : last.y / inside.y }];
  }).sort((a, b) => b.fold - a.fold);
  if (steps.length === 0) {
    const { y } = points[points.length - 1];
    return `${title}: ${what} is ${valueText(y, unitOf(c.units, options.y))} at the largest working set`;
  }
  const [worst] = steps, best = steps[steps.length - 1];
  const percent = (x: number) => `${Number((x * 100).toPrecision(3))} %`;
  const fold = (x: number) => `${Number(x.toPrecision(2)).toLocaleString("en-US")}-fold`;
  const verb = (x: number) => (x >= 1) === rate ? "falls" : "grows";
  const span = `from ${percent(worst.inside.x)} to ${percent(worst.last.x)} of memory`;
  const by = (s: typeof worst) => s.name === "" ? "" : ` (${s.name})`;
  const first = `${title}: ${what} ${verb(worst.fold)} ${fold(Math.max(worst.fold, 1 / worst.fold))}${
    by(worst)
  } ${span}`;
  return steps.length > 1
    ? `${first}, ${fold(Math.max(best.fold, 1 / best.fold))}${by(best)} at best`
    : first;
}
