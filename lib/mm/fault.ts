/**
 * Page faults: handle_mm_fault() and the paths below it for anonymous memory and for device-private pages.
 *
 * A fault of the CPU holds the lock of its vma, or the mmap lock for reading where the kernel wants that; a fault on
 * behalf of a device holds the mmap lock. The page-table lock covers each look-and-set of an entry.
 * @module
 */
import { allocPage } from "./alloc.ts";
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
import { allocPageSlow, MAX_RECLAIM_RETRIES, noFrameFree, tryToFreePages } from "./direct_reclaim.ts";
import { removeExclusiveEntry } from "./exclusive_entry.ts";
import {
  doAnonymousPages,
  FAULT_FLAG_UNSHARE,
  FAULT_FLAG_VMA_LOCK,
  FAULT_FLAG_WRITE,
  mapAnon,
  prepareAnon,
} from "./fault_anon.ts";
import { fileFault } from "./files.ts";
import { hugeFault, mayFaultHuge, wpHuge } from "./huge.ts";
import { hugetlbFault } from "./hugetlb.ts";
import { type Kernel, REVERT_FAULT_LOCK, REVERT_FAULT_REFERENCE } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_LOCKED, ZERO_PFN } from "./pages.ts";
import {
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_SWAP,
  PTE_TABLE,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";
import { swapIn } from "./swap.ts";
import { VM_HUGETLB, VM_READ, VM_SHARED, VM_WRITE } from "./vma.ts";

const AT_ENTRY = site("cpu fault: before it takes a lock");
const AT_WP = site("write fault: waiting for the page-table lock");
const AT_WP_ALLOC = site("write fault: no page is free for the copy");
const AT_COPIED = site("write fault: page copied, not yet mapped");
const AT_CLEARED = site("write fault: entry cleared, translation not yet flushed");
const AT_NOTIFY = site("write fault: notifying");
const AT_TO_RAM = site("device-private fault: migrate_to_ram");
const AT_UNHELD = site("device-private fault: page named, nothing held");
const AT_VMA_LOCKED = site("cpu fault: under the vma lock");
const AT_MMAP_LOCKED = site("cpu fault: under the mmap lock");
const AT_HUGE = site("fault: with a huge page");
const AT_SWAP_IN = site("fault: swapping in");
const AT_RECLAIM = site("fault: no page is free");
const AT_WAIT_MIGRATION = site("fault: waiting for a migration");

/** Whether a vma lets the CPU access it: x86 cannot forbid reading what may be written. */
export function cpuMayAccess(vmFlags: number, write: boolean): boolean {
  return write ? (vmFlags & VM_WRITE) !== 0 : (vmFlags & (VM_READ | VM_WRITE)) !== 0;
}

/** Whether nobody else has the page any more, which then is this vma's alone: wp_can_reuse_anon_folio(). */
function reuseAnon(k: Kernel, a: number, vma: number, pfn: number): boolean {
  const { pages, vmas } = k;
  if (pages.inode[pfn] !== 0 || pages.flags[pfn] & PG_LOCKED) return false;
  if (pages.refs(pfn) > 1 + (pages.swap[pfn] !== 0 ? 1 : 0)) return false;
  k.swap.tryRemove(k, a, pfn);
  if (pages.refs(pfn) !== 1) return false;
  pages.mapping[pfn] = vmas.anonVma[vma];
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE;
  return true;
}

/** A write to a page that is mapped read-only in a writable vma: do_wp_page(). */
function* doWpPage(k: Kernel, a: number, mm: number, vma: number, vpn: number, flags: number): Proc<number> {
  const { sim, pages, tables, cost, phase } = k;
  const leaf = tables.leaf(k.root[mm], vpn), e = leaf + (vpn & 511);
  if (tables.locked[leaf >>> 9]) {
    sim.call(a, AT_WP, vpn, vma, flags);
    yield* k.waitPtl(a, leaf);
    sim.ret(a);
    if ((tables.kind[e] & (PTE_KIND | PTE_WRITE)) !== PTE_PRESENT) return VM_FAULT_DONE;
  }
  const old = tables.pfn[e];
  const shared = (k.vmas.flags[vma] & VM_SHARED) !== 0, unshare = (flags & FAULT_FLAG_UNSHARE) !== 0;
  if (shared || old !== ZERO_PFN && (pages.flags[old] & PG_ANON_EXCLUSIVE || reuseAnon(k, a, vma, old))) {
    if (unshare) return VM_FAULT_DONE;
    // The page's only user: no copy, and nobody is told (wp_page_reuse).
    k.ptlSpend(a, leaf, phase.pte, cost.pteInstallNs);
    tables.kind[e] |= PTE_WRITE | PTE_DIRTY | PTE_YOUNG;
    return VM_FAULT_DONE;
  }
  if (!prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  // Held over the allocation and the copy: it could be freed meanwhile, used again at this very place, and taken for the
  // same. And reclaim must not find the frame for the copy in the page that is to be copied, which would go on for ever.
  if (old !== ZERO_PFN) pages.get(old);
  let pfn = allocPage(k, a, vma, vpn);
  if (pfn < 0) {
    sim.call(a, AT_WP_ALLOC, vpn, vma, flags, old);
    pfn = yield* allocPageSlow(k, a, vma, vpn, true);
    sim.ret(a);
    if (pfn < 0) {
      if (old !== ZERO_PFN) pages.put(a, old);
      return VM_FAULT_OOM;
    }
  }
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
  // A migration or an exclusive entry names the same page, but is no longer its mapping.
  if ((tables.kind[e] & (PTE_KIND | PTE_WRITE)) !== PTE_PRESENT || tables.pfn[e] !== old) {
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
    mapAnon(k, mm, vma, vpn, e, pfn, !unshare);
    if (old !== ZERO_PFN) {
      if (pages.inode[old] === 0) k.rssAnon[mm]--;
      else k.rssFile[mm]--;
      pages.mapcount[old]--;
      if (pages.mapcount[old] === 0) k.swap.tryRemove(k, a, old);
      pages.put(a, old);
    }
  }
  if (old !== ZERO_PFN) pages.put(a, old);
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
  const { sim, tables, pages } = k, leaf = tables.leaf(k.root[mm], vpn), e = leaf + (vpn & 511);
  if (k.reverts(REVERT_FAULT_REFERENCE)) return yield* unheldFault(k, a, mm, vma, vpn, tables.pfn[e]);
  if (tables.locked[leaf >>> 9]) yield* k.waitPtl(a, leaf);
  if ((tables.kind[e] & PTE_KIND) !== PTE_DEVICE) return VM_FAULT_DONE;
  // The reference is taken under the page-table lock: the page cannot be freed and reused during its own fault.
  const pfn = tables.pfn[e], { ops } = pages.zoneOf(pfn);
  if (ops === undefined) {
    throw new Error(`device entry at page ${vpn} names frame ${pfn}, which no device owns`);
  }
  if (!k.reverts(REVERT_FAULT_LOCK) && !pages.trylock(pfn)) {
    // Another fault or a migration is at the page. A reference of ours would veto what it does, so none is taken (6.15).
    sim.call(a, AT_WAIT_MIGRATION, vpn, pfn);
    yield* pages.waitUnlocked(a, pfn);
    sim.ret(a);
    return VM_FAULT_DONE;
  }
  pages.refcount[pfn]++;
  sim.call(a, AT_TO_RAM, vpn, pfn, flags);
  k.watch?.faultBackStarts(a, pfn);
  const rc = yield* ops.migrateToRam(a, { mm, vma, vpn, pfn });
  k.watch?.faultBackEnds(a, pfn);
  sim.ret(a);
  if (!k.reverts(REVERT_FAULT_LOCK)) pages.unlock(pfn);
  pages.put(a, pfn);
  return rc === 0 ? VM_FAULT_DONE : VM_FAULT_SIGBUS;
}

/** As {@link devicePrivateFault} was before 16ce101db85d: nothing keeps the page that the entry named. */
function* unheldFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  pfn: number,
): Proc<number> {
  const { sim, pages } = k;
  k.watch?.faultBackStarts(a, pfn);
  sim.call(a, AT_TO_RAM, vpn, pfn);
  if (sim.due(a)) {
    sim.mark(a, AT_UNHELD, vpn, pfn);
    yield DUE;
  }
  k.watch?.faultBackStarts(a, pfn);
  const rc = yield* pages.zoneOf(pfn).ops!.migrateToRam(a, { mm, vma, vpn, pfn });
  k.watch?.faultBackEnds(a, pfn);
  sim.ret(a);
  return rc === 0 ? VM_FAULT_DONE : VM_FAULT_SIGBUS;
}

/** A fault where no leaf table is: by a huge page, or -1 to go on with a small one. */
function* upperFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  upper: number,
  flags: number,
): Proc<number> {
  const { tables } = k, kind = tables.kind[upper];
  if (k.vmas.flags[vma] & VM_HUGETLB) return yield* hugetlbFault(k, a, mm, vma, vpn, upper, flags);
  if (kind === PTE_NONE) return mayFaultHuge(k, vma, vpn) ? yield* hugeFault(k, a, mm, vma, vpn, flags) : -1;
  if (flags & (FAULT_FLAG_WRITE | FAULT_FLAG_UNSHARE) && !(kind & PTE_WRITE)) {
    return (yield* wpHuge(k, a, mm, vma, vpn)) ? VM_FAULT_DONE : -1;
  }
  tables.kind[upper] |= PTE_YOUNG;
  return VM_FAULT_DONE;
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
  k.watchFault?.(mm, vpn, flags);
  for (let round = 0;; round++) {
    if (!tables.upperAlloc(k.root[mm], vpn)) return VM_FAULT_OOM;
    const upper = tables.upper(k.root[mm], vpn);
    if ((tables.kind[upper] & PTE_KIND) !== PTE_TABLE) {
      sim.call(a, AT_HUGE, vpn, vma, flags, round);
      const rc = yield* upperFault(k, a, mm, vma, vpn, upper, flags);
      sim.ret(a);
      if (rc >= 0) return rc;
    }
    const e = tables.entry(k.root[mm], vpn), kind = e < 0 ? PTE_NONE : tables.kind[e];
    let rc = VM_FAULT_DONE;
    switch (kind & PTE_KIND) {
      case PTE_NONE: {
        if (k.vmas.isFile(vma)) rc = yield* fileFault(k, a, mm, vma, vpn, flags);
        else {
          const n = yield* doAnonymousPages(k, a, mm, vma, vpn, vpn + 1, flags);
          return n < 0 ? -n : VM_FAULT_DONE;
        }
        break;
      }
      case PTE_PRESENT:
        if ((write || flags & FAULT_FLAG_UNSHARE) && !(kind & PTE_WRITE)) {
          return yield* doWpPage(k, a, mm, vma, vpn, flags); // which reclaims by itself
        }
        tables.kind[e] |= PTE_YOUNG;
        break;
      case PTE_DEVICE:
        // migrate_to_ram() works on the address space: the vma's lock alone is not enough.
        if (flags & FAULT_FLAG_VMA_LOCK) return VM_FAULT_RETRY;
        return yield* devicePrivateFault(k, a, mm, vma, vpn, flags);
      case PTE_SWAP: {
        sim.call(a, AT_SWAP_IN, vpn, vma, flags, round);
        rc = yield* swapIn(k, a, mm, vma, vpn, flags);
        sim.ret(a);
        // A write to a page that came back shared goes on to its copy in the same fault.
        if (rc === VM_FAULT_DONE && write && (tables.kind[e] & (PTE_KIND | PTE_WRITE)) === PTE_PRESENT) {
          return yield* doWpPage(k, a, mm, vma, vpn, flags);
        }
        break;
      }
      case PTE_EXCLUSIVE:
        return yield* removeExclusiveEntry(k, a, mm, vma, vpn);
      case PTE_MIGRATION:
        sim.call(a, AT_WAIT_MIGRATION, vpn, tables.pfn[e]);
        yield* pages.waitUnlocked(a, tables.pfn[e]);
        sim.ret(a);
        return VM_FAULT_DONE;
      case PTE_POISON:
        return VM_FAULT_SIGBUS;
      default:
        throw new Error(`entry of kind ${kind & PTE_KIND} at page ${vpn}`);
    }
    // Without a frame nothing was done, and after reclaim nothing is as it was: the fault begins again.
    if (rc !== VM_FAULT_OOM || !noFrameFree(k, vma) || round === MAX_RECLAIM_RETRIES) return rc;
    sim.call(a, AT_RECLAIM, vpn, vma, flags, round);
    const freed = yield* tryToFreePages(k, a, vma, true);
    sim.ret(a);
    if (!freed) return rc;
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
    if (!k.locks.readNow(a, lock)) yield* k.locks.read(a, lock);
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
