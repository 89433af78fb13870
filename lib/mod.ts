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
export { DISPLAY, type Display, type Displayable, isDisplayable } from "./record/display.ts";
export { LatencyHistogram } from "./record/histogram.ts";
export { Timeline } from "./record/timeline.ts";
export { checkProfile, type Profile, profile, profileNames, withParameters } from "./profiles/profile.ts";
export { type ActorOutcome, Run, type RunEnd } from "./machine/run.ts";
export { Machine, machine, type RunOptions } from "./machine/machine.ts";
export type { MachineOptions, MachineSpec } from "./machine/spec.ts";
export type { DummyOptions, DummySpec } from "./devices/dummy/spec.ts";
export { Process, type Protection, Region, type Word } from "./machine/process.ts";
export type { Progress, Started, Workload } from "./machine/workload.ts";
export { stream } from "./workloads/stream.ts";
export { touch, type TouchOptions } from "./workloads/touch.ts";
export { inTurns, type Turn } from "./workloads/turns.ts";
export { replayTrace } from "./workloads/replay.ts";
export { builtinTrace, type PageTrace, readTraceFile, traceNames } from "./workloads/trace_file.ts";
export {
  type Driver,
  driver,
  type DriverFault,
  DriverHandle,
  type DriverInvalidation,
  type DriverKernel,
  type DriverMutex,
  type DriverRange,
  type DriverSpec,
  type DriverTable,
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  type Subscription,
} from "./machine/driver.ts";
export { DeviceThread, Thread } from "./machine/thread.ts";
export {
  Exploration,
  explore,
  type ExploreOptions,
  type Litmus,
  litmus,
  type LitmusActor,
  type LitmusContext,
  type LitmusParts,
  type LitmusRules,
  type LitmusSpec,
  Replay,
  replay,
} from "./explore/litmus.ts";
export type { SearchOptions, SearchResult, Violation } from "./explore/search.ts";
export { EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENODEV, ENOENT, ENOMEM, EPERM, errnoName } from "./mm/errno.ts";
export {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
} from "./mm/notifier.ts";
export {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from "./hmm/range.ts";
export type { Proc, Wait } from "./sim/sim.ts";
export { InterruptedError } from "./sim/interrupt.ts";
export {
  type Advance,
  kernel,
  type KernelName,
  parameters,
  type ParameterValue,
  progress,
  show,
  type Widened,
} from "./notebook/mod.ts";
export { type Chart, type LatencySource, plot, renderPage } from "./plot/mod.ts";
export { type DataTable, fromArquero, toArquero, toArrow, toCsv, toText } from "./tables/mod.ts";
export { type FirstLight, firstLight, type FirstLightOptions } from "./experiments/first_light.ts";
export { scatter } from "./workloads/scatter.ts";
