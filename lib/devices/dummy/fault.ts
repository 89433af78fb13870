/**
 * A fault of the dummy device: pages migrated first if the device is so, then mapped under the driver's lock after the
 * check of the notifier's sequence.
 * @module
 */
import {
  HMM_PFN_MASK,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_WRITE,
  hmmRangeFault,
} from "../../hmm/range.ts";
import { EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM } from "../../mm/errno.ts";
import { defineRevert } from "../../sim/revert.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { DummyDevice } from "./device.ts";
import { migrateVmas } from "./migration.ts";
import type { DummyMirror } from "./mirror.ts";

/** Without it a device maps what an invalidation has taken away meanwhile. */
export const REVERT_SEQUENCE_CHECK: string = defineRevert(
  "sequence check",
  "a device maps a page that an invalidation took away while the fault was under way",
);

/** Without it what a fault that has to begin again asks for is what its last round has found: 0cafc62e4daf. */
export const REVERT_REQUEST_FLAGS: string = defineRevert(
  "request flags",
  "a device fault that begins again takes the flags that it was answered for flags that it asks with",
);

/**
 * Without it the driver holds its own lock across hmm_range_fault(), which may call the same driver's notifier and
 * migrate_to_ram(): what a6283010e290 mends in amdkfd.
 */
export const REVERT_RECURSIVE_FAULT: string = defineRevert(
  "lock after range fault",
  "a device fault waits for ever for the lock that it holds itself",
);

const AT_BEGIN = site("device fault: reading the sequence");
const AT_RANGE = site("device fault: hmm_range_fault");
const AT_LOCK = site("device fault: taking the driver's lock");
const AT_MIGRATE = site("device fault: migrating first");

/** The first page that may not be written, or `n`. */
function firstReadOnly(pfns: Uint32Array, n: number): number {
  for (let i = 0; i < n; i++) if (!(pfns[i] & HMM_PFN_WRITE)) return i;
  return n;
}

/** Resolves a fault; see {@link DummyDevice.fault}. */
export function* deviceFault(
  d: DummyDevice,
  a: number,
  mirror: DummyMirror,
  start: number,
  end: number,
  write: boolean,
): Proc<number> {
  const { k, batches } = d, { sim, locks, notifiers } = k, { mm, sub } = mirror;
  if (!(end > start) || end - start > batches.pages) return -EINVAL;
  if (mirror.severed || !d.presence.enter()) return -ENODEV;
  sim.spans.begin(a, d.kindFault, start);
  sim.spend(a, d.phase.fault, d.spec.cost.faultNs);
  sim.counters.values[d.counter.faults]++;
  if (d.spec.onFault === "migrate") {
    sim.call(a, AT_MIGRATE, start, end, write ? 1 : 0);
    if (!locks.readNow(a, k.mmapLock(mm))) yield* locks.read(a, k.mmapLock(mm));
    yield* migrateVmas(d, a, mirror, start, end, true);
    locks.readUnlock(a, k.mmapLock(mm));
    sim.ret(a);
  }
  const batch = batches.take(), n = end - start, deadlineNs = sim.nowNs[a] + d.spec.timeoutNs;
  const wanted = (HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0)) >>> 0;
  const saidOnce = k.reverts(REVERT_REQUEST_FLAGS), early = k.reverts(REVERT_RECURSIVE_FAULT);
  const range = {
    sub,
    seq: 0,
    mm,
    start,
    end,
    pfns: batch.src,
    // Asked for the whole range, what is wanted need not be said again in entries that hold answers by then.
    defaultFlags: saidOnce ? 0 : wanted,
    pfnFlagsMask: saidOnce ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : 0,
    owner: d.owner,
  };
  if (saidOnce) batch.src.fill(wanted, 0, n);
  let rc: number;
  k.watch?.deviceFaultStarts(a);
  k.watch?.deviceFaultDeadline(a, deadlineNs);
  for (;;) {
    if (d.presence.lost) {
      rc = -ENODEV;
      break;
    }
    if (sim.expired(a, deadlineNs)) {
      k.watch?.deviceFaultExpired(a);
      rc = -EBUSY;
      break;
    }
    sim.call(a, AT_BEGIN, start, end, write ? 1 : 0, batch.slot);
    range.seq = yield* notifiers.readBegin(a, sub);
    sim.ret(a);
    sim.call(a, AT_RANGE, start, end, batch.slot + (write ? 0.5 : 0), range.seq);
    if (!locks.readNow(a, k.mmapLock(mm))) yield* locks.read(a, k.mmapLock(mm));
    if (early) yield* locks.lock(a, d.lock);
    rc = yield* hmmRangeFault(k, a, range);
    if (early && rc !== 0) locks.unlock(a, d.lock);
    locks.readUnlock(a, k.mmapLock(mm));
    sim.ret(a);
    if (rc === 0) {
      sim.call(a, AT_LOCK, start, end, batch.slot + (write ? 0.5 : 0), range.seq);
      if (!early && !locks.lockNow(a, d.lock)) yield* locks.lock(a, d.lock);
      sim.ret(a);
      const stale = !k.reverts(REVERT_SEQUENCE_CHECK) && notifiers.readRetry(sub, range.seq);
      const denied = write && !d.spec.quirks && firstReadOnly(batch.src, n) < n;
      if (!stale && !denied) break;
      locks.unlock(a, d.lock);
      if (!stale) {
        const busy = batch.src[firstReadOnly(batch.src, n)] & HMM_PFN_MASK;
        // HMM does not fault on an own page that may only be read (6.12): back in system memory it can be written.
        sim.call(a, AT_MIGRATE, start, end, batch.slot + 0.5, 1);
        const moved = yield* d.moveBack(a, mirror, start, end);
        // Somebody has it locked: to ask again before that one is done would be of no use.
        if (moved === 0) yield* k.pages.waitUnlocked(a, busy);
        sim.ret(a);
      }
    } else if (rc !== -EBUSY) break;
    sim.counters.values[d.counter.retries]++;
  }
  if (rc === 0) {
    // The kernel's test driver enters what lies before such a page, and gives up.
    const short = write ? firstReadOnly(batch.src, n) : n;
    if (d.presence.lost) rc = -ENODEV;
    else if (mirror.map(a, start, batch.src, short) < 0) rc = -ENOMEM;
    else if (short < n) rc = -EFAULT;
    locks.unlock(a, d.lock);
  }
  k.watch?.deviceFaultEnds(a);
  batches.give(batch, n);
  sim.spans.end(a, d.kindFault, n);
  sim.progress++;
  d.presence.exit();
  return rc;
}
