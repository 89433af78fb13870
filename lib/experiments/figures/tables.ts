/**
 * The tables of published figures that people read.
 * @module
 */
import { type Columns, columnsOf } from "../../record/columns.ts";
import type { FigureWork } from "./registry.ts";
import { type FigureRow, VERDICTS } from "./row.ts";

/** As many digits as tell values apart in a table. */
const short = (x: number) => Number.isInteger(x) ? String(x) : Number(x.toPrecision(6)).toString();

/**
 * The lines of one work.
 *
 * @param title the work in words
 * @param rows its lines
 * @returns columns figure, published, ours, ratio, verdict, fitted, note
 *
 * @example
 * ```ts
 * const line = { work: "A. Nyone 2020", figure: "fault, us", published: 20, ours: 21, ratio: 1.05, note: "one page" };
 * const rows = [{ ...line, verdict: "predicted" as const, fittedOn: "" }];
 * console.log(figureTable("faults", rows).columns.ratio); // Float64Array [ 1.05 ]
 * ```
 */
export function figureTable(title: string, rows: readonly FigureRow[]): Columns {
  return columnsOf(
    title,
    rows.map((r) => ({
      figure: r.figure,
      published: r.published,
      ours: r.ours,
      ratio: Number(r.ratio.toFixed(3)),
      verdict: r.verdict,
      fitted: r.fittedOn,
      note: r.note,
    })),
  );
}

/**
 * The lines of one work for a terminal: notes stand below, each once.
 *
 * @param title the work in words
 * @param rows its lines
 * @returns the table with the number of each line's note, and the notes
 *
 * @example
 * ```ts
 * const line = { work: "A. Nyone 2020", figure: "fault, us", published: 20, ours: 21, ratio: 1.05, note: "one page" };
 * const rows = [{ ...line, verdict: "predicted" as const, fittedOn: "" }];
 * console.log(figureText("faults", rows).notes); // [ "one page" ]
 * ```
 */
export function figureText(
  title: string,
  rows: readonly FigureRow[],
): { readonly table: Columns; readonly notes: readonly string[] } {
  const notes = [...new Set(rows.map((r) => r.note).filter((note) => note !== ""))];
  const table = figureTable(title, rows);
  const texts = {
    published: rows.map((r) => short(r.published)),
    ours: rows.map((r) => short(r.ours)),
    ratio: rows.map((r) => r.ratio.toFixed(3)),
  };
  const note = rows.map((r) => r.note === "" ? "" : `${notes.indexOf(r.note) + 1}`);
  return { table: { ...table, columns: { ...table.columns, ...texts, note } }, notes };
}

/**
 * The parameters that were fitted on a work, or taken from it.
 *
 * @param work the work
 * @returns columns parameter, value, certainty, source
 */
export function parameterTable(work: FigureWork): Columns {
  return columnsOf(
    `Parameters fitted on ${work.name}, or taken from it`,
    work.parameters.map(({ name, value, certainty, source }) => ({
      parameter: name,
      value,
      certainty,
      source,
    })),
  );
}

/**
 * How many lines of each verdict the works have, and how many figures their parameters bought.
 *
 * @param done the works with their lines
 * @returns a row for each work and one for all: columns work, figures, one a verdict, parameters, bought
 */
export function figureSummary(
  done: readonly { readonly work: FigureWork; readonly rows: readonly FigureRow[] }[],
): Columns {
  const row = (name: string, rows: readonly FigureRow[], parameters: number) => ({
    work: name,
    figures: rows.length,
    ...Object.fromEntries(VERDICTS.map((v) => [v, rows.filter((r) => r.verdict === v).length])),
    parameters,
    bought: rows.filter((r) => r.verdict === "calibrated").length,
  });
  return columnsOf("How many of each verdict, and how many figures the fitted parameters bought", [
    ...done.map(({ work, rows }) => row(work.name, rows, work.parameters.length)),
    row(
      "all",
      done.flatMap((d) => d.rows),
      done.reduce((n, d) => n + d.work.parameters.length, 0),
    ),
  ]);
}
