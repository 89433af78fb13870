/**
 * mlock() and munlock(): memory that is brought in and kept.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import { EAGAIN, EFAULT, ENOMEM } from "./errno.ts";
import { populate } from "./gup.ts";
import type { Kernel } from "./kernel.ts";
import { mergeVma, splitEnds } from "./mmap.ts";
import { VM_HUGETLB, VM_LOCKED, VM_MIXEDMAP, VM_READ, VM_SHARED, VM_WRITE } from "./vma.ts";

const AT_LOCK = site("mlock: taking the mmap lock");
const AT_VMA = site("mlock: one vma");
const AT_POPULATE = site("mlock: populating");

function* applyLock(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  lock: boolean,
): Proc<number> {
  const { sim, vmas } = k;
  for (let v = start; v < end;) {
    const vma = vmas.lookup(mm, v);
    if (vma < 0) return -ENOMEM;
    const stop = Math.min(end, vmas.end[vma]), flags = vmas.flags[vma];
    const wanted = lock ? flags | VM_LOCKED : flags & ~VM_LOCKED;
    // Huge pages of a pool and a driver's pages stay in memory anyway: nothing is marked or cut (mlock_fixup).
    if (wanted !== flags && !(flags & (VM_HUGETLB | VM_MIXEDMAP))) {
      sim.call(a, AT_VMA, v, start, end, lock ? 1 : 0);
      yield* k.vmaStartWrite(a, vma);
      const cut = yield* splitEnds(k, a, mm, v, stop);
      sim.ret(a);
      if (!cut) return -ENOMEM;
      const part = vmas.lookup(mm, v);
      vmas.flags[part] = wanted;
      sim.call(a, AT_VMA, v, start, end, lock ? 1 : 0);
      yield* mergeVma(k, a, part);
      sim.ret(a);
    }
    v = stop;
  }
  return 0;
}

/** Faults in what lies in locked areas of a range, for writing where that is private and allowed: mm_populate(). */
export function* populateLocked(k: Kernel, a: number, mm: number, start: number, end: number): Proc<number> {
  const { sim, vmas, locks } = k, lock = k.mmapLock(mm);
  sim.call(a, AT_POPULATE, start, end);
  yield* locks.read(a, lock);
  let rc = 0;
  for (let v = start; v < end && rc === 0;) {
    const vma = vmas.find(mm, v);
    if (vma < 0 || vmas.start[vma] >= end) break;
    const from = Math.max(v, vmas.start[vma]), stop = Math.min(end, vmas.end[vma]), flags = vmas.flags[vma];
    if (flags & VM_LOCKED) {
      rc = flags & VM_READ || flags & VM_WRITE
        ? yield* populate(k, a, mm, from, stop, (flags & (VM_WRITE | VM_SHARED)) === VM_WRITE)
        : -EFAULT;
    }
    v = stop;
  }
  locks.readUnlock(a, lock);
  sim.ret(a);
  return rc;
}

/** mlock(2). Returns 0, -ENOMEM for a hole or a page that cannot be had, -EAGAIN when none is free. */
export function* mlock(k: Kernel, a: number, mm: number, start: number, pages: number): Proc<number> {
  const { sim } = k, end = start + pages;
  if (pages <= 0) return 0;
  sim.call(a, AT_LOCK, start, end, 1);
  yield* k.locks.lock(a, k.mmapLock(mm));
  const rc = yield* applyLock(k, a, mm, start, end, true);
  k.mmapWriteUnlock(a, mm);
  sim.ret(a);
  sim.progress++;
  if (rc !== 0) return rc;
  const populated = yield* populateLocked(k, a, mm, start, end);
  // __mlock_posix_error_return(): a bad address reads as ENOMEM, no memory as EAGAIN.
  if (populated === 0) return 0;
  return populated === -ENOMEM ? -EAGAIN : -ENOMEM;
}

/** munlock(2). Returns 0, or -ENOMEM for a hole. */
export function* munlock(k: Kernel, a: number, mm: number, start: number, pages: number): Proc<number> {
  const { sim } = k, end = start + pages;
  if (pages <= 0) return 0;
  sim.call(a, AT_LOCK, start, end, 0);
  yield* k.locks.lock(a, k.mmapLock(mm));
  const rc = yield* applyLock(k, a, mm, start, end, false);
  k.mmapWriteUnlock(a, mm);
  sim.ret(a);
  sim.progress++;
  return rc;
}
