/**
 * madvise(): what a program says of its memory.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import { EACCES, EFAULT, EINVAL, ENOMEM } from "./errno.ts";
import { populate } from "./gup.ts";
import { punchHole } from "./files.ts";
import { hugeStart } from "./huge.ts";
import { cutsHugetlb } from "./hugetlb.ts";
import type { Kernel } from "./kernel.ts";
import { mergeVma, splitEnds } from "./mmap.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { HUGE_PAGES, PG_DIRTY, PG_LARGE, PG_LAZYFREE, PG_LOCKED, ZERO_PFN } from "./pages.ts";
import { PTE_DIRTY, PTE_KIND, PTE_PRESENT, PTE_SWAP, PTE_YOUNG, VPN_END } from "./pagetable.ts";
import { pageOut } from "./reclaim.ts";
import { splitHugePage, trySplitFolio } from "./split_folio.ts";
import {
  VM_DONTCOPY,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_LOCKED,
  VM_MIXEDMAP,
  VM_NOHUGEPAGE,
  VM_RAND_READ,
  VM_READ,
  VM_SEQ_READ,
  VM_SHARED,
  VM_WIPEONFORK,
  VM_WRITE,
} from "./vma.ts";
import { zapRange } from "./zap.ts";

/** Advices by the kernel's names, without MADV_: those that the model follows. */
export const ADVICES = [
  "normal",
  "random",
  "sequential",
  "willneed",
  "dontneed",
  "free",
  "remove",
  "cold",
  "pageout",
  "populate_read",
  "populate_write",
  "dontfork",
  "dofork",
  "wipeonfork",
  "keeponfork",
  "hugepage",
  "nohugepage",
] as const;

/** One of {@link ADVICES}. */
export type Advice = typeof ADVICES[number];

const AT_LOCK = site("madvise: taking the mmap lock");
const AT_NOTIFY = site("madvise: notifying");
const AT_VMA = site("madvise: one vma");

/** Advices that only change a vma's flags: set, clear. */
const FLAG_ADVICE: Readonly<Partial<Record<Advice, readonly [number, number]>>> = {
  normal: [0, VM_RAND_READ | VM_SEQ_READ],
  random: [VM_RAND_READ, VM_SEQ_READ],
  sequential: [VM_SEQ_READ, VM_RAND_READ],
  hugepage: [VM_HUGEPAGE, VM_NOHUGEPAGE],
  nohugepage: [VM_NOHUGEPAGE, VM_HUGEPAGE],
  dontfork: [VM_DONTCOPY, 0],
  dofork: [0, VM_DONTCOPY],
  wipeonfork: [VM_WIPEONFORK, 0],
  keeponfork: [0, VM_WIPEONFORK],
};

/**
 * Gives advice on a range: madvise(2). Holes make the answer -ENOMEM, but what lies around them is advised.
 *
 * @param start first page
 * @param pages length
 * @returns 0, -EINVAL, -ENOMEM; -EFAULT where populating fails
 */
export function* madvise(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  pages: number,
  advice: Advice,
): Proc<number> {
  const { sim, locks, vmas } = k, end = start + pages, lock = k.mmapLock(mm);
  if (pages < 0 || start < 0 || end > VPN_END) return -EINVAL;
  if (pages === 0) return 0;
  const alone = FLAG_ADVICE[advice] !== undefined;
  sim.spans.begin(a, k.kindSyscall, start);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_LOCK, start, pages);
  if (alone) yield* locks.lock(a, lock);
  else yield* locks.read(a, lock);
  sim.ret(a);
  let rc = 0, unmapped = false;
  const populating = advice === "populate_read" || advice === "populate_write";
  for (let v = start; v < end && rc === 0;) {
    const vma = vmas.find(mm, v);
    if (vma < 0 || vmas.start[vma] >= end || (populating && vmas.start[vma] > v)) {
      unmapped = true;
      break;
    }
    if (vmas.start[vma] > v) unmapped = true;
    v = Math.max(v, vmas.start[vma]);
    const stop = Math.min(end, vmas.end[vma]);
    sim.call(a, AT_VMA, v, stop, end, unmapped ? 1 : 0);
    rc = yield* adviseVma(k, a, mm, vma, v, stop, advice);
    sim.ret(a);
    v = stop;
  }
  if (rc === 0 && unmapped) rc = -ENOMEM;
  if (alone) k.mmapWriteUnlock(a, mm);
  else locks.readUnlock(a, lock);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return rc;
}

/** Advises the part of a range that one vma covers. */
function* adviseVma(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  start: number,
  last: number,
  advice: Advice,
): Proc<number> {
  const { sim, vmas } = k, flags = vmas.flags[vma], change = FLAG_ADVICE[advice];
  let end = last;
  if (change !== undefined) {
    if (flags & (VM_HUGETLB | VM_MIXEDMAP) && (advice === "hugepage" || advice === "nohugepage")) {
      return -EINVAL;
    }
    if (advice === "wipeonfork" && (flags & VM_SHARED || vmas.isFile(vma))) return -EINVAL;
    const wanted = (flags | change[0]) & ~change[1];
    if (wanted === flags) return 0;
    if (cutsHugetlb(k, mm, start, end)) return -EINVAL;
    yield* k.vmaStartWrite(a, vma);
    if (!(yield* splitEnds(k, a, mm, start, end))) return -ENOMEM;
    const part = vmas.lookup(mm, start);
    vmas.flags[part] = wanted;
    yield* mergeVma(k, a, part);
    return 0;
  }
  switch (advice) {
    case "populate_read":
    case "populate_write": {
      const write = advice === "populate_write";
      if (!(flags & (write ? VM_WRITE : VM_READ))) return -EINVAL;
      const rc = yield* populate(k, a, mm, start, end, write);
      return rc === 0 || rc === -ENOMEM ? rc : -EFAULT;
    }
    case "dontneed":
    case "free": {
      if (flags & VM_LOCKED) return -EINVAL;
      if (flags & VM_HUGETLB) {
        // Whole pages only; the end is rounded down (madvise_dontneed_free_valid_vma).
        if (advice === "free" || hugeStart(start) !== start) return -EINVAL;
        end = hugeStart(end);
        if (start === end) return 0;
      }
      if (advice === "free" && (vmas.isFile(vma) || flags & VM_SHARED)) return -EINVAL;
      const event: Invalidation = {
        mm,
        start,
        end,
        event: MMU_NOTIFY_CLEAR,
        owner: 0,
        blockable: true,
        seq: 0,
      };
      sim.call(a, AT_NOTIFY, start, end);
      yield* k.notifiers.start(a, event);
      sim.ret(a);
      sim.call(a, AT_VMA, start, end);
      if (advice === "dontneed") yield* zapRange(k, a, mm, start, end);
      else yield* markLazyFree(k, a, mm, start, end);
      sim.ret(a);
      k.notifiers.end(a, event);
      return 0;
    }
    case "cold":
      return flags & (VM_LOCKED | VM_HUGETLB) ? -EINVAL : 0;
    case "remove": {
      if (flags & VM_LOCKED || !vmas.isFile(vma)) return -EINVAL;
      if ((flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE)) return -EACCES;
      const index = vmas.pgoff[vma] + (start - vmas.start[vma]);
      return yield* punchHole(k, a, vmas.inode[vma], index, end - start);
    }
    case "pageout":
      if (flags & (VM_LOCKED | VM_HUGETLB)) return -EINVAL;
      yield* pageOut(k, a, mm, start, end);
      return 0;
    default:
      return 0;
  }
}

/** Marks the pages that this vma alone maps as droppable, and frees swap: madvise_free_pte_range(). */
function* markLazyFree(k: Kernel, a: number, mm: number, start: number, end: number): Proc {
  const { tables, pages } = k, root = k.root[mm];
  for (let v = tables.nextLive(root, start, end); v < end; v++, v = tables.nextLive(root, v, end)) {
    const huge = tables.huge(root, v);
    if (huge >= 0) {
      const whole = Math.min(end, v - (v & 511) + HUGE_PAGES) - v === HUGE_PAGES;
      if (!whole && (yield* splitHugePage(k, a, mm, v))) v--;
      else {
        if (whole) tables.kind[huge] &= ~(PTE_DIRTY | PTE_YOUNG);
        v = v - (v & 511) + HUGE_PAGES - 1;
      }
      continue;
    }
    const e = tables.entry(root, v), kind = tables.kind[e] & PTE_KIND, pfn = tables.pfn[e];
    if (kind === PTE_SWAP) {
      tables.clear(e);
      k.rssSwap[mm]--;
      k.swap.put(k, a, pfn);
    } else if (kind === PTE_PRESENT && pfn !== ZERO_PFN && pages.inode[pfn] === 0) {
      if (pages.flags[pfn] & PG_LARGE) {
        if (pages.mapcount[pages.head(pfn)] <= 1 && (yield* trySplitFolio(k, a, pfn))) v--;
        continue;
      }
      if (
        pages.mapcount[pfn] !== 1 || pages.flags[pfn] & PG_LOCKED ||
        pages.isZoneDevice(pfn)
      ) continue;
      if (pages.swap[pfn] !== 0 && !k.swap.tryRemove(k, a, pfn)) continue;
      tables.kind[e] &= ~(PTE_DIRTY | PTE_YOUNG);
      pages.flags[pfn] = (pages.flags[pfn] | PG_LAZYFREE) & ~PG_DIRTY;
      k.watch?.pageCleaned(pfn);
    }
  }
  k.flushTlb(a, mm, start, end);
}
