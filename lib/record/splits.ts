/**
 * The latency of each single span, split into its phases.
 * @module
 */
import { rowsBy } from "./rows.ts";
import { UsageError } from "../errors.ts";
import type { ColumnData, Columns } from "./columns.ts";

/** What of a span's time has no stretch that was kept; only where a log was full. */
export const NOT_KEPT = "not kept";

function column<T extends ColumnData>(c: Columns, name: string): T {
  const found = c.columns[name];
  if (found !== undefined) return found as T;
  throw new UsageError(
    `Cannot split latencies: got a table without ${name}; the events and the slices of a run are allowed; ` +
      "write for example splits(run.events, run.slices)",
  );
}

/** The place of the first row of `rows` that does not start before `ns`. */
function firstFrom(rows: readonly number[], startNs: Float64Array, ns: number): number {
  let low = 0, high = rows.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (startNs[rows[middle]] < ns) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Splits the latency of each span into its phases: the parts of a row add up to its durationNs, exactly.
 *
 * @param events single spans: `run.events`
 * @param slices what the actors spent their time on inside spans: `run.slices`
 * @returns the columns of `events` and one for each phase that occurs, in ns; and "not kept" where the log of slices was
 * full
 * @throws {UsageError} if a column is missing
 *
 * @example
 * ```ts
 * import { machine, splits, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const run = await m.run({ cpu: touch(m.process().mmap("1 MiB")) }, { events: 1000, slices: 8000 });
 * const first = splits(run.events, run.slices).columns;
 * console.log(Number(first["page clearing"][0]) > 0); // true
 * ```
 */
export function splits(events: Columns, slices: Columns): Columns {
  const startNs = column<Float64Array>(events, "startNs"),
    durationNs = column<Float64Array>(events, "durationNs");
  const actor = column<Uint16Array>(events, "actor"), { numRows } = events;
  const from = column<Float64Array>(slices, "startNs"), lasted = column<Float64Array>(slices, "durationNs");
  const phase = column<readonly string[]>(slices, "phase");
  const event = column<Int32Array>(slices, "event"), kind = column<readonly string[]>(events, "kind");
  const ofActor = rowsBy(column<Uint16Array>(slices, "actor"), slices.numRows, (row) => event[row] < 0);
  const ofEvent = rowsBy(event, slices.numRows, (row) => event[row] >= 0);
  // What an actor did while such events went on says nothing of them: they have parts of their own.
  const overlapping = new Set([...ofEvent.keys()].map((row) => kind[row]));
  const parts: Record<string, Float64Array> = {};
  let lost: Float64Array | undefined;
  for (let i = 0; i < numRows; i++) {
    const own = overlapping.has(kind[i]), rows = (own ? ofEvent.get(i) : ofActor.get(actor[i])) ?? [];
    const endNs = startNs[i] + durationNs[i];
    let restNs = durationNs[i];
    // Two spans may meet at one time: a stretch belongs to the one in which it also ends.
    for (let j = own ? 0 : firstFrom(rows, from, startNs[i]); j < rows.length; j++) {
      const row = rows[j];
      if (from[row] + lasted[row] > endNs) break;
      (parts[phase[row]] ??= new Float64Array(numRows))[i] += lasted[row];
      restNs -= lasted[row];
    }
    if (restNs !== 0) (lost ??= new Float64Array(numRows))[i] = restNs;
  }
  if (lost !== undefined) parts[NOT_KEPT] = lost;
  const units = Object.fromEntries(Object.keys(parts).map((name) => [name, "ns"]));
  return {
    title: "Latencies by phase",
    numRows,
    columns: { ...events.columns, ...parts },
    units: { ...events.units, ...units },
  };
}
