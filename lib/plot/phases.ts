/** Where the time went: phases that add up. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, columnOf, isStrings, numbersOf } from "../tables/check.ts";
import { type Chart, emptyChart, makeChart } from "./chart.ts";
import { textWidth } from "./measure.ts";
import { axisUnit, capital, shareText, short, timeText, withUnit } from "./scale.ts";
import { MAX_SERIES, palette, WIDTH } from "./theme.ts";

/** What can be said about a chart of phases beside its data. */
export interface PhasesOptions {
  /** A title instead of the finding. */
  readonly title?: string;
  /** How often each kind happened, by kind: times are then drawn for one of them instead of for all. */
  readonly counts?: Readonly<Record<string, number>>;
  /**
   * Whether every bar is as long as the chart and shows shares. If not given, shares are drawn when the kinds differ
   * more than twentyfold, since the short bars would be gone otherwise.
   */
  readonly shares?: boolean;
}

const MAX_KINDS = 24;
/** Phases that share a colour: with them there are as many as colours, and theirs is the last, a grey. */
const OTHER = "other";

interface Part {
  readonly kind: string;
  readonly phase: string;
  readonly ns: number;
}

/**
 * Draws what the time of each kind of event went into, as bars of phases that add up to the whole.
 *
 * @param source a table with columns kind, phase and ns, as a run's phases are; rows of the same kind and phase add up
 * @param options a title of one's own, counts by kind, shares or times
 * @returns the chart; the smallest phases are joined to "other" when there are more than seven, and the subtitle says so
 * @throws {UsageError} if the table lacks a column, a time is negative, or there are more than 24 kinds
 *
 * @example
 * ```ts
 * const table = {
 *   title: "Phases",
 *   numRows: 2,
 *   columns: { kind: ["fault", "fault"], phase: ["copy", "TLB flush"], ns: Float64Array.of(9000, 1000) },
 *   units: { ns: "ns" },
 * };
 * console.log(phases(table).title); // Fault: 90 % of 10 µs is copy
 * ```
 */
export function phases(source: Columns, options: PhasesOptions = {}): Chart {
  const all = partsOf(source, options.counts);
  if (all.length === 0) {
    return emptyChart(options.title ?? `${source.title}: no time was spent`, columnsOf("Phases", []));
  }
  const { parts, joined } = joinSmall(all);
  const kinds = sumBy(parts, (p) => p.kind);
  const phaseNames = [...sumBy(parts.filter((p) => p.phase !== OTHER), (p) => p.phase).keys()];
  if (parts.some((p) => p.phase === OTHER)) phaseNames.push(OTHER);
  if (kinds.size > MAX_KINDS) {
    throw new UsageError(
      `Cannot draw phases: got ${kinds.size} kinds; at most ${MAX_KINDS} are allowed; keep the largest, for example ` +
        "with filter",
    );
  }
  const totals = [...kinds.values()];
  const asShares = options.shares ?? Math.max(...totals) > 20 * Math.min(...totals);
  const unit = axisUnit("ns", Math.max(...totals));
  const each = options.counts === undefined ? "" : " each";
  const colors = palette("light");
  const kindLabel = (kind: string) => `${kind}: ${timeText(kinds.get(kind)!)}${each}`;
  const longest = asShares ? 100 : Math.max(...totals) / unit.factor;
  const ends = new Map<string, number>();
  const inOrder = [...parts].sort((a, b) => phaseNames.indexOf(a.phase) - phaseNames.indexOf(b.phase));
  const drawn = inOrder.map((p) => {
    const share = p.ns / kinds.get(p.kind)!;
    const from = ends.get(p.kind) ?? 0;
    const to = from + (asShares ? share * 100 : p.ns / unit.factor);
    ends.set(p.kind, to);
    const label = shareText(share);
    // Bars are half as long on a phone as here: a label that needs more is left out.
    const fits = ((to - from) / longest) * WIDTH * 0.5 > textWidth(label, 11, true) + 4;
    return {
      kind: kindLabel(p.kind),
      phase: p.phase,
      from: short(from),
      to: short(to),
      text: `${timeText(p.ns)}, ${label}`,
      ...(fits
        ? { label, middle: short((from + to) / 2), ink: inkOn(colors[phaseNames.indexOf(p.phase)]) }
        : {}),
    };
  });
  return makeChart({
    title: options.title ?? findingOf(all, kinds, each),
    subtitle: [
      ...(joined.length > 0 ? [`other: ${joined.join(", ")}`] : []),
      ...(asShares ? ["bars show shares, each kind's time stands beside its name"] : []),
    ].join(" · "),
    body: bars(drawn, [...kinds.keys()].map(kindLabel), phaseNames, {
      title: asShares
        ? withUnit("share of the kind's time", "%")
        : withUnit(`virtual time${each}`, unit.unit),
      nice: !asShares,
    }),
    table: columnsOf("Time by kind and phase", parts.map((p) => ({ ...p })), { ns: "ns" }),
    summary: columnsOf(
      "Time by kind and phase",
      parts.map((p) => ({
        kind: p.kind,
        phase: p.phase,
        time: timeText(p.ns),
        share: shareText(p.ns / kinds.get(p.kind)!),
      })),
    ),
  });
}

function partsOf(source: Columns, counts: PhasesOptions["counts"]): Part[] {
  checkColumns(source, "draw phases", "plot.phases(run.phases)");
  if (source.numRows === 0) return [];
  const [kind, phase] = ["kind", "phase"].map((name) => {
    const data = columnOf(source, name, "draw phases");
    if (isStrings(data)) return data;
    throw new UsageError(
      `Cannot draw phases: got numbers in the column ${name}; names are allowed; write them as strings`,
    );
  });
  const ns = numbersOf(source, "ns", "draw phases");
  const sums = new Map<string, Map<string, number>>();
  for (let i = 0; i < source.numRows; i++) {
    if (!(ns[i] >= 0 && ns[i] < Infinity)) {
      throw new UsageError(
        `Cannot draw phases: got ${
          ns[i]
        } ns in row ${i}; times of 0 or more are allowed; phases are parts of a whole`,
      );
    }
    const count = counts === undefined ? 1 : counts[kind[i]];
    if (!(count !== undefined && count > 0)) {
      throw new UsageError(
        `Cannot draw phases: got a count of ${describe(count)} for ${
          JSON.stringify(kind[i])
        }; a count above 0 for every ` +
          `kind is allowed; write counts: { ${JSON.stringify(kind[i])}: 1 }`,
      );
    }
    const of = sums.get(kind[i]) ?? new Map<string, number>();
    sums.set(kind[i], of.set(phase[i], (of.get(phase[i]) ?? 0) + ns[i] / count));
  }
  return [...sums].flatMap(([k, of]) => [...of].map(([p, sum]) => ({ kind: k, phase: p, ns: sum }))).filter((
    p,
  ) => p.ns > 0);
}

/** Sums by a name, the largest first. */
function sumBy(parts: readonly Part[], name: (p: Part) => string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const p of parts) sums.set(name(p), (sums.get(name(p)) ?? 0) + p.ns);
  return new Map([...sums].sort((a, b) => b[1] - a[1]));
}

/** There are only so many colours that can be told apart: the smallest phases share the grey one. */
function joinSmall(all: readonly Part[]): { parts: Part[]; joined: string[] } {
  // By their largest share of any kind: a phase that matters to a short kind matters.
  const kinds = sumBy(all, (p) => p.kind);
  const weight = new Map<string, number>();
  for (const p of all) weight.set(p.phase, Math.max(weight.get(p.phase) ?? 0, p.ns / kinds.get(p.kind)!));
  if (weight.size <= MAX_SERIES) return { parts: [...all], joined: [] };
  const joined = [...weight].sort((a, b) => b[1] - a[1]).slice(MAX_SERIES - 1).map(([phase]) => phase);
  const sums = new Map<string, Part>();
  for (const p of all) {
    const phase = joined.includes(p.phase) ? OTHER : p.phase;
    const key = JSON.stringify([p.kind, phase]);
    sums.set(key, { kind: p.kind, phase, ns: p.ns + (sums.get(key)?.ns ?? 0) });
  }
  return { parts: [...sums.values()], joined };
}

function findingOf(parts: readonly Part[], kinds: ReadonlyMap<string, number>, each: string): string {
  const [[kind, total]] = kinds;
  const largest = parts.filter((p) => p.kind === kind).sort((a, b) => b.ns - a.ns)[0];
  // Overlapping spans add up to more than the run: without a count the time is said to be that of all of them.
  const time = `${timeText(total)}${each === "" ? " in all" : each}`;
  const phase = largest.phase.startsWith(`${kind}: `) ? largest.phase.slice(kind.length + 2) : largest.phase;
  const share = largest.ns === total ? "all" : shareText(largest.ns / total);
  return `${capital(kind)}: ${share} of ${time} is ${phase}`;
}

/** Black or white, whichever is read better on a colour. */
function inkOn(color: string): string {
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(color.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.2 ? "#111111" : "#ffffff";
}

function bars(
  drawn: readonly { readonly label?: string }[],
  kinds: readonly string[],
  phaseNames: readonly string[],
  x: { title: string; nice: boolean },
): Record<string, unknown> {
  const at = (field: string) => ({
    field,
    type: "quantitative",
    scale: { nice: x.nice },
    axis: { title: x.title, grid: true, tickCount: 6 },
  });
  const y = {
    field: "kind",
    type: "nominal",
    scale: { domain: [...kinds], paddingInner: 0.55, paddingOuter: 0.4 },
    // A name over its bar takes no width from it.
    axis: {
      title: null,
      labelAlign: "left",
      labelPadding: -2,
      labelOffset: -20,
      labelFontSize: 12,
      labelLimit: 0,
    },
  };
  return {
    width: WIDTH,
    height: 16 + kinds.length * 50,
    layer: [
      {
        data: { values: drawn },
        mark: { type: "bar", style: "on-background", strokeWidth: 1 },
        encoding: {
          x: at("from"),
          x2: { field: "to" },
          y,
          color: {
            field: "phase",
            type: "nominal",
            scale: { domain: [...phaseNames] },
            legend: { symbolType: "square", columns: { expr: "width < 480 ? 2 : 4" } },
          },
          tooltip: [
            { field: "kind", type: "nominal", title: "of" },
            { field: "phase", type: "nominal", title: "phase" },
            { field: "text", type: "nominal", title: "time" },
          ],
        },
      },
      {
        data: { values: drawn.filter((bar) => bar.label !== undefined) },
        mark: { type: "text", style: "label-on-mark" },
        encoding: {
          x: at("middle"),
          y,
          color: { field: "ink", type: "nominal", scale: null },
          text: { field: "label", type: "nominal" },
        },
      },
    ],
  };
}
