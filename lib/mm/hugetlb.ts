/**
 * Hugetlb memory: 2 MiB pages that are never split, anonymous and private.
 * @module
 */
import { allocHuge } from "./alloc.ts";
import { type Proc, site } from "../sim/sim.ts";
import { transferNs } from "../profiles/transfer.ts";
import { PAGE_SIZE } from "../units.ts";
import { ENOMEM, VM_FAULT_DONE, VM_FAULT_RETRY, VM_FAULT_SIGBUS } from "./errno.ts";
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE, prepareAnon } from "./fault_anon.ts";
import { hugeStart } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_HUGETLB, PG_LOCKED } from "./pages.ts";
import { PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, PTE_YOUNG } from "./pagetable.ts";
import { VM_HUGETLB } from "./vma.ts";

const AT_NOTIFY = site("hugetlb: notifying of a copy");

/** Takes 512 aligned frames from the pool of huge pages, cleared. Returns the first, or -1 when the pool is empty. */
function takeHugetlb(k: Kernel, a: number, vma: number, vpn: number): number {
  const { pages } = k, first = allocHuge(k, a, vma, hugeStart(vpn));
  if (first < 0) return -1;
  for (let p = first; p < first + HUGE_PAGES; p++) {
    pages.flags[p] |= PG_HUGETLB | PG_DIRTY;
    pages.clear(p);
  }
  return first;
}

function mapHugetlb(k: Kernel, vma: number, vpn: number, e: number, first: number, write: boolean): void {
  const { pages, vmas, tables } = k, start = hugeStart(vpn);
  for (let i = 0; i < HUGE_PAGES; i++) {
    pages.mapping[first + i] = vmas.anonVma[vma];
    pages.index[first + i] = vmas.pgoff[vma] + (start + i - vmas.start[vma]);
    pages.mapcount[first + i] = 1;
    pages.flags[first + i] |= PG_ANON_EXCLUSIVE;
  }
  tables.set(e, PTE_PRESENT | PTE_YOUNG | (write ? PTE_WRITE | PTE_DIRTY : 0), first);
}

/**
 * A fault of hugetlb memory: hugetlb_fault(). A read brings a page in too, read-only.
 *
 * @param e the entry under which a leaf table would hang
 * @returns a VM_FAULT_ result; SIGBUS when the pool is empty
 */
export function* hugetlbFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  e: number,
  flags: number,
): Proc<number> {
  const { tables, pages, sim, vmas } = k, write = (flags & FAULT_FLAG_WRITE) !== 0, kind = tables.kind[e];
  if (!prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  if (kind === PTE_NONE) {
    const first = takeHugetlb(k, a, vma, vpn);
    if (first < 0) return VM_FAULT_SIGBUS;
    sim.spend(a, k.phase.clear, HUGE_PAGES * k.cost.pageClearNs);
    mapHugetlb(k, vma, vpn, e, first, write);
    return VM_FAULT_DONE;
  }
  // For a pin the page becomes this process's own, but not writable: hugetlb_wp() with FAULT_FLAG_UNSHARE.
  const unshare = (flags & FAULT_FLAG_UNSHARE) !== 0;
  if (!(write || unshare) || kind & PTE_WRITE) return VM_FAULT_DONE;
  const old = tables.pfn[e];
  if (
    pages.flags[old] & PG_ANON_EXCLUSIVE || (pages.mapcount[old] === 1 && !(pages.flags[old] & PG_LOCKED))
  ) {
    for (let p = old; p < old + HUGE_PAGES; p++) {
      pages.flags[p] |= PG_ANON_EXCLUSIVE;
      pages.mapping[p] = vmas.anonVma[vma];
    }
    if (!unshare) tables.kind[e] = kind | PTE_WRITE | PTE_DIRTY | PTE_YOUNG;
    return VM_FAULT_DONE;
  }
  const first = takeHugetlb(k, a, vma, vpn), start = hugeStart(vpn);
  if (first < 0) return VM_FAULT_SIGBUS;
  sim.spend(a, k.phase.copy, transferNs(HUGE_PAGES * PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
  for (let i = 0; i < HUGE_PAGES; i++) pages.copy(first + i, old + i);
  pages.get(old);
  const event: Invalidation = {
    mm,
    start,
    end: start + HUGE_PAGES,
    event: MMU_NOTIFY_CLEAR,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  sim.call(a, AT_NOTIFY, vpn, first, old);
  yield* k.notifiers.start(a, event);
  sim.ret(a);
  if (tables.pfn[e] === old && tables.kind[e] !== PTE_NONE && !(tables.kind[e] & PTE_WRITE)) {
    mapHugetlb(k, vma, vpn, e, first, !unshare);
    k.flushTlb(a, mm, start, start + HUGE_PAGES);
    for (let p = old; p < old + HUGE_PAGES; p++) pages.mapcount[p]--;
    pages.put(a, old);
  } else pages.put(a, first);
  pages.put(a, old);
  k.notifiers.end(a, event);
  return VM_FAULT_DONE;
}

/**
 * Gives a forked child a copy of a pinned page of its own: what copy_hugetlb_page_range() does where it cannot be shared.
 *
 * @param copy the child's vma
 * @param e the parent's entry, which stays as it is
 * @returns 0, or -ENOMEM when the pool or the tables are used up
 */
export function copyHugetlb(k: Kernel, a: number, copy: number, vpn: number, e: number): number {
  const { tables, pages, vmas, sim } = k, root = k.root[vmas.mm[copy]], old = tables.pfn[e];
  const first = tables.upperAlloc(root, vpn) ? takeHugetlb(k, a, copy, vpn) : -1;
  if (first < 0) return -ENOMEM;
  sim.spend(a, k.phase.copy, transferNs(HUGE_PAGES * PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
  for (let i = 0; i < HUGE_PAGES; i++) pages.copy(first + i, old + i);
  mapHugetlb(k, copy, vpn, tables.upper(root, vpn), first, (tables.kind[e] & PTE_WRITE) !== 0);
  return 0;
}

/** Whether an end of a range would cut a page of a hugetlb vma in two: the kernel's may_split() refuses that. */
export function cutsHugetlb(k: Kernel, mm: number, start: number, end: number): boolean {
  const { vmas } = k;
  return [start, end].some((at) => {
    const vma = vmas.lookup(mm, at);
    return vma >= 0 && vmas.start[vma] !== at && (vmas.flags[vma] & VM_HUGETLB) !== 0 && hugeStart(at) !== at;
  });
}
