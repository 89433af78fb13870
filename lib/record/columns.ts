/**
 * A table as plain columns: the one shape in which results leave the model.
 *
 * Tables (Arquero, Arrow, CSV), charts and text are all made from it.
 * @module
 */

import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";

/** One column: numbers in a typed array, or names as strings. */
export type ColumnData =
  | Float64Array
  | Uint32Array
  | Int32Array
  | Uint16Array
  | Uint8Array
  | readonly string[];

/** A table of `numRows` rows; `units` names the unit of each numeric column that has one ("ns", "bytes", "pages"). */
export interface Columns {
  /** What the table shows, in a few words. */
  readonly title: string;
  /** The number of rows of every column. */
  readonly numRows: number;
  /** The columns by name, each of `numRows` entries, in display order. */
  readonly columns: Readonly<Record<string, ColumnData>>;
  /** Unit by column name; a column without a unit is a count or a name. */
  readonly units: Readonly<Record<string, string>>;
}

/**
 * Builds a table out of rows of equal keys, for the small tables that are written by hand.
 *
 * @param title what the table shows
 * @param rows objects with the same keys; a column is numeric when its first value is a number
 * @param units unit by column name
 * @returns the same rows as columns (numbers as Float64Array)
 * @throws {UsageError} for rows whose keys differ
 *
 * @example
 * ```ts
 * const table = columnsOf("Runs", [{ seed: 1, faults: 80 }, { seed: 2, faults: 82 }], { faults: "faults" });
 * console.log(table.numRows, table.columns.faults); // 2 Float64Array [ 80, 82 ]
 * ```
 */
export function columnsOf(
  title: string,
  rows: readonly Readonly<Record<string, number | string>>[],
  units: Readonly<Record<string, string>> = {},
): Columns {
  if (!Array.isArray(rows)) {
    throw new UsageError(
      `Cannot make a table: got ${describe(rows)} for its rows; an array of objects is allowed; ` +
        'write for example columnsOf("Runs", [{ seed: 1, faults: 80 }])',
    );
  }
  const columns: Record<string, ColumnData> = {}, names = Object.keys(rows[0] ?? {});
  rows.forEach((row, i) => {
    const keys = Object.keys(row);
    if (keys.length === names.length && names.every((name) => name in row)) return;
    throw new UsageError(
      `Cannot make a table: got row ${i} with ${keys.join(", ")}; rows with ${
        names.join(", ")
      } are allowed, as the first ` +
        "one; write the same keys in each row",
    );
  });
  for (const name of names) {
    columns[name] = typeof rows[0][name] === "number"
      ? Float64Array.from(rows, (row) => row[name] as number)
      : rows.map((row) => String(row[name]));
  }
  return { title, numRows: rows.length, columns, units };
}
