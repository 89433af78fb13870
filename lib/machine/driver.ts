/**
 * A driver of one's own: the calls of mmu_interval_notifier and hmm_range_fault as a kernel person knows them.
 *
 * A driver is an object with `state`, `invalidate` and `fault`. It runs on the same kernel as everything else, in virtual
 * time and in the explorer. What each call tells the driver goes into its actor's history, so a driver keeps no frames.
 * @module
 */
import { deviceAccess } from "../devices/access.ts";
import { DeviceTable } from "../devices/table.ts";
import { UsageError } from "../errors.ts";
import { type HmmRange, hmmRangeFault as rangeFault } from "../hmm/range.ts";
import { AccessResult } from "../mm/access.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Invalidation, NotifierOps } from "../mm/notifier.ts";
import { VPN_END } from "../mm/pagetable.ts";
import { compileDevice } from "../profiles/costs.ts";
import type { DeviceCosts } from "../profiles/parameters.ts";
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site, type Wait } from "../sim/sim.ts";
import { nanoseconds } from "../units.ts";
import type { Machine } from "./machine.ts";
import { oneRun, type Process, type Region } from "./process.ts";
import { told } from "./thread.ts";
import type { Workload } from "./workload.ts";

const AT_FLUSH = site("driver: table emptied, TLB not yet flushed");
const AT_HARDWARE = site("driver's device: before a store");

/** Without it a driver's `mmuIntervalReadRetry` always says that nothing came: the defect that the check is for. */
export const REVERT_READ_RETRY: string = defineRevert(
  "read retry",
  "a driver maps a page that an invalidation took away while its fault was under way",
);

/** A mutex of a driver. */
export interface DriverMutex {
  /** Sleeps until it is free, and takes it. */
  lock(): Proc;
  /** Takes it if it is free. */
  trylock(): boolean;
  /** Gives it back. */
  unlock(): void;
}

/** The table through which a driver's device reaches memory. */
export interface DriverTable {
  /** Enters the pages of a range that {@link hmmRangeFault} filled. */
  map(range: DriverRange): void;
  /** Empties a range, then drops it from the device's TLB; hardware may come in between. */
  zapAndFlush(range: { readonly start: number; readonly end: number }): Proc;
}

/** What a driver asks of the kernel. */
export interface DriverKernel {
  /** Makes a mutex. */
  mutex(name: string): DriverMutex;
  /** Makes the device's table. */
  deviceTable(): DriverTable;
  /** A point in time from now; in the explorer it passes only where failure point "timeout" is on. */
  deadline(length: string | number): { expired(): Proc<boolean> };
}

/** A subscription to an address space: struct mmu_interval_notifier. */
export interface Subscription {
  /** The address space. */
  readonly mm: { readonly mmapLock: { read(): Proc; readUnlock(): void } };
}

/** An invalidation as a driver sees it: struct mmu_notifier_range. */
export interface DriverInvalidation {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** MMU_NOTIFY_ event. */
  readonly event: number;
  /** State of the driver whose device causes a MIGRATE or EXCLUSIVE event. */
  readonly owner: unknown;
  /** Whether the callback may sleep. */
  readonly blockable: boolean;
}

/** A range to fault and map: struct hmm_range. */
export interface DriverRange {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** Sequence from {@link mmuIntervalReadBegin}. */
  seq: number;
  /** One HMM_PFN_ entry a page. */
  readonly pfns: Uint32Array;
}

/** A driver: what it keeps, how it gives up a range, how it resolves a fault. */
export interface DriverSpec<S> {
  /** Makes the driver's state for one device. */
  state(k: DriverKernel): S;
  /** Gives up a range; false (only where it must not sleep) makes the caller give up with -EAGAIN. */
  invalidate(s: S, sub: Subscription, range: DriverInvalidation, seq: number): Proc<boolean>;
  /** Resolves a device fault. Returns 0 or a negated errno. */
  fault(s: S, k: DriverKernel, sub: Subscription, r: DriverFault): Proc<number>;
}

/** The pages of a device fault. */
export interface DriverFault {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** Whether the device wants to write. */
  readonly write: boolean;
}

/** A driver that can be bound to a process. */
export interface Driver {
  /** Its name, for locks and reports. */
  readonly name: string;
  /** Binds it to a process: the device gets a mirror of the whole address space. */
  bind(process: Process, profile?: string): DriverHandle;
}

/** What the calls below need to know of a subscription. */
class Bound implements Subscription {
  readonly mm: { readonly mmapLock: { read(): Proc; readUnlock(): void } };
  sub = -1;

  constructor(readonly k: Kernel, readonly space: number) {
    const lock = k.mmapLock(space);
    this.mm = {
      mmapLock: {
        *read() {
          yield* told(k.sim, k.locks.read(k.sim.current, lock), () => 0);
        },
        readUnlock() {
          k.locks.readUnlock(k.sim.current, lock);
        },
      },
    };
  }
}

function bound(sub: Subscription): Bound {
  if (sub instanceof Bound) return sub;
  throw new UsageError(
    "Cannot use this subscription: it is not the one that the driver was given; pass `sub` on unchanged.",
  );
}

/** Begins a look at the page table: mmu_interval_read_begin(). Returns the sequence for {@link mmuIntervalReadRetry}. */
export function* mmuIntervalReadBegin(sub: Subscription): Proc<number> {
  const b = bound(sub), { sim } = b.k;
  return yield* told(sim, b.k.notifiers.readBegin(sim.current, b.sub));
}

/** Whether an invalidation came since: mmu_interval_read_retry(), under the lock that the callback takes too. */
export function mmuIntervalReadRetry(sub: Subscription, seq: number): boolean {
  const b = bound(sub), { sim, notifiers, revert } = b.k;
  const retry = !revert.has(REVERT_READ_RETRY) && notifiers.readRetry(b.sub, seq);
  sim.note(sim.current, retry ? 1 : 0);
  return retry;
}

/** Stores the sequence of an invalidation: mmu_interval_set_seq(), in the callback under the driver's lock. */
export function mmuIntervalSetSeq(sub: Subscription, seq: number): void {
  const b = bound(sub);
  b.k.notifiers.setSeq(b.sub, seq);
}

class Range implements DriverRange {
  seq = 0;
  readonly pfns: Uint32Array;
  constructor(
    readonly bound: Bound,
    readonly start: number,
    readonly end: number,
    readonly defaultFlags: number,
    readonly owner: number,
  ) {
    this.pfns = new Uint32Array(end - start);
  }
}

/**
 * Describes a range to fault: struct hmm_range.
 *
 * @param sub the subscription that guards it
 * @param r pages `start` to `end`
 * @param options `defaultFlags`: HMM_PFN_REQ_ flags for every page; `owner`: whose device-private pages to report
 */
export function hmmRange(
  sub: Subscription,
  r: { readonly start: number; readonly end: number },
  options: { readonly defaultFlags?: number; readonly owner?: unknown } = {},
): DriverRange {
  return new Range(bound(sub), r.start, r.end, options.defaultFlags ?? 0, 0);
}

/** Fills `range.pfns`, faulting in what its flags ask for: hmm_range_fault(). Returns 0 or a negated errno. */
export function* hmmRangeFault(range: DriverRange): Proc<number> {
  if (!(range instanceof Range)) {
    throw new UsageError("Cannot fault this range: it was not made by hmmRange(sub, r, …).");
  }
  const { bound: b, start, end, seq, pfns, defaultFlags, owner } = range, { sim } = b.k;
  const inner: HmmRange = {
    sub: b.sub,
    seq,
    mm: b.space,
    start,
    end,
    pfns,
    defaultFlags,
    pfnFlagsMask: 0,
    owner,
  };
  return yield* told(sim, rangeFault(b.k, sim.current, inner), (rc) => {
    let h = rc;
    for (const p of pfns) h = Math.imul(h ^ p, 0x01000193);
    return h;
  });
}

class Table implements DriverTable {
  readonly table: DeviceTable;
  constructor(private readonly k: Kernel, private readonly cost: DeviceCosts) {
    this.table = new DeviceTable(k);
  }

  map(range: DriverRange): void {
    const { k, cost } = this, made = this.table.map(range.start, range.pfns, range.end - range.start);
    k.sim.spend(k.sim.current, k.sim.spans.phase("device page table"), Math.max(0, made) * cost.pteUpdateNs);
  }

  *zapAndFlush(range: { readonly start: number; readonly end: number }): Proc {
    const { k, cost, table } = this, { sim } = k, a = sim.current, gone = table.zap(range.start, range.end);
    if (sim.due(a)) {
      sim.mark(a, AT_FLUSH, range.start, range.end, gone);
      yield DUE;
    }
    table.flush(range.start, range.end);
    if (gone === 0) return;
    sim.spend(a, sim.spans.phase("device page table"), gone * cost.pteUpdateNs);
    sim.spend(a, sim.spans.phase("device tlb invalidation"), cost.tlbInvalidateNs);
  }
}

/** A driver bound to a process: its device's operations for actors, and workloads for runs. */
export class DriverHandle {
  private readonly tables: Table[] = [];
  private readonly bound: Bound;
  private readonly machine: Machine;
  private readonly cost: DeviceCosts;
  private readonly raise: (r: DriverFault) => Proc<number>;

  /** Use {@link Driver.bind}. */
  constructor(readonly name: string, readonly process: Process, spec: DriverSpec<unknown>, profile: string) {
    const k = process.machine.kernel, { sim, locks } = k, { tables } = this;
    const cost = this.cost = compileDevice(profile);
    this.machine = process.machine;
    const sub = this.bound = new Bound(k, process.mm);
    const kernel: DriverKernel = {
      mutex(what) {
        const l = locks.make(`${name}: ${what}`);
        return {
          *lock() {
            yield* told(sim, locks.lock(sim.current, l), () => 1);
          },
          trylock() {
            const got = locks.trylock(sim.current, l);
            sim.note(sim.current, got ? 1 : 0);
            return got;
          },
          unlock: () => locks.unlock(sim.current, l),
        };
      },
      deviceTable() {
        const t = new Table(k, cost);
        tables.push(t);
        return t;
      },
      deadline(length) {
        const atNs = (sim.current < 0 ? 0 : sim.nowNs[sim.current]) + nanoseconds(length);
        return {
          // deno-lint-ignore require-yield -- a generator like all that may stop, though it never does
          *expired() {
            const passed = sim.expired(sim.current, atNs);
            sim.note(sim.current, passed ? 1 : 0);
            return passed;
          },
        };
      },
    };
    const state = spec.state(kernel);
    const ops: NotifierOps = {
      tryInvalidate: () => false,
      waitOn: (): Wait => 0,
      *invalidate(_a: number, e: Invalidation) {
        const seen = { start: e.start, end: e.end, event: e.event, owner: undefined, blockable: e.blockable };
        return yield* told(sim, spec.invalidate(state, sub, seen, e.seq), (done) => done ? 1 : 0);
      },
    };
    sub.sub = k.notifiers.insert(process.mm, 0, VPN_END, ops);
    this.raise = (r) => spec.fault(state, kernel, sub, r);
  }

  private get table(): DeviceTable {
    if (this.tables.length > 0) return this.tables[0].table;
    throw new UsageError(
      `Cannot use driver "${this.name}": its state has no table; call k.deviceTable() in state(k).`,
    );
  }

  /** A device fault of pages, with its latency recorded. */
  private *service(start: number, end: number, write: boolean): Proc<number> {
    const { sim } = this.bound.k, a = sim.current, kind = sim.spans.kind("device fault");
    sim.spans.begin(a, kind, start);
    sim.spend(a, sim.spans.phase("device fault service"), this.cost.faultNs);
    const rc = yield* told(sim, this.raise({ start, end, write }));
    sim.spans.end(a, kind, end - start);
    sim.progress++;
    return rc;
  }

  /** A device fault of a region. Returns what the driver returns. */
  *fault(region: Region, write = false): Proc<number> {
    return yield* this.service(region.vpn, region.vpn + region.pages, write);
  }

  /** A store of the hardware through TLB and table, with no lock and no fault. Returns whether it could. */
  *walkAndStore(region: Region, value: number): Proc<boolean> {
    const { sim } = this.bound.k, a = sim.current;
    if (sim.due(a)) {
      sim.mark(a, AT_HARDWARE, region.vpn, value);
      yield DUE;
    }
    const stored = this.table.store(region.vpn, value);
    sim.note(a, stored ? 1 : 0);
    return stored;
  }

  /** Whether the hardware ever stored into a page that was free. */
  storedToFreed(): boolean {
    return this.table.storedToFreed;
  }

  /** Whether the table names pages that the process no longer has there, or may write what that may not. */
  stale(region: Region): boolean {
    return this.table.stalePage(this.process.mm, region.vpn, region.pages) >= 0;
  }

  /** The table of a region: `.` nothing, `r` readable, `w` writable. */
  text(region: Region): string {
    return this.table.text(region.vpn, region.pages);
  }

  /**
   * Work for `m.run`: the device goes over a region once, faulting in pieces.
   *
   * @param region what it goes over
   * @param options `write` (default false); `granulePages`: pages of one fault (default 16)
   */
  stream(
    region: Region,
    options: { readonly write?: boolean; readonly granulePages?: number } = {},
  ): Workload {
    const write = options.write ?? false, { cost, bound: { k }, machine } = this;
    return {
      name: `${this.name} ${write ? "writes" : "reads"} ${region.pages} pages in order`,
      start: (m, a) => {
        if (m !== machine) {
          throw new UsageError(`Cannot stream with driver "${this.name}": it is bound on another machine.`);
        }
        const out = new AccessResult();
        const device = {
          granulePages: options.granulePages ?? 16,
          accessNs: cost.accessNs,
          phase: k.sim.spans.phase("device access"),
          link: undefined,
          fault: (start: number, end: number, w: boolean) => this.service(start, end, w),
        };
        const proc = deviceAccess(k, a, this.process.mm, this.table, oneRun(region, write, 1), out, device);
        return { proc, out, total: region.pages, done: () => out.pages };
      },
    };
  }
}

/**
 * Declares a driver.
 *
 * @param name for locks and reports
 * @param spec its state and its two calls
 * @returns a driver to bind to a process, or to give to `litmus` as `drv`
 */
export function driver<S>(name: string, spec: DriverSpec<S>): Driver {
  for (const call of ["state", "invalidate", "fault"] as const) {
    if (typeof spec[call] !== "function") {
      throw new UsageError(
        `Cannot declare driver "${name}": it has no ${call}; give state(k), *invalidate(…) and *fault(…).`,
      );
    }
  }
  return {
    name,
    bind: (process, profile = "titan-v") =>
      new DriverHandle(name, process, spec as DriverSpec<unknown>, profile),
  };
}
