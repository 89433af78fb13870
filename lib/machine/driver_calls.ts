/**
 * The kernel's calls for drivers of one's own: mmu_interval_notifier and hmm_range_fault as a kernel person knows them.
 *
 * What each call tells the driver goes into its actor's history, so a driver keeps no frames.
 * @module
 */
import { checkOptions, describe, wholeNumber } from "../arguments.ts";
import { REVERT_SEQUENCE_CHECK } from "../devices/dummy/fault.ts";
import { UsageError } from "../errors.ts";
import { type HmmRange, hmmRangeFault as rangeFault } from "../hmm/range.ts";
import type { Kernel } from "../mm/kernel.ts";
import { VPN_END } from "../mm/pagetable.ts";
import { defineRevert } from "../sim/revert.ts";
import type { Proc } from "../sim/sim.ts";
import type { DriverRange, Subscription } from "./driver_spec.ts";
import { told } from "./told.ts";

/**
 * Without it a driver's `mmuIntervalReadRetry` always says that nothing came: the defect that the check is for. So it
 * does without "sequence check", which takes the same check out of the devices that the lab brings.
 */
export const REVERT_READ_RETRY: string = defineRevert(
  "read retry",
  "a driver maps a page that an invalidation took away while its fault was under way",
);

/** What the kernel knows of a subscription behind what its driver sees. */
export class Bound implements Subscription {
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
    `Cannot use a subscription: got ${
      describe(sub)
    }; the one that the driver was given is allowed; pass sub on unchanged`,
  );
}

/**
 * Begins a look at the page table: mmu_interval_read_begin(). Waits until no invalidation is under way. The example of
 * {@linkcode driver} shows all calls of a driver in their order.
 *
 * @param sub the subscription that the driver was given
 * @returns the sequence, for {@linkcode mmuIntervalReadRetry}
 * @throws {UsageError} for another subscription
 */
export function* mmuIntervalReadBegin(sub: Subscription): Proc<number> {
  const b = bound(sub), { sim } = b.k;
  return yield* told(sim, b.k.notifiers.readBegin(sim.current, b.sub));
}

/**
 * Tells whether an invalidation came since: mmu_interval_read_retry(), to be called under the lock that the callback
 * takes too.
 *
 * @param sub the subscription that the driver was given
 * @param seq what {@linkcode mmuIntervalReadBegin} returned
 * @returns true if what was read is stale, and the fault must begin again
 * @throws {UsageError} for another subscription
 */
export function mmuIntervalReadRetry(sub: Subscription, seq: number): boolean {
  const b = bound(sub), { sim, notifiers, revert } = b.k;
  const checks = !revert.has(REVERT_READ_RETRY) && !revert.has(REVERT_SEQUENCE_CHECK);
  const retry = checks && notifiers.readRetry(b.sub, seq);
  sim.note(sim.current, retry ? 1 : 0);
  return retry;
}

/**
 * Stores the sequence of an invalidation: mmu_interval_set_seq(), in the callback under the driver's lock.
 *
 * @param sub the subscription that the driver was given
 * @param seq what the callback was given
 * @throws {UsageError} for another subscription
 */
export function mmuIntervalSetSeq(sub: Subscription, seq: number): void {
  const b = bound(sub);
  b.k.notifiers.setSeq(b.sub, seq);
}

/** What the kernel knows of a range behind what its driver sees. */
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
 * @param options `defaultFlags`: HMM_PFN_REQ_ flags for every page; `owner`: whose device-private pages to report, which
 * changes nothing yet, since a driver of one's own has no device memory
 * @returns the range, its `pfns` empty and its `seq` still to be set
 * @throws {UsageError} for another subscription than the driver's, or no range of pages
 */
export function hmmRange(
  sub: Subscription,
  r: { readonly start: number; readonly end: number },
  options: { readonly defaultFlags?: number; readonly owner?: unknown } = {},
): DriverRange {
  const act = "describe a range";
  checkOptions(act, options, { defaultFlags: true, owner: true }, "{ defaultFlags: HMM_PFN_REQ_FAULT }");
  wholeNumber(act, "start", r?.start, 0, VPN_END - 1);
  wholeNumber(act, "end", r.end, r.start + 1, VPN_END);
  return new Range(bound(sub), r.start, r.end, options.defaultFlags ?? 0, 0);
}

/**
 * Fills `range.pfns`, faulting in what its flags ask for: hmm_range_fault(), with the mmap lock held for reading.
 *
 * @param range from {@linkcode hmmRange}, its `seq` set
 * @returns 0; -EBUSY when an invalidation came and it must begin again; -EFAULT or -EPERM where a page that was asked
 * for cannot be had
 * @throws {UsageError} for another range
 */
export function* hmmRangeFault(range: DriverRange): Proc<number> {
  if (!(range instanceof Range)) {
    throw new UsageError(
      `Cannot fault a range: got ${describe(range)}; one that hmmRange made is allowed; ` +
        "write for example hmmRange(sub, r, { defaultFlags: HMM_PFN_REQ_FAULT })",
    );
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
