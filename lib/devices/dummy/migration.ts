/**
 * How the dummy device moves pages: to its memory, back to the system, back because the CPU touched them, and all of
 * them when it goes.
 * @module
 */
import { allocAndCopy } from "../../hmm/copy.ts";
import { evictOnce } from "../../hmm/evict.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../hmm/migrate.ts";
import { HMM_PFN_MASK, hmmRangeFault } from "../../hmm/range.ts";
import { EFAULT } from "../../mm/errno.ts";
import type { DeviceFaultBack } from "../../mm/pages.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { DummyDevice } from "./device.ts";
import type { DummyMirror } from "./mirror.ts";
import { evictionOf } from "./plug.ts";

const AT_VMA = site("migration: a part of the range");
const AT_SETUP = site("migration: setup");
const AT_COPY = site("migration: copy");
const AT_PAGES = site("migration: pages");
const AT_MAPPED = site("migration: updating the mirror");
const AT_FINALIZE = site("migration: finalize");
const AT_EVICT = site("migration: emptying the device");
const AT_BACK = site("device-private fault: migrating back");

/** Migrates the parts of a range that vmas cover, in batches. The mmap lock is held for reading. */
export function* migrateVmas(
  d: DummyDevice,
  a: number,
  mirror: DummyMirror,
  start: number,
  end: number,
  toDevice: boolean,
): Proc<number> {
  const { vmas, sim } = d.k, mm = mirror.mm;
  let moved = 0;
  for (let v = start; v < end;) {
    const vma = vmas.find(mm, v);
    if (vma < 0 || vmas.start[vma] >= end) break;
    v = Math.max(v, vmas.start[vma]);
    const stop = Math.min(end, vmas.end[vma], v + d.batches.pages);
    sim.call(a, AT_VMA, v, end, toDevice ? 1 : 0, moved);
    moved += Math.max(0, yield* migrateOne(d, a, mirror, mm, vma, v, stop, toDevice, -1));
    sim.ret(a);
    v = stop;
  }
  return moved;
}

/**
 * One migration within one vma.
 *
 * @param mirror with quirks: whose table is brought in step; undefined for every open mirror of the device
 * @param faultPage the device page whose CPU fault this answers, or -1
 * @returns pages that went, or what migrate_vma_setup() refused the range with; -EFAULT when `faultPage` could not come
 */
export function* migrateOne(
  d: DummyDevice,
  a: number,
  mirror: DummyMirror | undefined,
  mm: number,
  vma: number,
  start: number,
  end: number,
  toDevice: boolean,
  faultPage: number,
): Proc<number> {
  const { k: { sim }, batches } = d, n = end - start;
  const batch = batches.take(), kind = toDevice ? d.kindMigrate : d.kindBack;
  const m: MigrateVma = {
    mm,
    vma,
    start,
    end,
    src: batch.src,
    dst: batch.dst,
    flags: toDevice
      ? MIGRATE_VMA_SELECT_SYSTEM
      : d.spec.coherent
      ? MIGRATE_VMA_SELECT_DEVICE_COHERENT
      : MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
    owner: d.owner,
    faultPage,
    cpages: 0,
  };
  sim.spans.begin(a, kind, start);
  sim.call(a, AT_SETUP, start, end, batch.slot, toDevice ? 1 : 0);
  const rc = yield* migrateVmaSetup(d.k, a, m);
  sim.ret(a);
  let moved = 0, lost = false;
  if (rc === 0 && m.cpages > 0) {
    // A hole is collected both ways, but only to the device is there anything to make of it.
    const wanted = toDevice ? m.cpages : countPages(m, n);
    sim.call(a, AT_COPY, start, end, batch.slot, toDevice ? 1 : 0);
    yield* allocAndCopy(d.k, a, m, batch, batches, d.copier, toDevice ? d.memory : undefined, toDevice);
    sim.ret(a);
    lost = faultPage >= 0 && cannotCome(m, n);
    sim.call(a, AT_PAGES, start, end, batch.slot, toDevice ? 1 : 0);
    yield* migrateVmaPages(d.k, a, m);
    sim.ret(a);
    if (d.spec.quirks) {
      if (!d.k.locks.lockNow(a, d.lock)) {
        sim.call(a, AT_MAPPED, start, end, batch.slot, toDevice ? 1 : 0);
        yield* d.k.locks.lock(a, d.lock);
        sim.ret(a);
      }
      // The kernel's test driver knows of a page who put it there, and not in which address space it is touched.
      for (const o of mirror === undefined ? d.mirrors() : [mirror]) updateMirror(d, a, m, o, toDevice);
      d.k.locks.unlock(a, d.lock);
    }
    const went = MIGRATE_PFN_MIGRATE | (toDevice ? 0 : MIGRATE_PFN_VALID);
    for (let i = 0; i < n; i++) if ((m.src[i] & went) === went) moved++;
    sim.call(a, AT_FINALIZE, start, end, batch.slot, moved);
    yield* migrateVmaFinalize(d.k, a, m);
    sim.ret(a);
    sim.counters.values[toDevice ? d.counter.toDevice : d.counter.toSystem] += moved;
    sim.counters.values[d.counter.failed] += wanted - moved;
  }
  batches.give(batch, n);
  sim.spans.end(a, kind, moved);
  if (lost) return -EFAULT;
  return rc === 0 ? moved : rc;
}

/** Collected pages, without holes. */
function countPages(m: MigrateVma, n: number): number {
  const page = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_VALID;
  let pages = 0;
  for (let i = 0; i < n; i++) if ((m.src[i] & page) === page) pages++;
  return pages;
}

/** Whether the page of a CPU fault was there for the taking but found no destination, or could not be copied. */
function cannotCome(m: MigrateVma, n: number): boolean {
  for (let i = 0; i < n; i++) {
    if (migratePfnToPage(m.src[i]) === m.faultPage) {
      return (m.src[i] & MIGRATE_PFN_MIGRATE) !== 0 && m.dst[i] === 0;
    }
  }
  return false;
}

/** Brings a mirror in step with a migration that its notifier let pass as its own. The driver's lock is held. */
function updateMirror(
  d: DummyDevice,
  a: number,
  m: MigrateVma,
  mirror: DummyMirror,
  toDevice: boolean,
): void {
  const { sim } = d.k, { table } = mirror, went = MIGRATE_PFN_MIGRATE | (toDevice ? 0 : MIGRATE_PFN_VALID);
  let changed = 0, removed = 0;
  for (let i = 0, n = m.end - m.start; i < n; i++) {
    if ((m.src[i] & went) !== went) continue;
    if (toDevice) {
      if (d.presence.lost) continue;
      if (table.set(m.start + i, migratePfnToPage(m.dst[i]), (m.dst[i] & MIGRATE_PFN_WRITE) !== 0)) changed++;
      continue;
    }
    const first = i;
    while (i + 1 < n && (m.src[i + 1] & went) === went) i++;
    removed += table.zap(m.start + first, m.start + i + 1);
  }
  sim.spend(a, d.phase.table, (changed + removed) * d.spec.cost.pteUpdateNs);
  // Nothing else tells the device that a page that it had mapped has moved: its notifier let the event pass.
  if (table.flush(m.start, m.end) === 0 && removed === 0) return;
  sim.spend(a, d.phase.flush, d.spec.cost.tlbInvalidateNs);
}

/** Goes once over the device's memory and brings back what nobody has locked or holds, whoever maps it. */
export function* evictAll(d: DummyDevice, a: number): Proc {
  if (d.memory === undefined || d.presence.away) return;
  d.k.sim.call(a, AT_EVICT, d.owner);
  yield* evictOnce(d.k, a, evictionOf(d));
  d.k.sim.ret(a);
}

/**
 * Enters those pages of a range that are on the device, as a migration has left them, if nothing changes meanwhile; else
 * the device will fault on them.
 *
 * @param end at most a batch after `start`
 */
function* mapMoved(d: DummyDevice, a: number, mirror: DummyMirror, start: number, end: number): Proc {
  const { k, batches } = d, { sim, locks, notifiers, pages } = k, { mm, sub } = mirror, n = end - start;
  const batch = batches.take(), { src: pfns } = batch;
  sim.call(a, AT_MAPPED, start, end, batch.slot);
  const seq = yield* notifiers.readBegin(a, sub);
  sim.ret(a);
  sim.call(a, AT_MAPPED, start, end, batch.slot, seq);
  yield* locks.read(a, k.mmapLock(mm));
  const look = { sub, seq, mm, start, end, pfns, defaultFlags: 0, pfnFlagsMask: 0, owner: d.owner };
  const rc = yield* hmmRangeFault(k, a, look);
  locks.readUnlock(a, k.mmapLock(mm));
  if (rc === 0) {
    yield* locks.lock(a, d.lock);
    for (let i = 0; i < n; i++) if (pages.zoneOf(pfns[i] & HMM_PFN_MASK).owner !== d.owner) pfns[i] = 0;
    if (!notifiers.readRetry(sub, seq) && !d.presence.lost) mirror.map(a, start, pfns, n);
    locks.unlock(a, d.lock);
  }
  sim.ret(a);
  batches.give(batch, n);
}

/** Enters what a migration to the device has moved, batch by batch; with quirks the migration has done so itself. */
export function* mapMovedRange(
  d: DummyDevice,
  a: number,
  mirror: DummyMirror,
  start: number,
  end: number,
): Proc {
  if (d.spec.quirks || d.memory === undefined) return;
  for (let v = start; v < end; v += d.batches.pages) {
    d.k.sim.call(a, AT_MAPPED, v, start, end);
    yield* mapMoved(d, a, mirror, v, Math.min(end, v + d.batches.pages));
    d.k.sim.ret(a);
  }
}

/**
 * Brings a page (and its neighbours on the device, as the spec says) back because the CPU touched it.
 *
 * @returns 0 also when somebody else had the page locked or held: the CPU then looks again and, if need be, faults
 * again; -EFAULT when no page was free or the copy failed
 */
export function* bringBack(d: DummyDevice, a: number, f: DeviceFaultBack): Proc<number> {
  const { k } = d, { vmas } = k, granule = d.spec.faultBackPages;
  const aligned = f.vpn - (f.vpn % granule);
  const start = Math.max(aligned, vmas.start[f.vma]), end = Math.min(aligned + granule, vmas.end[f.vma]);
  k.sim.call(a, AT_BACK, start, end, f.vpn, f.pfn);
  const rc = yield* migrateOne(d, a, undefined, f.mm, f.vma, start, end, false, f.pfn);
  k.sim.ret(a);
  return Math.min(rc, 0);
}
