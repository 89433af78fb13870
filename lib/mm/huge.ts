/**
 * Transparent huge pages of anonymous memory: faults, the huge zero page, copy on write, splitting.
 *
 * A huge page is mapped by one entry where else a leaf table hangs. Each of its 512 frames counts that mapping; the
 * folio's references and lock are those of the first frame. Splitting the entry, as is done here, keeps the folio;
 * split_folio.ts makes 512 pages of it.
 * @module
 */
import { allocHuge } from "./alloc.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import { FAULT_FLAG_WRITE, prepareAnon } from "./fault_anon.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_HUGETLB, PG_LOCKED, PG_LRU, ZERO_PFN } from "./pages.ts";
import { PTE_DIRTY, PTE_NONE, PTE_PRESENT, PTE_WRITE, PTE_YOUNG } from "./pagetable.ts";
import { VM_HUGEPAGE, VM_HUGETLB } from "./vma.ts";

const AT_ALLOCATED = site("huge fault: page allocated, not yet mapped");
const AT_NOTIFY = site("huge page: notifying of a split");

/** The first page of the huge page around `vpn`. */
export function hugeStart(vpn: number): number {
  return vpn - (vpn & (HUGE_PAGES - 1));
}

/** A number of pages rounded up to whole huge pages. */
export function hugeEnd(pages: number): number {
  return Math.ceil(pages / HUGE_PAGES) * HUGE_PAGES;
}

/** Whether a fault at `vpn` may bring in a huge page: hugetlb, or THP in "madvise" mode with a vma that covers it. */
export function mayFaultHuge(k: Kernel, vma: number, vpn: number): boolean {
  const { vmas } = k, start = hugeStart(vpn);
  if (vmas.flags[vma] & VM_HUGETLB) return true;
  return (vmas.flags[vma] & VM_HUGEPAGE) !== 0 && !vmas.isFile(vma) && vmas.start[vma] <= start &&
    vmas.end[vma] >= start + HUGE_PAGES;
}

/** A CLEAR event of a range. */
export function clearOf(mm: number, start: number, end: number): Invalidation {
  return { mm, start, end, event: MMU_NOTIFY_CLEAR, owner: 0, blockable: true, seq: 0 };
}

/**
 * A fault where not even a leaf table is: do_huge_pmd_anonymous_page().
 *
 * @returns a VM_FAULT_ result, or -1 when no 512 aligned frames are free: small pages will do
 */
export function* hugeFault(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  flags: number,
): Proc<number> {
  const { sim, pages, tables, vmas } = k, write = (flags & FAULT_FLAG_WRITE) !== 0, start = hugeStart(vpn);
  if (!prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  let first = ZERO_PFN;
  if (write) {
    first = allocHuge(k, a, vma, start);
    if (first < 0) return -1;
    sim.spend(a, k.phase.clear, HUGE_PAGES * k.cost.pageClearNs);
    for (let p = first; p < first + HUGE_PAGES; p++) pages.clear(p);
  }
  if (sim.due(a)) {
    sim.mark(a, AT_ALLOCATED, vpn, first, flags);
    yield DUE;
  }
  const e = tables.upperAlloc(k.root[mm], vpn) ? tables.upper(k.root[mm], vpn) : -1;
  if (e < 0 || tables.kind[e] !== PTE_NONE) {
    if (first !== ZERO_PFN) pages.put(a, first);
    return e < 0 ? VM_FAULT_OOM : VM_FAULT_DONE;
  }
  sim.spend(a, k.phase.pte, k.cost.pteInstallNs);
  tables.set(e, PTE_PRESENT | PTE_YOUNG | (write ? PTE_WRITE | PTE_DIRTY : 0), first);
  if (first === ZERO_PFN) return VM_FAULT_DONE;
  for (let i = 0; i < HUGE_PAGES; i++) {
    const p = first + i;
    pages.mapping[p] = vmas.anonVma[vma];
    pages.index[p] = vmas.pgoff[vma] + (start + i - vmas.start[vma]);
    pages.mapcount[p] = 1;
    pages.flags[p] |= PG_ANON_EXCLUSIVE | PG_LRU | PG_DIRTY;
  }
  k.rssAnon[mm] += HUGE_PAGES;
  return VM_FAULT_DONE;
}

/** Replaces a huge entry by a table of small ones for the same pages. */
export function splitEntry(k: Kernel, a: number, mm: number, vpn: number): void {
  const { tables, pages } = k, e = tables.huge(k.root[mm], vpn);
  if (e < 0) return;
  const kind = tables.kind[e], first = tables.pfn[e], leaf = tables.replaceHuge(e);
  if (leaf < 0) throw new Error("no page table left to split a huge page into");
  for (let i = 0; i < HUGE_PAGES; i++) tables.set(leaf + i, kind, first === ZERO_PFN ? ZERO_PFN : first + i);
  // One mapping of the whole was one reference; now each page's mapping is.
  if (first !== ZERO_PFN) pages.refcount[first] += HUGE_PAGES - 1;
  k.sim.spend(a, k.phase.pte, k.cost.pteInstallNs);
}

/** Splits the entry of a huge page, if one is there; the subscribers hear of it in any case: __split_huge_pmd(). */
export function* splitHugeEntry(k: Kernel, a: number, mm: number, vpn: number): Proc {
  const { sim } = k, start = hugeStart(vpn), event = clearOf(mm, start, start + HUGE_PAGES);
  sim.call(a, AT_NOTIFY, mm, vpn);
  yield* k.notifiers.start(a, event);
  sim.ret(a);
  splitEntry(k, a, mm, vpn);
  k.flushTlb(a, mm, start, start + HUGE_PAGES);
  k.notifiers.end(a, event);
}

/**
 * Splits what a cut of a vma at `vpn` would leave half in each: split_huge_pmd_if_needed().
 *
 * The subscribers hear of it wherever the vma could have had a huge page, whether or not one is there.
 */
export function* splitHugeAt(k: Kernel, a: number, mm: number, vma: number, vpn: number): Proc {
  const start = hugeStart(vpn), { vmas, tables } = k;
  if (
    start === vpn || vmas.flags[vma] & VM_HUGETLB || vmas.start[vma] > start ||
    vmas.end[vma] < start + HUGE_PAGES
  ) return;
  if (tables.populated(k.root[mm], vpn)) yield* splitHugeEntry(k, a, mm, vpn);
}

/**
 * A write to a huge page that is mapped read-only: do_huge_pmd_wp_page().
 *
 * @returns true when the entry is writable now; false when it was split, and the fault goes on with a small page
 */
export function* wpHuge(k: Kernel, a: number, mm: number, vma: number, vpn: number): Proc<boolean> {
  const { tables, pages, vmas, sim } = k, e = tables.huge(k.root[mm], vpn), first = tables.pfn[e];
  if (first !== ZERO_PFN) {
    let own = (pages.flags[first] & PG_ANON_EXCLUSIVE) !== 0;
    if (!own && pages.refcount[first] === 1 && !(pages.flags[first] & PG_LOCKED)) {
      own = true;
      for (let p = first; p < first + HUGE_PAGES; p++) {
        pages.flags[p] |= PG_ANON_EXCLUSIVE;
        pages.mapping[p] = vmas.anonVma[vma];
      }
    }
    if (own) {
      tables.kind[e] |= PTE_WRITE | PTE_DIRTY | PTE_YOUNG;
      return true;
    }
  }
  sim.call(a, AT_NOTIFY, mm, vpn);
  yield* splitHugeEntry(k, a, mm, vpn);
  sim.ret(a);
  return false;
}

/** Drops a whole huge page from an address space: zap_huge_pmd(). */
export function zapHuge(k: Kernel, a: number, mm: number, e: number): void {
  const { tables, pages } = k, first = tables.pfn[e];
  tables.clear(e);
  if (first === ZERO_PFN) return;
  for (let p = first; p < first + HUGE_PAGES; p++) pages.mapcount[p]--;
  if (!(pages.flags[first] & PG_HUGETLB)) k.rssAnon[mm] -= HUGE_PAGES;
  pages.put(a, first);
}

/**
 * Shares a huge page with a child: copy_huge_pmd().
 *
 * @returns false when it is pinned, or no table is left for it: the entry then must be split and copied page by page
 */
export function copyHuge(k: Kernel, child: number, vpn: number, e: number): boolean {
  const { tables, pages } = k, first = tables.pfn[e];
  if (!tables.upperAlloc(k.root[child], vpn)) return false;
  if (first !== ZERO_PFN) {
    for (let p = first; p < first + HUGE_PAGES; p++) if (pages.pins[p] > 0) return false;
    for (let p = first; p < first + HUGE_PAGES; p++) {
      pages.flags[p] &= ~PG_ANON_EXCLUSIVE;
      pages.mapcount[p]++;
    }
    pages.refcount[first]++;
    tables.kind[e] &= ~PTE_WRITE;
    if (!(pages.flags[first] & PG_HUGETLB)) k.rssAnon[child] += HUGE_PAGES;
  }
  tables.set(tables.upper(k.root[child], vpn), tables.kind[e] & ~PTE_YOUNG, first);
  return true;
}

/** Where a vma may map pages of a large folio. */
export interface FolioPlace {
  /** Address space. */
  readonly mm: number;
  /** Row of the vma. */
  readonly vma: number;
  /** First virtual page at which it may map one. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
}

/** The vmas that may map any of a folio's pages, with the part that each maps, in the order of a walk. */
export function folioPlaces({ pages, vmas }: Kernel, first: number): FolioPlace[] {
  return vmas.anon.placesOf(pages.mapping[first], pages.index[first], HUGE_PAGES);
}

/** The vma that has page `vpn` of a place now, which may have been cut, joined or moved since; -1 for none. */
export function vmaOfPlace({ vmas }: Kernel, { mm, vma }: FolioPlace, vpn: number): number {
  const stands = vmas.mm[vma] === mm && vmas.start[vma] <= vpn && vpn < vmas.end[vma];
  return stands ? vma : vmas.lookup(mm, vpn);
}
