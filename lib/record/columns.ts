/**
 * A table as plain columns: the one shape in which results leave the model.
 *
 * Tables (Arquero, Arrow, CSV), charts and text are all made from it.
 * @module
 */

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
 */
export function columnsOf(
  title: string,
  rows: readonly Readonly<Record<string, number | string>>[],
  units: Readonly<Record<string, string>> = {},
): Columns {
  const columns: Record<string, ColumnData> = {};
  for (const name of Object.keys(rows[0] ?? {})) {
    columns[name] = typeof rows[0][name] === "number"
      ? Float64Array.from(rows, (row) => row[name] as number)
      : rows.map((row) => String(row[name]));
  }
  return { title, numRows: rows.length, columns, units };
}
