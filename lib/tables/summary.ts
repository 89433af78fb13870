/** Figures about a table's columns. */
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkColumns, isStrings, unitOf } from "./check.ts";

/**
 * Describes every numeric column in one row; entries that are not a number are left out.
 *
 * @param c the table
 * @returns columns column, unit, values (how many numbers), min, mean, median, p99, max; the median and the 99th
 * percentile are values that occur (nearest rank)
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * const table = { title: "Runs", numRows: 3, columns: { ns: Uint32Array.of(3, 1, 2) }, units: { ns: "ns" } };
 * console.log(summarize(table).columns.mean); // Float64Array [ 2 ]
 * ```
 */
export function summarize(c: Columns): Columns {
  checkColumns(c, "summarize");
  const rows = Object.entries(c.columns).flatMap(([column, data]) => {
    if (isStrings(data)) return [];
    const sorted = Float64Array.from(data).filter((x) => !Number.isNaN(x)).sort();
    const n = sorted.length;
    const rank = (p: number) => n === 0 ? NaN : sorted[Math.max(0, Math.ceil((p / 100) * n) - 1)];
    const mean = n === 0 ? NaN : sorted.reduce((sum, x) => sum + x, 0) / n;
    return [{
      column,
      unit: unitOf(c.units, column),
      values: n,
      min: rank(0),
      mean,
      median: rank(50),
      p99: rank(99),
      max: rank(100),
    }];
  });
  return columnsOf(`${c.title}: ${c.numRows.toLocaleString("en-US")} rows`, rows);
}
