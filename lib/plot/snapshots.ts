/** Pages over time, with a slider: what a look at a region shows, moment by moment. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, columnOf, isColumns } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { countOf } from "./scale.ts";
import { LEGEND_ABOVE_TITLE, MAX_SERIES, palette, WIDTH } from "./theme.ts";

/** One moment: what it is called, and a table with one row a page. */
export interface Moment {
  /** What stands beside the slider: a time, or what was just done. */
  readonly label: string;
  /** A table with one row a page, always in the same order: what `look` returns. */
  readonly table: Columns;
}

/** What is drawn of the pages. */
export interface SnapshotsOptions {
  /** The column whose text is a page's colour (default "entry"). */
  readonly by?: string;
  /** Pages in a row (default 32). */
  readonly columns?: number;
  /** A title instead of the finding. */
  readonly title?: string;
}

const WHAT = "draw snapshots";
const MAX_PAGES = 4096, MAX_MOMENTS = 500;

/** A page that has one state from one moment to another. */
interface Stay {
  readonly page: number;
  readonly state: string;
  readonly from: number;
  to: number;
}

/**
 * Draws pages as a grid whose colours a slider moves through time: it begins at the last moment, which is also what a still
 * image shows.
 *
 * The slider is part of the chart: it moves wherever Vega-Lite charts are drawn, in a notebook or in the page that
 * `chart.html()` writes, and needs no network.
 *
 * @param moments what was seen, in order: up to 500 looks at the same region of up to 4,096 pages
 * @param options the column that is drawn, pages in a row, a title of one's own
 * @returns the chart; its table says from which moment to which each page was in which state
 * @throws {UsageError} if there is no such column, the moments differ in their number of pages, or there are too many
 *
 * @example
 * ```ts
 * import { look, machine, type Moment, plot, stream, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", devices: { gpu: { profile: "titan-v", memory: "32 KiB", granule: "8 KiB" } } });
 * const heap = m.process().mmap("64 KiB"), moments: Moment[] = [];
 * await m.run({ cpu: touch(heap) });
 * moments.push({ label: "the CPU wrote", table: look(heap) });
 * await m.run({ gpu: stream(m.gpu, heap) });
 * moments.push({ label: "the device read", table: look(heap) });
 * console.log(plot.snapshots(moments).subtitle);
 * ```
 */
export function snapshots(moments: readonly Moment[], options: SnapshotsOptions = {}): Chart {
  if (!Array.isArray(moments) || moments.some((m) => typeof m?.label !== "string" || !isColumns(m.table))) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${describe(moments)}; an array of { label, table } is allowed; ` +
        'write for example [{ label: "before", table: look(heap) }]',
    );
  }
  const by = options.by ?? "entry", perRow = options.columns ?? 32;
  if (!Number.isSafeInteger(perRow) || perRow < 1 || perRow > 256) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${describe(perRow)} columns; 1 to 256 are allowed; write for example 32`,
    );
  }
  const pages = moments[0]?.table.numRows ?? 0;
  if (pages === 0) return emptyChart(options.title ?? "Snapshots: no pages", columnsOf("Snapshots", []));
  if (pages > MAX_PAGES || moments.length > MAX_MOMENTS) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${moments.length} moments of ${pages} pages; at most ${MAX_MOMENTS} and ${MAX_PAGES} are ` +
        "allowed; look at a slice of the region, or draw plot.residency",
    );
  }
  const stays = staysOf(moments, by, pages), states = [...new Set(stays.map((s) => s.state))];
  if (states.length > MAX_SERIES) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${states.length} different texts in ${by}; at most ${MAX_SERIES} can be told apart; ` +
        "choose another column",
    );
  }
  const changes = stays.length - pages, last = moments.length - 1;
  const lastCount = (state: string) => stays.filter((s) => s.to === last + 1 && s.state === state).length;
  const most = [...states].sort((a, b) => lastCount(b) - lastCount(a))[0];
  return makeChart({
    title: options.title ??
      `In the end ${countOf(lastCount(most), "page")} of ${pages.toLocaleString("en-US")} ${
        lastCount(most) === 1 ? "is" : "are"
      } ${most === "" ? `without ${by}` : most}; ${countOf(changes, "change")} in ${
        countOf(moments.length, "look")
      }`,
    subtitle: `a square is a page, ${perRow} in a row · move the slider through time`,
    body: grid(stays, moments, { states, perRow, pages, by }),
    table: columnsOf(
      "Pages over time",
      stays.map((s) => ({
        page: s.page,
        [by]: s.state,
        from: moments[s.from].label,
        until: s.to > last ? "" : moments[s.to].label,
      })),
    ),
    summary: columnsOf("In the end", states.map((state) => ({ [by]: state, pages: lastCount(state) }))),
  });
}

function staysOf(moments: readonly Moment[], by: string, pages: number): Stay[] {
  const stays: Stay[] = [], open: Stay[] = [];
  moments.forEach(({ label, table }, at) => {
    checkColumns(table, WHAT);
    if (table.numRows !== pages) {
      throw new UsageError(
        `Cannot ${WHAT}: got ${table.numRows} pages at "${label}" and ${pages} before; the same pages at every moment ` +
          "are allowed; look at the same region each time",
      );
    }
    const states = columnOf(table, by, WHAT);
    for (let page = 0; page < pages; page++) {
      const state = String(states[page]);
      if (open[page]?.state === state) open[page].to = at + 1;
      else stays.push(open[page] = { page, state, from: at, to: at + 1 });
    }
  });
  return stays;
}

/** A colour for each state; the grey, which is the last, for pages that are nothing. */
function colorsOf(states: readonly string[]): string[] {
  const all = palette("light"),
    grey = all[all.length - 1],
    empty = states.findIndex((s) => s === "none" || s === "");
  let next = 0;
  return states.map((_, i) => i === empty ? grey : all[next++]);
}

function grid(
  stays: readonly Stay[],
  moments: readonly Moment[],
  { states, perRow, pages, by }: { states: readonly string[]; perRow: number; pages: number; by: string },
): Record<string, unknown> {
  const rows = Math.ceil(pages / perRow), last = moments.length - 1, side = Math.min(24, WIDTH / perRow);
  const colors = colorsOf(states);
  const position = (field: string, ticks: number) => ({
    field,
    type: "quantitative",
    axis: null,
    scale: { domain: [0, ticks], nice: false, zero: false },
  });
  return {
    width: Math.round(side * perRow),
    height: Math.round(side * rows) + 30,
    params: [{
      name: "moment",
      value: last,
      bind: { input: "range", min: 0, max: Math.max(last, 1), step: 1, name: "moment " },
    }],
    layer: [
      {
        data: { values: stays.map((s) => ({ i: s.page, s: states.indexOf(s.state), f: s.from, t: s.to })) },
        transform: [
          { filter: "datum.f <= moment && moment < datum.t" },
          { calculate: `datum.i % ${perRow}`, as: "x" },
          { calculate: `floor(datum.i / ${perRow})`, as: "y" },
          { calculate: "datum.x + 0.94", as: "x2" },
          { calculate: "datum.y + 0.94", as: "y2" },
          {
            lookup: "s",
            from: {
              data: { values: states.map((state, s) => ({ s, state: state || "none" })) },
              key: "s",
              fields: ["state"],
            },
          },
        ],
        mark: { type: "rect" },
        encoding: {
          x: position("x", perRow),
          x2: { field: "x2" },
          // Page 0 stands at the top left, under the line with the moment's name.
          y: {
            ...position("y", rows),
            scale: { domain: [rows, 0], nice: false, zero: false, range: [{ expr: "height" }, 30] },
          },
          y2: { field: "y2" },
          color: {
            field: "state",
            type: "nominal",
            scale: { domain: states.map((state) => state || "none"), range: colors },
            legend: { symbolType: "square", offset: LEGEND_ABOVE_TITLE - 16 },
          },
          tooltip: [
            { field: "i", type: "quantitative", title: "page" },
            { field: "state", type: "nominal", title: by },
          ],
        },
      },
      {
        data: { values: moments.map((m, at) => ({ at, text: m.label })) },
        transform: [{ filter: "datum.at == moment" }],
        mark: { type: "text", align: "left", baseline: "top", x: 0, y: 4, fontSize: 13, fontWeight: "bold" },
        encoding: { text: { field: "text", type: "nominal" } },
      },
    ],
  };
}
