/**
 * Service of one VA block with faults: what to bring along, room for it, migration, mapping.
 *
 * A block is serviced under the driver's block lock, one at a time. What HMM asks for is kept here as everywhere: pages move
 * by migrate_vma alone, and nothing is mapped but what hmm_range_fault() found, under the driver's lock after the check of
 * the notifier's sequence.
 * @module
 */
import { EFAULT, EPERM } from "../../mm/errno.ts";
import { VM_READ, VM_WRITE } from "../../mm/vma.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { atomicPart } from "./atomic.ts";
import { has, isEmpty, last, next, nextInNeither, ones, set, setRange } from "./bitmap.ts";
import type { Gpu } from "./device.ts";
import { ACCESSED_BY, PREFER_SYSTEM } from "./hints.ts";
import { mapPart } from "./map.ts";
import { emptyChunk, moveToGpu } from "./migrate.ts";
import type { GpuMirror } from "./mirror.ts";
import { BLOCK_PAGES, BLOCK_WORDS } from "./policy.ts";
import { CAUSE_CALL, CAUSE_COUNTER, CAUSE_FAULT } from "./work.ts";

const AT_PART = site("gpu service: a vma of the block");
const AT_ROOM = site("gpu service: making room");
const AT_MOVE = site("gpu service: migrating");

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

/** Services the part of the block from page `v` on that one vma covers. Returns where the next part begins. */
function* servicePart(d: Gpu, a: number, mirror: GpuMirror, v: number, did: Serviced): Proc<number> {
  const { k, work } = d, { sim, locks, vmas } = k, { mm } = mirror, end = work.firstVpn + BLOCK_PAGES;
  if (!mirror.alive) {
    d.work.fail(v, end, -EFAULT);
    return end;
  }
  if (!d.work.any(v, end)) return end;
  if (!locks.readNow(a, k.mmapLock(mm))) {
    sim.call(a, AT_PART, v, did.pages);
    yield* locks.read(a, k.mmapLock(mm));
    sim.ret(a);
  }
  const vma = vmas.find(mm, v), start = vma < 0 ? end : Math.max(v, Math.min(end, vmas.start[vma]));
  d.work.fail(v, start, -EFAULT);
  const stop = vma < 0 ? end : Math.min(end, vmas.end[vma]);
  if (start === end || !d.work.any(start, stop)) {
    locks.readUnlock(a, k.mmapLock(mm));
    return start === end ? end : stop;
  }
  if (!(vmas.flags[vma] & VM_READ)) d.work.fail(start, stop, -EFAULT);
  if (!(vmas.flags[vma] & VM_WRITE)) {
    const first = work.firstVpn, to = stop - first;
    for (let i = next(work.writes, start - first, to); i < to; i = next(work.writes, i + 1, to)) {
      d.work.fail(first + i, first + i + 1, -EPERM);
    }
  }
  work.missed[0] = 0;
  sim.call(a, AT_MOVE, v, start, stop, vma);
  yield* bringPart(d, a, mirror, vma, start, stop, did, true);
  sim.ret(a);
  locks.readUnlock(a, k.mmapLock(mm));
  sim.call(a, AT_MOVE, v, start, stop);
  did.mapNs += yield* atomicPart(d, a, mirror, start, stop);
  did.mapNs += yield* mapPart(d, a, mirror, start, stop);
  sim.ret(a);
  if (work.missed[0] > 0) {
    // What another device or swap had is in system memory now: it can come on the second try.
    sim.call(a, AT_MOVE, v, start, stop, 1);
    yield* locks.read(a, k.mmapLock(mm));
    const again = vmas.find(mm, start);
    if (again >= 0 && vmas.start[again] <= start && vmas.end[again] >= stop) {
      yield* bringPart(d, a, mirror, again, start, stop, did, false);
    }
    locks.readUnlock(a, k.mmapLock(mm));
    did.mapNs += yield* mapPart(d, a, mirror, start, stop);
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
  ask: boolean,
): Proc {
  const { work, k: { sim } } = d, { mm } = mirror, first = work.firstVpn;
  choose(d, a, mm, start, stop, ask);
  if (isEmpty(work.wanted)) return;
  let at = sim.nowNs[a];
  sim.call(a, AT_ROOM, vma, start, stop);
  did.evicted += yield* makeRoom(d, a, mm);
  sim.ret(a);
  did.evictNs += sim.nowNs[a] - at;
  at = sim.nowNs[a];
  // One migration for each stretch of wanted pages; pages in between that are here already do not part them.
  const { wanted, resident } = work, to = stop - first;
  for (let i = next(wanted, start - first, to), j = i; i < to; i = next(wanted, j, to)) {
    j = nextInNeither(wanted, resident, i, to);
    const end = first + last(wanted, j) + 1;
    sim.call(a, AT_MOVE, vma, first + i, end, did.pages);
    did.pages += yield* moveToGpu(d, a, mm, vma, first + i, end);
    sim.ret(a);
  }
  for (let v = start - (start % d.chunks.pages); v < stop; v += d.chunks.pages) {
    const c = d.chunks.find(mm, v);
    if (c >= 0) d.chunks.done(c);
  }
  did.migrateNs += sim.nowNs[a] - at;
}

/**
 * Fills the bitmaps of a part and lets the policy decide: `wanted` is what shall move.
 *
 * @param ask whether the thrashing detector has not been asked about these faults yet
 */
function choose(d: Gpu, a: number, mm: number, start: number, stop: number, ask: boolean): void {
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
    if (chunk >= 0 && chunks.used[chunk] > 0) {
      // A chunk lies in memory as its range lies in the block, so both parts of a word end together.
      for (let frame = chunks.frame(chunk) + (v % chunks.pages), n: number; i < end; i += n, frame += n) {
        n = Math.min(end - i, 32 - (i & 31));
        work.resident[i >>> 5] |= (pages.usedFrom(frame) & ones(n)) << (i & 31);
      }
    }
    i = end;
  }
  setRange(work.valid, start - first, stop - first);
  const { wanted, valid, resident, faulted, stay, mapped, cause } = work;
  if (d.thrash !== undefined && cause === CAUSE_FAULT) {
    const to = ask ? stop - first : 0;
    for (let i = next(faulted, start - first, to); i < to; i = next(faulted, i + 1, to)) {
      const later = d.thrash.throttles(a, mm, first + i, has(resident, i), has(stay, i), stay);
      if (later) faulted[i >>> 5] &= ~(1 << (i & 31));
    }
    d.thrash.copyTo(mm, first, work.thrashing);
  }
  // Where an atomic access faulted, the page stays and becomes this GPU's alone, unless it is here.
  for (let w = 0; w < BLOCK_WORDS; w++) stay[w] |= work.atomics[w] & ~resident[w];
  let any = 0;
  for (let w = 0; w < BLOCK_WORDS; w++) {
    // A prefetch moves what it names; what is counted moves even if it was to be mapped from afar.
    valid[w] &= ~((cause === CAUSE_CALL ? 0 : stay[w]) | (cause === CAUSE_COUNTER ? 0 : mapped[w]));
    any |= wanted[w] = faulted[w] & valid[w] & ~resident[w];
  }
  if (any === 0 || cause !== CAUSE_FAULT) return;
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
    if (next(wanted, i, i + granule) === i + granule) continue;
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
    if (next(work.wanted, i, i + n) === i + n) continue;
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
