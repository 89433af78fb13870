/**
 * Page faults: handle_mm_fault() and the paths below it for anonymous memory and for device-private pages.
 *
 * A fault of the CPU holds the lock of its vma, or the mmap lock for reading where the kernel wants that; a fault on
 * behalf of a device holds the mmap lock. The page-table lock covers each look-and-set of an entry.
 * @module
 */
import { transferNs } from "../profiles/transfer.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import {
  VM_FAULT_ACCERR,
  VM_FAULT_DONE,
  VM_FAULT_MAPERR,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
} from "./errno.ts";
import { removeExclusiveEntry } from "./exclusive_entry.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LOCKED, PG_LRU, ZERO_PFN } from "./pages.ts";
import {
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";
import { VM_READ, VM_WRITE } from "./vma.ts";

/** The access writes. */
export const FAULT_FLAG_WRITE = 1;
/** The fault is on behalf of a device or another process, not of the CPU that runs the program. */
export const FAULT_FLAG_REMOTE = 2;
/** The fault holds the lock of its vma and not the mmap lock. */
export const FAULT_FLAG_VMA_LOCK = 4;
/** A run of faults of the program itself: each takes and gives back the lock of its vma. */
export const FAULT_FLAG_USER = 8;

const AT_ENTRY = site("cpu fault: before it takes a lock");
const AT_ALLOCATED = site("anonymous fault: page allocated, not yet mapped");
const AT_PTL = site("anonymous fault: waiting for the page-table lock");
const AT_COPIED = site("write fault: page copied, not yet mapped");
const AT_CLEARED = site("write fault: entry cleared, translation not yet flushed");
const AT_NOTIFY = site("write fault: notifying");
const AT_TO_RAM = site("device-private fault: migrate_to_ram");
const AT_VMA_LOCKED = site("cpu fault: under the vma lock");
const AT_MMAP_LOCKED = site("cpu fault: under the mmap lock");
const AT_WAIT_MIGRATION = site("fault: waiting for a migration");

/** Whether a vma lets the CPU access it: x86 cannot forbid reading what may be written. */
export function cpuMayAccess(vmFlags: number, write: boolean): boolean {
  return write ? (vmFlags & VM_WRITE) !== 0 : (vmFlags & (VM_READ | VM_WRITE)) !== 0;
}

/** Maps a fresh anonymous page: page_add_new_anon_rmap() and the accounting around it. */
function mapAnon(
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
function prepareAnon(k: Kernel, a: number, vma: number, flags: number): boolean {
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
  const generation = vmas.generation;
  let leaf = tables.leaf(k.root[mm], vpn);
  for (let v = vpn; v < end; v++) {
    if (user) {
      if (sim.due(a)) {
        sim.mark(a, AT_ENTRY, v, vpn, end, flags);
        yield DUE;
      }
      // Nothing was held: whatever changed is for the caller to look at.
      if (vmas.generation !== generation || k.vmaWriteLocked(vma)) return v - vpn;
    }
    if (write && vmas.anonVma[vma] === 0) {
      if (!prepareAnon(k, a, vma, flags)) return v > vpn ? v - vpn : -VM_FAULT_RETRY;
      return v > vpn ? v - vpn : 0; // the vma changed: start over with it
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
      pfn = sim.fails(a, "page allocation") ? -1 : pages.take(k.ram);
      if (pfn < 0) {
        if (user) spans.end(a, k.kindCpuFault, 0);
        return v > vpn ? v - vpn : -VM_FAULT_OOM;
      }
      sim.hold(a, k.ram.lock, phase.alloc, cost.pageAllocNs);
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
  return end - vpn;
}

/** Whether nobody else has the page any more, which then is this vma's alone: wp_can_reuse_anon_folio(). */
function reuseAnon(k: Kernel, vma: number, pfn: number): boolean {
  const { pages, vmas } = k;
  if (pages.refcount[pfn] !== 1 || pages.flags[pfn] & PG_LOCKED) return false;
  pages.mapping[pfn] = vmas.anonVma[vma];
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE;
  return true;
}

/** A write to a page that is mapped read-only in a writable vma: do_wp_page(). */
function* doWpPage(k: Kernel, a: number, mm: number, vma: number, vpn: number, flags: number): Proc<number> {
  const { sim, pages, tables, cost, phase } = k;
  const leaf = tables.leaf(k.root[mm], vpn), e = leaf + (vpn & 511), old = tables.pfn[e];
  if (old !== ZERO_PFN && (pages.flags[old] & PG_ANON_EXCLUSIVE || reuseAnon(k, vma, old))) {
    // The page's only user: no copy, and nobody is told (wp_page_reuse).
    k.ptlSpend(a, leaf, phase.pte, cost.pteInstallNs);
    tables.kind[e] |= PTE_WRITE | PTE_DIRTY | PTE_YOUNG;
    return VM_FAULT_DONE;
  }
  if (!prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  const pfn = sim.fails(a, "page allocation") ? -1 : pages.take(k.ram);
  if (pfn < 0) return VM_FAULT_OOM;
  sim.hold(a, k.ram.lock, phase.alloc, cost.pageAllocNs);
  if (old === ZERO_PFN) {
    sim.spend(a, phase.clear, cost.pageClearNs);
    pages.clear(pfn);
  } else {
    sim.spend(a, phase.copy, transferNs(PAGE_SIZE, 0, cost.copyBytesPerSecond));
    pages.copy(pfn, old);
  }
  if (sim.due(a)) {
    sim.mark(a, AT_COPIED, vpn, pfn, old);
    yield DUE;
  }
  const event: Invalidation = {
    mm,
    start: vpn,
    end: vpn + 1,
    event: MMU_NOTIFY_CLEAR,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  sim.call(a, AT_NOTIFY, vpn, pfn, old);
  yield* k.notifiers.start(a, event);
  yield* k.waitPtl(a, leaf);
  sim.ret(a);
  if (tables.kind[e] === PTE_NONE || tables.pfn[e] !== old || (tables.kind[e] & PTE_WRITE)) {
    pages.put(a, pfn); // somebody else has dealt with it
  } else {
    // Cleared and flushed before the new page shows, so that no CPU reads the old page after another wrote the new.
    k.ptlSpend(a, leaf, phase.pte, cost.pteInstallNs);
    tables.clear(e);
    if (sim.due(a)) {
      k.ptlHold(leaf);
      sim.mark(a, AT_CLEARED, vpn, pfn, old);
      yield DUE;
      k.ptlRelease(leaf);
    }
    k.flushTlb(a, mm, vpn, vpn + 1);
    mapAnon(k, mm, vma, vpn, e, pfn, true);
    if (old !== ZERO_PFN) {
      k.rssAnon[mm]--;
      pages.mapcount[old]--;
      pages.put(a, old);
    }
  }
  k.notifiers.end(a, event);
  return VM_FAULT_DONE;
}

/** A touch of a page that is in device memory: the page comes back through its driver (do_swap_page()). */
function* devicePrivateFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  flags: number,
): Proc<number> {
  // migrate_to_ram() works on the address space: the vma's lock alone is not enough.
  if (flags & FAULT_FLAG_VMA_LOCK) return VM_FAULT_RETRY;
  const { sim, tables, pages } = k, leaf = tables.leaf(k.root[mm], vpn), e = leaf + (vpn & 511);
  if (tables.locked[leaf >>> 9]) yield* k.waitPtl(a, leaf);
  if ((tables.kind[e] & PTE_KIND) !== PTE_DEVICE) return VM_FAULT_DONE;
  // The reference is taken under the page-table lock: the page cannot be freed and reused during its own fault.
  const pfn = tables.pfn[e], { ops } = pages.zoneOf(pfn);
  if (ops === undefined) {
    throw new Error(`device entry at page ${vpn} names frame ${pfn}, which no device owns`);
  }
  pages.refcount[pfn]++;
  sim.call(a, AT_TO_RAM, vpn, pfn, flags);
  const rc = yield* ops.migrateToRam(a, { mm, vma, vpn, pfn });
  sim.ret(a);
  pages.put(a, pfn);
  return rc === 0 ? VM_FAULT_DONE : VM_FAULT_SIGBUS;
}

/**
 * Makes one page of a vma accessible, or finds why not: handle_mm_fault().
 *
 * @param vma the vma of the page; its lock (FAULT_FLAG_VMA_LOCK) or the mmap lock is held
 * @returns a VM_FAULT_ result; after VM_FAULT_DONE the caller looks at the entry again
 */
export function* handleMmFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  flags: number,
): Proc<number> {
  const { sim, tables, pages } = k, write = (flags & FAULT_FLAG_WRITE) !== 0;
  const e = tables.entry(k.root[mm], vpn), kind = e < 0 ? PTE_NONE : tables.kind[e];
  k.watchFault?.(mm, vpn, flags);
  switch (kind & PTE_KIND) {
    case PTE_NONE: {
      const n = yield* doAnonymousPages(k, a, mm, vma, vpn, vpn + 1, flags);
      return n < 0 ? -n : VM_FAULT_DONE;
    }
    case PTE_PRESENT:
      if (write && !(kind & PTE_WRITE)) return yield* doWpPage(k, a, mm, vma, vpn, flags);
      tables.kind[e] |= PTE_YOUNG;
      return VM_FAULT_DONE;
    case PTE_DEVICE:
      return yield* devicePrivateFault(k, a, mm, vma, vpn, flags);
    case PTE_EXCLUSIVE:
      return yield* removeExclusiveEntry(k, a, mm, vma, vpn);
    case PTE_MIGRATION:
      sim.call(a, AT_WAIT_MIGRATION, vpn, tables.pfn[e]);
      yield* pages.waitUnlocked(a, tables.pfn[e]);
      sim.ret(a);
      return VM_FAULT_DONE;
    default:
      throw new Error(`entry of kind ${kind & PTE_KIND} at page ${vpn}`);
  }
}

/**
 * A fault of the running program: under the lock of its vma if that will do, else under the mmap lock.
 *
 * @returns VM_FAULT_DONE (try the access again) or the signal's cause: MAPERR, ACCERR, SIGBUS, OOM
 */
export function* userFault(k: Kernel, a: number, mm: number, vpn: number, write: boolean): Proc<number> {
  const { sim, vmas, cost } = k, { spans } = sim, flags = write ? FAULT_FLAG_WRITE : 0;
  if (sim.due(a)) {
    sim.mark(a, AT_ENTRY, vpn, flags);
    yield DUE;
  }
  spans.begin(a, k.kindCpuFault, vpn);
  spans.spend(a, k.phase.entry, cost.faultEntryNs);
  sim.counters.values[k.pgfault]++;
  let rc = VM_FAULT_RETRY;
  const vma = vmas.lookup(mm, vpn);
  if (vma >= 0 && k.vmaStartRead(vma)) {
    sim.call(a, AT_VMA_LOCKED, vpn, vma, flags);
    rc = cpuMayAccess(vmas.flags[vma], write)
      ? yield* handleMmFault(k, a, mm, vma, vpn, flags | FAULT_FLAG_VMA_LOCK)
      : VM_FAULT_ACCERR;
    sim.ret(a);
    k.vmaEndRead(vma);
  }
  if (rc === VM_FAULT_RETRY) {
    const lock = k.mmapLock(mm);
    sim.call(a, AT_MMAP_LOCKED, vpn, flags);
    yield* k.locks.read(a, lock);
    const found = vmas.lookup(mm, vpn);
    if (found < 0) rc = VM_FAULT_MAPERR;
    else if (!cpuMayAccess(vmas.flags[found], write)) rc = VM_FAULT_ACCERR;
    else rc = yield* handleMmFault(k, a, mm, found, vpn, flags);
    k.locks.readUnlock(a, lock);
    sim.ret(a);
  }
  spans.end(a, k.kindCpuFault);
  sim.progress++;
  return rc === VM_FAULT_RETRY ? VM_FAULT_DONE : rc;
}
