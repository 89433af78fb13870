/** What a table that can be asked questions offers, and the aggregates and orders that its verbs take. */
import type { ColumnData, Columns } from "../record/columns.ts";

/** One cell of a {@linkcode DataTable}. */
export type Cell = number | string | boolean;

/** One row of a {@linkcode DataTable} by column name. */
export type Row = Readonly<Record<string, Cell>>;

/** How {@linkcode DataTable.rollup} makes one figure out of the rows of a group; {@linkcode agg} makes them. */
export interface Aggregate {
  /** The operation, as Arquero names it. */
  readonly op: "count" | "sum" | "mean" | "median" | "min" | "max" | "stdev" | "distinct" | "quantile";
  /** The column it reads; none for a count. */
  readonly column?: string;
  /** The fraction from 0 to 1 that a quantile is asked for. */
  readonly fraction?: number;
}

/**
 * Makes the aggregates that {@linkcode DataTable.rollup} takes.
 *
 * @example
 * ```ts
 * import { agg, columnsOf, desc, toArquero } from "hmmlab";
 *
 * const rows = [{ kind: "fault", ns: 900 }, { kind: "flush", ns: 2000 }, { kind: "fault", ns: 1100 }];
 * const table = await toArquero(columnsOf("Spans", rows, { ns: "ns" }));
 * const mean = table.groupby("kind").rollup({ n: agg.count(), meanNs: agg.mean("ns") }).orderby(desc("meanNs"));
 * console.log(mean.objects()[0]); // { kind: "flush", n: 1, meanNs: 2000 }
 * ```
 */
export const agg: {
  /** The number of rows. */
  count(): Aggregate;
  /** The sum of a column. */
  sum(column: string): Aggregate;
  /** The arithmetic mean of a column. */
  mean(column: string): Aggregate;
  /** The median of a column. */
  median(column: string): Aggregate;
  /** The smallest value of a column. */
  min(column: string): Aggregate;
  /** The largest value of a column. */
  max(column: string): Aggregate;
  /** The standard deviation of a column as a sample. */
  stdev(column: string): Aggregate;
  /** How many different values a column has. */
  distinct(column: string): Aggregate;
  /** The value below which a fraction (0 to 1) of a column lies, interpolated. */
  quantile(column: string, fraction: number): Aggregate;
} = {
  count: () => ({ op: "count" }),
  sum: (column) => ({ op: "sum", column }),
  mean: (column) => ({ op: "mean", column }),
  median: (column) => ({ op: "median", column }),
  min: (column) => ({ op: "min", column }),
  max: (column) => ({ op: "max", column }),
  stdev: (column) => ({ op: "stdev", column }),
  distinct: (column) => ({ op: "distinct", column }),
  quantile: (column, fraction) => ({ op: "quantile", column, fraction }),
};

/** A column to sort by from large to small, as {@linkcode desc} makes it. */
export interface Descending {
  /** The column's name. */
  readonly desc: string;
}

/**
 * Sorts by a column from large to small, in {@linkcode DataTable.orderby}.
 *
 * @param column the column
 * @returns the key
 *
 * @example
 * ```ts
 * console.log(desc("meanNs")); // { desc: "meanNs" }
 * ```
 */
export function desc(column: string): Descending {
  return { desc: column };
}

/**
 * A table with the verbs of Arquero that hmmlab promises. Every verb returns a new table and leaves this one as it is;
 * units stay with their columns. `R` may name the columns and their types, so that functions over rows are checked.
 */
export interface DataTable<R extends object = Row> {
  /** What the table shows. */
  readonly title: string;
  /** The number of rows. */
  readonly numRows: number;
  /** The columns in order. */
  readonly columnNames: readonly string[];
  /** Unit by column name. */
  readonly units: Readonly<Record<string, string>>;
  /** The rows for which `test` is true; an ordinary function, so it may use variables around it. */
  filter(test: (row: R) => boolean): DataTable<R>;
  /** Adds or replaces columns, each computed from a row; `units` names the units of the new ones. */
  derive<D extends object>(
    columns: { readonly [K in keyof D]: (row: R) => D[K] },
    units?: Readonly<Record<string, string>>,
  ): DataTable<Omit<R, keyof D> & D>;
  /** These columns only, in this order. */
  select(...names: readonly string[]): DataTable<R>;
  /** New names by old name. */
  rename(names: Readonly<Record<string, string>>): DataTable;
  /** Sorts by columns in turn; {@linkcode desc} turns one around. */
  orderby(...keys: readonly (string | Descending)[]): DataTable<R>;
  /** Groups the rows that agree in these columns, for the next `rollup` or `slice`. */
  groupby(...names: readonly string[]): DataTable<R>;
  /** Forgets the grouping. */
  ungroup(): DataTable<R>;
  /** One row for each group (one in all without a grouping): its keys and the aggregates. */
  rollup<Out extends object = Row>(aggregates: Readonly<Record<string, Aggregate>>): DataTable<Out>;
  /** Rows from `start` up to, not including, `end`; of each group where there are groups. */
  slice(start: number, end?: number): DataTable<R>;
  /** The pairs of rows of both tables that agree in the named columns. */
  join<S extends object>(other: DataTable<S>, on: string | readonly string[]): DataTable<R & S>;
  /** One cell; row 0 is the first in the table's order. */
  get(name: string, row?: number): Cell;
  /** A column in the table's order, as a typed array where it holds numbers of one kind. */
  array(name: string): ColumnData;
  /** The rows as objects, at most `limit`. */
  objects(limit?: number): R[];
  /** The table as plain columns, for charts, Arrow, CSV and text. */
  toColumns(title?: string): Columns;
  /** The Arquero table itself, for verbs that are not promised here; typed by whoever imports arquero. */
  arquero(): unknown;
}

/** Marks a table that can be asked questions, whichever copy of the library made it. */
export const TABLE: unique symbol = Symbol.for("hmmlab.dataTable");

/**
 * Tells whether a value is a {@linkcode DataTable}.
 *
 * @param x any value
 * @returns true if {@linkcode toArquero} or one of its verbs made it
 */
export function isDataTable(x: unknown): x is DataTable {
  return typeof x === "object" && x !== null && TABLE in x;
}
