/** What `show` says in plain text: in a script, and beside richer forms in a notebook. */
import { DISPLAY, isDisplayable } from "../record/display.ts";
import { type Chart, isChart } from "../plot/chart.ts";
import { isDataTable } from "../tables/data_table.ts";
import { isColumns } from "../tables/check.ts";
import { toText } from "../tables/text.ts";

const CHART_ROWS = 12;

/**
 * The plain text of whatever hmmlab knows how to show.
 *
 * @param x a chart (its finding and a few figures), a table, or an object that says what it wants shown
 * @returns lines without a trailing newline; undefined for anything else, which is the console's to print
 */
export function textOf(x: unknown): string | undefined {
  if (isChart(x)) return chartText(x);
  if (isDataTable(x)) return toText(x.toColumns());
  if (isDisplayable(x)) {
    const { text, tables = [] } = x[DISPLAY]();
    return [text, ...tables.map((table) => toText(table))].filter((part) => part !== "").join("\n\n");
  }
  return isColumns(x) ? toText(x) : undefined;
}

function chartText(chart: Chart): string {
  const heading = [chart.title, chart.subtitle].filter((line) => line !== "").join("\n");
  if (chart.summary.numRows === 0) return heading;
  return `${heading}\n${toText(chart.summary, { maxRows: CHART_ROWS, title: false })}`;
}
