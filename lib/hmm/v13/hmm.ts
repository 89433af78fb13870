/**
 * `struct hmm` of patchset v13: what HMM kept for an address space, and how an invalidation went through it.
 *
 * All that decides behaviour lies in columns, so that races over it can be explored.
 * @module
 */
import { UsageError } from "../../errors.ts";
import { EAGAIN } from "../../mm/errno.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Invalidation, ListNotifierOps } from "../../mm/notifier.ts";
import { defineRevert } from "../../sim/revert.ts";
import { DUE, type Proc, type Sim, site, type Wait } from "../../sim/sim.ts";
import { HMM_UPDATE_INVALIDATE } from "./flags.ts";

/** With it an invalidation that had to wait returns without calling the mirrors, and its entry stays on the list. */
export const V13_WAITED_INVALIDATION: string = defineRevert(
  "v13 waited invalidation",
  "an invalidation that waited on a range lock reaches no mirror, and the next one waits for ever",
);
/** With it an invalidation waits for the newest of several range locks only. */
export const V13_OVERLAPPING_LOCKS: string = defineRevert(
  "v13 overlapping range locks",
  "of two range locks over one page the first holds back nothing once the second is given up",
);
/** With it the start and end of a monitored range are not stored. */
export const V13_MONITOR_RANGE: string = defineRevert(
  "v13 monitor range",
  "a range monitor hears of no invalidation",
);

/** What a user of a mirror provides: v13 `struct hmm_mirror_ops` (patch 9); `sync_cpu_device_pagetables` in 4.14. */
export interface HmmMirrorOps {
  /**
   * Drops a range from the device's page table. When it ends the device no longer uses the range; it has no result.
   *
   * @param mirror whose address space it is
   * @param action HMM_UPDATE_INVALIDATE
   * @param start first page
   * @param end page past the last
   */
  update(mirror: MirrorHead, action: number, start: number, end: number): Proc;
}

/** What HMM needs of a mirror. */
export interface MirrorHead {
  /** The user's calls. */
  readonly ops: HmmMirrorOps;
}

const AT_INVALIDATE = site("v13 invalidation: before it looks at the range locks");
const AT_WAIT = site("v13 invalidation: waiting for a range lock");
const AT_UPDATE = site("v13 invalidation: calling a mirror");

const FREE = 0, LOCK = 1, MONITOR = 2, INVALIDATION = 3, LEFT = 4, BROKEN = 5;
const MAX_ROWS = 64, MAX_MIRRORS = 64, PAIRS = 4, PAIR_PAGES = 64;

/** Arrays of one migration. */
export interface MigrationPair {
  /** Which of the machine's; -1 for arrays of their own. */
  readonly slot: number;
  /** What was there. */
  readonly src: Uint32Array;
  /** Where it goes. */
  readonly dst: Uint32Array;
}

const spaces = new WeakMap<Kernel, HmmSpaces>();

/** Every `struct hmm` of a machine: lists of mirrors, range locks, monitors and invalidations under way. */
export class HmmSpaces {
  /** By address space: whether `mm->hmm` exists. */
  private readonly present: Uint8Array;
  /** By address space: whether its mmu_notifier is registered. */
  private readonly registered: Uint8Array;
  /** By address space: `notifier_count`. */
  readonly count: Int32Array;
  /** By minor number: devices of `hmm_device_new()`. */
  readonly devices: Uint8Array;
  private readonly mirrorMm: Uint16Array;
  private readonly mirrors: (MirrorHead | undefined)[] = [];
  private readonly kind: Uint8Array;
  private readonly mm: Uint16Array;
  private readonly start: Float64Array;
  private readonly end: Float64Array;
  /** By row of an invalidation: actor + 1, and the row + 1 of the one lock that the posted code waits for. */
  private readonly actor: Uint16Array;
  private readonly waitsFor: Uint8Array;
  /** Rows + 1 in the order in which they were linked. */
  private readonly order: Uint8Array;
  private readonly queues: Wait[] = [];
  /** Sources and destinations of migrations, and which are in use: what a migration has collected is state. */
  private readonly pairs: Uint32Array;
  private readonly pairUsed: Uint8Array;
  /** How to take a list notifier back; by address space. What counts is {@link registered}. */
  private readonly unregister = new Map<number, () => void>();
  private readonly sim: Sim;

  /** @param k the machine */
  private constructor(private readonly k: Kernel) {
    const { sim, root } = k, { state } = sim;
    this.sim = sim;
    this.present = state.u8("hmm13.present", root.length);
    this.registered = state.u8("hmm13.registered", root.length);
    this.count = state.i32("hmm13.count", root.length);
    this.pairs = state.u32("hmm13.pairs", PAIRS * 2 * PAIR_PAGES);
    this.pairUsed = state.u8("hmm13.pairUsed", PAIRS);
    this.devices = state.u8("hmm13.devices", 256);
    this.mirrorMm = state.u16("hmm13.mirrorMm", MAX_MIRRORS);
    this.kind = state.u8("hmm13.kind", MAX_ROWS);
    this.mm = state.u16("hmm13.mm", MAX_ROWS);
    this.start = state.f64("hmm13.start", MAX_ROWS);
    this.end = state.f64("hmm13.end", MAX_ROWS);
    this.actor = state.u16("hmm13.actor", MAX_ROWS);
    this.waitsFor = state.u8("hmm13.waitsFor", MAX_ROWS);
    this.order = state.u8("hmm13.order", MAX_ROWS);
    for (let mm = 0; mm < root.length; mm++) this.queues.push(sim.queue(`hmm of address space ${mm}`));
  }

  /** Those of a machine, made on first use. */
  static of(k: Kernel): HmmSpaces {
    let known = spaces.get(k);
    if (known === undefined) spaces.set(k, known = new HmmSpaces(k));
    return known;
  }

  /** The queue that is woken whenever an invalidation or a range lock of `mm` ends: `hmm->wait_queue`. */
  queue(mm: number): Wait {
    return this.queues[mm];
  }

  /** Makes `mm->hmm` if there is none: v13 `hmm_register()`. False at failure point "page allocation". */
  register(a: number, mm: number): boolean {
    if (!this.present[mm] && this.sim.fails(a, "page allocation")) return false;
    this.present[mm] = 1;
    return true;
  }

  // --- mirrors -------------------------------------------------------------------------------------------------------

  /** Whether `mm` has its mmu_notifier already. */
  hears(mm: number): boolean {
    return this.registered[mm] !== 0;
  }

  /** Registers the mmu_notifier of `mm`; the mmap lock is held alone. */
  hear(mm: number): void {
    // A notifier that the explorer's return to an earlier state has left behind is replaced.
    this.unregister.get(mm)?.();
    const ops: ListNotifierOps = {
      invalidateRangeStart: (a, e) => this.rangeStart(a, e),
      invalidateRangeEnd: (a, e) => this.rangeEnd(a, e),
    };
    this.unregister.set(mm, this.k.notifiers.register(mm, ops));
    this.registered[mm] = 1;
  }

  /** Links a mirror. Returns its row, or -1 when there is no room for another. */
  link(mm: number, mirror: MirrorHead): number {
    const row = this.mirrorMm.indexOf(0);
    if (row < 0) return -1;
    this.mirrorMm[row] = mm + 1;
    this.mirrors[row] = mirror;
    this.k.watch?.mirrorLinked13(row, mm);
    return row;
  }

  /** Whether a mirror is linked at a row. */
  linked(row: number, mirror: MirrorHead): boolean {
    return row >= 0 && this.mirrorMm[row] !== 0 && this.mirrors[row] === mirror;
  }

  /** Takes a mirror off the list; calls that are under way go on. */
  unlink(row: number): void {
    this.mirrorMm[row] = 0;
    this.k.watch?.mirrorUnlinked13(row);
  }

  // --- ranges --------------------------------------------------------------------------------------------------------

  /** Links a range lock, a monitor or an invalidation at the end of the list. */
  private add(kind: number, mm: number, start: number, end: number, actor: number): number {
    const row = this.kind.indexOf(FREE);
    if (row < 0) {
      throw new UsageError(
        `Cannot link a range: got one more than ${MAX_ROWS} range locks, monitors and invalidations of a machine ` +
          "at once; fewer are allowed; end some first",
      );
    }
    this.kind[row] = kind;
    this.mm[row] = mm;
    this.start[row] = start;
    this.end[row] = end;
    this.actor[row] = actor + 1;
    this.order[this.order.indexOf(0)] = row + 1;
    return row;
  }

  /** Takes a row off the list and wakes who waits for it. */
  private remove(row: number): void {
    const mm = this.mm[row], at = this.order.indexOf(row + 1);
    this.order.copyWithin(at, at + 1);
    this.order[MAX_ROWS - 1] = 0;
    this.kind[row] =
      this.mm[row] =
      this.start[row] =
      this.end[row] =
      this.actor[row] =
      this.waitsFor[row] =
        0;
    for (let i = 0; i < MAX_ROWS; i++) if (this.waitsFor[i] === row + 1) this.waitsFor[i] = 0;
    this.sim.wake(this.queues[mm]);
  }

  /** Whether one of these kinds was linked before `row` and covers a part of its range. */
  private before(row: number, kinds: readonly number[]): boolean {
    for (const linked of this.order) {
      if (linked === 0 || linked === row + 1) return false;
      const r = linked - 1;
      if (kinds.includes(this.kind[r]) && this.overlaps(r, this.mm[row], this.start[row], this.end[row])) {
        return true;
      }
    }
    return false;
  }

  private overlaps(row: number, mm: number, start: number, end: number): boolean {
    return this.mm[row] === mm && start < this.end[row] && this.start[row] < end;
  }

  /** Links a range lock. Returns its row. */
  lockRange(a: number, mm: number, start: number, end: number): number {
    return this.add(LOCK, mm, start, end, a);
  }

  /** Whether an invalidation that came before the lock has not ended. */
  lockWaits(row: number): boolean {
    return this.before(row, [INVALIDATION]);
  }

  /** Links a monitor, with a range unless the posted code is asked for, which forgot it. Returns its row. */
  monitorRange(a: number, mm: number, start: number, end: number): number {
    const forget = this.k.revert.has(V13_MONITOR_RANGE);
    const row = this.add(MONITOR, mm, forget ? 0 : start, forget ? 0 : end, a);
    this.k.watch?.monitorStarts13(row, mm, start, end);
    return row;
  }

  /** Ends a lock or a monitor. */
  endRange(row: number): void {
    if (this.kind[row] !== LOCK) this.k.watch?.monitorEnds13(row, this.monitored(row));
    this.remove(row);
  }

  /** Whether no invalidation has met a monitor. */
  monitored(row: number): boolean {
    return this.kind[row] === MONITOR;
  }

  /** Whether a lock is held. */
  locked(row: number): boolean {
    return this.kind[row] === LOCK;
  }

  // --- migrations ----------------------------------------------------------------------------------------------------

  /**
   * Takes arrays for the sources and destinations of a migration, zeroed: state of the machine for up to 64 pages and 4
   * migrations at a time, which is what is ever explored; beyond that arrays of their own.
   */
  takePair(n: number): MigrationPair {
    const slot = n <= PAIR_PAGES ? this.pairUsed.indexOf(0) : -1;
    if (slot < 0) return { slot, src: new Uint32Array(n), dst: new Uint32Array(n) };
    this.pairUsed[slot] = 1;
    const at = slot * 2 * PAIR_PAGES, half = at + PAIR_PAGES;
    return { slot, src: this.pairs.subarray(at, at + n), dst: this.pairs.subarray(half, half + n) };
  }

  /** Gives back what {@link takePair} took. */
  givePair({ slot, src, dst }: MigrationPair): void {
    src.fill(0);
    dst.fill(0);
    if (slot >= 0) this.pairUsed[slot] = 0;
  }

  // --- invalidations -------------------------------------------------------------------------------------------------

  /** A range is about to change: v13 `hmm_invalidate_range()`. */
  private *rangeStart(a: number, e: Invalidation): Proc<number> {
    const { sim, k } = this, { mm, start, end } = e;
    if (!this.registered[mm]) return 0;
    // In 2016 no invalidation had to do without sleeping.
    if (!e.blockable) return -EAGAIN;
    if (sim.due(a)) {
      sim.mark(a, AT_INVALIDATE, start, end);
      yield DUE;
    }
    k.watch?.invalidationStarts13(a, e);
    for (let row = 0; row < MAX_ROWS; row++) {
      if (this.kind[row] === MONITOR && this.overlaps(row, mm, start, end)) this.kind[row] = BROKEN;
    }
    const row = this.add(INVALIDATION, mm, start, end, a), posted = k.revert.has(V13_OVERLAPPING_LOCKS);
    if (posted) this.waitsFor[row] = this.newestLock(row) + 1;
    const waits = () => posted ? this.waitsFor[row] !== 0 : this.before(row, [LOCK, LEFT]);
    const waited = waits(), lost = waited && k.revert.has(V13_WAITED_INVALIDATION);
    if (!lost) this.count[mm]++;
    while (waits()) {
      sim.mightSleep(a, "range lock of v13");
      sim.mark(a, AT_WAIT, row, start, end);
      yield this.queues[mm];
    }
    if (lost) this.kind[row] = LEFT;
    for (let i = 0; i < MAX_MIRRORS && !lost; i++) {
      if (this.mirrorMm[i] !== mm + 1) continue;
      const mirror = this.mirrors[i]!;
      sim.call(a, AT_UPDATE, i, row, start, end);
      yield* mirror.ops.update(mirror, HMM_UPDATE_INVALIDATE, start, end);
      k.watch?.mirrorTold13(a, i);
      sim.ret(a);
    }
    k.watch?.invalidationTold13(a, e);
    return 0;
  }

  /** The newest range lock, or entry left behind, that covers a part of an invalidation's range; -1 for none. */
  private newestLock(row: number): number {
    for (let i = this.order.indexOf(row + 1) - 1; i >= 0; i--) {
      const r = this.order[i] - 1, kind = this.kind[r];
      if (
        (kind === LOCK || kind === LEFT) && this.overlaps(r, this.mm[row], this.start[row], this.end[row])
      ) return r;
    }
    return -1;
  }

  /** The range has changed: v13 `hmm_invalidate_range_end()`. */
  private rangeEnd(a: number, e: Invalidation): void {
    if (!this.registered[e.mm]) return;
    const mine = (r: number, kind: number) =>
      this.kind[r] === kind && this.mm[r] === e.mm && this.actor[r] === a + 1 && this.start[r] === e.start &&
      this.end[r] === e.end;
    for (let i = MAX_ROWS - 1; i >= 0; i--) {
      const r = this.order[i] - 1;
      if (r < 0 || !(mine(r, INVALIDATION) || mine(r, LEFT))) continue;
      this.count[e.mm]--;
      if (this.kind[r] === INVALIDATION) this.remove(r);
      else this.actor[r] = 0; // it stays linked, and the count has lost one that it never had
      this.sim.wake(this.queues[e.mm]);
      return;
    }
  }
}
