/**
 * Mapping of a serviced VA block: what hmm_range_fault() found, under the driver's lock after the check of the notifier's
 * sequence.
 * @module
 */
import {
  HMM_PFN_MASK,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmRangeFault,
} from "../../hmm/range.ts";
import { EBUSY, ENOMEM } from "../../mm/errno.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { REVERT_REQUEST_FLAGS, REVERT_SEQUENCE_CHECK } from "../dummy/fault.ts";
import { has, isEmpty, next } from "./bitmap.ts";
import type { Gpu } from "./device.ts";
import { moveToSystem } from "./migrate.ts";
import type { GpuMirror } from "./mirror.ts";
import { CAUSE_COUNTER, CAUSE_FAULT } from "./work.ts";

const AT_BEGIN = site("gpu service: reading the sequence");
const AT_RANGE = site("gpu service: hmm_range_fault");
const AT_LOCK = site("gpu service: taking the driver's lock");
const AT_BACK = site("gpu service: an own page that must not be written");

/** Maps a part as hmm_range_fault() finds it: what faulted, what is on this GPU, what is to be mapped wherever it is. */
export function* mapPart(d: Gpu, a: number, mirror: GpuMirror, start: number, stop: number): Proc<number> {
  const { k: { sim }, work } = d, first = work.firstVpn, end = stop - first, at = sim.nowNs[a];
  let rc = 0;
  if (d.work.any(start, stop) || !isEmpty(work.wanted)) {
    sim.call(a, AT_RANGE, start, stop);
    rc = yield* mapRange(d, a, mirror, start, stop);
    sim.ret(a);
  }
  // One page that cannot be had fails the whole range: each by itself says which it is.
  for (let i = rc === 0 ? end : next(work.faulted, start - first, end); i < end;) {
    const v = first + i;
    sim.call(a, AT_RANGE, v, start, stop);
    const own = yield* mapRange(d, a, mirror, v, v + 1);
    sim.ret(a);
    if (own !== 0) d.work.fail(v, v + 1, own);
    i = next(work.faulted, i + 1, end);
  }
  return sim.nowNs[a] - at;
}

/** Asks for the pages of a range that faulted, anew before each try: a failed one leaves its entries half filled. */
function request(d: Gpu, pfns: Uint32Array, start: number, n: number): void {
  const { work: { cause, faulted, writes, firstVpn } } = d, first = start - firstVpn, end = first + n;
  pfns.fill(0, 0, n);
  if (cause !== CAUSE_FAULT) return;
  for (let i = next(faulted, first, end); i < end; i = next(faulted, i + 1, end)) {
    pfns[i - first] = (HMM_PFN_REQ_FAULT | (has(writes, i) ? HMM_PFN_REQ_WRITE : 0)) >>> 0;
  }
}

/** Leaves of what was found what shall be mapped. Returns a page that may not be written though it must be, or -1. */
function select(d: Gpu, pfns: Uint32Array, start: number, n: number): number {
  const { work: { cause, faulted, writes, mapped, firstVpn }, memory: { zone } } = d;
  const first = start - firstVpn, end = first + n, asked = cause === CAUSE_FAULT, zoneStart = zone.start;
  const zoneEnd = zone.end, frameBits = HMM_PFN_MASK | 0;
  let denied = -1;
  for (let i = asked ? next(faulted, first, end) : end; i < end; i = next(faulted, i + 1, end)) {
    if (has(writes, i) && !(pfns[i - first] & HMM_PFN_WRITE)) denied = i - first;
  }
  for (let i = 0; i < n; i++) {
    const found = pfns[i], pfn = found & frameBits;
    // Nothing, or an own page: in one test, since which of both it is cannot be guessed.
    if (((((pfn - zoneStart) | (zoneEnd - 1 - pfn)) >> 31) & found) === 0) continue;
    const fault = has(faulted, first + i),
      remote = has(mapped, first + i) || cause === CAUSE_COUNTER && fault;
    if (!(asked && fault) && !(remote && found & HMM_PFN_VALID)) pfns[i] = 0;
  }
  return denied;
}

/** Maps a range under the sequence check. Returns 0, -EFAULT, -EPERM, -ENOMEM, or -EBUSY after the timeout. */
function* mapRange(d: Gpu, a: number, mirror: GpuMirror, start: number, end: number): Proc<number> {
  const { k, batches, spec } = d, { sim, locks, notifiers } = k, { mm, sub } = mirror, n = end - start;
  const batch = batches.take(), { src: pfns } = batch, deadlineNs = sim.nowNs[a] + spec.timeoutNs;
  const pfnFlagsMask = (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE) >>> 0;
  const range = { sub, seq: 0, mm, start, end, pfns, defaultFlags: 0, pfnFlagsMask, owner: d.owner };
  let rc: number, asked = false;
  k.watch?.deviceFaultStarts(a);
  k.watch?.deviceFaultDeadline(a, deadlineNs);
  for (;;) {
    rc = -EBUSY;
    if (sim.expired(a, deadlineNs)) {
      k.watch?.deviceFaultExpired(a);
      break;
    }
    sim.call(a, AT_BEGIN, start, end, batch.slot);
    range.seq = yield* notifiers.readBegin(a, sub);
    sim.ret(a);
    // Said again in each round: what the last one answered stands in the same entries.
    if (!asked || !k.reverts(REVERT_REQUEST_FLAGS)) request(d, pfns, start, n);
    asked = true;
    sim.call(a, AT_RANGE, start, end, batch.slot, range.seq);
    if (!locks.readNow(a, k.mmapLock(mm))) yield* locks.read(a, k.mmapLock(mm));
    rc = yield* hmmRangeFault(k, a, range);
    locks.readUnlock(a, k.mmapLock(mm));
    sim.ret(a);
    if (rc !== 0) {
      if (rc !== -EBUSY) break;
      sim.counters.values[d.counter.retries]++;
      continue;
    }
    if (!locks.lockNow(a, d.lock)) {
      sim.call(a, AT_LOCK, start, end, batch.slot, range.seq);
      yield* locks.lock(a, d.lock);
      sim.ret(a);
    }
    const stale = !k.reverts(REVERT_SEQUENCE_CHECK) && notifiers.readRetry(sub, range.seq);
    const denied = stale ? -1 : select(d, pfns, start, n);
    if (!stale && denied < 0) {
      const made = mirror.table.map(start, pfns, n);
      sim.spend(a, d.phase.table, Math.max(0, made) * spec.cost.pteUpdateNs);
      if (made < 0) rc = -ENOMEM;
      locks.unlock(a, d.lock);
      break;
    }
    locks.unlock(a, d.lock);
    if (denied >= 0) {
      // HMM does not fault on an own page that may only be read (6.12): back in system memory it can be written.
      sim.call(a, AT_BACK, start, end, batch.slot, denied);
      yield* writableAgain(d, a, mm, start + denied, pfns[denied] & HMM_PFN_MASK);
      sim.ret(a);
    }
    sim.counters.values[d.counter.retries]++;
  }
  k.watch?.deviceFaultEnds(a);
  batches.give(batch, n);
  return rc;
}

/** Brings a page back to system memory, where a write to it can be had; waits if somebody else has it. */
function* writableAgain(d: Gpu, a: number, mm: number, v: number, pfn: number): Proc {
  const { k } = d, { sim, locks, vmas } = k;
  sim.call(a, AT_BACK, v, pfn);
  yield* locks.read(a, k.mmapLock(mm));
  const vma = vmas.find(mm, v);
  const moved = vma >= 0 && vmas.start[vma] <= v ? yield* moveToSystem(d, a, mm, vma, v, v + 1, -1) : 1;
  locks.readUnlock(a, k.mmapLock(mm));
  if (moved === 0) yield* k.pages.waitUnlocked(a, pfn);
  sim.ret(a);
}
