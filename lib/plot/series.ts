/** Several series in one chart: named once, told apart by colour and by dashes. */
import { DASHES } from "./theme.ts";

/** The parts of a spec that series share. Rows carry `s`, the number of their series. */
export interface Series {
  /** Looks the name up: in every row it would be most of a spec. */
  readonly transform: readonly Record<string, unknown>[];
  /** The colour channel. */
  readonly color: Record<string, unknown>;
  /** The dash channel: it tells lines apart where colour cannot, in print or to a reader without colour vision. */
  readonly strokeDash: Record<string, unknown>;
  /** The tooltip's field. */
  readonly tooltip: Record<string, unknown>;
}

/**
 * Describes the series of a chart.
 *
 * @param names their names in order; a row's `s` is an index into it
 * @param legend properties of the legend
 * @returns what a spec needs
 */
export function seriesOf(names: readonly string[], legend: Record<string, unknown>): Series {
  const channel = { field: "series", type: "nominal", legend };
  return {
    transform: [{
      lookup: "s",
      from: { data: { values: names.map((series, s) => ({ s, series })) }, key: "s", fields: ["series"] },
    }],
    color: { ...channel, scale: { domain: [...names] } },
    strokeDash: { ...channel, scale: { domain: [...names], range: DASHES.slice(0, names.length) } },
    tooltip: { field: "series", type: "nominal", title: "of" },
  };
}
