/**
 * Reclaim: pages that are written to swap or dropped so that their frames can be used for something else.
 *
 * A program asks for it by advice (MADV_PAGEOUT), or it is entered by an allocation that finds no frame free (direct
 * reclaim, see direct_reclaim.ts). Both end in the same shrink_folio_list() of one page.
 *
 * Swap is a device in memory: writing a page to it, and reading it back, is a copy at the rate of a CPU that copies,
 * done when it is asked for. So no page is ever under write-back.
 * @module
 */
import { transferNs } from "../profiles/transfer.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import { trySplitFolio } from "./split_folio.ts";
import type { Kernel } from "./kernel.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LARGE, PG_LAZYFREE, PG_LRU, ZERO_PFN } from "./pages.ts";
import { PTE_ANON_EXCLUSIVE, PTE_DIRTY, PTE_KIND, PTE_PRESENT, PTE_SWAP } from "./pagetable.ts";
import { type RmapWalk, rmapWalk } from "./rmap.ts";
import { VM_LOCKED } from "./vma.ts";

const AT_PAGE = site("page-out: one page");
const AT_ISOLATED = site("reclaim: isolated, not yet locked");
const AT_UNMAP = site("reclaim: taking a page out of the page tables");

/**
 * Reclaims the pages of a range that this vma alone maps: MADV_PAGEOUT, page by page in the order of addresses.
 *
 * Pages that somebody else maps, holds or has locked stay; pages marked by MADV_FREE and clean are dropped.
 */
export function* pageOut(k: Kernel, a: number, mm: number, start: number, end: number): Proc {
  const { sim, tables, pages } = k, root = k.root[mm];
  for (let v = tables.nextLive(root, start, end); v < end; v = tables.nextLive(root, v + 1, end)) {
    const huge = tables.huge(root, v), e = huge >= 0 ? huge : tables.entry(root, v);
    if ((tables.kind[e] & PTE_KIND) !== PTE_PRESENT) continue;
    let pfn = tables.pfn[e];
    if (huge >= 0 && pfn !== ZERO_PFN) pfn += v & 511;
    if (pfn === ZERO_PFN || pages.mapcount[pages.head(pfn)] > 1) {
      if (huge >= 0) v += 511 - (v & 511); // the whole of it stays
      continue;
    }
    if (pages.flags[pfn] & PG_LARGE) {
      sim.call(a, AT_PAGE, v, start, end);
      yield* trySplitFolio(k, a, pfn);
      sim.ret(a);
      v--; // look again: it may be a small page now
      if (pages.flags[pfn] & PG_LARGE) v++;
      continue;
    }
    if (pages.mapcount[pfn] !== 1 || !(pages.flags[pfn] & PG_LRU)) continue;
    sim.call(a, AT_PAGE, v, start, end);
    yield* reclaimPage(k, a, pfn);
    sim.ret(a);
  }
}

/**
 * Isolates one small page that is on its list and reclaims it: folio_isolate_lru(), shrink_folio_list().
 *
 * The page's lock is only tried: whoever has it may wait for what the caller holds. A page that is pinned, held or
 * mapped in locked memory stays.
 *
 * @param pfn a page that is not yet reclaimed by somebody else: PG_LRU is set
 * @returns whether the frame is free now
 */
export function* reclaimPage(k: Kernel, a: number, pfn: number): Proc<boolean> {
  const { sim, pages } = k;
  pages.flags[pfn] &= ~PG_LRU;
  pages.refcount[pfn]++;
  if (sim.due(a)) {
    sim.mark(a, AT_ISOLATED, pfn);
    yield DUE;
  }
  if (pages.trylock(pfn)) {
    sim.call(a, AT_UNMAP, pfn);
    yield* shrinkFolio(k, a, pfn);
    sim.ret(a);
    pages.unlock(pfn);
  }
  pages.flags[pfn] |= PG_LRU; // back on its list, unless this was the last reference
  pages.put(a, pfn);
  return pages.isFree(pfn);
}

/** What shrink_folio_list() does to a page that is isolated and locked. */
function* shrinkFolio(k: Kernel, a: number, pfn: number): Proc {
  const { sim, pages, swap, inodes, cost, phase } = k, file = pages.inode[pfn] !== 0;
  const lazy = (pages.flags[pfn] & PG_LAZYFREE) !== 0;
  if (!file && !lazy && pages.swap[pfn] === 0 && swap.add(k, pfn) < 0) return;
  yield* rmapWalk(k, a, pfn, TO_SWAP);
  sim.spend(a, phase.reclaim, cost.unmapPageNs);
  const expected = 1 + (file ? 1 : 0) + (pages.swap[pfn] !== 0 ? 1 : 0);
  if (pages.mapcount[pfn] !== 0 || pages.refcount[pfn] !== expected) {
    // It keeps its slot, for the next time, as long as there are plenty (folio_free_swap).
    if (swap.isScarce()) swap.tryRemove(k, a, pfn);
    return;
  }
  if (file ? inodes.swapOut(k, a, pfn) : pages.swap[pfn] !== 0) {
    sim.spend(a, phase.copy, transferNs(PAGE_SIZE, 0, cost.copyBytesPerSecond));
    sim.counters.values[k.pswpout]++;
    if (!file) {
      swap.writeBack(k, pfn);
      swap.remove(k, a, pfn);
    }
  }
}

/** Entries of a page into swap entries, or into none: try_to_unmap_one(). */
const TO_SWAP: RmapWalk = {
  clears: true,
  done: (k, pfn, vma) => k.pages.mapcount[pfn] === 0 || (k.vmas.flags[vma] & VM_LOCKED) !== 0,
  visit: (k, a, vma, e, pfn) => unmapEntry(k, a, k.vmas.mm[vma], e, pfn) ? 1 : 0,
};

/** Takes one entry of a page away, unless the page turns out to be wanted. */
function unmapEntry(k: Kernel, a: number, mm: number, e: number, pfn: number): boolean {
  const { pages, tables, swap } = k, kind = tables.kind[e], exclusive = pages.flags[pfn] & PG_ANON_EXCLUSIVE;
  if ((kind & PTE_KIND) !== PTE_PRESENT || tables.pfn[e] !== pfn) return false;
  if (pages.flags[pfn] & PG_LAZYFREE) {
    // Written again since MADV_FREE, or held by somebody: it stays, as an ordinary page.
    if (kind & PTE_DIRTY || pages.refcount[pfn] !== 1 + pages.mapcount[pfn]) {
      pages.flags[pfn] &= ~PG_LAZYFREE;
      return false;
    }
    tables.clear(e);
    k.rssAnon[mm]--;
  } else if (pages.mapping[pfn] === 0) {
    if (kind & PTE_DIRTY) pages.flags[pfn] |= PG_DIRTY;
    tables.clear(e);
    k.rssFile[mm]--;
  } else {
    // folio_try_share_anon_rmap() refuses a pinned page.
    if (pages.swap[pfn] === 0 || (exclusive && pages.pins[pfn] > 0)) return false;
    swap.users[pages.swap[pfn] - 1]++;
    pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
    tables.set(e, PTE_SWAP | (exclusive ? PTE_ANON_EXCLUSIVE : 0), pages.swap[pfn] - 1);
    k.rssAnon[mm]--;
    k.rssSwap[mm]++;
  }
  pages.mapcount[pfn]--;
  pages.put(a, pfn);
  return true;
}
