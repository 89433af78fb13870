/**
 * Migration between system memory and a GPU's chunks, by the three calls of migrate_vma and migrate_device_range().
 * @module
 */
import type { Batch } from "../../hmm/batches.ts";
import { allocAndCopy, type Destinations } from "../../hmm/copy.ts";
import { migrateDeviceRange } from "../../hmm/migrate_device.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../hmm/migrate.ts";
import { EFAULT } from "../../mm/errno.ts";
import type { DeviceFaultBack } from "../../mm/zone.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { Gpu } from "./device.ts";
import { CAUSE_CALL } from "./work.ts";
import { CPU, GPU } from "./thrash.ts";

const AT_SETUP = site("gpu migration: setup");
const AT_COPY = site("gpu migration: copy");
const AT_PAGES = site("gpu migration: pages");
const AT_FINALIZE = site("gpu migration: finalize");
const AT_EVICT = site("gpu: emptying a chunk");
const AT_BACK = site("gpu: a CPU fault brings pages back");

/**
 * Moves what lies in a range of a vma to the GPU, each page into its place in its chunk. The mmap lock is held for reading.
 *
 * @param start first page
 * @param end page past the last; at most 512 pages, all of them within chunks that are busy for this
 * @returns how many pages went
 */
export function* moveToGpu(
  d: Gpu,
  a: number,
  mm: number,
  vma: number,
  start: number,
  end: number,
): Proc<number> {
  const { k: { sim }, batches } = d, n = end - start, batch = batches.take();
  const m = migration(d, mm, vma, start, end, batch, true, -1);
  sim.spans.begin(a, d.kindMigrate, start);
  sim.call(a, AT_SETUP, start, end, batch.slot, 1);
  const rc = yield* migrateVmaSetup(d.k, a, m);
  sim.ret(a);
  let went = 0;
  if (rc === 0) { for (let i = 0; i < n; i++) if (m.src[i] === 0) d.work.miss(start + i); }
  if (rc === 0 && m.cpages > 0) {
    sim.call(a, AT_COPY, start, end, batch.slot);
    yield* allocAndCopy(d.k, a, m, batch, batches, d.engine, inChunks(d, m), true);
    yield* migrateVmaPages(d.k, a, m);
    sim.ret(a);
    for (let i = 0; i < n; i++) if (m.src[i] & MIGRATE_PFN_MIGRATE) went++;
    sim.call(a, AT_FINALIZE, start, end, batch.slot, went);
    yield* migrateVmaFinalize(d.k, a, m);
    sim.ret(a);
    const { values } = sim.counters;
    values[d.counter.toDevice] += went;
    values[d.counter.failed] += m.cpages - went;
    if (went > 0) d.log.moved(sim.nowNs[a], start, end - start, true);
    if (went > 0 && d.work.cause !== CAUSE_CALL) d.thrash?.moved(a, mm, start, end, GPU);
  }
  batches.give(batch, n);
  sim.spans.end(a, d.kindMigrate, went);
  return went;
}

/** A migration of a range within a vma. */
function migration(
  d: Gpu,
  mm: number,
  vma: number,
  start: number,
  end: number,
  { src, dst }: Batch,
  toDevice: boolean,
  faultPage: number,
): MigrateVma {
  const flags = toDevice ? MIGRATE_VMA_SELECT_SYSTEM : MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
  return { mm, vma, start, end, src, dst, flags, owner: d.owner, faultPage, cpages: 0 };
}

/** Hands out the frame of a row's page in its chunk, locked; -1 where somebody else still has it, or there is no chunk. */
function inChunks(d: Gpu, m: MigrateVma): Destinations {
  const { chunks, memory } = d, { pages } = chunks;
  let chunk = -1, range = -1;
  const alloc = (a: number, row: number): number => {
    const v = m.start + row, at = v % pages;
    if (v - at !== range) {
      range = v - at;
      chunk = chunks.find(m.mm, v);
    }
    const pfn = chunk < 0 ? -1 : chunks.frame(chunk) + at;
    if (pfn < 0 || !memory.allocAt(a, pfn)) return -1;
    chunks.used[chunk]++;
    return pfn;
  };
  return { alloc };
}

/** Carries out what a migration to system memory has collected. Returns how many pages came. */
function* comeBack(d: Gpu, a: number, m: MigrateVma, batch: Batch): Proc<number> {
  const { sim } = d.k, n = m.end - m.start;
  let came = 0, wanted = 0;
  for (let i = 0; i < n; i++) if ((m.src[i] & BOTH) === BOTH) wanted++;
  sim.call(a, AT_COPY, batch.slot, n, wanted);
  yield* allocAndCopy(d.k, a, m, batch, d.batches, d.engine, undefined, false);
  sim.ret(a);
  sim.call(a, AT_PAGES, batch.slot, n, wanted);
  yield* migrateVmaPages(d.k, a, m);
  sim.ret(a);
  for (let i = 0; i < n; i++) if ((m.src[i] & BOTH) === BOTH) came++;
  sim.call(a, AT_FINALIZE, batch.slot, n, came);
  yield* migrateVmaFinalize(d.k, a, m);
  sim.ret(a);
  sim.counters.values[d.counter.toSystem] += came;
  sim.counters.values[d.counter.failed] += wanted - came;
  return came;
}

const BOTH = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_VALID;

/**
 * Moves what lies in a range of a vma on this GPU back to system memory. The mmap lock is held for reading.
 *
 * @param faultPage the page whose CPU fault this answers, or -1
 * @returns pages that came; -EFAULT when `faultPage` was there for the taking and could not come
 */
export function* moveToSystem(
  d: Gpu,
  a: number,
  mm: number,
  vma: number,
  start: number,
  end: number,
  faultPage: number,
): Proc<number> {
  const { k: { sim }, batches } = d, n = end - start, batch = batches.take();
  const m = migration(d, mm, vma, start, end, batch, false, faultPage);
  sim.spans.begin(a, d.kindBack, start);
  sim.call(a, AT_SETUP, start, end, batch.slot, faultPage);
  const rc = yield* migrateVmaSetup(d.k, a, m);
  sim.ret(a);
  let came = 0, row = -1;
  if (rc === 0 && m.cpages > 0) {
    for (let i = 0; i < n && row < 0; i++) {
      if (faultPage >= 0 && migratePfnToPage(m.src[i]) === faultPage) row = i;
    }
    // Only a page that was collected can be lost; one that somebody else had is looked at again by the CPU.
    if (row >= 0 && !(m.src[row] & MIGRATE_PFN_MIGRATE)) row = -1;
    sim.call(a, AT_BACK, start, end, row);
    came = yield* comeBack(d, a, m, batch);
    sim.ret(a);
    if (came > 0) d.log.moved(sim.nowNs[a], start, n, false);
  }
  const lost = row >= 0 && m.dst[row] === 0;
  batches.give(batch, n);
  sim.spans.end(a, d.kindBack, came);
  return lost ? -EFAULT : came;
}

/**
 * Answers a CPU fault on a page of this GPU, with as many pages around it as the spec says: migrate_to_ram().
 *
 * @returns 0, or -EFAULT when no page was free or the copy failed
 */
export function* bringBack(d: Gpu, a: number, f: DeviceFaultBack): Proc<number> {
  const { vmas, sim } = d.k, granule = d.spec.faultBackPages, aligned = f.vpn - (f.vpn % granule);
  const start = Math.max(aligned, vmas.start[f.vma]), end = Math.min(aligned + granule, vmas.end[f.vma]);
  sim.call(a, AT_BACK, start, end, f.vpn, f.pfn);
  if (d.thrash !== undefined) yield* d.thrash.nap(a, f.mm, f.vpn);
  const rc = yield* moveToSystem(d, a, f.mm, f.vma, start, end, f.pfn);
  sim.ret(a);
  if (rc > 0) d.thrash?.moved(a, f.mm, start, end, CPU);
  return Math.min(rc, 0);
}

/**
 * Empties a chunk into system memory, whoever maps its pages. The driver unmaps them from the GPU at once before, so that the
 * kernel's page by page calls find nothing left to do there.
 *
 * @returns pages that came; a page that somebody has locked or holds stays
 */
export function* emptyChunk(d: Gpu, a: number, chunk: number): Proc<number> {
  const { k: { sim, locks }, batches, chunks } = d, n = chunks.pages, batch = batches.take();
  const mm = chunks.mm(chunk), first = chunks.firstVpn(chunk), mirror = d.opened(mm);
  chunks.busy[chunk] = 1;
  sim.spans.begin(a, d.kindEvict, first);
  if (mirror !== undefined) {
    if (!locks.lockNow(a, d.lock)) {
      sim.call(a, AT_EVICT, chunk, batch.slot);
      yield* locks.lock(a, d.lock);
      sim.ret(a);
    }
    mirror.zap(a, first, first + n);
    locks.unlock(a, d.lock);
  }
  sim.call(a, AT_EVICT, chunk, batch.slot, 1);
  const m = yield* migrateDeviceRange(d.k, a, chunks.frame(chunk), batch.src, batch.dst, n);
  const came = m.cpages > 0 ? yield* comeBack(d, a, m, batch) : 0;
  sim.ret(a);
  batches.give(batch, n);
  sim.counters.values[d.counter.evicted] += came;
  if (came > 0) d.log.moved(sim.nowNs[a], first, n, false);
  sim.spans.end(a, d.kindEvict, came);
  return came;
}
