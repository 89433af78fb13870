/** What a GPU's batches of faults held, over virtual time. */
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, numbersOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { axisUnit, countLabel, countOf, shareText, short, timeText, withUnit } from "./scale.ts";
import { seriesOf } from "./series.ts";
import { WIDTH } from "./theme.ts";

/** What can be said about a chart of fault batches beside its data. */
export interface BatchesOptions {
  /** A title instead of the finding. */
  readonly title?: string;
}

const WHAT = "draw fault batches";
/** Most bins along the time: a point is then a few pixels wide. */
const MAX_BINS = 160;
const SERIES: readonly string[] = ["faults", "of these duplicates"];

interface Bin {
  n: number;
  startNs: number;
  faults: number;
  duplicates: number;
  blocks: number;
}

/**
 * Draws batches of device faults over virtual time: above their faults and how many of those were duplicates, below the
 * VA blocks that they fell into. More than 160 batches are averaged in bins of equal width.
 *
 * @param source a table with columns startNs, faults, duplicates, blocks: `run.records.gpu.batches`
 * @param options a title of one's own
 * @returns the chart; its table holds the means by bin, its summary those of the run
 * @throws {UsageError} if a column is missing
 *
 * @example
 * ```ts
 * import { columnsOf, plot } from "hmmlab";
 *
 * const rows = [{ startNs: 0, faults: 256, duplicates: 64, blocks: 4 }, { startNs: 9000, faults: 128, duplicates: 32, blocks: 2 }];
 * const chart = plot.batches(columnsOf("Fault batches", rows));
 * console.log(chart.title); // 2 batches: 192 faults in 3 VA blocks on average, 25 % of the faults are duplicates
 * ```
 */
export function batches(source: Columns, options: BatchesOptions = {}): Chart {
  checkColumns(source, WHAT, "plot.batches(run.records.gpu.batches) for a GPU named gpu");
  const [startNs, faults, duplicates, blocks] = ["startNs", "faults", "duplicates", "blocks"].map((name) =>
    source.numRows === 0 && source.columns[name] === undefined
      ? new Float64Array(0)
      : Float64Array.from(numbersOf(source, name, WHAT))
  );
  const n = source.numRows;
  if (n === 0) return emptyChart(options.title ?? "No fault batches were recorded", source);
  const sum = (column: Float64Array) => column.reduce((x, y) => x + y, 0);
  const endNs = startNs.reduce((max, x) => Math.max(max, x), 0) + 1,
    binNs = n <= MAX_BINS ? 0 : endNs / MAX_BINS;
  const bins = new Map<number, Bin>();
  for (let i = 0; i < n; i++) {
    const key = binNs === 0 ? i : Math.floor(startNs[i] / binNs);
    const bin = bins.get(key) ?? { n: 0, startNs: 0, faults: 0, duplicates: 0, blocks: 0 };
    bin.n++;
    bin.startNs += startNs[i];
    bin.faults += faults[i];
    bin.duplicates += duplicates[i];
    bin.blocks += blocks[i];
    bins.set(key, bin);
  }
  const rows = [...bins.values()].map((b) => ({
    startNs: short(b.startNs / b.n),
    batches: b.n,
    faults: short(b.faults / b.n),
    duplicates: short(b.duplicates / b.n),
    blocks: short(b.blocks / b.n),
  })).sort((a, b) => a.startNs - b.startNs);
  const all = { faults: sum(faults), duplicates: sum(duplicates), blocks: sum(blocks) };
  const mean = (x: number) => Number((x / n).toPrecision(3)).toLocaleString("en-US");
  const share = all.faults === 0 ? 0 : all.duplicates / all.faults;
  return makeChart({
    title: options.title ??
      `${countOf(n, "batch").replace(/batchs$/, "batches")}: ${mean(all.faults)} faults in ${
        mean(all.blocks)
      } VA block${all.blocks === n ? "" : "s"} on average, ${shareText(share)} of the faults are duplicates`,
    subtitle: binNs === 0
      ? ""
      : `a point is the mean of the batches that began within ${timeText(Math.round(binNs))}`,
    body: views(rows, endNs),
    table: columnsOf("Fault batches", rows, { startNs: "ns" }),
    summary: columnsOf("Fault batches", [{
      batches: n,
      meanFaults: all.faults / n,
      meanDuplicates: all.duplicates / n,
      meanBlocks: all.blocks / n,
    }]),
  });
}

function views(
  rows: readonly { startNs: number; faults: number; duplicates: number; blocks: number }[],
  endNs: number,
): Record<string, unknown> {
  const time = axisUnit("ns", endNs), many = rows.length > 60;
  const x = (labels: boolean) => ({
    field: "t",
    type: "quantitative",
    scale: { domain: [0, short(endNs / time.factor)], nice: false },
    axis: {
      title: labels ? withUnit("virtual time", time.unit) : null,
      labels,
      ticks: labels,
      tickCount: 8,
      grid: true,
    },
  });
  const y = (field: string, title: string, largest: number) => ({
    field,
    type: "quantitative",
    scale: { zero: true },
    axis: { title, tickCount: 4, labelExpr: countLabel(largest), minExtent: 30, maxExtent: 30 },
  });
  const largest = (of: (r: typeof rows[number]) => number) =>
    rows.reduce((max, r) => Math.max(max, of(r)), 0);
  const series = seriesOf(SERIES, { columns: 2, symbolType: "stroke" });
  const mark = { type: "line", point: many ? false : { size: 28 }, strokeWidth: 1.5 };
  const at = (r: typeof rows[number]) => short(r.startNs / time.factor);
  const tip = (field: string, title: string) => ({ field, type: "quantitative", title, format: ".4~r" });
  const timeTip = tip("t", withUnit("virtual time", time.unit));
  return {
    vconcat: [
      {
        width: WIDTH,
        height: 190,
        data: {
          values: rows.flatMap((r) => [{ s: 0, t: at(r), n: r.faults }, { s: 1, t: at(r), n: r.duplicates }]),
        },
        transform: series.transform,
        mark,
        encoding: {
          x: x(false),
          y: y("n", "faults a batch", largest((r) => r.faults)),
          color: series.color,
          strokeDash: series.strokeDash,
          tooltip: [series.tooltip, timeTip, tip("n", "a batch")],
        },
      },
      {
        width: WIDTH,
        height: 110,
        data: { values: rows.map((r) => ({ t: at(r), n: r.blocks })) },
        mark,
        encoding: {
          x: x(true),
          y: y("n", "VA blocks a batch", largest((r) => r.blocks)),
          tooltip: [timeTip, tip("n", "blocks a batch")],
        },
      },
    ],
    spacing: 34,
    bounds: "flush",
  };
}
