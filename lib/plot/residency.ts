/** Which memory is on a device, over virtual time. */
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, numbersOf } from "../tables/check.ts";
import { PAGE_SIZE } from "../units.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { type Extents, extentsOf, PageSet, placeOf } from "./extents.ts";
import { axisUnit, shareText, short, timeText, valueText, withUnit } from "./scale.ts";
import { LEGEND_ABOVE_TITLE, WIDTH } from "./theme.ts";

/** What can be said about a residency chart beside its data. */
export interface ResidencyOptions {
  /** A title instead of the finding. */
  readonly title?: string;
  /** When the run ended, in ns of virtual time; the last change if not given. */
  readonly endNs?: number;
}

const WHAT = "draw residency";
const TIMES = 96, PLACES = 48;

/** Page-ns on the device by cell, at `place * TIMES + time`, and what is said of the whole. */
interface Grid {
  readonly held: Float64Array;
  readonly extents: Extents;
  readonly endNs: number;
  readonly binNs: number;
  readonly binPages: number;
  readonly places: number;
  readonly mostPages: number;
  readonly arrivedPages: number;
}

/**
 * Draws which part of memory was on a device when: addresses upwards, virtual time to the right.
 *
 * @param source a table with columns timeNs (ascending), firstVpn, pages, onDevice (1: these pages are
 * there from now on; 0: none of them is): `run.records.gpu.residency`
 * @param options a title of one's own, the end of the run
 * @returns the chart; its table holds the share on the device by cell of time and address; gaps between touched ranges are
 * left out
 * @throws {UsageError} if a column is missing or times go back
 *
 * @example
 * ```ts
 * import { columnsOf, plot } from "hmmlab";
 *
 * const moves = columnsOf("Residency", [
 *   { timeNs: 0, firstVpn: 256, pages: 512, onDevice: 1 },
 *   { timeNs: 5000, firstVpn: 256, pages: 256, onDevice: 0 },
 * ]);
 * console.log(plot.residency(moves, { endNs: 10_000 }).title); // Residency: up to 2 MiB of 2 MiB are on the device, each page came once
 * ```
 */
export function residency(source: Columns, options: ResidencyOptions = {}): Chart {
  checkColumns(source, WHAT, "plot.residency(run.records.gpu.residency) for a GPU named gpu");
  if (source.numRows === 0) {
    return emptyChart(options.title ?? "Residency: no page came to the device", source);
  }
  const grid = gridOf(source, options.endNs);
  if (grid.arrivedPages === 0) {
    return emptyChart(options.title ?? "Residency: no page came to the device", source);
  }
  const time = axisUnit("ns", grid.endNs), place = axisUnit("bytes", grid.extents.pages * PAGE_SIZE);
  const bytesPerPlace = grid.binPages * PAGE_SIZE, cells: Record<string, number>[] = [];
  for (let p = 0; p < grid.places; p++) {
    for (let t = 0; t < TIMES; t++) {
      const percent = percentOf(grid, p, t);
      if (percent === 0) continue;
      let end = t + 1;
      // What stays as it is is one rectangle.
      while (end < TIMES && percentOf(grid, p, end) === percent) end++;
      cells.push({
        startNs: short(t * grid.binNs),
        endNs: short(Math.min(end * grid.binNs, grid.endNs)),
        fromBytes: p * bytesPerPlace,
        toBytes: Math.min((p + 1) * bytesPerPlace, grid.extents.pages * PAGE_SIZE),
        percent,
      });
      t = end - 1;
    }
  }
  const table = columnsOf("Share on the device", cells, {
    startNs: "ns",
    endNs: "ns",
    fromBytes: "bytes",
    toBytes: "bytes",
    percent: "%",
  });
  const title = options.title ?? findingOf(grid);
  if (cells.length === 0) return emptyChart(title, table);
  return makeChart({
    title,
    subtitle: subtitleOf(grid),
    body: heat(cells, {
      x: { title: withUnit("virtual time", time.unit), factor: time.factor, end: grid.endNs },
      y: {
        title: withUnit("touched memory", place.unit),
        factor: place.factor,
        end: grid.extents.pages * PAGE_SIZE,
      },
    }),
    table,
    summary: columnsOf("Residency", [{
      touchedBytes: grid.extents.pages * PAGE_SIZE,
      mostBytes: grid.mostPages * PAGE_SIZE,
      arrivedBytes: grid.arrivedPages * PAGE_SIZE,
    }], { touchedBytes: "bytes", mostBytes: "bytes", arrivedBytes: "bytes" }),
  });
}

function percentOf({ held, binNs, binPages, endNs, extents }: Grid, place: number, time: number): number {
  const wide = Math.min((time + 1) * binNs, endNs) - time * binNs;
  const tall = Math.min((place + 1) * binPages, extents.pages) - place * binPages;
  if (!(wide > 0)) return 0;
  return Math.round((100 * held[place * TIMES + time]) / (wide * tall));
}

function gridOf(source: Columns, given: number | undefined): Grid {
  const timeNs = numbersOf(source, "timeNs", WHAT), first = numbersOf(source, "firstVpn", WHAT);
  const pages = numbersOf(source, "pages", WHAT),
    on = numbersOf(source, "onDevice", WHAT),
    n = source.numRows;
  for (let i = 1; i < n; i++) {
    if (timeNs[i] >= timeNs[i - 1]) continue;
    throw new UsageError(
      `Cannot ${WHAT}: got timeNs ${timeNs[i]} after ${
        timeNs[i - 1]
      } in row ${i}; ascending times are allowed; ` +
        'sort the table first, for example with orderby("timeNs")',
    );
  }
  const came = Array.from(on, (_, i) => i).filter((i) => on[i] !== 0);
  const extents = extentsOf(came.map((i) => first[i]), came.map((i) => pages[i]));
  const endNs = Math.max(given ?? 0, timeNs[n - 1] + 1);
  const binPages = Math.max(1, Math.ceil(extents.pages / PLACES)),
    places = Math.ceil(extents.pages / binPages);
  const binNs = endNs / TIMES, held = new Float64Array(places * TIMES);
  const there = new Float64Array(places), sinceNs = new Float64Array(places);
  const settle = (place: number, toNs: number) => {
    const count = there[place];
    let from = sinceNs[place];
    sinceNs[place] = toNs;
    if (count === 0) return;
    for (let t = Math.floor(from / binNs); from < toNs && t < TIMES; t++) {
      const to = Math.min(toNs, (t + 1) * binNs);
      held[place * TIMES + t] += count * (to - from);
      from = to;
    }
  };
  let now = 0, mostPages = 0, arrivedPages = 0;
  const here = new PageSet();
  for (let i = 0; i < n; i++) {
    const end = first[i] + pages[i], sign = on[i] !== 0 ? 1 : -1;
    const change = (start: number, past: number) => {
      const from = placeOf(extents, start), to = from + past - start;
      for (let place = Math.floor(from / binPages); place * binPages < to; place++) {
        settle(place, timeNs[i]);
        there[place] += sign * (Math.min(to, (place + 1) * binPages) - Math.max(from, place * binPages));
      }
      now += sign * (past - start);
      if (sign > 0) arrivedPages += past - start;
    };
    if (sign > 0) here.add(first[i], end, change);
    else here.remove(first[i], end, change);
    mostPages = Math.max(mostPages, now);
  }
  for (let place = 0; place < places; place++) settle(place, endNs);
  return { held, extents, endNs, binNs, binPages, places, mostPages, arrivedPages };
}

function findingOf({ extents, mostPages, arrivedPages }: Grid): string {
  const [most, all] = [mostPages, extents.pages].map((n) => valueText(n * PAGE_SIZE, "bytes"));
  const times = arrivedPages / extents.pages;
  const came = times === 1
    ? "each page came once"
    : `a page came ${Number(times.toPrecision(2))} times on average`;
  return `Residency: up to ${most} of ${all} are on the device, ${came}`;
}

function subtitleOf({ extents, binNs, binPages, held, endNs }: Grid): string {
  const mean = held.reduce((sum, x) => sum + x, 0) / (extents.pages * endNs);
  const ranges = extents.starts.length;
  return [
    `${shareText(mean)} of the touched memory on average`,
    `a cell is ${timeText(Math.round(binNs))} and ${valueText(binPages * PAGE_SIZE, "bytes")}`,
    ...(ranges > 1 ? [`${ranges} ranges, gaps left out`] : []),
  ].join(" · ");
}

interface HeatAxis {
  readonly title: string;
  readonly factor: number;
  readonly end: number;
}

function heat(
  cells: readonly Record<string, number>[],
  { x, y }: { readonly x: HeatAxis; readonly y: HeatAxis },
): Record<string, unknown> {
  const axis = (field: string, a: HeatAxis, more: Record<string, unknown>) => ({
    field,
    type: "quantitative",
    scale: { domain: [0, short(a.end / a.factor)], nice: false },
    axis: { title: a.title, tickCount: 6, ...more },
  });
  return {
    width: WIDTH,
    height: 300,
    data: {
      values: cells.map((c) => ({
        a: short(c.startNs / x.factor),
        b: short(c.endNs / x.factor),
        c: short(c.fromBytes / y.factor),
        d: short(c.toBytes / y.factor),
        p: c.percent,
      })),
    },
    // Half a pixel over the next rectangle closes the seams that rounding leaves between them.
    mark: { type: "rect", x2Offset: 0.5, y2Offset: -0.5, clip: true },
    encoding: {
      x: axis("a", x, {}),
      x2: { field: "b" },
      y: axis("c", y, { grid: false }),
      y2: { field: "d" },
      color: {
        field: "p",
        type: "quantitative",
        scale: { domain: [0, 100] },
        legend: {
          title: "share on the device (%)",
          gradientLength: 180,
          gradientThickness: 10,
          values: [0, 50, 100],
          offset: LEGEND_ABOVE_TITLE,
        },
      },
      tooltip: [
        { field: "a", type: "quantitative", title: `from, ${x.title}`, format: ".4~r" },
        { field: "b", type: "quantitative", title: `to, ${x.title}`, format: ".4~r" },
        { field: "c", type: "quantitative", title: y.title, format: ".4~r" },
        { field: "p", type: "quantitative", title: "% on the device" },
      ],
    },
  };
}
