/** Tables as CSV. */
import type { Columns } from "../record/columns.ts";
import { checkColumns } from "./check.ts";

/**
 * Writes a table as CSV: a line of names, then a line a row, quoted as RFC 4180 says.
 *
 * The title and the units are not in it: names end in their unit ("p50Ns"), and Arrow keeps both.
 *
 * @param c the table
 * @returns UTF-8 text; lines end in a line feed, numbers are printed so that they read back exactly
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * console.log(await toCsv({ title: "t", numRows: 1, columns: { name: ['a "b", c'], ns: Uint32Array.of(3) }, units: {} }));
 * ```
 */
export async function toCsv(c: Columns): Promise<string> {
  checkColumns(c, "write CSV");
  if (Object.keys(c.columns).length === 0) return "";
  const aq = await import("arquero");
  // Arquero looks formats up by name in an ordinary object, where a column named "toString" would find one.
  return aq.toCSV(aq.table(c.columns as Record<string, Float64Array>), { format: Object.create(null) });
}
