/**
 * Files of a tmpfs and shared anonymous memory: faults, truncation, reading and writing by descriptor.
 *
 * Both are shmem in the kernel: pages live in the cache, faults map them, truncation and hole punching take them out of
 * every address space by the reverse map of the file.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { type Proc, site } from "../sim/sim.ts";
import { transferNs } from "../profiles/transfer.ts";
import { PAGE_SIZE } from "../units.ts";
import { MAX_RECLAIM_RETRIES, tryToFreePages } from "./direct_reclaim.ts";
import { EINVAL, ENOMEM, VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS } from "./errno.ts";
import { FAULT_FLAG_WRITE, lockOrRetry, mapAnon, prepareAnon } from "./fault_anon.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { PG_LOCKED } from "./pages.ts";
import {
  PTE_DIRTY,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  PTE_YOUNG,
  VPN_END,
} from "./pagetable.ts";
import { VM_ACCESS_FLAGS, VM_MIXEDMAP, VM_SHARED, VM_WRITE } from "./vma.ts";
import { zapRange } from "./zap.ts";

const AT_PTL = site("file fault: waiting for the page-table lock");
const AT_RECLAIM = site("a file's page by descriptor: no page is free");
const AT_UNMAP = site("unmapping a file's pages: notifying");
const AT_TRUNCATE = site("truncate");

/** The entry bits of a file's page: shared memory needs no notice of the first write, what may be written is so at once. */
function fileEntry(k: Kernel, vma: number): number {
  const flags = k.vmas.flags[vma];
  // A driver puts pages in where nothing may be accessed, too; a fault never comes here then.
  if ((flags & VM_ACCESS_FLAGS) === 0) return PTE_PRESENT | PTE_PROTNONE;
  return PTE_PRESENT | ((flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE) ? PTE_WRITE : 0);
}

function mapFile(k: Kernel, mm: number, e: number, entry: number, pfn: number): void {
  const { pages, tables } = k;
  tables.set(e, entry, pfn);
  pages.mapcount[pfn]++;
  pages.refcount[pfn]++;
  k.rssFile[mm]++;
}

/**
 * Maps what the page cache has around a page that is read, without bringing anything in: do_fault_around().
 *
 * @returns whether the page itself is mapped now
 */
function faultAround(k: Kernel, a: number, mm: number, vma: number, vpn: number): boolean {
  const { tables, vmas, inodes, pages } = k, n = k.faultAroundPages;
  const leaf = tables.leafAlloc(k.root[mm], vpn);
  if (leaf < 0 || tables.locked[leaf >>> 9]) return false;
  // The window is aligned by the place in the table, and stays within the table, the vma and the file.
  const slot = vpn & 511, from = Math.max(slot - (slot % n), slot - (vpn - vmas.start[vma]));
  const to = Math.min(from + n, 512, slot + (vmas.end[vma] - vpn));
  let mapped = 0;
  for (let i = from; i < to; i++) {
    const v = vpn - slot + i, index = vmas.pgoff[vma] + (v - vmas.start[vma]);
    if (index >= inodes.pages[vmas.inode[vma]] || tables.kind[leaf + i] !== PTE_NONE) continue;
    const pfn = inodes.lookup(vmas.inode[vma], index);
    if (pfn < 0 || pages.flags[pfn] & PG_LOCKED) continue;
    mapFile(k, mm, leaf + i, fileEntry(k, vma) | (v === vpn ? PTE_YOUNG : 0), pfn);
    mapped++;
  }
  k.ptlSpend(a, leaf, k.phase.pte, mapped * k.cost.pteInstallNs);
  return tables.kind[leaf + slot] !== PTE_NONE;
}

/**
 * Puts all pages of an inode into a vma at once, as a driver does with pages of its own: vm_insert_page() in its mmap.
 *
 * It does not reclaim: without a free frame it fails.
 *
 * @returns 0 or -ENOMEM
 */
export function insertPages(k: Kernel, a: number, mm: number, vma: number): number {
  const { vmas, tables, inodes } = k;
  vmas.flags[vma] |= VM_MIXEDMAP;
  for (let v = vmas.start[vma]; v < vmas.end[vma]; v++) {
    const pfn = inodes.getPage(k, a, vmas.inode[vma], vmas.pgoff[vma] + (v - vmas.start[vma]));
    const leaf = pfn < 0 ? -1 : tables.leafAlloc(k.root[mm], v);
    if (leaf < 0) return -ENOMEM;
    mapFile(k, mm, leaf + (v & 511), fileEntry(k, vma), pfn);
  }
  return 0;
}

/**
 * A fault where a file or shared memory is mapped and nothing is in the table: do_fault().
 *
 * @returns a VM_FAULT_ result: SIGBUS beyond the end of the file
 */
export function* fileFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  flags: number,
): Proc<number> {
  const { sim, pages, tables, vmas, inodes } = k, write = (flags & FAULT_FLAG_WRITE) !== 0;
  const shared = (vmas.flags[vma] & VM_SHARED) !== 0, copy = write && !shared, inode = vmas.inode[vma];
  const index = vmas.pgoff[vma] + (vpn - vmas.start[vma]);
  if (copy && !prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  if (vmas.flags[vma] & VM_MIXEDMAP) return VM_FAULT_SIGBUS; // what its driver put in is gone, and it has no fault()
  if (!write && k.faultAroundPages > 1 && faultAround(k, a, mm, vma, vpn)) return VM_FAULT_DONE;
  if (index >= inodes.pages[inode]) return VM_FAULT_SIGBUS;
  const cached = inodes.getPage(k, a, inode, index, vma, vpn);
  if (cached < 0) return VM_FAULT_OOM;
  let own = -1;
  if (copy) {
    own = allocPage(k, a, vma, vpn);
    if (own < 0) return VM_FAULT_OOM;
    sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
    pages.copy(own, cached);
  }
  // The cache may lose the page while we wait: a reference of ours keeps it.
  pages.refcount[cached]++;
  sim.call(a, AT_PTL, vpn, cached, own, flags);
  if (!(yield* lockOrRetry(k, a, mm, cached, flags))) {
    sim.ret(a);
    if (own >= 0) pages.put(a, own);
    pages.put(a, cached);
    return VM_FAULT_RETRY;
  }
  const leaf = tables.leafAlloc(k.root[mm], vpn);
  if (leaf >= 0) yield* k.waitPtl(a, leaf);
  sim.ret(a);
  const e = leaf + (vpn & 511), gone = pages.inode[cached] !== inode || pages.index[cached] !== index;
  let used = false;
  if (leaf >= 0 && !gone && tables.kind[e] === PTE_NONE) {
    k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
    if (copy) mapAnon(k, mm, vma, vpn, e, own, true);
    else mapFile(k, mm, e, fileEntry(k, vma) | PTE_YOUNG | (write ? PTE_DIRTY : 0), cached);
    used = true;
  }
  if (own >= 0 && !used) pages.put(a, own);
  pages.unlock(cached);
  pages.put(a, cached);
  return leaf < 0 ? VM_FAULT_OOM : VM_FAULT_DONE;
}

/** Takes the pages of a file's range out of every address space: unmap_mapping_range(). */
function* unmapMapping(k: Kernel, a: number, inode: number, start: number, end: number, cows: boolean): Proc {
  const { sim, vmas } = k;
  for (const vma of vmas.mappingFile(inode, start, end)) {
    const from = vmas.start[vma] + Math.max(0, start - vmas.pgoff[vma]);
    const to = Math.min(vmas.end[vma], vmas.start[vma] + (end - vmas.pgoff[vma])), mm = vmas.mm[vma];
    const e: Invalidation = {
      mm,
      start: from,
      end: to,
      event: MMU_NOTIFY_CLEAR,
      owner: 0,
      blockable: true,
      seq: 0,
    };
    sim.call(a, AT_UNMAP, vma, from, to, inode);
    yield* k.notifiers.start(a, e);
    yield* zapRange(k, a, mm, from, to, cows);
    sim.ret(a);
    k.notifiers.end(a, e);
  }
}

/**
 * Sets the length of a file: ftruncate(). What lies beyond goes, private copies of it too.
 *
 * @param pages new length
 * @returns 0, or -EINVAL for a negative length
 */
export function* truncate(k: Kernel, a: number, inode: number, pages: number): Proc<number> {
  const { sim, inodes } = k;
  if (pages < 0) return -EINVAL;
  const was = inodes.pages[inode];
  inodes.pages[inode] = pages;
  if (pages < was) {
    // Twice: faults that came in between the two see the new length, those before it are caught by the second.
    sim.call(a, AT_TRUNCATE, inode, pages, was);
    yield* unmapMapping(k, a, inode, pages, VPN_END, true);
    inodes.drop(k, a, inode, pages, VPN_END);
    yield* unmapMapping(k, a, inode, pages, VPN_END, true);
    sim.ret(a);
  }
  sim.progress++;
  return 0;
}

/** Makes a hole in a file: fallocate(FALLOC_FL_PUNCH_HOLE). Private copies stay. Returns 0 or -EINVAL. */
export function* punchHole(k: Kernel, a: number, inode: number, start: number, pages: number): Proc<number> {
  const { sim, inodes } = k;
  if (start < 0 || pages <= 0) return -EINVAL;
  sim.call(a, AT_TRUNCATE, inode, start, pages);
  yield* unmapMapping(k, a, inode, start, start + pages, false);
  sim.ret(a);
  inodes.drop(k, a, inode, start, start + pages);
  sim.progress++;
  return 0;
}

/** The page cache's page for a system call, which reclaims if no frame is free. Returns the frame, or -1. */
function* cachePage(k: Kernel, a: number, inode: number, index: number): Proc<number> {
  const { sim, inodes } = k;
  let pfn = inodes.getPage(k, a, inode, index);
  for (let round = 0; pfn < 0 && round < MAX_RECLAIM_RETRIES; round++) {
    sim.call(a, AT_RECLAIM, inode, index, round);
    const freed = yield* tryToFreePages(k, a, -1, true);
    sim.ret(a);
    if (!freed) return -1;
    pfn = inodes.getPage(k, a, inode, index);
  }
  return pfn;
}

/** Writes the first word of a page of a file by its descriptor: pwrite(). Extends the file. Returns 0 or -ENOMEM. */
export function* fileWrite(
  k: Kernel,
  a: number,
  inode: number,
  index: number,
  value: number,
): Proc<number> {
  const { inodes, pages } = k, pfn = yield* cachePage(k, a, inode, index);
  if (pfn < 0) return -ENOMEM;
  pages.word[pfn * pages.wordsPerPage] = value;
  if (index >= inodes.pages[inode]) inodes.pages[inode] = index + 1;
  return 0;
}

/**
 * Reads the first word of a page of a file by its descriptor: pread().
 *
 * @returns the word, 0 in a hole; -1 beyond the end of the file; -ENOMEM when the page is in swap and cannot come back
 */
export function* fileRead(k: Kernel, a: number, inode: number, index: number): Proc<number> {
  const { inodes, pages } = k;
  if (index >= inodes.pages[inode]) return -1;
  if (!inodes.isSwapped(inode, index)) {
    const cached = inodes.lookup(inode, index);
    return cached < 0 ? 0 : pages.word[cached * pages.wordsPerPage];
  }
  const pfn = yield* cachePage(k, a, inode, index);
  return pfn < 0 ? -ENOMEM : pages.word[pfn * pages.wordsPerPage];
}
