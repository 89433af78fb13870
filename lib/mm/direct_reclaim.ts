/**
 * Direct reclaim: an allocation that finds no frame free frees some itself, and so may call the notifiers.
 *
 * A hand goes round the frames of a node and gives each page a second chance: one whose entries were used since the hand
 * last came by is passed over and its accessed bits are cleared, the next is reclaimed. The kernel's two LRU lists with
 * their ages are not modelled, nor is kswapd: nothing is freed before the last frame is taken, and there are no
 * watermarks but that one. Large folios are split and then reclaimed page by page. Looking at a page costs nothing;
 * unmapping and copying cost what they cost elsewhere.
 *
 * Who allocates may sleep, and holds no page-table lock. What it does hold must not be needed to free a page: so page
 * locks are only tried here, isolated pages (those of a migration) are not seen, and device memory is never touched. A
 * subscriber that allocates in its callback would enter reclaim again; it is refused, as PF_MEMALLOC says.
 * @module
 */
import { allocPage } from "./alloc.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { trySplitFolio } from "./split_folio.ts";
import type { Kernel } from "./kernel.ts";
import { MAX_NODES } from "./numa.ts";
import { HUGE_PAGES, PG_HUGETLB, PG_LARGE, PG_LAZYFREE, PG_LOCKED, PG_LRU, type Zone } from "./pages.ts";
import { PTE_KIND, PTE_PRESENT, PTE_YOUNG } from "./pagetable.ts";
import { reclaimPage } from "./reclaim.ts";
import { type RmapWalk, rmapWalk } from "./rmap.ts";
import { VM_LOCKED, VM_MIXEDMAP } from "./vma.ts";

/** Pages that one round of direct reclaim frees at most: SWAP_CLUSTER_MAX. */
export const SWAP_CLUSTER_MAX = 32;
/** Rounds that an allocation makes before it fails: MAX_RECLAIM_RETRIES. */
export const MAX_RECLAIM_RETRIES = 16;

const AT_ROUND = site("direct reclaim: another round");
const AT_NODE = site("direct reclaim: on a node");
const AT_BUSY = site("direct reclaim: others are at work on the last pages");
const AT_SCAN = site("direct reclaim: before a page");
const AT_REFERENCED = site("direct reclaim: looking at the accessed bits");
const AT_PAGE = site("direct reclaim: reclaiming a page");
const AT_SLOW = site("page allocation: reclaiming first");

/** Where reclaim stands. */
export class Reclaim {
  /** By node: the frame that the hand points at, counted from the first of its zone. */
  readonly hand: Uint32Array;
  /** By actor: whether it is in reclaim and must not enter it again. */
  readonly inside: Uint8Array;
  /** Kind of span: one direct reclaim, from the allocation that failed to its next try. */
  readonly kind: number;
  /** Counter allocstall: direct reclaims. */
  readonly allocstall: number;
  /** Counter pgscan_direct: pages looked at. */
  readonly pgscan: number;
  /** Counter pgsteal_direct: pages freed. */
  readonly pgsteal: number;

  /** Makes the hands of a machine, each at the first frame of its node. */
  constructor(sim: Sim) {
    this.hand = sim.state.u32("reclaim.hand", MAX_NODES);
    this.inside = sim.state.u8("reclaim.inside", sim.maxActors);
    this.kind = sim.spans.kind("direct reclaim");
    this.allocstall = sim.counters.define("allocstall");
    this.pgscan = sim.counters.define("pgscan_direct");
    this.pgsteal = sim.counters.define("pgsteal_direct");
  }
}

/**
 * Takes a page of ordinary memory where sleeping is allowed, reclaiming if none is free: the slow path of alloc_pages().
 *
 * It follows {@link allocPage} that found none, as `if (pfn < 0) pfn = yield* allocPageSlow(k, a, …)`: while there are
 * frames no generator is made. A caller for whom nothing is as it was after a sleep unwinds instead, calls
 * {@link tryToFreePages} and begins again.
 *
 * @param vma as for {@link allocPage}
 * @param vpn as for {@link allocPage}
 * @param mayWait whether the caller holds no page lock, and so may wait for one
 * @returns the frame, or -1 when none could be freed
 */
export function* allocPageSlow(k: Kernel, a: number, vma = -1, vpn = 0, mayWait = false): Proc<number> {
  const { sim } = k;
  let pfn = -1;
  for (let round = 0; pfn < 0 && round < MAX_RECLAIM_RETRIES; round++) {
    sim.call(a, AT_SLOW, round, vma, vpn);
    const freed = yield* tryToFreePages(k, a, vma, mayWait);
    sim.ret(a);
    if (!freed) return -1;
    pfn = allocPage(k, a, vma, vpn);
  }
  return pfn;
}

/** Whether an allocation for a vma (-1 for none) finds no frame, on any node that its policy allows. */
export function noFrameFree(k: Kernel, vma: number): boolean {
  return k.nodes.free(k.nodes.allowed(vma)) === 0;
}

/**
 * Frees frames of ordinary memory for a vma, if none is free: try_to_free_pages().
 *
 * @param vma the vma that a page is for, whose policy says on which nodes; any node if left out
 * @param mayWait whether the caller holds no page lock, and so may wait for one: when nothing can be freed but others
 * are at work on pages, it sleeps until they are done (reclaim_throttle(), which the kernel ends after 20 ms)
 * @returns whether it is worth while to try the allocation again; false also when frames are free, and it failed for
 * another reason
 */
export function* tryToFreePages(k: Kernel, a: number, vma = -1, mayWait = false): Proc<boolean> {
  const { sim, reclaim, pages } = k, { spans, counters } = sim;
  if (!noFrameFree(k, vma) || reclaim.inside[a]) return false;
  sim.mightSleep(a, "direct reclaim");
  reclaim.inside[a] = 1;
  counters.values[reclaim.allocstall]++;
  spans.begin(a, reclaim.kind);
  let freed = -1;
  for (let round = 0; freed < 0 && round < MAX_RECLAIM_RETRIES; round++) {
    sim.call(a, AT_ROUND, round, vma, mayWait ? 1 : 0);
    freed = yield* shrinkNodes(k, a, k.nodes.allowed(vma));
    sim.ret(a);
    if (freed < 0 && mayWait && isBusy(k, -freed)) {
      sim.mark(a, AT_BUSY, -freed, round, vma);
      yield pages.unlockQueue(pages.head(-freed));
    }
    if (!mayWait || !noFrameFree(k, vma)) freed = Math.max(0, freed);
  }
  spans.end(a, reclaim.kind, Math.max(0, freed));
  reclaim.inside[a] = 0;
  return freed > 0 || !noFrameFree(k, vma);
}

/** A round on each of some nodes, the nearest first, until one has freed something: shrink_zones(). Returns as one. */
function* shrinkNodes(k: Kernel, a: number, mask: number): Proc<number> {
  const { sim, nodes } = k;
  let freed = 0;
  for (const node of nodes.fallback[nodes.of(a)]) {
    if (freed > 0 || !(mask & (1 << node))) continue;
    sim.call(a, AT_NODE, node, mask, freed);
    const n = yield* shrinkZone(k, a, nodes.zones[node]);
    sim.ret(a);
    if (n > 0 || freed === 0) freed = n;
  }
  return freed;
}

/**
 * One round of the hand: frees up to {@link SWAP_CLUSTER_MAX} pages, or goes round twice.
 *
 * @returns pages freed (a large folio that was split counts as one); if none, the negated number of a frame that might
 * have been freed but for what somebody does with its page, or 0
 */
function* shrinkZone(k: Kernel, a: number, zone: Zone): Proc<number> {
  const { sim, pages, reclaim: { hand, pgscan, pgsteal } } = k, { values } = sim.counters;
  const frames = zone.end - zone.start, z = zone.number;
  let freed = 0, busy = 0;
  for (let left = 2 * frames; left > 0 && freed < SWAP_CLUSTER_MAX; left--) {
    const pfn = zone.start + hand[z];
    hand[z] = hand[z] + 1 === frames ? 0 : hand[z] + 1;
    if (isBusy(k, pfn)) {
      busy = pfn;
      continue;
    }
    if (!isCandidate(k, pfn)) continue;
    if (sim.due(a)) {
      sim.mark(a, AT_SCAN, pfn, left, freed, busy);
      yield DUE;
      if (isBusy(k, pfn)) busy = pfn;
      if (busy === pfn || !isCandidate(k, pfn)) continue;
    }
    values[pgscan]++;
    if (pages.flags[pfn] & PG_LARGE) {
      if (folioReferenced(k, pfn)) continue;
      sim.call(a, AT_PAGE, pfn, left, freed, busy);
      const split = yield* trySplitFolio(k, a, pfn);
      sim.ret(a);
      if (!split) continue;
      // Its pages are the next in turn; those that held nothing are free already.
      hand[z] = pfn - zone.start;
      left = Math.max(left, HUGE_PAGES + 1);
      freed++;
      continue;
    }
    if (pages.mapcount[pfn] > 0) {
      sim.call(a, AT_REFERENCED, pfn, left, freed, busy);
      const referenced = yield* rmapWalk(k, a, pfn, REFERENCED);
      sim.ret(a);
      if (isBusy(k, pfn)) busy = pfn;
      if (referenced > 0 || busy === pfn || !isCandidate(k, pfn) || pages.flags[pfn] & PG_LARGE) continue;
    }
    sim.call(a, AT_PAGE, pfn, left, freed, busy);
    const gone = yield* reclaimPage(k, a, pfn);
    sim.ret(a);
    if (gone) {
      freed++;
      values[pgsteal]++;
    } else if (busy === 0 || isBusy(k, pfn)) busy = pfn; // held for a moment, perhaps
  }
  return freed > 0 ? freed : -busy;
}

/** Whether somebody is at work on a frame's page: it is locked, or isolated and about to be. */
function isBusy(k: Kernel, pfn: number): boolean {
  const { pages } = k, flags = pages.flags[pages.head(pfn)];
  if (flags & PG_LOCKED) return true;
  return !(flags & (PG_LRU | PG_HUGETLB)) &&
    (pages.mapcount[pfn] > 0 || pages.inode[pfn] !== 0 || pages.swap[pfn] !== 0);
}

/** Whether a frame holds a page that could be reclaimed, as far as the page itself tells. */
function isCandidate(k: Kernel, pfn: number): boolean {
  const { pages, swap, tables } = k, flags = pages.flags[pfn];
  if (!(flags & PG_LRU) || flags & PG_HUGETLB || pages.pins[pfn] > 0) return false;
  // The whole of a large folio, and only if there are tables to map its pages one by one in two address spaces.
  if (flags & PG_LARGE) return pages.head(pfn) === pfn && !swap.isFull() && tables.spare >= 2;
  const cached = pages.inode[pfn] !== 0 || pages.swap[pfn] !== 0;
  // About to be freed, or a device's alone (an exclusive entry is no mapping).
  if (pages.mapcount[pfn] === 0 && !cached) return false;
  return (flags & PG_LAZYFREE) !== 0 || pages.swap[pfn] !== 0 || !swap.isFull();
}

/** Looks whether a page was used, and forgets it: folio_referenced(). x86 flushes nothing for that. */
const REFERENCED: RmapWalk = {
  clears: false,
  done: () => false,
  visit(k, _a, vma, e, pfn) {
    const { tables } = k;
    if ((tables.kind[e] & PTE_KIND) !== PTE_PRESENT || tables.pfn[e] !== pfn) return 0;
    // Locked memory stays, and so do pages that a driver put in: nobody could bring them back.
    if (k.vmas.flags[vma] & (VM_LOCKED | VM_MIXEDMAP)) return 1;
    if (!(tables.kind[e] & PTE_YOUNG)) return 0;
    tables.kind[e] &= ~PTE_YOUNG;
    return 1;
  },
};

/** {@link REFERENCED} for a large folio, by whatever entries it is mapped. */
function folioReferenced(k: Kernel, first: number): boolean {
  const { pages, tables, vmas } = k;
  let referenced = false;
  for (const at of vmas.anon.placesOf(pages.mapping[first], pages.index[first], HUGE_PAGES)) {
    const root = k.root[vmas.mm[at.vma]], huge = tables.huge(root, at.start);
    if (vmas.flags[at.vma] & VM_LOCKED) referenced = true;
    for (let v = at.start; v < at.end; v++) {
      const e = huge >= 0 ? huge : tables.entry(root, v), pfn = e < 0 ? -1 : tables.pfn[e];
      if (pfn < first || pfn >= first + HUGE_PAGES || (tables.kind[e] & PTE_KIND) !== PTE_PRESENT) continue;
      if (tables.kind[e] & PTE_YOUNG) referenced = true;
      tables.kind[e] &= ~PTE_YOUNG;
      if (huge >= 0) break;
    }
  }
  return referenced;
}
