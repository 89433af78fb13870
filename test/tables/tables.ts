/** Tables for tests. */
import * as fc from "fast-check";
import type { ColumnData, Columns } from "../../lib/record/columns.ts";

/** A small table with every kind of column. */
export const mixed: Columns = {
  title: "Latencies",
  numRows: 3,
  columns: {
    kind: ["cpu fault", 'a "b", c', "x\ny"],
    p50Ns: Float64Array.of(14200.25, 1180, 0.0123456),
    pages: Uint32Array.of(1, 2, 4294967295),
    delta: Int32Array.of(-1, 0, 2147483647),
    actor: Uint16Array.of(1, 2, 65535),
    write: Uint8Array.of(0, 1, 255),
  },
  units: { p50Ns: "ns", pages: "pages" },
};

function column(numRows: number): fc.Arbitrary<ColumnData> {
  const size = { minLength: numRows, maxLength: numRows };
  return fc.oneof(
    fc.float64Array(size),
    fc.uint32Array(size),
    fc.int32Array(size),
    fc.uint16Array(size),
    fc.uint8Array(size),
    // A lone surrogate is no text: no UTF-8 file can hold it.
    fc.array(fc.string({ unit: "grapheme" }), size),
    fc.array(fc.constantFrom('"', ",", "\n", "\r", "\r\n", "a,b", '""', " "), size),
  );
}

/** Any table: names with commas, quotes and line ends among them. */
export const anyColumns: fc.Arbitrary<Columns> = fc.tuple(
  fc.integer({ min: 0, max: 12 }),
  fc.uniqueArray(
    fc.oneof(fc.string({ minLength: 1 }), fc.constantFrom("a,b", 'q"', "l\nm")).filter((s) =>
      s !== "__proto__"
    ),
    { minLength: 1, maxLength: 5 },
  ),
).chain(([numRows, names]) =>
  fc.tuple(...names.map(() => column(numRows))).map((data) => ({
    title: "any",
    numRows,
    columns: Object.fromEntries(names.map((name, i) => [name, data[i]])),
    units: { [names[0]]: "ns" },
  }))
);
