/**
 * The commands of the kernel's test driver (lib/test_hmm.c) on one open file: read and write through the mirror, migrate
 * both ways, take pages exclusively, close.
 *
 * A file is a {@link DummyMirror}: it stands for the address space of whoever opened it. With `quirks` in the device's
 * spec the commands work in pieces of 64 pages and answer as that driver does; without, a migration succeeds when the
 * range is one that can be asked for, a write is done wholly or not at all, and exclusive access lets the device write.
 * @module
 */
import { makeDeviceExclusiveRange, NOT_EXCLUSIVE } from "../../hmm/exclusive.ts";
import { EBUSY, EFAULT, EINVAL, ENODEV, ENOENT, EPERM } from "../../mm/errno.ts";
import { populate } from "../../mm/gup.ts";
import { VM_READ } from "../../mm/vma.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import type { DummyDevice } from "./device.ts";
import { evictAll, mapMovedRange, migrateOne } from "./migration.ts";
import type { DummyMirror } from "./mirror.ts";

/** What a command tells beside its result. */
export class IoctlResult {
  /** Pages that were read, written, migrated, looked at. */
  cpages = 0;
  /** Rounds of faults that a read or write took. */
  faults = 0;
  /** First word of each page, as the device sees it. */
  readonly data: number[] = [];
}

/** Pages that the test driver handles at a time. */
const QUIRK_CHUNK = 64;
/** Looks at a range that is to be exclusive, before two who keep invalidating each other's both give up. */
const EXCLUSIVE_TRIES = 4;

const AT_FAULT = site("dummy ioctl: faulting");
const AT_ACCESS = site("dummy ioctl: before it takes the driver's lock");
const AT_VMA = site("dummy ioctl: a part of the range");
const AT_LOCK = site("dummy ioctl: taking the mmap lock");
const AT_EXCLUSIVE = site("dummy ioctl: making pages exclusive");

/** Pages that a command handles at a time. */
export function chunkPages(d: DummyDevice): number {
  return d.spec.quirks ? Math.min(QUIRK_CHUNK, d.batches.pages) : d.batches.pages;
}

/** Reads pages through the mirror from `cpages` on, until one is missing: dmirror_do_read(). */
function readMapped(d: DummyDevice, m: DummyMirror, start: number, end: number, out: IoctlResult): number {
  const { pages } = d.k;
  for (let v = start + out.cpages; v < end; v++) {
    const pfn = m.table.walk(v, false);
    if (pfn < 0) return -ENOENT;
    out.data.push(pages.word[pfn * pages.wordsPerPage]);
    out.cpages++;
  }
  return 0;
}

/** Writes pages through the mirror from `cpages` on, until one is missing or may not be written: dmirror_do_write(). */
function writeMapped(
  d: DummyDevice,
  m: DummyMirror,
  start: number,
  end: number,
  value: number,
  out: IoctlResult,
): number {
  const { pages } = d.k;
  if (!d.spec.quirks) {
    // The test driver writes what it can before it faults the rest in; a device that means it looks first.
    for (let v = start; v < end; v++) if (m.table.translate(v, true) < 0) return -ENOENT;
  }
  for (let v = start + out.cpages; v < end; v++) {
    const pfn = m.table.walk(v, true);
    if (pfn < 0) return -ENOENT;
    pages.clear(pfn);
    pages.word[pfn * pages.wordsPerPage] = value + (v - start);
    out.cpages++;
  }
  return 0;
}

/** Faults a range in, piece by piece: dmirror_fault(). */
function* faultRange(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  end: number,
  write: boolean,
): Proc<number> {
  if (m.severed || !d.presence.usable) return -ENODEV;
  if (!m.alive) return -EFAULT;
  const chunk = chunkPages(d), { sim } = d.k;
  for (let v = start; v < end; v += chunk) {
    sim.call(a, AT_FAULT, v, start, end, write ? 1 : 0);
    const rc = yield* d.fault(a, m, v, Math.min(end, v + chunk), write);
    sim.ret(a);
    if (rc !== 0) return rc;
  }
  return 0;
}

/** Reads or writes under the driver's lock what is mapped, and faults in the rest until nothing is missing. */
function* transfer(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  value: number | undefined,
  out: IoctlResult,
): Proc<number> {
  const { sim, locks } = d.k, end = start + pages, write = value !== undefined;
  if (pages <= 0) return -EINVAL;
  for (let noted = 0;;) {
    sim.call(a, AT_ACCESS, start, end, out.cpages, out.faults);
    yield* locks.lock(a, d.lock);
    sim.ret(a);
    const rc = write ? writeMapped(d, m, start, end, value, out) : readMapped(d, m, start, end, out);
    locks.unlock(a, d.lock);
    sim.spend(a, d.phase.access, d.spec.cost.accessNs * pages);
    if (rc !== -ENOENT) return rc;
    // What was read so far is kept over the fault.
    if (sim.horizonNs < 0) { for (; noted < out.data.length; noted++) sim.note(a, out.data[noted]); }
    sim.call(a, AT_FAULT, start, end, out.cpages, out.faults);
    const fault = yield* faultRange(d, a, m, start + out.cpages, end, write);
    sim.ret(a);
    if (fault !== 0) return fault;
    out.faults++;
  }
}

/**
 * Reads the first word of each page as the device: HMM_DMIRROR_READ.
 *
 * @param start first page
 * @param pages how many, 1 or more
 * @param out takes the words, pages and rounds of faults
 * @returns 0, -EINVAL, or what the fault of a page that cannot be had gives: -EFAULT, -EPERM
 */
export function dummyRead(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  out: IoctlResult,
): Proc<number> {
  return transfer(d, a, m, start, pages, undefined, out);
}

/**
 * Writes pages as the device, `value` + i to the first word of page i and zeros after it: HMM_DMIRROR_WRITE.
 *
 * @returns as {@link dummyRead}
 */
export function dummyWrite(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  value: number,
  out: IoctlResult,
): Proc<number> {
  return transfer(d, a, m, start, pages, value, out);
}

/** Migrates a range piece by piece, up to the first page that nothing readable covers. Returns pages moved or an errno. */
function* migrateRange(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  end: number,
  toDevice: boolean,
  out: IoctlResult,
): Proc<number> {
  const { sim, locks, vmas } = d.k, chunk = chunkPages(d), mm = m.mm;
  if (m.severed || !d.presence.enter()) return -ENODEV;
  if (start >= end || !m.alive) {
    d.presence.exit();
    return -EINVAL;
  }
  sim.call(a, AT_LOCK, start, end, toDevice ? 1 : 0);
  yield* locks.read(a, d.k.mmapLock(mm));
  sim.ret(a);
  let rc = 0;
  for (let v = start; v < end && rc >= 0;) {
    const vma = vmas.lookup(mm, v);
    if (vma < 0 || !(vmas.flags[vma] & VM_READ)) {
      rc = -EINVAL;
      break;
    }
    const stop = Math.min(end, v + chunk, vmas.end[vma]);
    sim.call(a, AT_VMA, v, end, toDevice ? 1 : 0, out.cpages);
    rc = yield* migrateOne(d, a, m, mm, vma, v, stop, toDevice, -1);
    sim.ret(a);
    if (rc > 0) out.cpages += rc;
    v = stop;
  }
  locks.readUnlock(a, d.k.mmapLock(mm));
  sim.progress++;
  d.presence.exit();
  return Math.min(rc, 0);
}

/** Reads back what the device now sees of a range, under its lock; `cpages` counts what it could read. */
function* readBack(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  end: number,
  out: IoctlResult,
): Proc<number> {
  const { sim, locks } = d.k;
  sim.call(a, AT_ACCESS, start, end);
  yield* locks.lock(a, d.lock);
  sim.ret(a);
  out.cpages = 0;
  const rc = readMapped(d, m, start, end, out);
  locks.unlock(a, d.lock);
  return rc;
}

/**
 * Moves a range to the device's memory: HMM_DMIRROR_MIGRATE_TO_DEV.
 *
 * @returns 0 with the pages moved in `cpages`; -EINVAL for a hole, memory that cannot be read or cannot migrate. With
 * quirks success means that the device maps every page, moved or not, and -ENOENT that it does not
 */
export function* dummyMigrateToDevice(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  out: IoctlResult,
): Proc<number> {
  const { sim } = d.k, end = start + pages;
  if (d.memory === undefined) return -EINVAL;
  sim.call(a, AT_VMA, start, end);
  let rc = yield* migrateRange(d, a, m, start, end, true, out);
  if (!m.severed && d.presence.enter()) {
    yield* mapMovedRange(d, a, m, start, end);
    d.presence.exit();
  }
  if (rc === 0 && d.spec.quirks) rc = yield* readBack(d, a, m, start, end, out);
  sim.ret(a);
  return rc;
}

/** Moves a range back to system memory: HMM_DMIRROR_MIGRATE_TO_SYS. `cpages` counts the pages. */
export function* dummyMigrateToSystem(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  out: IoctlResult,
): Proc<number> {
  d.k.sim.call(a, AT_VMA, start, start + pages);
  const rc = yield* migrateRange(d, a, m, start, start + pages, false, out);
  d.k.sim.ret(a);
  return rc;
}

/** Enters pages that were made exclusive, and drops the mirror of those that were not. Returns how many there are. */
function enterExclusive(d: DummyDevice, m: DummyMirror, v: number, n: number, pfns: Uint32Array): number {
  let mapped = 0;
  for (let i = 0; i < n; i++) {
    if (pfns[i] === NOT_EXCLUSIVE) {
      if (!d.spec.quirks) m.table.zap(v + i, v + i + 1);
    } else if (!d.presence.lost && m.table.set(v + i, pfns[i], !d.spec.quirks, true)) mapped++;
  }
  m.table.flush(v, v + n);
  return mapped;
}

/** Unlocks and puts the pages that were made exclusive. */
function letGo(d: DummyDevice, a: number, pfns: Uint32Array, n: number): void {
  for (let i = 0; i < n; i++) {
    if (pfns[i] === NOT_EXCLUSIVE) continue;
    d.k.pages.unlock(pfns[i]);
    d.k.pages.put(a, pfns[i]);
  }
}

/**
 * Makes pages exclusive and takes the driver's lock, under which no invalidation has come since; with quirks that is
 * not looked at.
 *
 * @returns as {@link makeDeviceExclusiveRange}; -EBUSY when invalidations kept coming
 */
function* makeAndLock(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  end: number,
  owner: number,
  pfns: Uint32Array,
): Proc<number> {
  const { k } = d, { sim, notifiers } = k, { quirks } = d.spec;
  for (let tries = 1;; tries++) {
    sim.call(a, AT_EXCLUSIVE, start, end, tries);
    // What breaks copy on write or takes exclusive access back is an invalidation too: it comes before the look.
    if (!quirks) yield* populate(k, a, m.mm, start, end, true);
    const seq = quirks ? 0 : yield* notifiers.readBegin(a, m.sub);
    sim.ret(a);
    sim.call(a, AT_EXCLUSIVE, start, end, tries, seq);
    const got = yield* makeDeviceExclusiveRange(k, a, m.mm, start, end, owner, pfns);
    yield* k.locks.lock(a, d.lock);
    sim.ret(a);
    if (quirks || !notifiers.readRetry(m.sub, seq)) return got;
    letGo(d, a, pfns, got);
    if (tries === EXCLUSIVE_TRIES) return -EBUSY;
    k.locks.unlock(a, d.lock);
  }
}

/**
 * Takes a range for the device alone, so that it can do atomic operations: HMM_DMIRROR_EXCLUSIVE.
 *
 * @returns 0, -EINVAL, or -EBUSY when a page could not be had; those before it stay exclusive
 */
export function* dummyExclusive(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  out: IoctlResult,
): Proc<number> {
  const { k: { sim, locks }, batches } = d, end = start + pages, chunk = chunkPages(d), mm = m.mm;
  if (pages <= 0) return -EINVAL;
  if (m.severed || !d.presence.enter()) return -ENODEV;
  if (!m.alive) {
    d.presence.exit();
    return -EINVAL;
  }
  // The test driver names no owner, and so loses its own mirror of the range to the event.
  const owner = d.spec.quirks ? 0 : d.owner;
  sim.call(a, AT_LOCK, start, end, 2);
  yield* locks.read(a, d.k.mmapLock(mm));
  sim.ret(a);
  const batch = batches.take();
  let busy = false;
  for (let v = start; v < end && !busy; v += chunk) {
    const stop = Math.min(end, v + chunk);
    sim.call(a, AT_EXCLUSIVE, v, end, batch.slot);
    const got = yield* makeAndLock(d, a, m, v, stop, owner, batch.src);
    sim.ret(a);
    busy = got < stop - v || enterExclusive(d, m, v, got, batch.src) < got;
    if (busy && !d.spec.quirks) m.zap(a, v, stop);
    letGo(d, a, batch.src, got);
    locks.unlock(a, d.lock);
  }
  batches.give(batch, chunk);
  locks.readUnlock(a, d.k.mmapLock(mm));
  sim.progress++;
  d.presence.exit();
  if (busy) return -EBUSY;
  sim.call(a, AT_ACCESS, start, end, 2);
  const rc = yield* readBack(d, a, m, start, end, out);
  sim.ret(a);
  return rc;
}

/** Looks whether the device has any page of a range for itself: HMM_DMIRROR_CHECK_EXCLUSIVE. Returns -EPERM if so, else 0. */
export function* dummyCheckExclusive(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
): Proc<number> {
  if (pages <= 0) return -EINVAL;
  const { sim } = d.k;
  if (sim.due(a)) {
    sim.mark(a, AT_ACCESS, start, pages, 3);
    yield DUE;
  }
  for (let v = start; v < start + pages; v++) if (m.table.isAtomic(v)) return -EPERM;
  return 0;
}

/** Empties the device, whoever has its pages: HMM_DMIRROR_RELEASE. */
export function* dummyRelease(d: DummyDevice, a: number): Proc<number> {
  d.k.sim.call(a, AT_VMA, d.owner);
  yield* evictAll(d, a);
  d.k.sim.ret(a);
  return 0;
}

/** Closes a file; the last one to close empties the device. */
export function* dummyClose(d: DummyDevice, a: number, m: DummyMirror): Proc {
  const { sim } = d.k;
  sim.call(a, AT_LOCK, d.owner, m.mm, 3);
  yield* d.close(a, m);
  if (d.mirrors().length === 0) yield* evictAll(d, a);
  sim.ret(a);
}
