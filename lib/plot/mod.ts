/** Charts of recorded columns: Vega-Lite specs that every front end renders, and SVG, PNG, HTML where none does. */
import { latency } from "./latency.ts";
import { phases } from "./phases.ts";
import { bars, lines } from "./simple.ts";
import { throughput } from "./throughput.ts";

export { type Chart, isChart, MAX_SPEC_BYTES } from "./chart.ts";
export type { LatencySource } from "./distribution.ts";
export { latency, type LatencyOptions } from "./latency.ts";
export { type PageOptions, renderPage } from "./page.ts";
export { phases, type PhasesOptions } from "./phases.ts";
export { bars, type BarsOptions, lines, type LinesOptions } from "./simple.ts";
export { type RateSource, throughput, type ThroughputOptions } from "./throughput.ts";

/** The constructors of charts, as notebooks call them. */
export const plot: {
  /** How long events took; see {@linkcode latency}. */
  readonly latency: typeof latency;
  /** A rate over virtual time; see {@linkcode throughput}. */
  readonly throughput: typeof throughput;
  /** What time went into; see {@linkcode phases}. */
  readonly phases: typeof phases;
  /** A bar for each row; see {@linkcode bars}. */
  readonly bars: typeof bars;
  /** A line through rows; see {@linkcode lines}. */
  readonly lines: typeof lines;
} = { latency, throughput, phases, bars, lines };
