/**
 * MMU notifiers: who is told, before it happens, that a range of an address space changes.
 *
 * Interval subscriptions carry the sequence protocol of mmu_interval_notifier (Linux 5.5); list notifiers are the older
 * form. The interval subscriptions of a range are called before the list notifiers, as in 6.12.
 * @module
 */
import { UsageError } from "../errors.ts";
import { DUE, type Proc, type Sim, site, type Wait } from "../sim/sim.ts";
import { EAGAIN } from "./errno.ts";
import type { Watch } from "./watch.ts";

/** The range is unmapped: munmap, mremap. */
export const MMU_NOTIFY_UNMAP = 0;
/** Pages of the range go or change for another reason: reclaim, copy on write, MADV_DONTNEED. */
export const MMU_NOTIFY_CLEAR = 1;
/** The protection of the whole range changes: mprotect. */
export const MMU_NOTIFY_PROTECTION_VMA = 2;
/** The protection of single pages changes: fork. */
export const MMU_NOTIFY_PROTECTION_PAGE = 3;
/** Soft-dirty tracking begins. */
export const MMU_NOTIFY_SOFT_DIRTY = 4;
/** The address space is released. */
export const MMU_NOTIFY_RELEASE = 5;
/** Pages migrate; `owner` says whose device migrates them. */
export const MMU_NOTIFY_MIGRATE = 6;
/** Pages become exclusive to a device; `owner` says whose. */
export const MMU_NOTIFY_EXCLUSIVE = 7;

/** Names of the events, as the transcripts of real kernels have them. */
export const MMU_NOTIFY_NAMES: readonly string[] = [
  "UNMAP",
  "CLEAR",
  "PROT_VMA",
  "PROT_PAGE",
  "SOFT_DIRTY",
  "RELEASE",
  "MIGRATE",
  "EXCLUSIVE",
];

/** One invalidation: struct mmu_notifier_range. */
export interface Invalidation {
  /** Address space. */
  readonly mm: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** MMU_NOTIFY_ event. */
  readonly event: number;
  /** Owner of the device that causes a MIGRATE or EXCLUSIVE event; 0 for nobody. */
  readonly owner: number;
  /** Whether callbacks may sleep. */
  readonly blockable: boolean;
  /** The sequence that {@link Notifiers.setSeq} stores, filled in at the start; 0 before, and if nobody subscribes. */
  seq: number;
}

/** Calls of an interval subscription: mmu_interval_notifier_ops. */
export interface NotifierOps {
  /**
   * Removes what the subscriber derived from the range, without sleeping. The subscriber's lock is taken by trying, and
   * {@link Notifiers.setSeq} is called under it.
   *
   * @returns false when the lock was not to be had
   */
  tryInvalidate(a: number, e: Invalidation): boolean;
  /** The queue to sleep on before {@link tryInvalidate} is called again. */
  waitOn(e: Invalidation): Wait;
  /** The sleeping form, called in place of the two above where a subscriber has one. */
  invalidate?(a: number, e: Invalidation): Proc<boolean>;
}

/** Calls of a list notifier: mmu_notifier_ops. */
export interface ListNotifierOps {
  /** Called before the range changes; may sleep if the range is blockable. Returns 0 or -EAGAIN. */
  invalidateRangeStart(a: number, e: Invalidation): Proc<number>;
  /** Called after the range has changed. */
  invalidateRangeEnd(a: number, e: Invalidation): void;
}

const AT_CALL = site("before a notifier call");
const AT_INSIDE = site("in a notifier call");
const AT_BLOCKED = site("notifier call waits for the subscriber's lock");
const AT_BEGIN = site("mmu_interval_read_begin waits for an invalidation");

/** What {@link Notifiers.startNow} returns when all subscribers have been told. */
export const TOLD = 0x4000_0000;
/** In its place: only list notifiers are left. */
const LISTS = 0x2000_0000;

const FREE = 0, LIVE = 1, DEFERRED = 2, LEAVING = 3;
const MAX_SUBSCRIPTIONS = 256;

/** All subscriptions of a machine, and the sequence of each address space. */
export class Notifiers {
  /** By address space: odd while an invalidation that met a subscription is under way. */
  readonly seq: Uint32Array;
  /** By address space: invalidations under way. */
  readonly active: Uint16Array;
  /** By subscription: the sequence of the last invalidation that reached it. */
  readonly subSeq: Uint32Array;
  private readonly subState: Uint8Array;
  private readonly subMm: Uint16Array;
  private readonly subStart: Float64Array;
  private readonly subEnd: Float64Array;
  /** Address spaces that were ever subscribed to: from then on their invalidations are counted. */
  private readonly subscribed: Uint8Array;
  private readonly ops: (NotifierOps | undefined)[] = [];
  private readonly lists: { mm: number; ops: ListNotifierOps }[] = [];
  private readonly queues: Wait[] = [];
  private readonly sim: Sim;
  private readonly kindInvalidation: number;
  private readonly phaseCall: number;
  private readonly callNs: number;
  /** Told of invalidations and calls. */
  checker: Watch | undefined = undefined;
  /** Watches every start (true) and end (false) of an invalidation, subscribed or not; for checkers and transcripts. */
  watch: ((a: number, e: Invalidation, start: boolean) => void) | undefined;

  /**
   * Makes the notifiers of a machine, with nobody subscribed.
   *
   * @param sim the machine's contract
   * @param mms how many address spaces there can be
   * @param callNs cost of calling one subscription
   */
  constructor(sim: Sim, mms: number, callNs: number) {
    this.sim = sim;
    this.callNs = callNs;
    const { state } = sim, rows = () => this.ops.length;
    this.seq = state.u32("notifier.seq", mms);
    this.seq.fill(2);
    this.active = state.u16("notifier.active", mms);
    this.subscribed = state.u8("notifier.subscribed", mms);
    this.subSeq = state.u32("notifier.subSeq", MAX_SUBSCRIPTIONS, rows);
    this.subState = state.u8("notifier.subState", MAX_SUBSCRIPTIONS, rows);
    this.subMm = state.u16("notifier.subMm", MAX_SUBSCRIPTIONS, rows);
    this.subStart = state.f64("notifier.subStart", MAX_SUBSCRIPTIONS, rows);
    this.subEnd = state.f64("notifier.subEnd", MAX_SUBSCRIPTIONS, rows);
    for (let mm = 0; mm < mms; mm++) this.queues.push(sim.queue(`invalidation of address space ${mm}`));
    this.kindInvalidation = sim.spans.kind("invalidation");
    this.phaseCall = sim.spans.phase("notifier call");
  }

  /** Whether anybody ever subscribed to `mm` (mm_has_notifiers()); before that an invalidation costs nothing. */
  any(mm: number): boolean {
    return this.subscribed[mm] !== 0;
  }

  /**
   * Subscribes to a range of an address space: mmu_interval_notifier_insert().
   *
   * @param mm address space
   * @param start first page
   * @param end page past the last
   * @param ops the subscriber's calls
   * @returns the subscription's number
   */
  insert(mm: number, start: number, end: number, ops: NotifierOps): number {
    if (!(end > start)) {
      throw new UsageError(
        `Cannot subscribe to pages ${start} to ${end}: the range is empty; let end be past start.`,
      );
    }
    let s = 0;
    while (s < this.ops.length && (this.subState[s] !== FREE || this.kept(s, ops))) s++;
    if (s === MAX_SUBSCRIPTIONS) {
      throw new UsageError(`Cannot subscribe: ${MAX_SUBSCRIPTIONS} subscriptions exist.`);
    }
    this.ops[s] = ops;
    this.subMm[s] = mm;
    this.subStart[s] = start;
    this.subEnd[s] = end;
    this.subscribed[mm] = 1;
    // A subscription made while an invalidation runs must not be thought valid before that one ends.
    if (this.active[mm] > 0) {
      this.subState[s] = (this.seq[mm] & 1) !== 0 ? DEFERRED : LIVE;
      this.seq[mm] |= 1;
      this.subSeq[s] = this.seq[mm];
    } else {
      this.subState[s] = LIVE;
      this.subSeq[s] = this.seq[mm] - 1;
    }
    return s;
  }

  /**
   * Ends a subscription: mmu_interval_notifier_remove(). Waits for a running invalidation, so it must not be called
   * from a callback.
   */
  *remove(a: number, s: number): Proc {
    const mm = this.subMm[s], state = this.subState[s], seq = this.seq[mm];
    this.sim.mightSleep(a, "mmu_interval_notifier_remove");
    if (state !== LIVE && state !== DEFERRED) {
      throw new Error(`subscription ${s} is removed and was not there`);
    }
    if ((seq & 1) === 0 || state === DEFERRED) return this.free(s);
    // An invalidation is under way and may be about to call it, or inside: it stays until that has ended.
    this.subState[s] = LEAVING;
    while (this.seq[mm] === seq) {
      this.sim.mark(a, AT_BEGIN, s, seq);
      yield this.queues[mm];
    }
  }

  /** Whether a free row still names another's calls: the explorer may go back to when it was in use. */
  private kept(s: number, ops: NotifierOps): boolean {
    return this.sim.horizonNs < 0 && this.ops[s] !== undefined && this.ops[s] !== ops;
  }

  /** Gives a subscription's row back. Its calls stay named: who looks at the end of a race may go back to before. */
  private free(s: number): void {
    this.subState[s] = FREE;
    this.subMm[s] =
      this.subStart[s] =
      this.subEnd[s] =
      this.subSeq[s] =
        0;
  }

  /** Registers a list notifier for all of `mm`: mmu_notifier_register(). Returns the call that unregisters it. */
  register(mm: number, ops: ListNotifierOps): () => void {
    const entry = { mm, ops };
    this.lists.push(entry);
    this.subscribed[mm] = 1;
    return () => {
      const i = this.lists.indexOf(entry);
      if (i >= 0) this.lists.splice(i, 1);
    };
  }

  /**
   * Tells the subscribers of a range that it is about to change: mmu_notifier_invalidate_range_start().
   *
   * The span "invalidation" is what the caller waits for: all callbacks, their locks and their devices.
   *
   * @returns 0, or -EAGAIN when the range is not blockable and a subscriber would have to sleep; the caller then must
   * not call {@link end}
   */
  *start(a: number, e: Invalidation): Proc<number> {
    const at = this.startNow(a, e);
    return at === TOLD ? 0 : yield* this.startFrom(a, e, at);
  }

  /**
   * Does as much of {@link start} as needs no stop: on the hot path no generator is made when nothing stops.
   *
   * @returns {@link TOLD} when all were told, else where {@link startFrom} has to go on
   */
  startNow(a: number, e: Invalidation): number {
    this.watch?.(a, e, true);
    this.checker?.invalidationStarts(a, e);
    if (!this.any(e.mm)) return TOLD;
    this.sim.spans.begin(a, this.kindInvalidation, e.start);
    this.active[e.mm]++;
    e.seq = this.seq[e.mm];
    const at = this.tell(a, e, 0);
    if (at === TOLD) this.sim.spans.end(a, this.kindInvalidation, e.end - e.start);
    return at;
  }

  /** Goes on with {@link start} where {@link startNow} had to stop. Returns as {@link start}. */
  *startFrom(a: number, e: Invalidation, from: number): Proc<number> {
    let at = from, rc = 0;
    while (at < LISTS && rc === 0) {
      const s = at < 0 ? ~at : at;
      rc = yield* this.callInterval(a, s, e, at < 0);
      at = this.tell(a, e, rc === 0 ? s + 1 : this.ops.length);
    }
    if (rc === 0) rc = yield* this.startLists(a, e);
    if (rc !== 0) {
      this.checker?.invalidationRefused(a, e);
      this.finish(e.mm);
    }
    this.sim.spans.end(a, this.kindInvalidation, e.end - e.start);
    return rc;
  }

  /** Tells the list notifiers. All are told, and if one refuses the others hear the end at once: they expect it. */
  private *startLists(a: number, e: Invalidation): Proc<number> {
    const { sim } = this, told: ListNotifierOps[] = [];
    let rc = 0;
    for (const [i, l] of [...this.lists].entries()) {
      if (l.mm !== e.mm) continue;
      if (!e.blockable) sim.enterAtomic(a);
      sim.call(a, AT_INSIDE, i, e.start, e.end, rc);
      this.checker?.callbackStarts(a, -1, e, true);
      const refused = yield* l.ops.invalidateRangeStart(a, e);
      this.checker?.callbackEnds(a, -1, e, true, refused === 0);
      sim.ret(a);
      if (!e.blockable) sim.exitAtomic(a);
      if (refused === 0) told.push(l.ops);
      else if (e.blockable) throw new Error(`a list notifier refuses a range that lets it sleep: ${refused}`);
      else rc = refused;
    }
    if (rc !== 0) { for (const ops of told) ops.invalidateRangeEnd(a, e); }
    return rc;
  }

  /**
   * Calls the interval subscriptions from number `from` on, as long as that needs no stop.
   *
   * @returns {@link TOLD}; {@link LISTS}; the number of the one that has to be called with a stop; or the complement of
   * the number of the one that refused
   */
  private tell(a: number, e: Invalidation, from: number): number {
    for (let s = from; s < this.ops.length; s++) {
      if (!this.meets(s, e)) continue;
      this.seq[e.mm] |= 1;
      e.seq = this.seq[e.mm];
      const ops = this.ops[s]!;
      if (this.sim.due(a) || ops.invalidate !== undefined) return s;
      if (!this.call(a, s, ops, e)) return ~s;
    }
    return this.lists.length > 0 ? LISTS : TOLD;
  }

  /** Whether a subscription has to hear of an invalidation. */
  private meets(s: number, e: Invalidation): boolean {
    const state = this.subState[s];
    return (state === LIVE || state === LEAVING) && this.subMm[s] === e.mm && this.subStart[s] < e.end &&
      e.start < this.subEnd[s];
  }

  /** Calls a subscription's non-sleeping form. Returns false when it refused. */
  private call(a: number, s: number, ops: NotifierOps, e: Invalidation): boolean {
    const { sim } = this;
    if (!e.blockable) sim.enterAtomic(a);
    sim.spend(a, this.phaseCall, this.callNs);
    this.checker?.callbackStarts(a, s, e, false);
    const done = ops.tryInvalidate(a, e);
    this.checker?.callbackEnds(a, s, e, false, done);
    if (!e.blockable) sim.exitAtomic(a);
    return done;
  }

  /** Calls one interval subscription with the stop before it, `refused` if it has been called and has refused. */
  private *callInterval(a: number, s: number, e: Invalidation, refused: boolean): Proc<number> {
    const { sim } = this;
    for (let again = refused;; again = true) {
      if (again) {
        if (!e.blockable) return -EAGAIN;
        sim.mark(a, AT_BLOCKED, s, e.start, e.end, e.seq);
        yield this.ops[s]!.waitOn(e);
      }
      if (sim.due(a)) {
        sim.mark(a, AT_CALL, s, e.start, e.end, e.seq);
        yield DUE;
      }
      const ops = this.ops[s]!;
      let done: boolean;
      if (ops.invalidate === undefined) done = this.call(a, s, ops, e);
      else {
        if (!e.blockable) sim.enterAtomic(a);
        sim.spend(a, this.phaseCall, this.callNs);
        sim.call(a, AT_INSIDE, s, e.start, e.end, e.seq);
        this.checker?.callbackStarts(a, s, e, true);
        done = yield* ops.invalidate(a, e);
        this.checker?.callbackEnds(a, s, e, true, done);
        sim.ret(a);
        if (!e.blockable) sim.exitAtomic(a);
      }
      if (done) return 0;
    }
  }

  /** Tells that the range has changed: mmu_notifier_invalidate_range_end(). */
  end(a: number, e: Invalidation): void {
    this.watch?.(a, e, false);
    this.checker?.invalidationEnds(a, e);
    // Begun when nobody had subscribed yet, it was not counted in.
    if (e.seq === 0) return;
    for (const l of this.lists) if (l.mm === e.mm) l.ops.invalidateRangeEnd(a, e);
    this.finish(e.mm);
  }

  /** Counts an invalidation out; the last one lets readers go on and inserts what was deferred. */
  private finish(mm: number): void {
    if (this.active[mm] === 0) return;
    if (--this.active[mm] > 0 || (this.seq[mm] & 1) === 0) return;
    this.seq[mm]++;
    for (let s = 0; s < this.ops.length; s++) {
      if (this.subMm[s] !== mm) continue;
      if (this.subState[s] === DEFERRED) this.subState[s] = LIVE;
      else if (this.subState[s] === LEAVING) this.free(s);
    }
    this.sim.wake(this.queues[mm]);
  }

  /** Begins a read of the page table for subscription `s`: mmu_interval_read_begin(). Returns the sequence. */
  *readBegin(a: number, s: number): Proc<number> {
    const mm = this.subMm[s];
    this.sim.mightSleep(a, "mmu_interval_read_begin");
    if (this.sim.due(a)) {
      this.sim.mark(a, AT_BEGIN, s);
      yield DUE;
    }
    const seq = this.subSeq[s];
    while (seq === this.seq[mm] && (seq & 1) !== 0) {
      this.sim.mark(a, AT_BEGIN, s, seq);
      yield this.queues[mm];
    }
    return seq;
  }

  /** Stores the sequence of an invalidation, under the subscriber's lock: mmu_interval_set_seq(). */
  setSeq(s: number, seq: number): void {
    this.subSeq[s] = seq;
  }

  /** Whether an invalidation came since {@link readBegin}, under the subscriber's lock: mmu_interval_read_retry(). */
  readRetry(s: number, seq: number): boolean {
    return this.subSeq[s] !== seq;
  }
}
