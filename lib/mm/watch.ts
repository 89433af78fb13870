/**
 * What can be watched of a kernel while it runs: the points at which checkers look.
 *
 * Nothing is watched by default, and a point then costs one comparison. A watcher only looks: it changes no column of
 * the machine, spends no time and draws no chance. Ranges and batches are told at once, never page by page.
 * @module
 */
import type { LockWatch } from "../sim/locks.ts";
import { lockClass } from "../sim/locks.ts";
import type { Invalidation } from "./notifier.ts";

/** Classes of locks that have no row of {@link Locks}: for the order in which locks are taken. */
export const LOCK_VMA: number = lockClass("vma lock");
/** The lock of a page: folio_lock(). */
export const LOCK_PAGE: number = lockClass("page lock");
/** The lock of a page table. */
export const LOCK_PTL: number = lockClass("page-table lock");
/** The lock under which a reverse map is walked: i_mmap_rwsem or anon_vma. The model has no such lock, only its place in the order. */
export const LOCK_RMAP: number = lockClass("i_mmap or anon_vma lock");
/** Not a lock: whoever waits for it may enter reclaim, as lockdep's fs_reclaim map says of an allocation. */
export const LOCK_RECLAIM: number = lockClass("fs_reclaim");
/** Not a lock: whoever waits for it calls notifiers, as lockdep's mmu_notifier_invalidate_range_start map. */
export const LOCK_NOTIFIER: number = lockClass("mmu_notifier_invalidate_range_start");

/** The rows of a migration: struct migrate_vma as far as it is watched. */
export interface MigrationRows {
  /** Address space; -1 for a migration by frames. */
  readonly mm: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** What was there: MIGRATE_PFN_ entries. */
  readonly src: Uint32Array;
  /** Where it goes: MIGRATE_PFN_ entries. */
  readonly dst: Uint32Array;
  /** Pages that were collected and not given up. */
  readonly cpages: number;
}

/** What hmm_range_fault() is asked: struct hmm_range as far as it is watched. */
export interface RangeRows {
  /** Address space. */
  readonly mm: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** One entry a page: request flags in, HMM_PFN_ flags and frame out. */
  readonly pfns: Uint32Array;
  /** Which request flags of single entries count. */
  readonly pfnFlagsMask: number;
}

/** A device's table of an address space, as checkers see it. */
export interface MirrorView {
  /** The device's name. */
  readonly name: string;
  /** Its tree among the kernel's `deviceTables`. */
  readonly root: number;
  /** The address space that it mirrors. */
  readonly mm: number;
  /** The interval subscription that keeps it in step. */
  readonly sub: number;
  /** Whether its driver lets its table go stale on purpose, as an oddity of a real driver that is kept. */
  readonly odd: boolean;
  /** Whether the device has a page for itself. */
  isAtomic(vpn: number): boolean;
}

/** Every point of a kernel that can be watched. `a` is the actor. */
export interface Watch extends LockWatch {
  /** A page was locked; by trying, as every page lock is taken after a wait. */
  pageLocked(pfn: number): void;
  /** A page is about to be unlocked. */
  pageUnlocked(pfn: number): void;
  /** An actor is about to wait until a page is unlocked. */
  pageAwaited(a: number, pfn: number): void;
  /** An invalidation begins: nobody has been told. */
  invalidationStarts(a: number, e: Invalidation): void;
  /** An invalidation was refused by a callback that must not sleep: its caller gives up. */
  invalidationRefused(a: number, e: Invalidation): void;
  /** An invalidation is about to end. */
  invalidationEnds(a: number, e: Invalidation): void;
  /** An interval subscription is called; `sleeping` if by the form that may stop. */
  callbackStarts(a: number, sub: number, e: Invalidation, sleeping: boolean): void;
  /** The call has returned. */
  callbackEnds(a: number, sub: number, e: Invalidation, sleeping: boolean, done: boolean): void;
  /** hmm_range_fault() begins. */
  rangeFaultStarts(a: number, r: RangeRows): void;
  /** hmm_range_fault() returns 0 or a negated errno. */
  rangeFaultEnds(a: number, r: RangeRows, rc: number): void;
  /** A driver begins to resolve a device fault: what follows up to its end are rounds of one fault. */
  deviceFaultStarts(a: number): void;
  /** The driver sets itself a deadline for it. */
  deviceFaultDeadline(a: number, deadlineNs: number): void;
  /** The driver asked whether its deadline has passed, and was told that it has. */
  deviceFaultExpired(a: number): void;
  /** The device fault is resolved, or given up. */
  deviceFaultEnds(a: number): void;
  /** migrate_vma_setup() begins. */
  migrationStarts(a: number, m: MigrationRows): void;
  /** migrate_vma_setup() or migrate_device_range() returns: from here on the caller copies. */
  migrationCollected(a: number, m: MigrationRows): void;
  /** migrate_vma_pages() returns. */
  migrationMoved(a: number, m: MigrationRows): void;
  /** migrate_vma_finalize() begins: the driver has updated its own tables. */
  migrationFinalizes(a: number, m: MigrationRows): void;
  /** migrate_vma_finalize() returns. */
  migrationEnds(a: number, m: MigrationRows): void;
  /** A CPU has stored into pages `from` to `to`, through its page table, or into frame `pfn` through its TLB (else -1). */
  cpuStored(a: number, mm: number, from: number, to: number, pfn: number): void;
  /** Entries of a device's table were set. */
  deviceMapped(root: number, vpn: number, n: number): void;
  /** A CPU fault on a device-private page calls migrate_to_ram(). */
  faultBackStarts(a: number, pfn: number): void;
  /** The call has returned; the fault still holds its reference. */
  faultBackEnds(a: number, pfn: number): void;
  /** A page of device memory was handed out. */
  devicePageTaken(a: number, pfn: number): void;
  /** The last reference to a page of device memory was dropped: page_free(). */
  devicePageFreed(a: number, pfn: number): void;
  /** A page was made clean on purpose: MADV_FREE. */
  pageCleaned(pfn: number): void;
  /** `n` frames of ordinary memory were asked for by who may sleep, and so enter reclaim: `pfn` is the first, or -1. */
  pagesTaken(a: number, pfn: number, n: number): void;
  /** The last reference to an address space is dropped: it is torn down. */
  mmGone(a: number, mm: number): void;
  /** A mirror of patchset v13 was linked, at a row of its own. */
  mirrorLinked13(row: number, mm: number): void;
  /** It was taken off the list. */
  mirrorUnlinked13(row: number): void;
  /** `struct hmm` of patchset v13 hears of an invalidation, before it looks at range locks and monitors. */
  invalidationStarts13(a: number, e: Invalidation): void;
  /** A mirror has been called for it. */
  mirrorTold13(a: number, row: number): void;
  /** The invalidation is about to go on: every mirror has been called. */
  invalidationTold13(a: number, e: Invalidation): void;
  /** A range monitor of patchset v13 begins, at a row of its own, of the range that its caller gave. */
  monitorStarts13(row: number, mm: number, start: number, end: number): void;
  /** It is about to end, and says whether no invalidation met its range. */
  monitorEnds13(row: number, valid: boolean): void;
  /** An actor would sleep where it must not. */
  sleepsInAtomic(a: number, what: string): void;
}
