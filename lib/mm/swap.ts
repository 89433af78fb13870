/**
 * Swap: slots with their users, the swap cache, page-out and the way back.
 *
 * A slot is counted by the entries that name it. A page in the swap cache is that slot's content in memory; the cache
 * holds a reference to it. Write-back is done when it is asked for: there is no page under write-back at rest.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import { FAULT_FLAG_WRITE, prepareAnon } from "./fault_anon.ts";
import { trySplitFolio } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LARGE, PG_LAZYFREE, PG_LOCKED, PG_LRU, ZERO_PFN } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_PRESENT,
  PTE_SWAP,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";
import { VM_LOCKED, VM_WRITE } from "./vma.ts";

const AT_NOTIFY = site("page-out: notifying");
const AT_PAGE = site("page-out: one page");
const AT_ISOLATED = site("page-out: isolated, not yet locked");
const AT_LOCK = site("swap-in: taking the page lock");

/** The slots of a swap device. */
export class SwapSlots {
  /** Entries that name each slot. */
  readonly users: Uint16Array;
  /** Page in the swap cache by slot, plus 1; 0 for none. */
  private readonly cached: Uint32Array;
  private readonly word: Uint32Array;
  private readonly words: number;

  /**
   * Makes the slots of a machine, none in use.
   *
   * @param sim the machine's contract
   * @param slots how many pages fit
   * @param wordsPerPage modelled words of each
   */
  constructor(sim: Sim, slots: number, wordsPerPage: number) {
    this.words = wordsPerPage;
    this.users = sim.state.u16("swap.users", slots);
    this.cached = sim.state.u32("swap.cached", slots);
    this.word = sim.state.u32("swap.word", slots * wordsPerPage);
  }

  /** Takes the lowest free slot for a page and puts the page into the swap cache: add_to_swap(). -1 when swap is full. */
  add(k: Kernel, pfn: number): number {
    let slot = 0;
    while (slot < this.users.length && (this.users[slot] !== 0 || this.cached[slot] !== 0)) slot++;
    if (slot === this.users.length) return -1;
    this.enter(k, slot, pfn);
    return slot;
  }

  /** Puts a page into the swap cache under a slot. */
  private enter(k: Kernel, slot: number, pfn: number): void {
    this.cached[slot] = pfn + 1;
    k.pages.swap[pfn] = slot + 1;
    k.pages.refcount[pfn]++;
  }

  /** The page that the swap cache has for a slot, or -1. */
  lookup(slot: number): number {
    return this.cached[slot] - 1;
  }

  /** Writes a page's content to its slot. */
  writeBack(k: Kernel, pfn: number): void {
    const { word } = k.pages, slot = k.pages.swap[pfn] - 1, { words } = this;
    for (let i = 0; i < words; i++) this.word[slot * words + i] = word[pfn * words + i];
  }

  /** Fills a page from a slot; `enter` keeps it in the swap cache. */
  read(k: Kernel, slot: number, pfn: number, enter: boolean): void {
    const { word } = k.pages, { words } = this;
    for (let i = 0; i < words; i++) word[pfn * words + i] = this.word[slot * words + i];
    if (enter) this.enter(k, slot, pfn);
  }

  /** Takes a page out of the swap cache, and its reference with it. */
  remove(k: Kernel, a: number, pfn: number): void {
    this.cached[k.pages.swap[pfn] - 1] = 0;
    k.pages.swap[pfn] = 0;
    k.pages.put(a, pfn);
  }

  /** Takes a page out of the swap cache if no entry names its slot: folio_free_swap(). */
  tryRemove(k: Kernel, a: number, pfn: number): boolean {
    if (k.pages.swap[pfn] === 0 || this.users[k.pages.swap[pfn] - 1] !== 0) return false;
    this.remove(k, a, pfn);
    return true;
  }

  /** One entry less names a slot; a page that only the cache still has goes too: free_swap_and_cache(). */
  put(k: Kernel, a: number, slot: number): void {
    this.users[slot]--;
    const pfn = this.lookup(slot);
    if (this.users[slot] > 0 || pfn < 0 || k.pages.mapcount[pfn] > 0 || k.pages.flags[pfn] & PG_LOCKED) {
      return;
    }
    this.remove(k, a, pfn);
  }
}

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
    // Off its list under the page-table lock (folio_isolate_lru); the page's lock comes later and is only tried.
    pages.flags[pfn] &= ~PG_LRU;
    pages.refcount[pfn]++;
    sim.call(a, AT_PAGE, v, start, end);
    if (sim.due(a)) {
      sim.mark(a, AT_ISOLATED, pfn);
      yield DUE;
    }
    yield* reclaimPage(k, a, pfn);
    sim.ret(a);
  }
}

/** Reclaims one page that is isolated: what shrink_folio_list() does to it. */
function* reclaimPage(k: Kernel, a: number, pfn: number): Proc {
  const { pages, swap, inodes } = k, file = pages.inode[pfn] !== 0;
  if (pages.trylock(pfn)) {
    const lazy = (pages.flags[pfn] & PG_LAZYFREE) !== 0;
    if (file || lazy || pages.swap[pfn] !== 0 || swap.add(k, pfn) >= 0) {
      yield* tryToUnmap(k, a, pfn);
      const expected = 1 + (file ? 1 : 0) + (pages.swap[pfn] !== 0 ? 1 : 0);
      if (pages.mapcount[pfn] === 0 && pages.refcount[pfn] === expected) {
        if (file) inodes.swapOut(k, a, pfn);
        else if (pages.swap[pfn] !== 0) {
          swap.writeBack(k, pfn);
          swap.remove(k, a, pfn);
        }
      }
    }
    pages.unlock(pfn);
  }
  pages.flags[pfn] |= PG_LRU; // back on its list, unless this was the last reference
  pages.put(a, pfn);
}

/** Takes a page out of every page table; anonymous pages leave a swap entry: try_to_unmap(). */
function* tryToUnmap(k: Kernel, a: number, pfn: number): Proc {
  const { sim, pages, tables, vmas } = k;
  for (const { vma, vpn } of k.places(pfn)) {
    if (pages.mapcount[pfn] === 0) return;
    const mm = vmas.mm[vma];
    if (vmas.flags[vma] & VM_LOCKED) return;
    const event: Invalidation = {
      mm,
      start: vpn,
      end: vpn + 1,
      event: MMU_NOTIFY_CLEAR,
      owner: 0,
      blockable: true,
      seq: 0,
    };
    sim.call(a, AT_NOTIFY, pfn, vpn, mm);
    yield* k.notifiers.start(a, event);
    const e = tables.entry(k.root[mm], vpn);
    if (e >= 0) yield* k.waitPtl(a, e - (vpn & 511));
    sim.ret(a);
    if (e >= 0 && (tables.kind[e] & PTE_KIND) === PTE_PRESENT && tables.pfn[e] === pfn) {
      unmapEntry(k, a, mm, e, pfn);
    }
    k.flushTlb(a, mm, vpn, vpn + 1);
    k.notifiers.end(a, event);
  }
}

/** Takes one entry of a page away, unless the page turns out to be wanted: the core of try_to_unmap_one(). */
function unmapEntry(k: Kernel, a: number, mm: number, e: number, pfn: number): void {
  const { pages, tables, swap } = k, kind = tables.kind[e], exclusive = pages.flags[pfn] & PG_ANON_EXCLUSIVE;
  if (pages.flags[pfn] & PG_LAZYFREE) {
    // Written again since MADV_FREE, or held by somebody: it stays, as an ordinary page.
    if (kind & PTE_DIRTY || pages.refcount[pfn] !== 2) {
      pages.flags[pfn] &= ~PG_LAZYFREE;
      return;
    }
    tables.clear(e);
    k.rssAnon[mm]--;
  } else if (pages.inode[pfn] !== 0) {
    if (kind & PTE_DIRTY) pages.flags[pfn] |= PG_DIRTY;
    tables.clear(e);
    k.rssFile[mm]--;
  } else {
    if (exclusive && pages.pins[pfn] > 0) return; // folio_try_share_anon_rmap() refuses
    swap.users[pages.swap[pfn] - 1]++;
    pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
    tables.set(e, PTE_SWAP | (exclusive ? PTE_ANON_EXCLUSIVE : 0), pages.swap[pfn] - 1);
    k.rssAnon[mm]--;
    k.rssSwap[mm]++;
  }
  pages.mapcount[pfn]--;
  pages.put(a, pfn);
}

/**
 * A touch of a page that was swapped out: do_swap_page().
 *
 * A slot that one entry names is read straight into a page of its own; a shared one goes through the swap cache.
 *
 * @returns VM_FAULT_DONE; the caller looks again, since a write may still have to copy
 */
export function* swapIn(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  flags: number,
): Proc<number> {
  const { sim, pages, tables, swap, vmas } = k, leaf = tables.leaf(k.root[mm], vpn), e = leaf + (vpn & 511);
  const slot = tables.pfn[e];
  if (!prepareAnon(k, a, vma, flags)) return VM_FAULT_RETRY;
  let pfn = swap.lookup(slot), fresh = false;
  if (pfn >= 0) pages.refcount[pfn]++;
  else {
    pfn = allocPage(k, a);
    if (pfn < 0) return VM_FAULT_OOM;
    fresh = swap.users[slot] === 1;
    swap.read(k, slot, pfn, !fresh);
    pages.flags[pfn] |= PG_LRU;
  }
  sim.call(a, AT_LOCK, vpn, pfn, slot, fresh ? 1 : 0);
  while (!pages.trylock(pfn)) yield* pages.waitUnlocked(a, pfn);
  yield* k.waitPtl(a, leaf);
  sim.ret(a);
  if ((tables.kind[e] & PTE_KIND) === PTE_SWAP && tables.pfn[e] === slot) {
    const exclusive = fresh || (tables.kind[e] & PTE_ANON_EXCLUSIVE) !== 0,
      write = (flags & FAULT_FLAG_WRITE) !== 0;
    swap.users[slot]--;
    // A writer wants the page alone: out of the swap cache with it, if only the cache and we have it.
    if (pages.swap[pfn] !== 0 && (vmas.flags[vma] & VM_LOCKED || write && pages.refcount[pfn] === 2)) {
      swap.tryRemove(k, a, pfn);
    }
    const alone = exclusive || pages.refcount[pfn] === 1;
    const writable = alone && vmas.flags[vma] & VM_WRITE ? PTE_WRITE | (write ? PTE_DIRTY : 0) : 0;
    if (pages.mapping[pfn] === 0) {
      pages.mapping[pfn] = alone ? vmas.anonVma[vma] : vmas.anon.rootOf(vmas.anonVma[vma]);
      pages.index[pfn] = vmas.pgoff[vma] + (vpn - vmas.start[vma]);
    }
    if (alone) pages.flags[pfn] |= PG_ANON_EXCLUSIVE;
    tables.set(e, PTE_PRESENT | PTE_YOUNG | writable, pfn);
    pages.mapcount[pfn]++;
    pages.refcount[pfn]++;
    k.rssAnon[mm]++;
    k.rssSwap[mm]--;
    k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
  }
  pages.unlock(pfn);
  pages.put(a, pfn);
  return VM_FAULT_DONE;
}
