/** Tables out of recorded columns: Arquero for questions, Arrow, CSV and Perfetto for files, text and HTML for readers. */
export {
  agg,
  type Aggregate,
  type Cell,
  type DataTable,
  desc,
  type Descending,
  type Row,
} from "./data_table.ts";
export { fromArquero, toArquero } from "./arquero.ts";
export { fromArrow, toArrow } from "./arrow.ts";
export { isColumns } from "./check.ts";
export { toCsv } from "./csv.ts";
export { toHtml } from "./html.ts";
export { savePerfetto, toPerfetto, type TraceSource } from "./perfetto.ts";
export { summarize } from "./summary.ts";
export { type TextOptions, toText } from "./text.ts";
