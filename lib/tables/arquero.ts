/** Tables that can be asked questions: filtered, grouped, rolled up. Arquero does the work and is loaded when needed. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { ColumnData, Columns } from "../record/columns.ts";
import { checkColumns, unitOf, unitsOf } from "./check.ts";

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

type Aq = typeof import("arquero");
type AqTable = import("arquero").ColumnTable;
type Units = Readonly<Record<string, string>>;

const TABLE = Symbol.for("hmmlab.dataTable");

/**
 * Tells whether a value is a {@linkcode DataTable}.
 *
 * @param x any value
 * @returns true if {@linkcode toArquero} or one of its verbs made it
 */
export function isDataTable(x: unknown): x is DataTable {
  return typeof x === "object" && x !== null && TABLE in x;
}

class ArqueroTable<R extends object> implements DataTable<R> {
  readonly [TABLE] = true;

  constructor(
    private readonly aq: Aq,
    private readonly table: AqTable,
    readonly title: string,
    readonly units: Units,
  ) {}

  get numRows(): number {
    return this.table.numRows();
  }

  get columnNames(): readonly string[] {
    return this.table.columnNames();
  }

  private with<S extends object>(table: AqTable, units: Units = this.units): DataTable<S> {
    return new ArqueroTable<S>(this.aq, table, this.title, unitsOf(units, table.columnNames()));
  }

  private known(verb: string, names: readonly string[]): void {
    const missing = names.find((name) => !this.columnNames.includes(name));
    if (missing === undefined) return;
    throw new UsageError(
      `Cannot ${verb}: got column ${describe(missing)}; the table has ${this.columnNames.join(", ")}; ` +
        "write one of these",
    );
  }

  private perRow(verb: string, fn: unknown): never {
    if (typeof fn !== "function") {
      throw new UsageError(
        `Cannot ${verb}: got ${
          describe(fn)
        }; a function of a row is allowed; write for example (row) => row.ns > 1000`,
      );
    }
    // Arquero reads a function's source and knows no variables around it; an escaped one is called as it is.
    return this.aq.escape((row: R) => fn(row)) as never;
  }

  filter(test: (row: R) => boolean): DataTable<R> {
    return this.with(this.table.filter(this.perRow("filter", test)));
  }

  derive<D extends object>(
    columns: { readonly [K in keyof D]: (row: R) => D[K] },
    units: Units = {},
  ): DataTable<Omit<R, keyof D> & D> {
    const made = Object.entries(columns).map(([name, fn]) => [name, this.perRow(`derive ${name}`, fn)]);
    const kept = Object.fromEntries(
      Object.entries(this.units).filter(([name]) => !Object.hasOwn(columns, name)),
    );
    return this.with(this.table.derive(Object.fromEntries(made)), { ...kept, ...units });
  }

  select(...names: readonly string[]): DataTable<R> {
    this.known("select", names);
    return this.with(this.table.select([...names]));
  }

  rename(names: Readonly<Record<string, string>>): DataTable {
    this.known("rename", Object.keys(names));
    const units = Object.entries(this.units).map((
      [name, unit],
    ) => [Object.hasOwn(names, name) ? names[name] : name, unit]);
    return this.with(this.table.rename({ ...names }), Object.fromEntries(units));
  }

  orderby(...keys: readonly (string | Descending)[]): DataTable<R> {
    this.known("order", keys.map((key) => typeof key === "string" ? key : key.desc));
    return this.with(
      this.table.orderby(keys.map((key) => typeof key === "string" ? key : this.aq.desc(key.desc))),
    );
  }

  groupby(...names: readonly string[]): DataTable<R> {
    this.known("group", names);
    return this.with(this.table.groupby([...names]));
  }

  ungroup(): DataTable<R> {
    return this.with(this.table.ungroup());
  }

  rollup<Out extends object = Row>(aggregates: Readonly<Record<string, Aggregate>>): DataTable<Out> {
    const units: Record<string, string> = { ...this.units };
    const made = Object.entries(aggregates).map(([name, a]) => {
      this.known("roll up", a.column === undefined ? [] : [a.column]);
      delete units[name];
      const unit = a.column === undefined || a.op === "distinct" ? "" : unitOf(this.units, a.column);
      if (unit !== "") units[name] = unit;
      return [name, this.operation(a)];
    });
    return this.with(this.table.rollup(Object.fromEntries(made)), units);
  }

  private operation(a: Aggregate): unknown {
    const { op } = this.aq;
    const column = a.column ?? "";
    switch (a.op) {
      case "count":
        return op.count();
      case "quantile":
        if (!(a.fraction !== undefined && a.fraction >= 0 && a.fraction <= 1)) {
          throw new UsageError(
            `Cannot take a quantile: got ${a.fraction}; a fraction in 0 .. 1 is allowed; write 0.99 for the 99th percentile`,
          );
        }
        return op.quantile(column, a.fraction);
      case "sum":
      case "mean":
      case "median":
      case "min":
      case "max":
      case "stdev":
      case "distinct":
        return op[a.op](column);
      default:
        throw new UsageError(
          `Cannot roll up: got ${
            describe(a)
          }; what agg makes is allowed; write for example { total: agg.sum("bytes") }`,
        );
    }
  }

  slice(start: number, end: number = Infinity): DataTable<R> {
    return this.with(this.table.slice(start, end));
  }

  join<S extends object>(other: DataTable<S>, on: string | readonly string[]): DataTable<R & S> {
    const keys = typeof on === "string" ? [on] : [...on];
    this.known("join", keys);
    const right = other as unknown as ArqueroTable<S>;
    return this.with(this.table.join(right.table, [keys, keys] as never), { ...other.units, ...this.units });
  }

  get(name: string, row: number = 0): Cell {
    this.known("read", [name]);
    return this.table.get(name, row) as Cell;
  }

  array(name: string): ColumnData {
    this.known("read", [name]);
    return columnIn(this.table as unknown as TableLike, name);
  }

  objects(limit: number = Infinity): R[] {
    return this.table.objects({ limit, grouped: false }) as R[];
  }

  toColumns(title: string = this.title): Columns {
    return plain(this.table as unknown as TableLike, title, this.units);
  }

  arquero(): unknown {
    return this.table;
  }
}

const KEPT = [Float64Array, Uint32Array, Int32Array, Uint16Array, Uint8Array];

/** What of an Arquero table is used to copy it; any version of Arquero has it. */
interface TableLike {
  numRows(): number;
  columnNames(): readonly string[];
  column(name: string): unknown;
  array(name: string, kind?: ArrayConstructor): ArrayLike<unknown>;
}

/** Arquero makes plain arrays unless told otherwise; a column keeps the type that it is stored in. */
function columnIn(table: TableLike, name: string): ColumnData {
  const stored = table.column(name);
  const kind = KEPT.find((kept) => stored instanceof kept) ?? Array;
  return asColumn(table.array(name, kind as ArrayConstructor));
}

function plain(table: TableLike, title: string, units: Units): Columns {
  const names = table.columnNames();
  return {
    title,
    numRows: table.numRows(),
    columns: Object.fromEntries(names.map((name) => [name, columnIn(table, name)])),
    units: unitsOf(units, names),
  };
}

/** Any array as a column: numbers, big integers and booleans as numbers (missing ones NaN), anything else as strings. */
export function asColumn(data: ArrayLike<unknown>): ColumnData {
  if (KEPT.some((kind) => data instanceof kind)) return data as ColumnData;
  if (ArrayBuffer.isView(data)) return Float64Array.from(data, Number);
  const values = Array.from(data);
  const numeric =
    values.every((x) =>
      x === null || x === undefined || ["number", "bigint", "boolean"].includes(typeof x)
    ) &&
    values.some((x) => x !== null && x !== undefined);
  return numeric
    ? Float64Array.from(values, (x) => x === null || x === undefined ? NaN : Number(x))
    : values.map((x) => x === null || x === undefined ? "" : String(x));
}

/**
 * Opens a table for questions. The first call loads Arquero (some 120 ms).
 *
 * @param c the table; its columns are shared, not copied
 * @returns the same rows with verbs
 * @throws {UsageError} if the table is not well formed
 *
 * @example
 * ```ts
 * const columns = { kind: ["a", "b", "a"], ns: Uint32Array.of(5, 9, 7) };
 * const table = await toArquero<{ kind: string; ns: number }>({ title: "Faults", numRows: 3, columns, units: { ns: "ns" } });
 * const byKind = table.filter((row) => row.ns > 4).groupby("kind").rollup({ total: agg.sum("ns") });
 * const slowest = byKind.orderby(desc("total"));
 * console.log(slowest.get("total"), slowest.units.total); // 12 ns
 * ```
 */
export async function toArquero<R extends object = Row>(c: Columns): Promise<DataTable<R>> {
  checkColumns(c, "open a table");
  const aq = await import("arquero");
  return new ArqueroTable<R>(aq, aq.table(c.columns as Record<string, Float64Array>), c.title, c.units);
}

/**
 * Turns an Arquero table into plain columns.
 *
 * @param table a {@linkcode DataTable}, or a table that arquero itself made
 * @param options a title, and units by column name; a DataTable has its own
 * @returns its rows in order; numbers as typed arrays, big integers and booleans as numbers, anything else as strings
 * @throws {UsageError} if it is no such table
 *
 * @example
 * ```ts
 * import { columnsOf, fromArquero, toArquero } from "hmmlab";
 *
 * const table = await toArquero(columnsOf("Runs", [{ seed: 1 }, { seed: 2 }]));
 * console.log(fromArquero(table.slice(1)).columns.seed); // Float64Array [ 2 ]
 * ```
 */
export function fromArquero(
  table: unknown,
  options: { title?: string; units?: Readonly<Record<string, string>> } = {},
): Columns {
  if (isDataTable(table)) {
    const c = table.toColumns(options.title);
    return { ...c, units: { ...c.units, ...options.units } };
  }
  const like = table as Partial<TableLike> | null;
  if (
    typeof like !== "object" || like === null || typeof like.columnNames !== "function" ||
    typeof like.column !== "function" ||
    typeof like.array !== "function"
  ) {
    throw new UsageError(
      `Cannot read a table: got ${
        describe(table)
      }; an Arquero table is allowed; write for example fromArquero(aq.table({ x: [1, 2] }))`,
    );
  }
  return plain(like as TableLike, options.title ?? "Table", options.units ?? {});
}
