/**
 * Faults of untouched anonymous memory, and what every fault that makes an anonymous page needs.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { allocPageSlow } from "./direct_reclaim.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LRU, ZERO_PFN } from "./pages.ts";
import { PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, PTE_YOUNG } from "./pagetable.ts";

/** The access writes. */
export const FAULT_FLAG_WRITE = 1;
/** The fault is on behalf of a device or another process, not of the CPU that runs the program. */
export const FAULT_FLAG_REMOTE = 2;
/** The fault holds the lock of its vma and not the mmap lock. */
export const FAULT_FLAG_VMA_LOCK = 4;
/** The page is wanted for reading but by a pin that stays: copies that could come later are made now. */
export const FAULT_FLAG_UNSHARE = 16;
/** The mmap lock may be let go to wait for a page that is locked: the fault then is VM_FAULT_RETRY, and the lock is gone. */
export const FAULT_FLAG_ALLOW_RETRY = 32;
/** A run of faults of the program itself: each takes and gives back the lock of its vma. */
export const FAULT_FLAG_USER = 8;

const AT_RECLAIM = site("anonymous fault: no page is free");
const AT_ALLOCATED = site("anonymous fault: page allocated, not yet mapped");
const AT_PTL = site("anonymous fault: waiting for the page-table lock");

/** Maps a fresh anonymous page: page_add_new_anon_rmap() and the accounting around it. */
export function mapAnon(
  k: Kernel,
  mm: number,
  vma: number,
  vpn: number,
  e: number,
  pfn: number,
  write: boolean,
): void {
  const { pages, vmas } = k;
  pages.mapping[pfn] = vmas.anonVma[vma];
  pages.index[pfn] = vmas.pgoff[vma] + (vpn - vmas.start[vma]);
  pages.mapcount[pfn] = 1;
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE | PG_LRU | PG_DIRTY;
  k.tables.set(e, PTE_PRESENT | PTE_YOUNG | (write ? PTE_WRITE | PTE_DIRTY : 0), pfn);
  k.rssAnon[mm]++;
}

/** Gives the vma its anon_vma; under the vma lock this needs the mmap lock, which is only tried: vmf_anon_prepare(). */
export function prepareAnon(k: Kernel, a: number, vma: number, flags: number): boolean {
  if (k.vmas.anonVma[vma] !== 0) return true;
  if (flags & (FAULT_FLAG_VMA_LOCK | FAULT_FLAG_USER)) {
    const lock = k.mmapLock(k.vmas.mm[vma]);
    if (!k.locks.tryRead(lock)) return false;
    k.vmas.prepareAnon(vma);
    k.locks.readUnlock(a, lock);
  } else k.vmas.prepareAnon(vma);
  return true;
}

/**
 * Locks a page for a fault: folio_lock_or_retry(). With FAULT_FLAG_ALLOW_RETRY a page that somebody else has locked is
 * waited for without the mmap lock.
 *
 * @returns false when the mmap lock was let go, and the page is not locked
 */
export function* lockOrRetry(k: Kernel, a: number, mm: number, pfn: number, flags: number): Proc<boolean> {
  const { pages } = k;
  if (flags & FAULT_FLAG_ALLOW_RETRY) {
    if (pages.trylock(pfn)) return true;
    k.locks.readUnlock(a, k.mmapLock(mm));
    yield* pages.waitUnlocked(a, pfn);
    return false;
  }
  while (!pages.trylock(pfn)) yield* pages.waitUnlocked(a, pfn);
  return true;
}

/**
 * Faults of consecutive untouched pages of one anonymous vma, each a fault of its own: do_anonymous_page().
 *
 * With FAULT_FLAG_USER the vma's lock is taken and given back inside, which costs a look where nothing stops and is
 * real wherever something does. Without it the caller holds that lock or the mmap lock.
 *
 * @param vma an anonymous vma that allows the access
 * @param vpn first page
 * @param end page past the last; within the vma and the leaf table of `vpn`
 * @returns pages done; fewer than asked when something else has to be done first; or a negated VM_FAULT_ result
 */
export function* doAnonymousPages(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  end: number,
  flags: number,
): Proc<number> {
  const { sim, pages, tables, vmas, cost, phase } = k, { spans } = sim;
  const user = (flags & FAULT_FLAG_USER) !== 0, write = (flags & FAULT_FLAG_WRITE) !== 0;
  let leaf = tables.leaf(k.root[mm], vpn);
  // With fewer frames than pages the last of them would reclaim the first before those are written to.
  const stop = write && user && end > vpn + 1 ? Math.min(end, vpn + Math.max(1, k.nodes.freeFor(vma))) : end;
  for (let v = vpn; v < stop; v++) {
    if (user) {
      // Between two faults nothing is held, and whatever changes is for the caller to look at: it stops, not we.
      if (v > vpn && sim.due(a)) return v - vpn;
      if (k.vmaWriteLocked(vma)) return v > vpn ? v - vpn : -VM_FAULT_RETRY;
    }
    if (write && vmas.anonVma[vma] === 0) {
      if (!prepareAnon(k, a, vma, flags)) return v > vpn ? v - vpn : -VM_FAULT_RETRY;
      // The vma changed: without its lock, start over with it.
      if (user) return v - vpn;
    }
    if (leaf < 0 && (leaf = tables.leafAlloc(k.root[mm], v)) < 0) return v > vpn ? v - vpn : -VM_FAULT_OOM;
    const e = leaf + (v & 511);
    if (tables.kind[e] !== PTE_NONE) return v - vpn;
    if (user) {
      spans.begin(a, k.kindCpuFault, v);
      spans.spend(a, phase.entry, cost.faultEntryNs);
      sim.counters.values[k.pgfault]++;
      k.watchFault?.(mm, v, flags);
    }
    let pfn = ZERO_PFN;
    if (write) {
      pfn = allocPage(k, a, vma, v);
      if (pfn < 0) {
        if (user) vmas.faulting[vma]++;
        sim.call(a, AT_RECLAIM, v, vpn, end, flags);
        pfn = yield* allocPageSlow(k, a, vma, v, true);
        sim.ret(a);
        if (user) k.vmaEndRead(vma);
      }
      if (pfn < 0) {
        if (user) spans.end(a, k.kindCpuFault, 0);
        return v > vpn ? v - vpn : -VM_FAULT_OOM;
      }
      spans.spend(a, phase.clear, cost.pageClearNs);
      pages.clear(pfn);
    }
    if (sim.due(a)) {
      if (user) vmas.faulting[vma]++;
      sim.mark(a, AT_ALLOCATED, v, pfn, end, flags);
      yield DUE;
      if (user) k.vmaEndRead(vma);
    }
    if (tables.locked[leaf >>> 9]) {
      if (user) vmas.faulting[vma]++;
      sim.call(a, AT_PTL, v, pfn, end, flags);
      yield* k.waitPtl(a, leaf);
      sim.ret(a);
      if (user) k.vmaEndRead(vma);
    }
    k.ptlSpend(a, leaf, phase.pte, cost.pteInstallNs);
    if (tables.kind[e] !== PTE_NONE) {
      // Another CPU was first: its page stays, ours goes back.
      if (pfn !== ZERO_PFN) pages.put(a, pfn);
    } else if (write) mapAnon(k, mm, vma, v, e, pfn, true);
    else tables.set(e, PTE_PRESENT | PTE_YOUNG, ZERO_PFN);
    if (user) {
      spans.end(a, k.kindCpuFault);
      sim.progress++;
    }
  }
  return stop - vpn;
}
