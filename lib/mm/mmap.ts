/**
 * System calls on the layout of an address space: mmap(), munmap(), mprotect().
 *
 * All take the mmap lock alone. Lengths and addresses are in pages.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EINVAL, ENOMEM } from "./errno.ts";
import { populate } from "./gup.ts";
import { cutsHugetlb } from "./hugetlb.ts";
import { hugeEnd, hugeStart, splitHugeAt, splitHugeEntry } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_PROTECTION_VMA, MMU_NOTIFY_UNMAP } from "./notifier.ts";
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, ZERO_PFN } from "./pages.ts";
import {
  PTE_KIND,
  PTE_NONE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  TABLE_ENTRIES,
  VPN_END,
} from "./pagetable.ts";
import { VM_ACCESS_FLAGS, VM_HUGETLB, VM_LOCKED, VM_SHARED, VM_WRITE } from "./vma.ts";
import { zapRange } from "./zap.ts";

/** Where mappings without a wished address begin, counting down: below the stack of a 47-bit address space. */
const MMAP_BASE = 0x7_fff0_0000;
/** Pages under one entry of the second-highest level: 1 GiB. */
const PUD_PAGES = TABLE_ENTRIES * TABLE_ENTRIES;

const AT_MMAP = site("mmap: taking the mmap lock");
const AT_MUNMAP = site("munmap: taking the mmap lock");
const AT_SPLIT = site("waiting for faults before a vma is cut");
const AT_MERGE = site("waiting for faults before vmas are joined");
const AT_DETACHED = site("munmap: vmas detached");
const AT_NOTIFIED = site("munmap: notified");
const AT_ZAPPED = site("munmap: zapped");
const AT_MPROTECT = site("mprotect: taking the mmap lock");
const AT_VMA = site("mprotect: one vma");
const AT_FLUSH = site("mprotect: entries changed, translations not yet flushed");

/** Finds a free range below MMAP_BASE, as high as it fits; 2 MiB aligned from 2 MiB on, as 6.7 and later do. */
function unmappedArea(k: Kernel, mm: number, pages: number): number {
  const align = pages >= TABLE_ENTRIES ? TABLE_ENTRIES : 1;
  let top = MMAP_BASE;
  for (;;) {
    const start = Math.floor((top - pages) / align) * align;
    if (start < 16) return -1; // mmap_min_addr: the first 64 KiB stay empty
    const vma = k.vmas.find(mm, start);
    if (vma < 0 || k.vmas.start[vma] >= start + pages) return start;
    top = k.vmas.start[vma];
  }
}

/**
 * Maps anonymous private memory, a file or shared memory: mmap().
 *
 * @param vpn first page (MAP_FIXED: what was there goes), or -1 for any free place
 * @param pages length, 1 or more; with VM_HUGETLB rounded up to whole pages of 2 MiB
 * @param flags VM_READ, VM_WRITE; VM_SHARED for a shared mapping of an inode; VM_HUGETLB
 * @param inode file or shared memory to map (its page 0 at the first page), or 0 for anonymous private memory
 * @returns first page, or -EINVAL, -ENOMEM
 */
export function* mmap(
  k: Kernel,
  a: number,
  mm: number,
  vpn: number,
  pages: number,
  flags: number,
  inode = 0,
): Proc<number> {
  const { sim, locks, vmas } = k, lock = k.mmapLock(mm);
  if (flags & VM_HUGETLB) pages = hugeEnd(pages);
  if (pages <= 0 || flags & VM_HUGETLB && vpn >= 0 && hugeStart(vpn) !== vpn) return -EINVAL;
  sim.spans.begin(a, k.kindSyscall, vpn);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_MMAP, vpn, pages, flags);
  yield* locks.lock(a, lock);
  sim.ret(a);
  let start = vpn < 0 ? unmappedArea(k, mm, pages) : vpn;
  if (start < 0 || start + pages > VPN_END) start = -ENOMEM;
  else {
    sim.call(a, AT_MMAP, start, pages, flags);
    const rc = yield* unmapLocked(k, a, mm, start, start + pages);
    sim.ret(a);
    const vma = rc < 0 ? -1 : vmas.insert(mm, start, start + pages, flags, inode === 0 ? start : 0);
    if (vma < 0) start = rc === -EINVAL ? rc : -ENOMEM;
    else {
      vmas.back(vma, inode);
      // A neighbour of the same kind grows instead; nobody may be inside the new one before that.
      sim.call(a, AT_MMAP, start, pages, flags);
      yield* k.vmaStartWrite(a, vma);
      yield* mergeVma(k, a, vma);
      sim.ret(a);
    }
  }
  k.mmapWriteUnlock(a, mm);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return start;
}

/**
 * Cuts the vmas at both ends of a range. Faults that are inside them end first: they know their vma by its row.
 *
 * @returns false when there is no room for another vma
 */
export function* splitEnds(k: Kernel, a: number, mm: number, start: number, end: number): Proc<boolean> {
  const { sim, vmas } = k;
  for (const at of [start, end]) {
    const vma = vmas.lookup(mm, at);
    if (vma < 0 || vmas.start[vma] === at) continue;
    sim.call(a, AT_SPLIT, start, end, at);
    yield* k.vmaStartWrite(a, vma);
    yield* splitHugeAt(k, a, mm, vma, at);
    sim.ret(a);
    if (vmas.split(vma, at) < 0) return false;
  }
  return true;
}

/** Joins a vma with its neighbours where it can, after the faults that are inside them: vma_merge(). */
export function* mergeVma(k: Kernel, a: number, vma: number): Proc {
  const { sim, vmas } = k, start = vmas.start[vma], end = vmas.end[vma];
  const before = start > 0 ? vmas.lookup(vmas.mm[vma], start - 1) : -1,
    after = vmas.lookup(vmas.mm[vma], end);
  for (const other of [before, after]) {
    if (other < 0 || vmas.flags[other] !== vmas.flags[vma]) continue;
    sim.call(a, AT_MERGE, vma, other);
    yield* k.vmaStartWrite(a, other);
    sim.ret(a);
  }
  vmas.merge(vma);
}

/** Takes the vmas of a range out of the address space; the mmap lock is held alone. False when none was there. */
function* detach(k: Kernel, a: number, mm: number, start: number, end: number): Proc<number> {
  const { sim, vmas } = k, first = vmas.find(mm, start);
  if (first < 0 || vmas.start[first] >= end) return 0;
  if (cutsHugetlb(k, mm, start, end)) return -EINVAL;
  if (!(yield* splitEnds(k, a, mm, start, end))) return -ENOMEM;
  let detached = 0;
  for (let vma = vmas.find(mm, start); vma >= 0 && vmas.start[vma] < end; vma = vmas.find(mm, start)) {
    sim.call(a, AT_DETACHED, start, end, detached);
    yield* k.vmaStartWrite(a, vma);
    sim.ret(a);
    vmas.detach(vma);
    detached++;
  }
  return detached;
}

/** Drops the pages of a range whose vmas are gone, and its tables: vms_clear_ptes(). */
function* clearDetached(k: Kernel, a: number, mm: number, start: number, end: number): Proc {
  const { sim, vmas, tables } = k;
  const event: Invalidation = { mm, start, end, event: MMU_NOTIFY_UNMAP, owner: 0, blockable: true, seq: 0 };
  sim.call(a, AT_NOTIFIED, start, end);
  yield* k.notifiers.start(a, event);
  sim.ret(a);
  sim.call(a, AT_ZAPPED, start, end);
  yield* zapRange(k, a, mm, start, end);
  sim.ret(a);
  k.notifiers.end(a, event);
  vmas.dropDetached(mm, start, end);
  const above = vmas.find(mm, end);
  tables.freeRange(
    k.root[mm],
    start,
    end,
    vmas.endBefore(mm, start),
    above < 0 ? VPN_END : vmas.start[above],
  );
}

/** Unmaps a range while the mmap lock is held alone, as mmap() over others and mremap() do. Returns 0 or -ENOMEM. */
export function* unmapLocked(k: Kernel, a: number, mm: number, start: number, end: number): Proc<number> {
  const { sim } = k;
  sim.call(a, AT_DETACHED, start, end);
  const detached = yield* detach(k, a, mm, start, end);
  if (detached > 0) yield* clearDetached(k, a, mm, start, end);
  sim.ret(a);
  return Math.min(detached, 0);
}

/**
 * Unmaps a range, with or without holes: munmap().
 *
 * @returns 0, -EINVAL for an empty or impossible range, -ENOMEM when a vma cannot be cut
 */
export function* munmap(k: Kernel, a: number, mm: number, start: number, pages: number): Proc<number> {
  const { sim, locks } = k, lock = k.mmapLock(mm), end = start + pages;
  if (pages <= 0 || start < 0 || end > VPN_END) return -EINVAL;
  sim.spans.begin(a, k.kindSyscall, start);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_MUNMAP, start, pages);
  yield* locks.lock(a, lock);
  const detached = yield* detach(k, a, mm, start, end);
  if (detached > 0) {
    // The vmas are gone, so what is left can go on beside readers: mmap_write_downgrade().
    k.endVmaWrites(mm);
    locks.downgrade(a, lock);
    yield* clearDetached(k, a, mm, start, end);
    locks.readUnlock(a, lock);
  } else k.mmapWriteUnlock(a, mm);
  sim.ret(a);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return Math.min(detached, 0);
}

/** What mprotect() makes of one entry under the vma's new flags: change_pte_range(), change_huge_pmd(). */
function protectedEntry(k: Kernel, entry: number, pfn: number, flags: number): number {
  const writable = (flags & VM_WRITE) !== 0, kind = entry & PTE_KIND;
  if (kind === PTE_POISON) return entry;
  let pte = writable ? entry : entry & ~PTE_WRITE;
  if (kind === PTE_PRESENT) pte = flags & VM_ACCESS_FLAGS ? pte & ~PTE_PROTNONE : pte | PTE_PROTNONE;
  if (!writable) return pte;
  if (flags & VM_SHARED) return pte | PTE_WRITE; // no notice of the first write is needed
  // Sole user: writable at once, no fault to come (can_change_pte_writable). Device entries stay read-only.
  const sole = kind === PTE_PRESENT && pfn !== ZERO_PFN && k.pages.flags[pfn] & PG_ANON_EXCLUSIVE;
  return sole ? pte | PTE_WRITE : pte;
}

/** Changes the entries of one vma's range: change_protection(). Returns whether anything was there to change. */
function* changeProtection(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  flags: number,
): Proc<boolean> {
  const { sim, tables, cost } = k, root = k.root[mm];
  // The notifiers hear of the range from the first 1 GiB that has a table (6.12); without tables they hear nothing.
  let from = start;
  while (from < end && !tables.populated(root, from)) from = nextPud(from);
  if (from >= end) return false;
  const event: Invalidation = {
    mm,
    start: from,
    end,
    event: MMU_NOTIFY_PROTECTION_VMA,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  sim.call(a, AT_NOTIFIED, from, end, flags);
  yield* k.notifiers.start(a, event);
  sim.ret(a);
  for (let v = tables.nextLive(root, from, end); v < end; v = tables.nextLive(root, v, end)) {
    const stop = Math.min(end, v - (v & 511) + 512), huge = tables.huge(root, v);
    if (huge >= 0 && stop - v === HUGE_PAGES) {
      tables.kind[huge] = protectedEntry(k, tables.kind[huge], tables.pfn[huge], flags);
      v = stop;
      continue;
    }
    if (huge >= 0) {
      sim.call(a, AT_VMA, v, end, flags);
      yield* splitHugeEntry(k, a, mm, v);
      sim.ret(a);
      continue;
    }
    const leaf = tables.leaf(root, v);
    sim.call(a, AT_VMA, v, end, flags);
    yield* k.waitPtl(a, leaf);
    sim.ret(a);
    let changed = 0;
    for (let w = v; w < stop; w++) {
      const e = leaf + (w & 511);
      if ((tables.kind[e] & PTE_KIND) === PTE_NONE) continue;
      changed++;
      tables.kind[e] = protectedEntry(k, tables.kind[e], tables.pfn[e], flags);
    }
    k.ptlSpend(a, leaf, k.phase.protect, changed * cost.protectPageNs);
    if (sim.due(a)) {
      k.ptlHold(leaf);
      sim.mark(a, AT_FLUSH, v, end, flags);
      yield DUE;
      k.ptlRelease(leaf);
    }
    v = stop;
  }
  k.flushTlb(a, mm, from, end);
  k.notifiers.end(a, event);
  return true;
}

function nextPud(vpn: number): number {
  return (Math.floor(vpn / PUD_PAGES) + 1) * PUD_PAGES;
}

/** Changes the part of a range that one vma covers: mprotect_fixup(). Returns where it ends, or a negated errno. */
function* protectVma(
  k: Kernel,
  a: number,
  mm: number,
  at: number,
  end: number,
  protection: number,
): Proc<number> {
  const { vmas } = k;
  let vma = vmas.lookup(mm, at);
  if (vma < 0) return -ENOMEM;
  const stop = Math.min(end, vmas.end[vma]), old = vmas.flags[vma];
  const flags = (old & ~VM_ACCESS_FLAGS) | protection;
  if (flags === old) return stop;
  yield* k.vmaStartWrite(a, vma);
  if (cutsHugetlb(k, mm, at, stop)) return -EINVAL;
  if (!(yield* splitEnds(k, a, mm, at, stop))) return -ENOMEM;
  vma = vmas.lookup(mm, at);
  vmas.flags[vma] = flags;
  yield* mergeVma(k, a, vma);
  yield* changeProtection(k, a, mm, at, stop, flags);
  // Private memory that is locked and now writable gets its copies at once.
  if ((flags & (VM_LOCKED | VM_WRITE | VM_SHARED)) === (VM_LOCKED | VM_WRITE) && !(old & VM_WRITE)) {
    yield* populate(k, a, mm, at, stop, true);
  }
  return stop;
}

/**
 * Changes what a range allows: mprotect(). Vmas before a hole are changed, those after it are not.
 *
 * @param flags VM_READ, VM_WRITE
 * @returns 0, -EINVAL for an impossible range, -ENOMEM for a hole
 */
export function* mprotect(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  pages: number,
  flags: number,
): Proc<number> {
  const { sim, locks } = k, end = start + pages;
  if (pages < 0 || start < 0 || end > VPN_END) return -EINVAL;
  if (pages === 0) return 0;
  sim.spans.begin(a, k.kindSyscall, start);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_MPROTECT, start, pages, flags);
  yield* locks.lock(a, k.mmapLock(mm));
  sim.ret(a);
  let at = start, rc = 0;
  while (at < end) {
    sim.call(a, AT_VMA, at, end, flags);
    rc = yield* protectVma(k, a, mm, at, end, flags);
    sim.ret(a);
    if (rc < 0) break;
    at = rc;
  }
  k.mmapWriteUnlock(a, mm);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return Math.min(rc, 0);
}
