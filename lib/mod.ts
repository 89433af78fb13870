/**
 * hmmlab: a lab bench for heterogeneous memory.
 *
 * Build a {@link machine}, map memory in a process, run workloads on its CPUs and devices in virtual time, look at what
 * happened. The floors below this file are documented in their own files; this one only re-exports.
 * @module
 */
export { UsageError } from "./errors.ts";
export {
  bytes,
  bytesPerSecond,
  formatBytes,
  formatCount,
  formatNs,
  formatRate,
  nanoseconds,
  PAGE_SHIFT,
  PAGE_SIZE,
  pages,
} from "./units.ts";
export { type ColumnData, type Columns, columnsOf } from "./record/columns.ts";
export { type Display, DISPLAY, type Displayable, isDisplayable } from "./record/display.ts";
export { LatencyHistogram } from "./record/histogram.ts";
export { Timeline } from "./record/timeline.ts";
export {
  checkProfile,
  type Profile,
  profile,
  profileNames,
  withParameters,
} from "./profiles/profile.ts";
export { type ActorOutcome, Run, type RunEnd } from "./machine/run.ts";
export { Machine, machine, type RunOptions } from "./machine/machine.ts";
export type { MachineOptions, MachineSpec } from "./machine/spec.ts";
export type { DummyOptions, DummySpec } from "./devices/dummy/spec.ts";
export { Process, type Protection, Region, type Word } from "./machine/process.ts";
export type { Progress, Started, Workload } from "./machine/workload.ts";
export { stream } from "./workloads/stream.ts";
export { touch, type TouchOptions } from "./workloads/touch.ts";
