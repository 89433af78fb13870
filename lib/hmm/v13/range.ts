/**
 * Range locks and range monitors of patchset v13: two ways to hold a snapshot against the CPU's page table.
 *
 * A lock holds invalidations back until it is given up; a monitor tells whether one came. Only an address space with a
 * registered mirror hears of invalidations at all.
 * @module
 */
import { describe } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { EINVAL, ENOMEM } from "../../mm/errno.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import { HmmSpaces } from "./hmm.ts";
import { type MmStruct, tell, type VmArea } from "./mm.ts";

const AT_LOCK = site("v13 hmm_vma_range_lock: before it is linked");
const AT_LOCK_WAIT = site("v13 hmm_vma_range_lock: waiting for invalidations");
const AT_MONITOR = site("v13 hmm_vma_range_monitor_start: before it is linked");
const AT_MONITOR_WAIT = site("v13 hmm_vma_range_monitor_start: waiting for invalidations");
const AT_MONITOR_END = site("v13 hmm_vma_range_monitor_end: before it is looked at");

/**
 * A range that is locked or monitored: v13 `struct hmm_range` (patches 10, 11). Its memory is the caller's.
 *
 * 4.14 had one of the same name that did both, with `valid` in place of the list; 5.5 has the sequence of
 * mmu_interval_notifier.
 */
export class HmmRange {
  private space: MmStruct | undefined;
  private row = -1;

  /** Notes where it is linked; for the calls of this file. */
  bind(space: MmStruct | undefined, row: number): void {
    this.space = space;
    this.row = row;
  }

  /** Where it is linked, or undefined. */
  get at(): { readonly space: MmStruct; readonly row: number } | undefined {
    return this.space === undefined ? undefined : { space: this.space, row: this.row };
  }
}

/**
 * Holds every invalidation of a range back: v13 `hmm_vma_range_lock()` (patch 10). Gone by v15: the kernel's memory
 * management must not wait for a device.
 *
 * mmap_sem is held. What is under way already is waited for; what comes later waits in turn. A fault of the range under
 * the lock ({@linkcode hmmVmaFault}) may need an invalidation, and then waits for ever. The posted code waited for every
 * invalidation of the address space that was counted; here it is those of the range that came first.
 *
 * @param range takes the lock
 * @param vma the area
 * @param start first page
 * @param end page past the last
 * @returns 0; -EINVAL for a range not within the area; -ENOMEM at failure point "page allocation"
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), mm = new v13.MmStruct(p);
 * p.write(heap, 1);
 * function* snapshot() {
 *   const pfns = new BigUint64Array(2), range = new v13.HmmRange();
 *   yield* mm.downRead();
 *   const vma = v13.findVma(mm, heap.vpn)!;
 *   if ((yield* v13.hmmVmaRangeLock(range, vma, heap.vpn, heap.vpn + 2)) === 0) {
 *     yield* v13.hmmVmaGetPfns(vma, heap.vpn, heap.vpn + 2, pfns);
 *     v13.hmmVmaRangeUnlock(range);
 *   }
 *   mm.upRead();
 *   return pfns.filter((pfn) => pfn & v13.HMM_PFN_WRITE).length;
 * }
 * console.log(p.complete(snapshot())); // 2
 * ```
 */
export function* hmmVmaRangeLock(
  range: HmmRange,
  vma: VmArea,
  start: number,
  end: number,
): Proc<number> {
  const { vmMm: mm } = vma, { kernel: k } = mm, { sim } = k, a = sim.current, hmm = HmmSpaces.of(k);
  if (!hmm.register(a, mm.mm)) return tell(k, -ENOMEM);
  if (!vma.contains(start, end)) return tell(k, -EINVAL);
  if (sim.due(a)) {
    sim.mark(a, AT_LOCK, start, end);
    yield DUE;
  }
  const row = hmm.lockRange(a, mm.mm, start, end);
  range.bind(mm, row);
  while (hmm.lockWaits(row)) {
    sim.mark(a, AT_LOCK_WAIT, row, start, end);
    yield hmm.queue(mm.mm);
  }
  return tell(k, 0, row + 1);
}

/**
 * Gives a range lock up: v13 `hmm_vma_range_unlock()` (patch 10).
 *
 * @param range a range that {@linkcode hmmVmaRangeLock} locked
 * @throws {UsageError} for a range that is not locked
 *
 * @example
 * ```ts
 * import { v13 } from "hmmlab";
 *
 * try {
 *   v13.hmmVmaRangeUnlock(new v13.HmmRange());
 * } catch (e) {
 *   console.log(e instanceof Error && e.name); // UsageError
 * }
 * ```
 */
export function hmmVmaRangeUnlock(range: HmmRange): void {
  const at = range.at, hmm = at && HmmSpaces.of(at.space.kernel);
  if (at === undefined || hmm === undefined || !hmm.locked(at.row)) {
    throw new UsageError(
      `Cannot unlock a range: got ${
        describe(range)
      }, which is not locked; one that hmmVmaRangeLock locked is ` +
        "allowed; call it once for each 0 that hmmVmaRangeLock returned",
    );
  }
  hmm.endRange(at.row);
  range.bind(undefined, -1);
}

/**
 * Begins to watch a range: v13 `hmm_vma_range_monitor_start()` (patch 11). In 4.14 `hmm_vma_get_pfns()` did this itself;
 * 6.12 has `mmu_interval_read_begin()`.
 *
 * @param range what is watched; after true, {@linkcode hmmVmaRangeMonitorEnd} must be called for it
 * @param vma an area of the address space
 * @param start first page; v13 did not ask whether the area has it
 * @param end page past the last
 * @param wait whether to wait until no invalidation is under way
 * @returns true; false when an invalidation is under way and was not waited for, or at failure point "page allocation"
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), mm = new v13.MmStruct(p);
 * p.complete(v13.hmmMirrorRegister(new v13.HmmMirror({ *update() {} }), mm));
 * const range = new v13.HmmRange(), vma = v13.findVma(mm, heap.vpn)!;
 * p.complete(v13.hmmVmaRangeMonitorStart(range, vma, heap.vpn, heap.vpn + 2, true));
 * p.munmap(heap.slice("4 KiB"));
 * console.log(p.complete(v13.hmmVmaRangeMonitorEnd(range))); // false
 * ```
 */
export function* hmmVmaRangeMonitorStart(
  range: HmmRange,
  vma: VmArea,
  start: number,
  end: number,
  wait: boolean,
): Proc<boolean> {
  const { vmMm: mm } = vma, { kernel: k } = mm, { sim } = k, a = sim.current, hmm = HmmSpaces.of(k);
  range.bind(undefined, -1);
  if (!hmm.register(a, mm.mm)) return tell(k, false);
  if (sim.due(a)) {
    sim.mark(a, AT_MONITOR, start, end, wait ? 1 : 0);
    yield DUE;
  }
  while (hmm.count[mm.mm] !== 0) {
    if (!wait) return tell(k, false);
    sim.mark(a, AT_MONITOR_WAIT, start, end);
    yield hmm.queue(mm.mm);
  }
  const row = hmm.monitorRange(a, mm.mm, start, end);
  range.bind(mm, row);
  return tell(k, true, row + 1);
}

/**
 * Ends the watch: v13 `hmm_vma_range_monitor_end()` (patch 11), to be called under the driver's lock that `update` takes
 * too. `hmm_vma_range_done()` in 4.14, `mmu_interval_read_retry()` (the other way round) in 6.12.
 *
 * @param range what {@linkcode hmmVmaRangeMonitorStart} was given
 * @returns true if no invalidation met the range since; false also for a range that is not watched
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process();
 * console.log(p.complete(v13.hmmVmaRangeMonitorEnd(new v13.HmmRange()))); // false
 * ```
 */
export function* hmmVmaRangeMonitorEnd(range: HmmRange): Proc<boolean> {
  const at = range.at;
  if (at === undefined) return false;
  const { kernel: k } = at.space, { sim } = k, a = sim.current, hmm = HmmSpaces.of(k);
  if (sim.due(a)) {
    sim.mark(a, AT_MONITOR_END, at.row);
    yield DUE;
  }
  const valid = hmm.monitored(at.row);
  hmm.endRange(at.row);
  range.bind(undefined, -1);
  return tell(k, valid);
}
