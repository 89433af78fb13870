/** Tables that can be asked questions: filtered, grouped, rolled up. Arquero does the work and is loaded when needed. */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { ColumnData, Columns } from "../record/columns.ts";
import { checkColumns, unitOf, unitsOf } from "./check.ts";
import {
  type Aggregate,
  type Cell,
  type DataTable,
  type Descending,
  isDataTable,
  type Row,
  TABLE,
} from "./data_table.ts";

type Aq = typeof import("arquero");
type AqTable = import("arquero").ColumnTable;
type Units = Readonly<Record<string, string>>;
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
 * import { agg, desc, toArquero } from "hmmlab";
 *
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
