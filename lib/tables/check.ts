/** What a table must be before anything is made of it. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { ColumnData, Columns } from "../record/columns.ts";

/**
 * Tells whether a value is a table of columns.
 *
 * @param x any value
 * @returns true if it has a title, a number of rows, columns and units
 */
export function isColumns(x: unknown): x is Columns {
  if (typeof x !== "object" || x === null) return false;
  const c = x as Partial<Columns>;
  return typeof c.title === "string" && typeof c.numRows === "number" && isPlainObject(c.columns) &&
    isPlainObject(c.units);
}

function isPlainObject(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x) && !ArrayBuffer.isView(x);
}

/**
 * Refuses what is no table, and a table whose columns have different lengths.
 *
 * @param c the table
 * @param what what it is wanted for, as in "Cannot write CSV"
 * @param example what gives such a table
 * @throws {UsageError} if it is not well formed
 */
export function checkColumns(
  c: Columns,
  what: string,
  example = "run.summary() or columnsOf(title, rows)",
): void {
  if (!isColumns(c)) {
    throw new UsageError(
      `Cannot ${what}: got ${
        describe(c)
      }; a table of columns { title, numRows, columns, units } is allowed; ` +
        `write for example ${example}`,
    );
  }
  for (const [name, data] of Object.entries(c.columns)) {
    if (data.length !== c.numRows) {
      throw new UsageError(
        `Cannot ${what}: got column ${
          JSON.stringify(name)
        } of ${data.length} entries in a table of ${c.numRows} rows; ` +
          "every column must have numRows entries; write numRows: " + data.length + " or slice the column",
      );
    }
  }
}

/**
 * A column by its name.
 *
 * @param c the table
 * @param name the column
 * @param what what it is wanted for, as in "Cannot draw bars"
 * @returns its data
 * @throws {UsageError} if the table has none of that name
 */
export function columnOf(c: Columns, name: string, what: string): ColumnData {
  if (Object.hasOwn(c.columns, name)) return c.columns[name];
  const known = Object.keys(c.columns);
  throw new UsageError(
    `Cannot ${what}: got column ${JSON.stringify(name)}; the table ${JSON.stringify(c.title)} has ` +
      `${known.length > 0 ? known.join(", ") : "no columns"}; write one of these`,
  );
}

/**
 * A numeric column by its name.
 *
 * @param c the table
 * @param name the column
 * @param what what it is wanted for, as in "Cannot draw bars"
 * @returns its numbers
 * @throws {UsageError} if the table has none of that name, or it holds strings
 */
export function numbersOf(c: Columns, name: string, what: string): Exclude<ColumnData, readonly string[]> {
  const data = columnOf(c, name, what);
  if (isStrings(data)) {
    const numeric = Object.keys(c.columns).filter((n) => !isStrings(c.columns[n]));
    throw new UsageError(
      `Cannot ${what}: got column ${
        JSON.stringify(name)
      }, which holds strings; a numeric column is allowed; ` +
        (numeric.length > 0
          ? `write one of ${numeric.join(", ")}`
          : "make one with toArquero(table) and derive"),
    );
  }
  return data;
}

/**
 * The unit of a column.
 *
 * @param units unit by column name; only its own entries count, since a column may be named "constructor"
 * @param name the column
 * @returns the unit, or an empty string
 */
export function unitOf(units: Readonly<Record<string, string>>, name: string): string {
  return Object.hasOwn(units, name) ? units[name] : "";
}

/**
 * The units of some columns.
 *
 * @param units unit by column name
 * @param names the columns to keep
 * @returns unit by column name, for those that have one
 */
export function unitsOf(
  units: Readonly<Record<string, string>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => [name, unitOf(units, name)]).filter(([, unit]) => unit !== ""),
  );
}

/**
 * Tells a column of strings from one of numbers.
 *
 * @param data a column
 * @returns true if it holds strings
 */
export function isStrings(data: ColumnData): data is readonly string[] {
  return Array.isArray(data);
}
