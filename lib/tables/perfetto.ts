/** Runs as traces for Perfetto and Chrome: one track an actor, phases within spans, links as counters. */
import { rowsBy } from "../record/rows.ts";
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Columns } from "../record/columns.ts";
import type { Timeline } from "../record/timeline.ts";
import { checkColumns, isColumns, isStrings } from "./check.ts";
import { lanesOf } from "./lanes.ts";

/** What of a run a trace is made of; a `Run` is one. */
export interface TraceSource {
  /** Single spans: columns startNs, durationNs, actor, kind, and any others, which become arguments. */
  readonly events: Columns;
  /** What actors spent their time on inside spans: columns startNs, durationNs, actor, phase. */
  readonly slices?: Columns;
  /** Names of the actors by number. */
  readonly actorNames?: readonly string[];
  /** Amounts over time, each a counter. */
  readonly links?: readonly Timeline[];
  /** What devices kept of their work: a table with a column startNs becomes a track. */
  readonly records?: Readonly<Record<string, Readonly<Record<string, Columns>>>>;
}

const PID = 1;
const WHAT = "write a trace";

/** Nanoseconds as the microseconds of the format, exactly. */
function us(ns: number): string {
  if (!Number.isInteger(ns)) return String(ns / 1000);
  const rest = ns % 1000;
  return rest === 0 ? String(ns / 1000) : `${(ns - rest) / 1000}.${String(rest).padStart(3, "0")}`;
}

function numbers(c: Columns, name: string): ArrayLike<number> {
  const found = c.columns[name];
  if (found !== undefined && !isStrings(found)) return found;
  throw new UsageError(
    `Cannot ${WHAT}: got a table "${c.title}" without numbers in ${name}; the events and slices of a run are allowed; ` +
      "write for example toPerfetto(run) after m.run(…, { events: 10_000 })",
  );
}

/** A table as rows of a trace: which are on which track, and what is written of a row. */
interface Rows {
  readonly startNs: ArrayLike<number>;
  readonly durationNs: ArrayLike<number>;
  readonly text: (row: number) => string;
}

/** The name, category and arguments of each row of a table, as they follow `"ph":"X",`. */
function namer(c: Columns, category: string, name: (row: number) => string): (row: number) => string {
  const rest = Object.keys(c.columns).filter((n) =>
    !["startNs", "durationNs", "actor", "kind", "phase", "event"].includes(n)
  );
  return (row) => {
    const args = rest.map((n) => `${JSON.stringify(n)}:${JSON.stringify(c.columns[n][row])}`);
    return `"cat":"${category}","name":${JSON.stringify(name(row))}${
      args.length === 0 ? "" : `,"args":{${args.join(",")}}`
    }`;
  };
}

function spanRows(c: Columns, category: string, by: string): Rows {
  const names = c.columns[by];
  if (names === undefined) numbers(c, by);
  return {
    startNs: numbers(c, "startNs"),
    durationNs: numbers(c, "durationNs"),
    text: namer(c, category, (row) => String(names[row])),
  };
}

/** Numbers tracks, and says once what each is called. */
class Tracks {
  private next = 0;

  *named(name: string, lanes: number): Generator<string, number> {
    const first = this.next;
    for (let l = 0; l < lanes; l++) {
      const tid = this.next++, text = l === 0 ? name : `${name} (${l + 1})`;
      const head = `{"ph":"M","pid":${PID},"tid":${tid},`;
      yield `${head}"name":"thread_name","args":{"name":${JSON.stringify(text)}}}`;
      yield `${head}"name":"thread_sort_index","args":{"sort_index":${tid}}}`;
    }
    return first;
  }
}

/** The spans of one actor and their phases, on as many tracks as they need. */
function* track(
  tracks: Tracks,
  name: string,
  parts: readonly { rows: Rows; of: readonly number[] }[],
): Generator<string> {
  const startNs: number[] = [], durationNs: number[] = [], from: [Rows, number][] = [];
  for (const { rows, of } of parts) {
    for (const row of of) {
      startNs.push(rows.startNs[row]);
      durationNs.push(rows.durationNs[row]);
      from.push([rows, row]);
    }
  }
  const { order, lane, lanes } = lanesOf(startNs, durationNs, startNs.map((_, i) => i));
  const first = yield* tracks.named(name, lanes);
  for (const i of order) yield slice(first + lane[i], ...from[i]);
}

function* actors(source: TraceSource, tracks: Tracks): Generator<string> {
  const { events, slices, actorNames = [] } = source;
  if (events.numRows === 0) return;
  const kind = events.columns.kind ?? [], stretches = slices?.numRows ?? 0;
  const event: ArrayLike<number> = stretches > 0 && slices!.columns.event !== undefined
    ? numbers(slices!, "event")
    : new Int32Array(stretches).fill(-1);
  const parts = rowsBy(event, stretches, (row) => event[row] >= 0);
  // Events with parts of their own overlap others of their actor: their kinds have tracks of their own.
  const overlapping = new Set([...parts.keys()].map((row) => String(kind[row])));
  const alone = (row: number) => overlapping.has(String(kind[row]));
  const actor = numbers(events, "actor"), doer = stretches > 0 ? numbers(slices!, "actor") : [];
  const spans = rowsBy(actor, events.numRows, (row) => !alone(row));
  const done = rowsBy(doer, stretches, (row) => event[row] < 0);
  const overlaps = rowsBy(actor, events.numRows, alone);
  const name = (a: number) => actorNames[a] ?? `actor ${a}`;
  const spanned = spanRows(events, "span", "kind");
  const phased = stretches > 0 ? spanRows(slices!, "phase", "phase") : undefined;
  const all = new Set([...spans.keys(), ...done.keys(), ...overlaps.keys()]);
  for (const a of [...all].sort((x, y) => x - y)) {
    // Of stretches that are equal the outer comes first: a span ends, and is a row, after those in it; its phases are last.
    if (spans.has(a) || done.has(a)) {
      yield* track(tracks, name(a), [
        { rows: spanned, of: (spans.get(a) ?? []).reverse() },
        ...(phased === undefined ? [] : [{ rows: phased, of: done.get(a) ?? [] }]),
      ]);
    }
    for (const k of overlapping) {
      const of = (overlaps.get(a) ?? []).filter((row) => kind[row] === k);
      if (of.length > 0) yield* apart(tracks, `${name(a)}: ${k}`, { rows: spanned, of }, phased!, parts);
    }
  }
}

/** Events that overlap, one after the other on each track, and in each its parts. */
function* apart(
  tracks: Tracks,
  name: string,
  { rows, of }: { rows: Rows; of: readonly number[] },
  phased: Rows,
  parts: ReadonlyMap<number, readonly number[]>,
): Generator<string> {
  const { order, lane, lanes } = lanesOf(rows.startNs, rows.durationNs, of, false);
  const first = yield* tracks.named(name, lanes);
  for (const row of order) {
    yield slice(first + lane[row], rows, row);
    for (const part of parts.get(row) ?? []) yield slice(first + lane[row], phased, part);
  }
}

function slice(tid: number, rows: Rows, row: number): string {
  const times = `"ts":${us(rows.startNs[row])},"dur":${us(rows.durationNs[row])}`;
  return `{"ph":"X","pid":${PID},"tid":${tid},${times},${rows.text(row)}}`;
}

function* recorded(source: TraceSource, tracks: Tracks): Generator<string> {
  for (const [device, tables] of Object.entries(source.records ?? {})) {
    for (const [name, c] of Object.entries(tables)) {
      if (c.numRows === 0 || c.columns.startNs === undefined) continue;
      const startNs = numbers(c, "startNs");
      const durationNs = c.columns.durationNs === undefined
        ? new Float64Array(c.numRows)
        : numbers(c, "durationNs");
      const rows = { startNs, durationNs, text: namer(c, "record", () => name) };
      yield* track(tracks, `${device}: ${name}`, [{ rows, of: Array.from(startNs, (_, i) => i) }]);
    }
  }
}

function* counters(source: TraceSource): Generator<string> {
  for (const link of source.links ?? []) {
    const name = JSON.stringify(link.name), { binNs, amounts, bins, unit } = link;
    for (let b = 0; b <= bins; b++) {
      const perSecond = b < bins ? (amounts[b] * 1e9) / binNs : 0;
      yield `{"ph":"C","pid":${PID},"name":${name},"ts":${us(b * binNs)},"args":{"${unit}/s":${perSecond}}}`;
    }
  }
}

function checkSource(source: TraceSource): void {
  if (typeof source !== "object" || source === null || !isColumns(source.events)) {
    throw new UsageError(
      `Cannot ${WHAT}: got ${describe(source)}; a run is allowed; write for example toPerfetto(run)`,
    );
  }
  checkColumns(source.events, WHAT);
  if (source.slices !== undefined) checkColumns(source.slices, WHAT);
  if (source.events.numRows === 0 && Object.keys(source.events.columns).length > 0) {
    const kept = Object.values(source.records ?? {}).some((t) => Object.values(t).some((c) => c.numRows > 0));
    if (!kept && (source.slices?.numRows ?? 0) === 0) {
      throw new UsageError(
        `Cannot ${WHAT}: got a run without events; a run that kept some is allowed; ` +
          "write for example m.run(…, { events: 10_000 })",
      );
    }
  }
}

/** The trace in pieces, so that a long one need not be one string. */
function* pieces(source: TraceSource): Generator<string> {
  const tracks = new Tracks(), titles = [source.events.title, source.slices?.title].filter(Boolean);
  yield `{"displayTimeUnit":"ns","otherData":{"tables":${
    JSON.stringify(titles.join(", "))
  }},"traceEvents":[\n`;
  yield `{"ph":"M","pid":${PID},"name":"process_name","args":{"name":"virtual time"}}`;
  for (const part of [actors(source, tracks), recorded(source, tracks), counters(source)]) {
    for (const line of part) yield `,\n${line}`;
  }
  yield "\n]}\n";
}

/**
 * Writes a run's events as a trace in the JSON format of Chrome, which ui.perfetto.dev opens.
 *
 * Each actor has a track; spans that cross another's end have tracks of their own, so that nothing is hidden. Phases lie
 * within their spans. Links are counters in bytes a second. Times are virtual, in microseconds with three places, so that
 * no nanosecond is lost.
 *
 * @param source a run that kept events, and slices for their phases: `m.run(…, { events: 10_000, slices: 100_000 })`
 * @returns the JSON; as many slices as there are events, stretches of phases and records with a startNs
 * @throws {UsageError} if the run kept no events, or a table is not well formed
 *
 * @example
 * ```ts
 * import { machine, toPerfetto, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const run = await m.run({ cpu: touch(m.process().mmap("64 KiB")) }, { events: 100, slices: 1000 });
 * const trace = JSON.parse(toPerfetto(run));
 * console.log(trace.traceEvents.filter((e: { cat?: string }) => e.cat === "span").length); // 16
 * ```
 */
export function toPerfetto(source: TraceSource): string {
  checkSource(source);
  return [...pieces(source)].join("");
}

/**
 * Writes a run's events to a file, as {@linkcode toPerfetto} does; the file may be larger than a string can be.
 *
 * @param source a run that kept events
 * @param path the file, for example "out/run.perfetto.json"; missing folders are made
 * @throws {UsageError} as {@linkcode toPerfetto}
 *
 * @example
 * ```ts
 * import { machine, savePerfetto, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const run = await m.run({ cpu: touch(m.process().mmap("64 KiB")) }, { events: 100, slices: 1000 });
 * await savePerfetto(run, "out/run.perfetto.json");
 * ```
 */
export async function savePerfetto(source: TraceSource, path: string): Promise<void> {
  checkSource(source);
  const { mkdir, open } = await import("node:fs/promises"), { dirname } = await import("node:path");
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, "w");
  try {
    let block = "";
    for (const piece of pieces(source)) {
      block += piece;
      if (block.length < 1 << 20) continue;
      await file.write(block);
      block = "";
    }
    await file.write(block);
  } finally {
    await file.close();
  }
}
