/**
 * fork(): a second address space that shares its pages until somebody writes.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { transferNs } from "../profiles/transfer.ts";
import { PAGE_SIZE } from "../units.ts";
import { MAX_RECLAIM_RETRIES, noFrameFree, tryToFreePages } from "./direct_reclaim.ts";
import { ENOMEM } from "./errno.ts";
import { restoreExclusiveEntry } from "./exclusive_entry.ts";
import { copyHuge, splitHugeEntry } from "./huge.ts";
import { copyHugetlb } from "./hugetlb.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_PROTECTION_PAGE } from "./notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LRU, ZERO_PFN } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_OF_FILE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_SWAP,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";
import {
  VM_DONTCOPY,
  VM_HUGETLB,
  VM_LOCKED,
  VM_MIXEDMAP,
  VM_SHARED,
  VM_WIPEONFORK,
  VM_WRITE,
} from "./vma.ts";
import { zapRange } from "./zap.ts";

/** Without it fork() leaves a writable device entry writable, in the parent and in the child. */
export const REVERT_FORK_PROTECT: string = defineRevert(
  "fork write protection",
  "parent and child both write to one page of device memory without a copy",
);

const AT_LOCK = site("fork: taking the mmap lock");
const AT_VMA = site("fork: copying a vma");
const AT_NOTIFY = site("fork: notifying");
const AT_TABLE = site("fork: before a table");
const AT_PTL = site("fork: waiting for a page-table lock");
const AT_ENTRY = site("fork: between entries");
const AT_RECLAIM = site("fork: no page is free for a copy");
const AT_UNDO = site("fork: undoing");

/**
 * Copies an address space: dup_mmap().
 *
 * Private pages become read-only in both and are no longer exclusive; the writer who comes first copies. Device-private
 * entries are shared the same way; device-exclusive entries are given back to the CPU first. The child has no
 * notifiers: who mirrored the parent does not mirror the child.
 *
 * @returns the child's address space, or -ENOMEM, -EAGAIN
 */
export function* forkMm(k: Kernel, a: number, mm: number): Proc<number> {
  const { sim, vmas, locks } = k, lock = k.mmapLock(mm);
  const child = k.tryNewMm();
  if (child < 0) return child;
  k.nodes.policy[child] = k.nodes.policy[mm];
  sim.spans.begin(a, k.kindSyscall, 0);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_LOCK, mm, child);
  yield* locks.lock(a, lock);
  sim.ret(a);
  let rc = 0;
  for (let vma = vmas.find(mm, 0); vma >= 0 && rc === 0; vma = vmas.next(vma)) {
    sim.call(a, AT_VMA, vma, child);
    rc = yield* copyVma(k, a, child, vma);
    sim.ret(a);
  }
  k.flushTlb(a, mm, 0, Number.MAX_SAFE_INTEGER);
  k.mmapWriteUnlock(a, mm);
  if (rc !== 0) {
    sim.call(a, AT_UNDO, child, rc);
    for (let vma = vmas.find(child, 0); vma >= 0; vma = vmas.find(child, 0)) {
      yield* zapRange(k, a, child, vmas.start[vma], vmas.end[vma]);
      vmas.remove(vma);
    }
    sim.ret(a);
    k.freeMm(child);
  }
  sim.spans.end(a, k.kindSyscall);
  sim.progress++;
  return rc === 0 ? child : rc;
}

function* copyVma(k: Kernel, a: number, child: number, vma: number): Proc<number> {
  const { sim, vmas } = k, flags = vmas.flags[vma];
  yield* k.vmaStartWrite(a, vma);
  if (flags & VM_DONTCOPY) return 0;
  const start = vmas.start[vma], end = vmas.end[vma];
  // A child's memory is not locked, even if its parent's is.
  if (vmas.anonVma[vma] !== 0 && !vmas.anon.hasRoom(vma)) return -ENOMEM;
  const copy = vmas.insert(child, start, end, flags & ~VM_LOCKED, vmas.pgoff[vma]);
  if (copy < 0) return -ENOMEM;
  vmas.policy[copy] = vmas.policy[vma];
  vmas.back(copy, vmas.inode[vma], vma);
  if (flags & VM_WIPEONFORK) return 0;
  vmas.anon.fork(copy, vma);
  // Without an anonymous page ever, everything can be found again by faulting (vma_needs_copy).
  if (vmas.anonVma[vma] === 0 && !(flags & VM_MIXEDMAP)) return 0;
  const event: Invalidation = {
    mm: vmas.mm[vma],
    start,
    end,
    event: MMU_NOTIFY_PROTECTION_PAGE,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  const cow = !(flags & VM_SHARED);
  if (cow) {
    sim.call(a, AT_NOTIFY, vma, copy);
    yield* k.notifiers.start(a, event);
    sim.ret(a);
  }
  let rc = 0;
  const { tables } = k, root = k.root[vmas.mm[vma]];
  for (let v = tables.nextLive(root, start, end); v < end && rc === 0; v = tables.nextLive(root, v, end)) {
    const stop = Math.min(end, v - (v & 511) + 512), huge = tables.huge(root, v);
    if (huge >= 0 && copyHuge(k, child, v, huge)) {
      v = stop;
      continue;
    }
    if (huge >= 0 && flags & VM_HUGETLB) {
      rc = copyHugetlb(k, a, copy, v, huge);
      v = stop;
      continue;
    }
    sim.call(a, AT_TABLE, vma, copy, v, stop);
    if (huge >= 0) yield* splitHugeEntry(k, a, vmas.mm[vma], v);
    rc = yield* copyTable(k, a, vma, copy, v, stop);
    sim.ret(a);
    v = stop;
  }
  if (cow) k.notifiers.end(a, event);
  return rc;
}

/** Copies the entries under one table, under the locks of both: copy_pte_range(). */
function* copyTable(
  k: Kernel,
  a: number,
  vma: number,
  copy: number,
  start: number,
  end: number,
): Proc<number> {
  const { sim, tables, vmas } = k, mm = vmas.mm[vma], child = vmas.mm[copy];
  const from = tables.leaf(k.root[mm], start), to = tables.leafAlloc(k.root[child], start);
  if (to < 0) return -ENOMEM;
  if (sim.due(a)) {
    sim.mark(a, AT_TABLE, vma, copy, start, end);
    yield DUE;
  }
  sim.call(a, AT_PTL, vma, copy, start, end);
  yield* k.waitPtl(a, from);
  sim.ret(a);
  let copied = 0, round = 0;
  for (let v = start; v < end; v++) {
    if (sim.grain === 1 && sim.due(a)) {
      k.ptlHold(from);
      sim.mark(a, AT_ENTRY, vma, copy, v, end);
      yield DUE;
      k.ptlRelease(from);
    }
    const e = from + (v & 511);
    if ((tables.kind[e] & PTE_KIND) === PTE_NONE) continue;
    if ((tables.kind[e] & PTE_KIND) === PTE_EXCLUSIVE && !restoreExclusiveEntry(k, vma, e)) {
      // Its page is locked by somebody: the locks are given up, and the copy goes on from here (-EBUSY).
      sim.call(a, AT_PTL, vma, copy, v, end);
      yield* k.pages.waitUnlocked(a, tables.pfn[e]);
      sim.ret(a);
      v--;
      continue;
    }
    const rc = copyEntry(k, a, vma, copy, v, e, to + (v & 511));
    if (rc === -ENOMEM && noFrameFree(k, copy) && round++ < MAX_RECLAIM_RETRIES) {
      // A pinned page needs its copy now. The locks are given up for that, and the entry is looked at again (-EAGAIN).
      sim.call(a, AT_RECLAIM, vma, copy, v, end);
      const freed = yield* tryToFreePages(k, a, copy, true);
      yield* k.waitPtl(a, from);
      sim.ret(a);
      if (!freed) return rc;
      v--;
      continue;
    }
    if (rc !== 0) return rc;
    round = 0;
    copied++;
  }
  k.ptlSpend(a, from, k.phase.pte, copied * k.cost.protectPageNs);
  return 0;
}

/** Copies one entry: copy_present_pte(), copy_nonpresent_pte(). */
function copyEntry(
  k: Kernel,
  a: number,
  vma: number,
  copy: number,
  v: number,
  e: number,
  to: number,
): number {
  const { tables, pages, vmas, sim } = k, mm = vmas.mm[vma], child = vmas.mm[copy];
  const kind = tables.kind[e], pfn = tables.pfn[e], cow = !(vmas.flags[vma] & VM_SHARED);
  switch (kind & PTE_KIND) {
    case PTE_PRESENT: {
      if (pfn === ZERO_PFN) {
        tables.set(to, kind, pfn);
        return 0;
      }
      if (pages.pins[pfn] > 0 && pages.flags[pfn] & PG_ANON_EXCLUSIVE) {
        // Somebody writes to the page behind the table's back: the child gets its copy at once.
        const own = allocPage(k, a, copy, v);
        if (own < 0) return -ENOMEM;
        sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
        pages.copy(own, pfn);
        pages.mapping[own] = vmas.anonVma[copy];
        pages.index[own] = pages.index[pfn];
        pages.mapcount[own] = 1;
        pages.flags[own] |= PG_ANON_EXCLUSIVE | PG_LRU | PG_DIRTY;
        // Writable if the vma is: the page is the child's alone, whatever the parent's entry allowed.
        const write = vmas.flags[copy] & VM_WRITE ? PTE_WRITE : 0;
        tables.set(to, PTE_PRESENT | PTE_DIRTY | PTE_YOUNG | write, own);
        k.rssAnon[child]++;
        return 0;
      }
      if (cow) {
        pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
        tables.kind[e] = kind & ~PTE_WRITE;
      }
      tables.set(to, tables.kind[e] & ~PTE_YOUNG & (cow ? 0xff : ~PTE_DIRTY), pfn);
      break;
    }
    case PTE_DEVICE:
      pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
      if (!k.revert.has(REVERT_FORK_PROTECT)) tables.kind[e] = kind & ~PTE_WRITE;
      tables.set(to, tables.kind[e], pfn);
      break;
    case PTE_POISON:
      tables.set(to, kind, 0);
      return 0;
    case PTE_SWAP:
      tables.kind[e] = kind & ~PTE_ANON_EXCLUSIVE;
      tables.set(to, tables.kind[e], pfn);
      k.swap.users[pfn]++;
      k.rssSwap[child]++;
      return 0;
    case PTE_MIGRATION:
      // The migration holds the only reference; its end finds this entry by the reverse map.
      if (cow) tables.kind[e] = kind & ~(PTE_WRITE | PTE_ANON_EXCLUSIVE);
      tables.set(to, tables.kind[e], pfn);
      if (kind & PTE_OF_FILE) k.rssFile[child]++;
      else k.rssAnon[child]++;
      return 0;
    default:
      throw new Error(`fork meets an entry of kind ${kind & PTE_KIND} at page ${v} of address space ${mm}`);
  }
  pages.get(pfn);
  pages.mapcount[pfn]++;
  if (pages.inode[pfn] === 0) k.rssAnon[child]++;
  else k.rssFile[child]++;
  return 0;
}
