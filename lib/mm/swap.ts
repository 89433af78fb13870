/**
 * Swap: slots with their users, the swap cache, and the way back into memory.
 *
 * A slot is counted by the entries that name it. A page in the swap cache is that slot's content in memory; the cache
 * holds a reference to it. The way out is in reclaim.ts, which also says what a swap device is here.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { transferNs } from "../profiles/transfer.ts";
import { type Proc, type Sim, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import { VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import { FAULT_FLAG_WRITE, lockOrRetry, prepareAnon } from "./fault_anon.ts";
import type { Kernel } from "./kernel.ts";
import { PG_ANON_EXCLUSIVE, PG_LOCKED, PG_LRU } from "./pages.ts";
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

const AT_LOCK = site("swap-in: taking the page lock");

/** The slots of a swap device. */
export class SwapSlots {
  /** Entries that name each slot. */
  readonly users: Uint16Array;
  /** Page in the swap cache by slot, plus 1; 0 for none. */
  private readonly cached: Uint32Array;
  private readonly word: Uint32Array;
  /** [0] a slot below which all are in use, [1] slots in use */
  private readonly count: Uint32Array;
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
    this.count = sim.state.u32("swap.count", 2);
  }

  /** Slots in use: named by an entry, or of a page in the swap cache. */
  get used(): number {
    return this.count[1];
  }

  /** Whether no slot is free. */
  isFull(): boolean {
    return this.count[1] === this.users.length;
  }

  /** Whether more than half of the slots are in use, so that pages in memory had better not keep theirs: vm_swap_full(). */
  isScarce(): boolean {
    return 2 * this.count[1] > this.users.length;
  }

  /** Takes the lowest free slot for a page and puts the page into the swap cache: add_to_swap(). -1 when swap is full. */
  add(k: Kernel, pfn: number): number {
    if (this.isFull()) return -1;
    let slot = this.count[0];
    while (this.users[slot] !== 0 || this.cached[slot] !== 0) slot++;
    this.count[0] = slot + 1;
    this.count[1]++;
    this.enter(k, slot, pfn);
    return slot;
  }

  /** Gives a slot back that no entry names any more and that has no page in the swap cache; others stay. */
  private free(slot: number): void {
    if (this.users[slot] !== 0 || this.cached[slot] !== 0) return;
    this.count[1]--;
    if (slot < this.count[0]) this.count[0] = slot;
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

  /** Fills a page from a slot: swap_read_folio(). `enter` keeps it in the swap cache. */
  read(k: Kernel, a: number, slot: number, pfn: number, enter: boolean): void {
    const { word } = k.pages, { words } = this, { sim, cost, phase } = k;
    for (let i = 0; i < words; i++) word[pfn * words + i] = this.word[slot * words + i];
    if (enter) this.enter(k, slot, pfn);
    sim.spend(a, phase.copy, transferNs(PAGE_SIZE, 0, cost.copyBytesPerSecond));
    sim.counters.values[k.pswpin]++;
  }

  /** Gives a page's place in the swap cache to another frame, and the cache's reference with it. */
  replace(k: Kernel, from: number, to: number): void {
    const { pages } = k;
    this.cached[pages.swap[from] - 1] = to + 1;
    pages.swap[to] = pages.swap[from];
    pages.swap[from] = 0;
    pages.refcount[to]++;
    pages.refcount[from]--;
  }

  /** Takes a page out of the swap cache, and its reference with it. */
  remove(k: Kernel, a: number, pfn: number): void {
    const slot = k.pages.swap[pfn] - 1;
    this.cached[slot] = 0;
    k.pages.swap[pfn] = 0;
    this.free(slot);
    k.pages.put(a, pfn);
  }

  /** Takes a page out of the swap cache if no entry names its slot: folio_free_swap(). */
  tryRemove(k: Kernel, a: number, pfn: number): boolean {
    if (k.pages.swap[pfn] === 0 || this.users[k.pages.swap[pfn] - 1] !== 0) return false;
    this.remove(k, a, pfn);
    return true;
  }

  /** One entry less names a slot; a page in the swap cache stays there. */
  release(slot: number): void {
    this.users[slot]--;
    this.free(slot);
  }

  /** One entry less names a slot; a page that only the cache still has goes too: free_swap_and_cache(). */
  put(k: Kernel, a: number, slot: number): void {
    this.release(slot);
    const pfn = this.lookup(slot);
    if (this.users[slot] > 0 || pfn < 0 || k.pages.mapcount[pfn] > 0 || k.pages.flags[pfn] & PG_LOCKED) {
      return;
    }
    this.remove(k, a, pfn);
  }
}

/**
 * A touch of a page that was swapped out: do_swap_page().
 *
 * A slot that one entry names is read straight into a page of its own; a shared one goes through the swap cache.
 *
 * @returns VM_FAULT_DONE; the caller looks again, since a write may still have to copy. VM_FAULT_RETRY as
 * {@link lockOrRetry} has it
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
  let pfn = swap.lookup(slot);
  const cached = pfn >= 0 || swap.users[slot] !== 1;
  if (pfn >= 0) pages.refcount[pfn]++;
  else {
    pfn = allocPage(k, a, vma, vpn);
    if (pfn < 0) return VM_FAULT_OOM;
    if (cached) swap.read(k, a, slot, pfn, true);
  }
  sim.call(a, AT_LOCK, vpn, pfn, slot, cached ? 1 : 0);
  if (!(yield* lockOrRetry(k, a, mm, pfn, flags))) {
    sim.ret(a);
    pages.put(a, pfn);
    return VM_FAULT_RETRY;
  }
  yield* k.waitPtl(a, leaf);
  sim.ret(a);
  // While we waited the slot may have got other content: by its page in the swap cache, or by its only entry, it is known.
  const same = cached ? swap.lookup(slot) === pfn : swap.lookup(slot) < 0 && swap.users[slot] === 1;
  if ((tables.kind[e] & PTE_KIND) === PTE_SWAP && tables.pfn[e] === slot && same) {
    if (!cached) swap.read(k, a, slot, pfn, false);
    const exclusive = !cached || (tables.kind[e] & PTE_ANON_EXCLUSIVE) !== 0,
      write = (flags & FAULT_FLAG_WRITE) !== 0;
    swap.release(slot);
    pages.flags[pfn] |= PG_LRU;
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
