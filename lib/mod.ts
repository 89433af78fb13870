/**
 * hmmlab: a lab bench for heterogeneous memory.
 *
 * Build a {@linkcode machine}, map memory in a process, run workloads on its CPUs and devices in virtual time, look at
 * what happened with {@linkcode show} and {@linkcode plot}. Declare a race as a {@linkcode litmus} test, {@linkcode explore}
 * every interleaving of it, {@linkcode replay} the one that fails. The floors below this file are documented in their own
 * files; this one only re-exports.
 *
 * @example
 * ```ts
 * import { machine, plot, show, stream, touch } from "hmmlab";
 *
 * const m = machine({ host: "epyc-7551p", devices: { gpu: "titan-v" }, seed: 1 });
 * const heap = m.process().mmap("4 MiB");
 * const run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
 * await show(run);
 * await show(plot.latency(run.invalidations));
 * ```
 *
 * @module
 */

// --- wrong use, units, recorded results --------------------------------------------------------------------------------
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
export { INSPECT } from "./record/inspect.ts";
export { LatencyHistogram } from "./record/histogram.ts";
export { phaseGuide } from "./record/phase_guide.ts";
export { splits } from "./record/splits.ts";
export { Timeline } from "./record/timeline.ts";

// --- hardware profiles -------------------------------------------------------------------------------------------------
export type { Parameter, ProfileData } from "./profiles/check.ts";
export { lineCurve, type TransferCurve, type UvmSmartCurve, uvmSmartCurve } from "./profiles/curve.ts";
export type { Overrides } from "./profiles/costs.ts";
export type {
  Certainty,
  DeviceCosts,
  GpuCosts,
  HostCosts,
  NicCosts,
  ProfileKind,
} from "./profiles/parameters.ts";
export { checkProfile, type Profile, profile, profileNames, withParameters } from "./profiles/profile.ts";

// --- machines, processes, runs -----------------------------------------------------------------------------------------
export type { Device, DeviceSpec, DriverThread } from "./devices/device.ts";
export type { DummyOptions, DummySpec } from "./devices/dummy/spec.ts";
export type { GpuOptions, GpuSpec, ReplayPolicy } from "./devices/gpu/spec.ts";
export { BlockRuns, type Grid } from "./devices/gpu/launch.ts";
export type { AnyDeviceSpec, DeviceChoice, DeviceOf } from "./devices/kinds.ts";
export {
  cpuCopy,
  type CpuCopyOptions,
  dmaEngine,
  type DmaEngineOptions,
  interconnect,
  type InterconnectOptions,
} from "./machine/engines.ts";
export type { LinkOptions } from "./machine/links.ts";
export type { NodeOptions, NodeSpec } from "./machine/nodes.ts";
export type { BindOptions, Mempolicy, Moved, MoveOptions } from "./machine/placement.ts";
export { Machine, machine, type ProcessOptions, type RunOptions } from "./machine/machine.ts";
export type { Presence } from "./devices/presence.ts";
export { Process, type Protection, Region, type Word } from "./machine/process.ts";
export { type ActorOutcome, Run, type RunEnd } from "./machine/run.ts";
export type { MachineOptions, MachineSpec } from "./machine/spec.ts";
export type { Progress, Started, Workload } from "./machine/workload.ts";
export { InterruptedError } from "./sim/interrupt.ts";
export { revertNames } from "./sim/revert.ts";
export { DeadlockError, LivelockError } from "./sim/runners.ts";

// --- rules that are looked after while a machine runs --------------------------------------------------------------------
export {
  type BrokenRule,
  checkerNames,
  type Checkers,
  forgetLockOrder,
  InvariantError,
  lockOrder,
} from "./check/mod.ts";

// --- workloads ---------------------------------------------------------------------------------------------------------
export { type HotplugOptions, plug, unplug, vanish } from "./workloads/hotplug.ts";
export {
  adviseStep,
  type GpuStep,
  launch,
  type LaunchOptions,
  prefetchBackStep,
  prefetchStep,
  streamGrid,
  type StreamGridOptions,
} from "./workloads/launch.ts";
export { replayTrace } from "./workloads/replay.ts";
export { repeat, type RepeatOptions } from "./workloads/repeat.ts";
export { scatter } from "./workloads/scatter.ts";
export { stream } from "./workloads/stream.ts";
export { type SvmTree, svmTree, type SvmTreeOptions } from "./workloads/svm_tree.ts";
export { touch, type TouchOptions } from "./workloads/touch.ts";
export {
  builtinTrace,
  type PageTrace,
  readTraceFile,
  traceNames,
  type TraceRegion,
} from "./workloads/trace_file.ts";
export { inTurns, type Turn } from "./workloads/turns.ts";

// --- drivers and actors of one's own, in the kernel's words --------------------------------------------------------------
export {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from "./hmm/range.ts";
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
export { DeviceThread } from "./machine/device_thread.ts";
export { Thread } from "./machine/thread.ts";
export { AccessResult } from "./mm/access.ts";
export {
  EAGAIN,
  EBADF,
  EBUSY,
  EFAULT,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  EPERM,
  ERANGE,
  errnoName,
} from "./mm/errno.ts";
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
export type { Proc, Wait } from "./sim/sim.ts";

// --- patchset v13 of 2016, as code of that time called it ----------------------------------------------------------------
export * as v13 from "./hmm/v13/mod.ts";
/** GPU programs whose geometry was published, for `launch`. */
export * as kernels from "./workloads/kernels/mod.ts";

// --- races ---------------------------------------------------------------------------------------------------------------
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
export type { Replayed } from "./explore/replay.ts";
export type { SearchOptions, SearchResult, Violation } from "./explore/search.ts";

// --- notebooks, charts, tables -----------------------------------------------------------------------------------------
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
export {
  type AgreementOptions,
  type BarsOptions,
  type BatchesOptions,
  type Chart,
  type CliffOptions,
  type LatencyOptions,
  type LatencySource,
  type LinesOptions,
  type Moment,
  type PageOptions,
  type PhasesOptions,
  type Plot,
  plot,
  type RateSource,
  renderPage,
  type ResidencyOptions,
  type SnapshotsOptions,
  type ThroughputOptions,
} from "./plot/mod.ts";
export {
  agg,
  type Aggregate,
  type Cell,
  type DataTable,
  desc,
  type Descending,
  fromArquero,
  fromArrow,
  type Row,
  savePerfetto,
  summarize,
  type TextOptions,
  toArquero,
  toArrow,
  toCsv,
  toHtml,
  toPerfetto,
  toText,
  type TraceSource,
} from "./tables/mod.ts";

// --- a GPU's policies, alone on a trace --------------------------------------------------------------------------------
export { playPolicies, type PolicyRun } from "./devices/gpu/play.ts";
export type { PlayOptions } from "./devices/gpu/play_layout.ts";
export { evictionPolicy, preEvictionPolicy, prefetchPolicy } from "./devices/gpu/policies.ts";
export {
  type Draw,
  type EvictionPolicy,
  type EvictionSetup,
  type Evictor,
  type PreEvictionPolicy,
  type PrefetchBlock,
  type PrefetchPolicy,
} from "./devices/gpu/policy.ts";
export { type MappedPages, type PageReferences, referencesOf } from "./devices/gpu/references.ts";

// --- ready experiments -------------------------------------------------------------------------------------------------
export type { FigureParameter, PublishedFigure } from "./experiments/figures/published.ts";
export { FIGURE_WORKS, type FigureOptions, type FigureWork } from "./experiments/figures/registry.ts";
export { figureSummary, figureTable, parameterTable } from "./experiments/figures/tables.ts";
export { gtx1080Tree } from "./experiments/figures/gtx1080_tree.ts";
export { pageMigration } from "./experiments/figures/page_migration.ts";
export { type FigureRow, type Verdict, VERDICTS } from "./experiments/figures/row.ts";
export { uvmSmartHotspot, uvmSmartPcie, uvmSmartTable } from "./experiments/figures/uvm_smart.ts";
export { type FirstLight, firstLight, type FirstLightOptions } from "./experiments/first_light.ts";

// --- below the public face -----------------------------------------------------------------------------------------------
// What `Machine.kernel` and a device are made of: types only, for those who look inside a machine. Their files say what
// they do; they may change with the model.
export type {
  CopySpan,
  CpuCopy,
  CpuCopyCosts,
  Interconnect,
  InterconnectEngine,
  PlainDma,
  PlainDmaCosts,
} from "./bus/interconnect.ts";
export type { CopyEngine, Link } from "./bus/link.ts";
export type { Census, SpaceCount } from "./check/census.ts";
export type { Checker, Hooks, Scene, Where } from "./check/mod.ts";
export type { Beyond, Channels, SharedLink } from "./bus/shared_link.ts";
export type { LinkSpec, Topology } from "./bus/topology.ts";
export type { DeviceLink, Direction } from "./bus/way.ts";
export type { SharedLinks, WorkList } from "./bus/shared_links.ts";
export type { Descriptor } from "./bus/shares.ts";
export type { DevicePhases, DummyDevice } from "./devices/dummy/device.ts";
export type { DummyMirror } from "./devices/dummy/mirror.ts";
export type { Chunks } from "./devices/gpu/chunks.ts";
export type { GpuHint } from "./devices/gpu/calls.ts";
export type { ThrashWatch } from "./devices/gpu/thrash.ts";
export type { Gpu, GpuPhases } from "./devices/gpu/device.ts";
export type { GpuDriver } from "./devices/gpu/driver.ts";
export type { FarFaults } from "./devices/gpu/far_fault.ts";
export type { FaultBuffer } from "./devices/gpu/fault_buffer.ts";
export type { Front } from "./devices/gpu/front.ts";
export type { Hints } from "./devices/gpu/hints.ts";
export type { GpuMirror } from "./devices/gpu/mirror.ts";
export type { BatchRow, GpuRecords } from "./devices/gpu/records.ts";
export type { BlockWork } from "./devices/gpu/work.ts";
export type { AccessCounterOptions, AccessCounters } from "./devices/gpu/access_counters.ts";
export type { ThrashingOptions } from "./devices/gpu/thrashing.ts";
export type { Residents } from "./devices/gpu/sm.ts";
export type { Utlbs } from "./devices/gpu/utlb.ts";
export type { DeviceTable } from "./devices/table.ts";
export type { Batch, Batches } from "./hmm/batches.ts";
export type { DeviceMemory } from "./hmm/devmem.ts";
export type { Accesses } from "./mm/access.ts";
export type { AnonVmas, Mapping } from "./mm/anon_vma.ts";
export type { Inodes } from "./mm/inodes.ts";
export type { Kernel, KernelSpec, Phases } from "./mm/kernel.ts";
export type { Nodes } from "./mm/numa.ts";
export type { Invalidation, ListNotifierOps, NotifierOps, Notifiers } from "./mm/notifier.ts";
export type { DeviceFaultBack, PagemapOps, Pages, Zone } from "./mm/pages.ts";
export type { PageTables } from "./mm/pagetable.ts";
export type { Reclaim } from "./mm/direct_reclaim.ts";
export type { SwapSlots } from "./mm/swap.ts";
export type { Tlbs } from "./mm/tlb.ts";
export type { Vmas } from "./mm/vma.ts";
export type { MigrationRows, MirrorView, RangeRows, Watch } from "./mm/watch.ts";
export type { Counters } from "./record/counters.ts";
export type { EventLog } from "./record/events.ts";
export type { SliceLog } from "./record/slices.ts";
export type { Spans } from "./record/spans.ts";
export type { Arena, Extents, Snapshot } from "./sim/arena.ts";
export type { Locks, LockWatch } from "./sim/locks.ts";
export type { Chooser, Sim } from "./sim/sim.ts";
export { look } from "./machine/look.ts";
export { type Advice, ADVICES } from "./mm/madvise.ts";
