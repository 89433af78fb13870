/** What was published against what comes out here, one point a figure: on the line they agree. */
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, columnOf, numbersOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { capital, countOf, logTicks, short } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { LEGEND_ABOVE_TITLE, MAX_SERIES, WIDTH } from "./theme.ts";

/** Which columns {@linkcode agreement} draws. */
export interface AgreementOptions {
  /** The column with the published values. */
  readonly x: string;
  /** The column with ours. */
  readonly y: string;
  /** The column with what each figure is called. */
  readonly name: string;
  /** The column that tells points apart, for example the verdict. */
  readonly series?: string;
  /** A title instead of the finding. */
  readonly title?: string;
}

const WHAT = "draw an agreement";

/** "half of them within 3 %, 90 % within a factor of 2". */
function findingOf(ratios: readonly number[]): string {
  const off = ratios.map((r) => Math.max(r, 1 / r)).sort((a, b) => a - b), half = off[off.length >> 1];
  const near = half < 1.0005
    ? "half of them equal"
    : half < 2
    ? `half of them within ${Number((100 * (half - 1)).toPrecision(2))} %`
    : `half of them within a factor of ${Number(half.toPrecision(2))}`;
  return `${near}, ${Math.round(100 * off.filter((x) => x <= 2).length / off.length)} % within a factor of 2`;
}

/**
 * Draws two measurements of the same things against each other on logarithmic axes, with the line on which they agree and
 * those a factor of 2 off.
 *
 * @param c a table with one row a figure
 * @param options columns by name; rows with a value that is not above 0 have no place and are counted in the title
 * @returns the chart; its table holds the rows that are drawn
 * @throws {UsageError} if a column is missing or holds strings, or there are more than seven series
 *
 * @example
 * ```ts
 * import { columnsOf, plot } from "hmmlab";
 *
 * const figures = columnsOf("Figures", [
 *   { figure: "fault, us", published: 45, ours: 45 },
 *   { figure: "copy, us", published: 100, ours: 120 },
 *   { figure: "rate, GB/s", published: 5.2, ours: 5.3 },
 * ]);
 * console.log(plot.agreement(figures, { x: "published", y: "ours", name: "figure" }).title);
 * // Figures: half of them within 1.9 %, 100 % within a factor of 2
 * ```
 */
export function agreement(c: Columns, options: AgreementOptions): Chart {
  checkColumns(c, WHAT);
  const x = numbersOf(c, options.x, WHAT), y = numbersOf(c, options.y, WHAT);
  const what = columnOf(c, options.name, WHAT);
  const given = options.series === undefined ? undefined : columnOf(c, options.series, WHAT);
  const names = [...new Set(given === undefined ? [""] : Array.from(given, String))];
  if (names.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${names.length} series in ${options.series}; at most ${MAX_SERIES} can be told apart; ` +
        "keep some, for example with filter",
    );
  }
  const drawn = Array.from(x, (_, i) => i).filter((i) =>
    x[i] > 0 && x[i] < Infinity && y[i] > 0 && y[i] < Infinity
  );
  if (drawn.length === 0) return emptyChart(options.title ?? `${c.title}: no rows above 0`, c);
  const rows = drawn.map((i) => ({
    s: names.indexOf(String(given?.[i] ?? "")),
    name: String(what[i]),
    x: short(x[i]),
    y: short(y[i]),
  }));
  const least = drawn.reduce((m, i) => Math.min(m, x[i], y[i]), Infinity);
  const most = drawn.reduce((m, i) => Math.max(m, x[i], y[i]), 0);
  const ends = [short(least / 1.6), short(most * 1.6)];
  const channel = (field: string) => ({
    field,
    type: "quantitative",
    scale: { type: "log", nice: false, domain: ends },
    axis: {
      title: `${field === "x" ? options.x : options.y}, logarithmic`,
      values: logTicks(ends[0], ends[1]),
      labelExpr: "format(datum.value, datum.value < 1 ? '~g' : '~s')",
      labelOverlap: "greedy",
      grid: true,
    },
  });
  /** Ends of the line on which ours is `factor` times theirs, within the axes. */
  const along = (factor: number) => {
    const from = Math.max(ends[0], ends[0] / factor), to = Math.min(ends[1], ends[1] / factor);
    return { values: [from, to].map((at) => ({ x: short(at), y: short(at * factor) })) };
  };
  const series = seriesOf(names, {
    symbolType: "circle",
    columns: names.length,
    offset: LEGEND_ABOVE_TITLE,
  });
  const hidden = x.length - drawn.length;
  const table = columnsOf(
    c.title,
    drawn.map((i) => ({
      [options.name]: String(what[i]),
      ...(given === undefined ? {} : { [options.series!]: String(given[i]) }),
      [options.x]: x[i],
      [options.y]: y[i],
    })),
  );
  const left = hidden === 0 ? "" : ` (${countOf(hidden, "figure")} of 0 not drawn)`;
  return makeChart({
    title: options.title ?? `${capital(c.title)}: ${findingOf(drawn.map((i) => y[i] / x[i]))}${left}`,
    body: {
      width: WIDTH,
      height: 420,
      layer: [
        ...[1, 2, 0.5].map((factor) => ({
          data: along(factor),
          mark: { type: "line", style: "rule-accent", ...(factor === 1 ? {} : { strokeDash: [3, 5] }) },
          encoding: { x: channel("x"), y: channel("y") },
        })),
        {
          data: { values: rows },
          transform: series.transform,
          mark: { type: "point", filled: true, size: 55, opacity: 0.8 },
          encoding: {
            x: channel("x"),
            y: channel("y"),
            ...(options.series === undefined ? {} : { color: series.color }),
            tooltip: [
              { field: "name", type: "nominal", title: options.name },
              ...(options.series === undefined
                ? []
                : [{ field: "series", type: "nominal", title: options.series }]),
              { field: "x", type: "quantitative", title: options.x, format: ".5~r" },
              { field: "y", type: "quantitative", title: options.y, format: ".5~r" },
            ],
          },
        },
      ],
    },
    table,
    summary: table,
  });
}
