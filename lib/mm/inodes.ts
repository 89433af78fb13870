/**
 * Inodes and their page caches.
 * @module
 */
import { allocPage } from "./alloc.ts";
import type { Sim } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { PG_DIRTY, PG_LRU } from "./pages.ts";
import { PageTables, PTE_NONE, PTE_PRESENT, PTE_SWAP, VPN_END } from "./pagetable.ts";

/** Inodes and their page caches. Number 0 is none: anonymous private memory. */
export class Inodes {
  /** Length in pages. */
  readonly pages: Float64Array;
  /** Vmas that map the inode, and open descriptors. */
  readonly users: Uint32Array;
  private readonly root: Uint32Array;
  private readonly cache: PageTables;

  /**
   * Makes the inodes of a machine, none in use.
   *
   * @param sim the machine's contract
   * @param capacity most inodes
   * @param tables most tables of all page caches
   */
  constructor(sim: Sim, capacity: number, tables: number) {
    this.pages = sim.state.f64("inode.pages", capacity + 1);
    this.users = sim.state.u32("inode.users", capacity + 1);
    this.root = sim.state.u32("inode.root", capacity + 1);
    this.cache = new PageTables(sim.state, "pageCache", tables);
  }

  /** Makes an inode of a length, with one user. Returns its number, or -1 when there is no room for another. */
  make(pages: number): number {
    let inode = 1;
    while (inode < this.users.length && this.users[inode] !== 0) inode++;
    const root = inode === this.users.length ? -1 : this.cache.tryNewRoot();
    if (root < 0) return -1;
    this.users[inode] = 1;
    this.pages[inode] = pages;
    this.root[inode] = root;
    return inode;
  }

  /** Another vma or descriptor uses the inode. */
  get(inode: number): void {
    this.users[inode]++;
  }

  /** One user less; the last one drops every page of the cache: iput(). */
  put(k: Kernel, a: number, inode: number): void {
    if (--this.users[inode] > 0) return;
    this.drop(k, a, inode, 0, VPN_END);
    this.cache.freeRange(this.root[inode], 0, VPN_END, 0, VPN_END);
    this.cache.freeRoot(this.root[inode]);
    this.root[inode] = this.pages[inode] = 0;
  }

  /** The frame that the cache has for a page of the file, or -1. */
  lookup(inode: number, index: number): number {
    const e = this.cache.entry(this.root[inode], index);
    return e < 0 || this.cache.kind[e] !== PTE_PRESENT ? -1 : this.cache.pfn[e];
  }

  /** Whether a page of the file is in swap. */
  isSwapped(inode: number, index: number): boolean {
    const e = this.cache.entry(this.root[inode], index);
    return e >= 0 && this.cache.kind[e] === PTE_SWAP;
  }

  /** Writes a locked, unmapped page of a file to swap and takes it out of the cache: shmem_writepage(). */
  swapOut(k: Kernel, a: number, pfn: number): boolean {
    const { pages, swap } = k, e = this.cache.entry(this.root[pages.inode[pfn]], pages.index[pfn]);
    const slot = swap.add(k, pfn);
    if (slot < 0) return false;
    swap.users[slot]++;
    swap.writeBack(k, pfn);
    swap.remove(k, a, pfn);
    this.cache.set(e, PTE_SWAP, slot);
    pages.inode[pfn] = 0;
    pages.put(a, pfn);
    return true;
  }

  /**
   * The frame of a page of the file, made of zeros if there is none: shmem_get_folio(). -1 when no page is free.
   *
   * @param vma the vma that faults at `vpn`, whose memory policy then decides on the node
   */
  getPage(k: Kernel, a: number, inode: number, index: number, vma = -1, vpn = 0): number {
    const known = this.lookup(inode, index);
    if (known >= 0) return known;
    const { pages, sim } = k, leaf = this.cache.leafAlloc(this.root[inode], index);
    const pfn = leaf < 0 ? -1 : allocPage(k, a, vma, vpn);
    if (pfn < 0) return -1;
    sim.spend(a, k.phase.clear, k.cost.pageClearNs);
    const e = leaf + (index & 511);
    if (this.cache.kind[e] === PTE_SWAP) {
      k.swap.read(k, a, this.cache.pfn[e], pfn, false);
      k.swap.put(k, a, this.cache.pfn[e]);
    } else pages.clear(pfn);
    pages.inode[pfn] = inode;
    pages.index[pfn] = index;
    pages.flags[pfn] |= PG_LRU | PG_DIRTY;
    this.cache.set(e, PTE_PRESENT, pfn);
    return pfn;
  }

  /**
   * Gives a page's place in the cache to another frame, and the cache's reference with it: __folio_migrate_mapping().
   *
   * The old frame still says whose it was, so that its migration entries can be found.
   */
  replace(k: Kernel, from: number, to: number): void {
    const { pages } = k, inode = pages.inode[from], index = pages.index[from];
    this.cache.pfn[this.cache.entry(this.root[inode], index)] = to;
    pages.inode[to] = inode;
    pages.index[to] = index;
    pages.refcount[to]++;
    pages.refcount[from]--;
  }

  /** The swap slots that the page caches name, one for each page that is out. */
  swappedSlots(): number[] {
    const { cache } = this, slots: number[] = [];
    this.users.forEach((users, inode) => {
      if (users === 0) return;
      const root = this.root[inode];
      for (let i = cache.nextLive(root, 0, VPN_END); i < VPN_END; i = cache.nextLive(root, i + 1, VPN_END)) {
        const e = cache.entry(root, i);
        if (cache.kind[e] === PTE_SWAP) slots.push(cache.pfn[e]);
      }
    });
    return slots;
  }

  /** Takes the pages of a range out of the cache: shmem_undo_range(). */
  drop(k: Kernel, a: number, inode: number, start: number, end: number): void {
    const { cache } = this, root = this.root[inode];
    for (let i = cache.nextLive(root, start, end); i < end; i = cache.nextLive(root, i + 1, end)) {
      const e = cache.entry(root, i);
      if (cache.kind[e] === PTE_NONE) continue;
      const pfn = cache.pfn[e], swapped = cache.kind[e] === PTE_SWAP;
      cache.clear(e);
      if (swapped) {
        k.swap.put(k, a, pfn);
        continue;
      }
      k.pages.inode[pfn] = 0;
      k.pages.put(a, pfn);
    }
  }
}
