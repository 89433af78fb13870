/** Charts of recorded columns: Vega-Lite specs that every front end renders, and SVG, PNG, HTML where none does. */
import type { Columns } from "../record/columns.ts";
import { agreement, type AgreementOptions } from "./agreement.ts";
import { batches, type BatchesOptions } from "./batches.ts";
import type { Chart } from "./chart.ts";
import { cliff, type CliffOptions } from "./cliff.ts";
import type { LatencySource } from "./distribution.ts";
import { latency, type LatencyOptions } from "./latency.ts";
import { phases, type PhasesOptions } from "./phases.ts";
import { residency, type ResidencyOptions } from "./residency.ts";
import { bars, type BarsOptions, lines, type LinesOptions } from "./simple.ts";
import { type Moment, snapshots, type SnapshotsOptions } from "./snapshots.ts";
import { type RateSource, throughput, type ThroughputOptions } from "./throughput.ts";

export { agreement, type AgreementOptions } from "./agreement.ts";
export { batches, type BatchesOptions } from "./batches.ts";
export { type Chart, isChart, MAX_SPEC_BYTES } from "./chart.ts";
export { cliff, type CliffOptions } from "./cliff.ts";
export type { LatencySource } from "./distribution.ts";
export { latency, type LatencyOptions } from "./latency.ts";
export { type PageOptions, renderPage } from "./page.ts";
export { phases, type PhasesOptions } from "./phases.ts";
export { residency, type ResidencyOptions } from "./residency.ts";
export { bars, type BarsOptions, lines, type LinesOptions } from "./simple.ts";
export { type Moment, snapshots, type SnapshotsOptions } from "./snapshots.ts";
export { type RateSource, throughput, type ThroughputOptions } from "./throughput.ts";

/** The constructors of charts, as notebooks call them: `plot.latency(run.invalidations)`. */
export interface Plot {
  /**
   * How long events took: the share of events by latency, and under it the share that took no longer.
   *
   * @param source a histogram (`run.invalidations`), its buckets, a table with one latency a row, or up to seven of these
   * @param options a title of one's own
   * @returns the chart; its table holds share by bin, its summary the percentiles
   * @throws {UsageError} if the source is none of these
   */
  latency(source: LatencySource | readonly LatencySource[], options?: LatencyOptions): Chart;
  /**
   * A rate over virtual time, with its mean.
   *
   * @param source a timeline (of `run.links`), a table with columns startNs and amount, or up to seven of these in one unit
   * @param options a title of one's own, the end of the run, what a link could move at most
   * @returns the chart; its table holds the rate by bin, its summary mean, peak and total
   * @throws {UsageError} if the source is none of these, units differ, or the capacity is no rate
   */
  throughput(source: RateSource | readonly RateSource[], options?: ThroughputOptions): Chart;
  /**
   * What the time of each kind of event went into, as phases that add up to the whole.
   *
   * @param source a table with columns kind, phase and ns: `run.phases`
   * @param options a title of one's own, counts by kind, shares or times
   * @returns the chart; small phases are joined to "other" when there are more than seven
   * @throws {UsageError} if a column is missing or a time is negative
   */
  phases(source: Columns, options?: PhasesOptions): Chart;
  /**
   * A horizontal bar for each row, in the table's order.
   *
   * @param table up to 60 rows
   * @param options which columns, by name
   * @returns the chart
   * @throws {UsageError} if a column is missing or of the wrong type
   */
  bars(table: Columns, options: BarsOptions): Chart;
  /**
   * A line through the rows of each series, from small x to large.
   *
   * @param table any number of rows; more than 400 of a series are averaged in bins
   * @param options which columns, by name; logarithmic axes
   * @returns the chart
   * @throws {UsageError} if a column is missing or holds strings
   */
  lines(table: Columns, options: LinesOptions): Chart;
  /**
   * Batches of device faults over virtual time: faults, duplicates, VA blocks.
   *
   * @param source a table with columns startNs, faults, duplicates, blocks: `run.records.gpu.batches`
   * @param options a title of one's own
   * @returns the chart; its summary holds the means of the run
   * @throws {UsageError} if a column is missing
   */
  batches(source: Columns, options?: BatchesOptions): Chart;
  /**
   * Which memory was on a device when: addresses upwards, virtual time to the right.
   *
   * @param source a table with columns timeNs, firstVpn, pages, onDevice: `run.records.gpu.residency`
   * @param options a title of one's own, the end of the run
   * @returns the chart; its table holds the share on the device by cell
   * @throws {UsageError} if a column is missing or times go back
   */
  residency(source: Columns, options?: ResidencyOptions): Chart;
  /**
   * A time or a rate against the working set as a part of memory, with a line where memory is full.
   *
   * @param table one row a run
   * @param options which columns, by name
   * @returns the chart
   * @throws {UsageError} if a column is missing, or a value is not above 0
   */
  cliff(table: Columns, options: CliffOptions): Chart;
  /**
   * What was published against what comes out here, logarithmic, with the line on which they agree.
   *
   * @param table one row a figure
   * @param options which columns, by name
   * @returns the chart; rows of 0 are not drawn and counted in its title
   * @throws {UsageError} if a column is missing or holds strings
   */
  agreement(table: Columns, options: AgreementOptions): Chart;
  /**
   * Pages as a grid whose colours a slider moves through time.
   *
   * @param moments looks at the same region, in order
   * @param options the column that is drawn, pages in a row, a title of one's own
   * @returns the chart; a still image shows the last moment
   * @throws {UsageError} if the moments have different pages, or are too many
   */
  snapshots(moments: readonly Moment[], options?: SnapshotsOptions): Chart;
}

/**
 * The constructors of charts, as notebooks call them.
 *
 * @example
 * ```ts
 * import { machine, plot, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const run = await m.run({ cpu: touch(m.process().mmap("1 MiB")) });
 * console.log(plot.latency(run.cpuFaults).title);
 * ```
 */
export const plot: Plot = {
  latency,
  throughput,
  phases,
  bars,
  lines,
  batches,
  residency,
  cliff,
  agreement,
  snapshots,
};
