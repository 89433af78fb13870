/**
 * Splitting a large folio: 512 pages are made of it.
 *
 * Whoever splits has the folio locked and one reference. Every mapping becomes a migration entry, by the reverse map, so
 * that whoever touches one of the pages waits for the lock. Then the references are looked at: if they are not those
 * that are expected, somebody holds the folio, and all is mapped again as it was, by small entries. Else each page
 * becomes one of its own, locked and held, and is mapped again; those of zeros become mappings of the zero page, and
 * those that nobody maps any more go with the last reference.
 *
 * Nothing but the folio's lock and reference is needed: a fork, an unmap, a change of protection, a move or a fault of
 * any process that shares it may come between any two of these steps, and so may an exit.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import {
  clearOf,
  type FolioPlace,
  folioPlaces,
  hugeStart,
  splitEntry,
  splitHugeEntry,
  vmaOfPlace,
} from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { isMapped, waitTables } from "./migrate_huge.ts";
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LARGE, PG_LOCKED, ZERO_PFN } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WAS_YOUNG,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";
import { VM_ACCESS_FLAGS, VM_LOCKED } from "./vma.ts";
import { LOCK_RMAP } from "./watch.ts";

const AT_PAGE = site("splitting what is mapped huge");
const AT_PLACE = site("splitting a folio: unmapping a place");
const AT_FREEZE = site("splitting a folio: unmapped, references not yet looked at");
const AT_SPLIT = site("splitting a folio: references looked at, not yet mapped again");
const AT_REMAP = site("splitting a folio: mapping a place again");
const AT_UNLOCK = site("splitting a folio: mapped again, pages still locked");

/**
 * Makes 512 pages of a large folio: split_folio().
 *
 * The caller has a reference and the lock. Pages of zeros become mappings of the zero page; pages that nobody maps are
 * freed.
 *
 * @param pfn a page of the folio; the caller's reference and lock go to its own page
 * @returns false when somebody else holds the folio (-EAGAIN); it then is whole, but no longer mapped by huge entries
 */
export function* splitFolio(k: Kernel, a: number, pfn: number): Proc<boolean> {
  const { sim, pages } = k, first = pages.head(pfn);
  if (!canSplit(k, first)) return false;
  k.watch?.lockWanted(a, LOCK_RMAP);
  k.watch?.lockTaken(a, LOCK_RMAP, false);
  const places = folioPlaces(k, first);
  for (const [i, at] of places.entries()) {
    if (!isMapped(k, first)) break;
    sim.call(a, AT_PLACE, pfn, at.vma, at.start, places.length - i);
    yield* unmapPlace(k, a, first, at);
    sim.ret(a);
  }
  if (sim.due(a)) {
    sim.mark(a, AT_FREEZE, pfn);
    yield DUE;
  }
  const split = pages.refcount[first] === 1;
  if (split) makePages(k, first);
  if (sim.due(a)) {
    sim.mark(a, AT_SPLIT, pfn, split ? 1 : 0);
    yield DUE;
  }
  sim.call(a, AT_REMAP, pfn, split ? 1 : 0);
  yield* remap(k, a, first, split);
  sim.ret(a);
  k.watch?.lockDropped(a, LOCK_RMAP);
  if (!split) return false;
  if (sim.due(a)) {
    sim.mark(a, AT_UNLOCK, pfn);
    yield DUE;
  }
  for (let p = first; p < first + HUGE_PAGES; p++) {
    if (p === pfn) continue;
    pages.unlock(p);
    pages.put(a, p);
  }
  return true;
}

/** Whether the folio's mappings and the caller account for its references: can_split_folio(). */
function canSplit(k: Kernel, first: number): boolean {
  const { tables, pages } = k;
  let mappings = 0, huge = 0;
  for (const { mm, start, end } of folioPlaces(k, first)) {
    const root = k.root[mm], whole = tables.huge(root, start);
    if (whole >= 0) {
      if (tables.pfn[whole] === first) huge++;
      continue;
    }
    for (let v = start; v < end; v++) {
      const e = tables.entry(root, v);
      if (e >= 0 && (tables.kind[e] & PTE_KIND) === PTE_PRESENT && isOf(first, tables.pfn[e])) mappings++;
    }
  }
  // A huge entry needs a table to be replaced by. The kernel has set one aside for each.
  return pages.refcount[first] === mappings + huge + 1 && huge <= tables.spare;
}

/** Whether a frame belongs to the folio that begins at `first`. */
function isOf(first: number, pfn: number): boolean {
  return pfn >= first && pfn < first + HUGE_PAGES;
}

/** Puts migration entries in where a place maps the folio: try_to_migrate_one() with TTU_SPLIT_HUGE_PMD. */
function* unmapPlace(k: Kernel, a: number, first: number, at: FolioPlace): Proc {
  const { sim, tables } = k, { mm, start, end } = at, whole = hugeStart(start);
  // The subscribers hear of a huge entry wherever there could be one: split_huge_pmd_address().
  if (tables.populated(k.root[mm], start)) {
    const event = clearOf(mm, whole, whole + HUGE_PAGES);
    sim.call(a, AT_PLACE, first, at.vma, start, end);
    yield* k.notifiers.start(a, event);
    sim.ret(a);
    const e = tables.huge(k.root[mm], start);
    if (e >= 0 && tables.pfn[e] === first && tables.spare > 0) {
      splitEntry(k, a, mm, start);
      unmapPages(k, mm, first, whole, whole + HUGE_PAGES);
    }
    k.flushTlb(a, mm, whole, whole + HUGE_PAGES);
    k.notifiers.end(a, event);
  }
  const event = clearOf(mm, start, end);
  sim.call(a, AT_PLACE, first, at.vma, start, end);
  yield* k.notifiers.start(a, event);
  yield* waitTables(k, a, mm, start, end);
  sim.ret(a);
  if (unmapPages(k, mm, first, start, end) > 0) k.flushTlb(a, mm, start, end);
  k.notifiers.end(a, event);
}

/** Small entries of the folio into migration entries. Returns how many. */
function unmapPages(k: Kernel, mm: number, first: number, start: number, end: number): number {
  const { tables, pages } = k, root = k.root[mm];
  let n = 0;
  for (let v = start; v < end; v++) {
    const e = tables.entry(root, v), kind = e < 0 ? 0 : tables.kind[e], p = e < 0 ? -1 : tables.pfn[e];
    if ((kind & PTE_KIND) !== PTE_PRESENT || !isOf(first, p)) continue;
    const exclusive = pages.flags[p] & PG_ANON_EXCLUSIVE;
    // A pinned page must not be shared by a fork that meets its migration entry (folio_try_share_anon_rmap_pte).
    if (exclusive && pages.pins[p] > 0) continue;
    if (kind & PTE_DIRTY) pages.flags[p] |= PG_DIRTY;
    pages.flags[p] &= ~PG_ANON_EXCLUSIVE;
    tables.kind[e] = PTE_MIGRATION | (kind & PTE_WRITE) | (exclusive ? PTE_ANON_EXCLUSIVE : 0) |
      (kind & PTE_YOUNG ? PTE_WAS_YOUNG : 0);
    pages.mapcount[p]--;
    pages.refcount[first]--;
    n++;
  }
  return n;
}

/** Makes a page of each frame, locked and held by us as the folio was: __split_huge_page(). */
function makePages({ pages }: Kernel, first: number): void {
  for (let p = first; p < first + HUGE_PAGES; p++) {
    pages.flags[p] = (pages.flags[p] & ~PG_LARGE) | PG_LOCKED;
    pages.refcount[p] = 1;
    if (p !== first) pages.watch?.pageLocked(p);
  }
}

/** Replaces the migration entries, wherever they are by now: remap_page(). */
function* remap(k: Kernel, a: number, first: number, split: boolean): Proc {
  const { sim, vmas: { anon } } = k;
  let entered = -1;
  while (entered !== anon.entered) {
    entered = anon.entered;
    for (const at of folioPlaces(k, first)) {
      sim.call(a, AT_REMAP, first, at.vma, at.start, at.end);
      yield* waitTables(k, a, at.mm, at.start, at.end);
      sim.ret(a);
      remapPlace(k, first, at, split);
    }
  }
}

/** Replaces the migration entries of one place: remove_migration_pte(), try_to_map_unused_to_zeropage(). */
function remapPlace(k: Kernel, first: number, at: FolioPlace, split: boolean): void {
  const { tables, pages, vmas } = k, root = k.root[at.mm];
  for (let v = at.start; v < at.end; v++) {
    const e = tables.entry(root, v), kind = e < 0 ? 0 : tables.kind[e], p = e < 0 ? -1 : tables.pfn[e];
    if ((kind & PTE_KIND) !== PTE_MIGRATION || !isOf(first, p)) continue;
    const flags = vmas.flags[vmaOfPlace(k, at, v)], none = flags & VM_ACCESS_FLAGS ? 0 : PTE_PROTNONE;
    if (split && !(flags & VM_LOCKED) && pages.isZero(p)) {
      tables.set(e, PTE_PRESENT | none, ZERO_PFN);
      k.rssAnon[at.mm]--;
      continue;
    }
    const dirty = pages.flags[p] & PG_DIRTY ? PTE_DIRTY : 0, young = kind & PTE_WAS_YOUNG ? PTE_YOUNG : 0;
    tables.set(e, PTE_PRESENT | (kind & PTE_WRITE) | dirty | young | none, p);
    if (kind & (PTE_ANON_EXCLUSIVE | PTE_WRITE)) pages.flags[p] |= PG_ANON_EXCLUSIVE;
    pages.mapcount[p]++;
    pages.refcount[split ? p : first]++;
  }
}

/**
 * Makes small pages of what is mapped huge at `vpn`: the huge zero page by its entry, any other by its folio.
 *
 * @returns false when the folio is locked or held by somebody
 */
export function* splitHugePage(k: Kernel, a: number, mm: number, vpn: number): Proc<boolean> {
  const { tables, sim } = k, e = tables.huge(k.root[mm], vpn);
  if (e < 0) return true;
  const first = tables.pfn[e];
  sim.call(a, AT_PAGE, mm, vpn, first);
  let split = true;
  if (first === ZERO_PFN) yield* splitHugeEntry(k, a, mm, vpn);
  else split = yield* trySplitFolio(k, a, first);
  sim.ret(a);
  return split;
}

/** Splits the folio of a page if it can be locked and nobody else holds it. */
export function* trySplitFolio(k: Kernel, a: number, pfn: number): Proc<boolean> {
  const { pages } = k;
  pages.get(pfn);
  let split = false;
  if (pages.trylock(pfn)) {
    split = yield* splitFolio(k, a, pfn);
    pages.unlock(pfn);
  }
  pages.put(a, pfn);
  return split;
}
