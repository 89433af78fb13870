/**
 * Service of one VA block with faults: what to bring along, room for it, migration, mapping.
 *
 * A block is serviced under the driver's block lock, one at a time. What HMM asks for is kept here as everywhere: pages move
 * by migrate_vma alone, and nothing is mapped but what hmm_range_fault() found, under the driver's lock after the check of
 * the notifier's sequence.
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
import { EBUSY, EFAULT, ENOMEM, EPERM } from "../../mm/errno.ts";
import { VM_READ, VM_WRITE } from "../../mm/vma.ts";
import { type Proc, type Sim, site } from "../../sim/sim.ts";
import { REVERT_REQUEST_FLAGS, REVERT_SEQUENCE_CHECK } from "../dummy/device.ts";
import { has, isEmpty, set } from "./bitmap.ts";
import type { Gpu } from "./device.ts";
import { ACCESSED_BY, PREFER_SYSTEM } from "./hints.ts";
import { emptyChunk, moveToGpu, moveToSystem } from "./migrate.ts";
import type { GpuMirror } from "./mirror.ts";
import { BLOCK_PAGES, BLOCK_WORDS, type PrefetchBlock } from "./policy.ts";

const AT_PART = site("gpu service: a vma of the block");
const AT_ROOM = site("gpu service: making room");
const AT_MOVE = site("gpu service: migrating");
const AT_BEGIN = site("gpu service: reading the sequence");
const AT_RANGE = site("gpu service: hmm_range_fault");
const AT_LOCK = site("gpu service: taking the driver's lock");
const AT_BACK = site("gpu service: an own page that must not be written");

/** The bitmaps of the block that is serviced; they live across stops, so they lie in the arena. */
export class BlockWork implements PrefetchBlock {
  firstVpn = 0;
  readonly valid: Uint32Array;
  readonly resident: Uint32Array;
  readonly faulted: Uint32Array;
  readonly thrashing: Uint32Array;
  readonly wanted: Uint32Array;
  /** Pages with a write fault. */
  readonly writes: Uint32Array;
  /** Pages that shall be mapped where they are, even if nobody faulted on them. */
  readonly mapped: Uint32Array;
  /** Pages that shall not move to the GPU. */
  readonly stay: Uint32Array;
  /** By page: negated errno with which its faults failed; 0 for none. */
  readonly error: Int32Array;
  /** [0] pages with a fault that no migration collected: elsewhere, in swap, on their way, or locked by somebody */
  readonly missed: Uint32Array;

  /**
   * Lays the columns of one GPU.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   */
  constructor(sim: Sim, name: string) {
    const map = (what: string) => sim.state.u32(`gpu.${name}.block.${what}`, BLOCK_WORDS);
    this.valid = map("valid");
    this.resident = map("resident");
    this.faulted = map("faulted");
    this.thrashing = map("thrashing");
    this.wanted = map("wanted");
    this.writes = map("writes");
    this.mapped = map("mapped");
    this.stay = map("stay");
    this.error = sim.state.i32(`gpu.${name}.block.error`, BLOCK_PAGES);
    this.missed = sim.state.u32(`gpu.${name}.block.missed`, 1);
  }

  /** Empties everything: another block's turn has come. */
  begin(firstVpn: number): void {
    this.firstVpn = firstVpn;
    this.faulted.fill(0);
    this.writes.fill(0);
    this.error.fill(0);
    this.missed[0] = 0;
  }

  /** A page was not collected. */
  miss(vpn: number): void {
    const i = vpn - this.firstVpn;
    if (has(this.faulted, i) && has(this.wanted, i)) this.missed[0]++;
  }

  /** A page faulted. */
  fault(i: number, write: boolean): void {
    set(this.faulted, i);
    if (write) set(this.writes, i);
  }
}

/** What a service has done, for records: nothing depends on it. */
export interface Serviced {
  /** Pages that went to the GPU. */
  pages: number;
  /** Pages that left the GPU to make room. */
  evicted: number;
  /** Time that making room, migrating and mapping took. */
  evictNs: number;
  migrateNs: number;
  mapNs: number;
}

/**
 * Services the block of `d.work`. Its block lock is held.
 *
 * @param did takes what was done
 */
export function* serviceBlock(d: Gpu, a: number, mirror: GpuMirror, did: Serviced): Proc {
  const { work, k: { sim } } = d, first = work.firstVpn;
  sim.spend(a, d.phase.block, d.spec.cost.blockServiceNs);
  for (let v = first; v < first + BLOCK_PAGES;) {
    sim.call(a, AT_PART, first, v, did.pages, did.evicted);
    v = yield* servicePart(d, a, mirror, v, did);
    sim.ret(a);
  }
}

/** Fails the faults of the pages `from` to `to` of the block. */
function failFaults(d: Gpu, from: number, to: number, rc: number): void {
  const { work } = d;
  for (let v = from; v < to; v++) {
    const i = v - work.firstVpn;
    if (!has(work.faulted, i)) continue;
    work.error[i] = rc;
    work.faulted[i >>> 5] &= ~(1 << (i & 31));
  }
}

/** Whether any page of the block from `from` to `to` faulted. */
function anyFault(d: Gpu, from: number, to: number): boolean {
  const { work } = d;
  for (let v = from; v < to; v++) if (has(work.faulted, v - work.firstVpn)) return true;
  return false;
}

/** Services the part of the block from page `v` on that one vma covers. Returns where the next part begins. */
function* servicePart(d: Gpu, a: number, mirror: GpuMirror, v: number, did: Serviced): Proc<number> {
  const { k, work } = d, { sim, locks, vmas } = k, { mm } = mirror, end = work.firstVpn + BLOCK_PAGES;
  if (!mirror.alive) {
    failFaults(d, v, end, -EFAULT);
    return end;
  }
  if (!anyFault(d, v, end)) return end;
  if (!locks.readNow(a, k.mmapLock(mm))) {
    sim.call(a, AT_PART, v, did.pages);
    yield* locks.read(a, k.mmapLock(mm));
    sim.ret(a);
  }
  const vma = vmas.find(mm, v), start = vma < 0 ? end : Math.max(v, Math.min(end, vmas.start[vma]));
  failFaults(d, v, start, -EFAULT);
  const stop = vma < 0 ? end : Math.min(end, vmas.end[vma]);
  if (start === end || !anyFault(d, start, stop)) {
    locks.readUnlock(a, k.mmapLock(mm));
    return start === end ? end : stop;
  }
  if (!(vmas.flags[vma] & VM_READ)) failFaults(d, start, stop, -EFAULT);
  if (!(vmas.flags[vma] & VM_WRITE)) {
    for (let i = start - work.firstVpn; i < stop - work.firstVpn; i++) {
      if (has(work.writes, i)) failFaults(d, work.firstVpn + i, work.firstVpn + i + 1, -EPERM);
    }
  }
  work.missed[0] = 0;
  sim.call(a, AT_MOVE, v, start, stop, vma);
  yield* bringPart(d, a, mirror, vma, start, stop, did);
  sim.ret(a);
  locks.readUnlock(a, k.mmapLock(mm));
  sim.call(a, AT_MOVE, v, start, stop);
  yield* mapPart(d, a, mirror, start, stop, did);
  sim.ret(a);
  if (work.missed[0] > 0) {
    // What another device or swap had is in system memory now: it can come on the second try.
    sim.call(a, AT_MOVE, v, start, stop, 1);
    yield* locks.read(a, k.mmapLock(mm));
    const again = vmas.find(mm, start);
    if (again >= 0 && vmas.start[again] <= start && vmas.end[again] >= stop) {
      yield* bringPart(d, a, mirror, again, start, stop, did);
    }
    locks.readUnlock(a, k.mmapLock(mm));
    yield* mapPart(d, a, mirror, start, stop, did);
    sim.ret(a);
  }
  return stop;
}

/** Decides what moves, makes room and moves it. The mmap lock is held for reading. */
function* bringPart(
  d: Gpu,
  a: number,
  mirror: GpuMirror,
  vma: number,
  start: number,
  stop: number,
  did: Serviced,
): Proc {
  const { work, k: { sim } } = d, { mm } = mirror, first = work.firstVpn;
  choose(d, mm, start, stop, a);
  if (isEmpty(work.wanted)) return;
  let at = sim.nowNs[a];
  sim.call(a, AT_ROOM, vma, start, stop);
  did.evicted += yield* makeRoom(d, a, mm);
  sim.ret(a);
  did.evictNs += sim.nowNs[a] - at;
  at = sim.nowNs[a];
  // One migration for each stretch of wanted pages; pages in between that are here already do not part them.
  for (let i = start - first; i < stop - first;) {
    while (i < stop - first && !has(work.wanted, i)) i++;
    let last = i, j = i;
    for (; j < stop - first && (has(work.wanted, j) || has(work.resident, j)); j++) {
      if (has(work.wanted, j)) last = j;
    }
    if (i < stop - first) {
      sim.call(a, AT_MOVE, vma, first + i, first + last + 1, did.pages);
      did.pages += yield* moveToGpu(d, a, mm, vma, first + i, first + last + 1);
      sim.ret(a);
    }
    i = j;
  }
  for (let v = start - (start % d.chunks.pages); v < stop; v += d.chunks.pages) {
    const c = d.chunks.find(mm, v);
    if (c >= 0) d.chunks.done(c);
  }
  did.migrateNs += sim.nowNs[a] - at;
}

/** Fills the bitmaps of a part and lets the policy decide: `wanted` is what shall move. */
function choose(d: Gpu, mm: number, start: number, stop: number, a: number): void {
  const { work, chunks, hints, k: { pages, sim }, spec } = d, first = work.firstVpn;
  work.valid.fill(0);
  work.resident.fill(0);
  work.stay.fill(0);
  work.mapped.fill(0);
  if (hints.any) {
    hints.mark(mm, first, PREFER_SYSTEM, work.stay);
    hints.mark(mm, first, ACCESSED_BY, work.mapped);
  }
  for (let i = start - first; i < stop - first;) {
    const v = first + i,
      chunk = chunks.find(mm, v),
      end = Math.min(stop - first, i + chunks.pages - (v % chunks.pages));
    const frame = chunk < 0 ? 0 : chunks.frame(chunk) + (v % chunks.pages) - i;
    for (; i < end; i++) {
      set(work.valid, i);
      if (chunk >= 0 && chunks.used[chunk] > 0 && !pages.isFree(frame + i)) set(work.resident, i);
    }
  }
  const { wanted, valid, resident, faulted, stay, mapped } = work;
  let any = 0;
  for (let w = 0; w < BLOCK_WORDS; w++) {
    valid[w] &= ~(stay[w] | mapped[w]);
    any |= wanted[w] = faulted[w] & valid[w] & ~resident[w];
  }
  if (any === 0) return;
  if (spec.granulePages > 1) widen(d, spec.granulePages);
  const kept = work.faulted.slice();
  faulted.set(wanted);
  spec.prefetch.grow(work, (n) => sim.choose(a, n));
  faulted.set(kept);
}

/** Lets each wanted page bring the granule around it. */
function widen(d: Gpu, granule: number): void {
  const { wanted, valid, resident } = d.work;
  for (let i = 0; i < BLOCK_PAGES; i += granule) {
    let any = false;
    for (let j = i; j < i + granule && !any; j++) any = has(wanted, j);
    if (!any) continue;
    for (let j = i; j < i + granule; j++) if (has(valid, j) && !has(resident, j)) set(wanted, j);
  }
}

/** Victims tried for one chunk before its pages stay in system memory: each may hold pages that somebody has. */
const MOST_VICTIMS = 8;

/** Gets a chunk, busy, for every wanted page, evicting others; pages without one are wanted no longer. */
function* makeRoom(d: Gpu, a: number, mm: number): Proc<number> {
  const { work, chunks, k: { sim } } = d, first = work.firstVpn, n = chunks.pages;
  let evicted = 0, failed = 0;
  for (let i = 0; i < BLOCK_PAGES; i += n) {
    let any = false;
    for (let j = i; j < i + n && !any; j++) any = has(work.wanted, j);
    if (!any) continue;
    let c = chunks.find(mm, first + i);
    if (c >= 0) chunks.busy[c] = 1;
    else c = chunks.take(mm, first + i);
    for (let tries = 0; c < 0 && tries < MOST_VICTIMS; tries++) {
      const victim = chunks.evictor.victim((m) => sim.choose(a, m));
      if (victim < 0) break;
      sim.call(a, AT_ROOM, i, failed, tries);
      evicted += yield* emptyChunk(d, a, victim);
      sim.ret(a);
      if (chunks.used[victim] > 0) {
        // Some page is somebody's. It stays busy, so that the next victim is another.
        sim.counters.values[d.counter.evictFailed]++;
        failed++;
        continue;
      }
      chunks.done(victim);
      c = chunks.take(mm, first + i);
    }
    if (c >= 0) continue;
    for (let j = i; j < i + n; j++) work.wanted[j >>> 5] &= ~(1 << (j & 31));
  }
  for (let c = 0; failed > 0 && c < chunks.n; c++) {
    if (
      chunks.busy[c] &&
      !(chunks.mm(c) === mm && Math.floor(chunks.firstVpn(c) / BLOCK_PAGES) * BLOCK_PAGES === first)
    ) {
      chunks.done(c);
    }
  }
  return evicted;
}

/** Maps a part as hmm_range_fault() finds it: what faulted, what is on this GPU, what is to be mapped wherever it is. */
function* mapPart(d: Gpu, a: number, mirror: GpuMirror, start: number, stop: number, did: Serviced): Proc {
  const { k: { sim }, work } = d, first = work.firstVpn, at = sim.nowNs[a];
  let rc = 0;
  if (anyFault(d, start, stop) || !isEmpty(work.wanted)) {
    sim.call(a, AT_RANGE, start, stop);
    rc = yield* mapRange(d, a, mirror, start, stop);
    sim.ret(a);
  }
  // One page that cannot be had fails the whole range: each by itself says which it is.
  for (let v = start; rc !== 0 && v < stop; v++) {
    if (!has(work.faulted, v - first)) continue;
    sim.call(a, AT_RANGE, v, start, stop);
    const own = yield* mapRange(d, a, mirror, v, v + 1);
    sim.ret(a);
    if (own !== 0) failFaults(d, v, v + 1, own);
  }
  did.mapNs += sim.nowNs[a] - at;
}

/** Asks for the pages of a range that faulted, anew before each try: a failed one leaves its entries half filled. */
function request(d: Gpu, pfns: Uint32Array, start: number, n: number): void {
  const { work } = d, first = start - work.firstVpn;
  for (let i = 0; i < n; i++) {
    pfns[i] = has(work.faulted, first + i)
      ? (HMM_PFN_REQ_FAULT | (has(work.writes, first + i) ? HMM_PFN_REQ_WRITE : 0)) >>> 0
      : 0;
  }
}

/** Leaves of what was found what shall be mapped. Returns a page that may not be written though it must be, or -1. */
function select(d: Gpu, pfns: Uint32Array, start: number, n: number): number {
  const { work, memory: { zone } } = d, first = start - work.firstVpn;
  let denied = -1;
  for (let i = 0; i < n; i++) {
    if (has(work.faulted, first + i)) {
      if (has(work.writes, first + i) && !(pfns[i] & HMM_PFN_WRITE)) denied = i;
      continue;
    }
    const pfn = pfns[i] & HMM_PFN_MASK, own = pfn >= zone.start && pfn < zone.end;
    if (!own && !(has(work.mapped, first + i) && pfns[i] & HMM_PFN_VALID)) pfns[i] = 0;
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
  for (;;) {
    rc = -EBUSY;
    if (sim.expired(a, deadlineNs)) break;
    sim.call(a, AT_BEGIN, start, end, batch.slot);
    range.seq = yield* notifiers.readBegin(a, sub);
    sim.ret(a);
    // Said again in each round: what the last one answered stands in the same entries.
    if (!asked || !k.revert.has(REVERT_REQUEST_FLAGS)) request(d, pfns, start, n);
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
    const stale = !k.revert.has(REVERT_SEQUENCE_CHECK) && notifiers.readRetry(sub, range.seq);
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
