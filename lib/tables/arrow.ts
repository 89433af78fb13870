/** Tables as Arrow IPC files, the form that keeps types and units; read by pandas, polars, DuckDB, R. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { ColumnData, Columns } from "../record/columns.ts";
import { asColumn } from "./arquero.ts";
import { checkColumns, isStrings, unitsOf } from "./check.ts";

type Flechette = typeof import("@uwdata/flechette");

/**
 * Writes a table as an Arrow IPC file ("Feather", version 2).
 *
 * Typed arrays keep their type, strings become UTF-8 columns. The unit of a column is its field's metadata `unit`; the
 * schema's metadata hold `title` and `numRows`.
 *
 * @param c the table
 * @returns the bytes of the file; the same table gives the same bytes
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * const bytes = await toArrow({ title: "Moved", numRows: 1, columns: { length: Float64Array.of(4096) }, units: { length: "bytes" } });
 * console.log((await fromArrow(bytes)).units.length); // bytes
 * ```
 */
export async function toArrow(c: Columns): Promise<Uint8Array> {
  checkColumns(c, "write Arrow");
  const flechette = await import("@uwdata/flechette");
  const names = Object.keys(c.columns);
  const table = flechette.tableFromColumns(
    names.map((name) => [name, column(flechette, c.columns[name])] as [string, ReturnType<typeof column>]),
  );
  table.schema.fields = table.schema.fields.map((field) => ({
    ...field,
    nullable: false,
    metadata: new Map(Object.entries(unitsOf(c.units, [field.name])).map(([, unit]) => ["unit", unit])),
  }));
  table.schema.metadata = new Map([["title", c.title], ["numRows", String(c.numRows)]]);
  const bytes = flechette.tableToIPC(table, { format: "file" });
  if (bytes === null) throw new Error("flechette returned no bytes for an in-memory file");
  return bytes;
}

function column(flechette: Flechette, data: ColumnData): import("@uwdata/flechette").Column<unknown> {
  if (isStrings(data)) return flechette.columnFromArray([...data], flechette.utf8());
  // Of an empty typed array flechette makes a column without a type, which it then cannot write.
  return data.length > 0
    ? flechette.columnFromArray(data)
    : flechette.columnFromArray([], typeOf(flechette, data));
}

function typeOf(flechette: Flechette, data: ColumnData): import("@uwdata/flechette").DataType {
  if (data instanceof Float64Array) return flechette.float64();
  if (data instanceof Uint32Array) return flechette.uint32();
  if (data instanceof Int32Array) return flechette.int32();
  return data instanceof Uint16Array ? flechette.uint16() : flechette.uint8();
}

/**
 * Reads an Arrow IPC file or stream into a table.
 *
 * @param bytes the file's bytes
 * @returns its columns; numbers of types that {@linkcode Columns} has not become Float64Array, missing ones NaN; title
 * and units where {@linkcode toArrow} (or another writer) put them into the metadata
 * @throws {UsageError} if the bytes are no Arrow data or are cut
 *
 * @example
 * ```ts
 * import { columnsOf, fromArrow, toArrow } from "hmmlab";
 *
 * const bytes = await toArrow(columnsOf("Runs", [{ seed: 1, ns: 900 }], { ns: "ns" }));
 * console.log((await fromArrow(bytes)).units); // { ns: "ns" }
 * ```
 */
export async function fromArrow(bytes: Uint8Array): Promise<Columns> {
  if (!(bytes instanceof Uint8Array) || bytes.length === 0) {
    throw new UsageError(
      `Cannot read Arrow: got ${
        describe(bytes)
      }; a Uint8Array with data in it is allowed; write for example await readFile(path)`,
    );
  }
  const { tableFromIPC } = await import("@uwdata/flechette");
  let table: ReturnType<typeof tableFromIPC>;
  const columns: Record<string, ColumnData> = {};
  try {
    table = tableFromIPC(bytes);
    for (const { name } of table.schema.fields) {
      columns[name] = readColumn(table.getChild(name));
    }
  } catch (cause) {
    throw new UsageError(
      `Cannot read Arrow: got ${bytes.length} bytes that are no complete Arrow IPC data (${
        (cause as Error).message
      }); ` +
        "an uncompressed Arrow file or stream is allowed; write it again, for example with toArrow",
      { cause },
    );
  }
  const units = table.schema.fields.flatMap(({ name, metadata }) => {
    const unit = metadata?.get("unit");
    return unit === undefined ? [] : [[name, unit]];
  });
  return {
    title: table.schema.metadata?.get("title") ?? "Table",
    numRows: table.numRows,
    columns,
    units: Object.fromEntries(units),
  };
}

/** Without rows there is no array to tell the type from. */
function readColumn(column: import("@uwdata/flechette").Column<unknown>): ColumnData {
  if (column.length > 0) return asColumn(column.toArray());
  const type = column.type as { bitWidth?: number; signed?: boolean; precision?: number };
  if (type.bitWidth === 32) return type.signed ? new Int32Array(0) : new Uint32Array(0);
  if (type.bitWidth === 16 && !type.signed) return new Uint16Array(0);
  if (type.bitWidth === 8 && !type.signed) return new Uint8Array(0);
  return type.bitWidth !== undefined || type.precision !== undefined ? new Float64Array(0) : [];
}
