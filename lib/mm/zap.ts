/**
 * Taking pages out of page tables: zap_pte_range() and the gathering of what is freed after the flush.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { splitHugeEntry, zapHuge } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { HUGE_PAGES, PG_DIRTY, ZERO_PFN } from "./pages.ts";
import {
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
} from "./pagetable.ts";

const AT_TABLE = site("zap: before a table");
const AT_FLUSH = site("zap: entries cleared, translations not yet flushed");

/**
 * Empties the entries of a range and drops what they held; pages are freed only after the flush.
 *
 * The caller has told the notifiers, and holds a lock that keeps the tables (the mmap lock).
 *
 * @param start first page
 * @param end page past the last
 * @param cows whether private copies of a file's pages go too (a punched hole leaves them)
 * @returns how many pages (with device and migration entries) were dropped
 */
export function* zapRange(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  cows = true,
): Proc<number> {
  const { sim, tables, pages, cost, phase } = k, root = k.root[mm];
  let zapped = 0;
  const gathered: number[] = [];
  for (let v = tables.nextLive(root, start, end); v < end; v = tables.nextLive(root, v, end)) {
    const stop = Math.min(end, v - (v & 511) + 512), huge = tables.huge(root, v);
    if (huge >= 0) {
      if (stop - v === HUGE_PAGES) {
        zapHuge(k, a, mm, huge);
        k.flushTlb(a, mm, v, stop);
        v = stop;
      } else {
        sim.call(a, AT_TABLE, v, start, end, zapped);
        yield* splitHugeEntry(k, a, mm, v);
        sim.ret(a);
      }
      continue;
    }
    const leaf = tables.leaf(root, v);
    if (sim.due(a)) {
      sim.mark(a, AT_TABLE, v, start, end, zapped);
      yield DUE;
    }
    if (tables.locked[leaf >>> 9]) {
      sim.call(a, AT_TABLE, v, start, end, zapped);
      yield* k.waitPtl(a, leaf);
      sim.ret(a);
    }
    let dropped = 0, files = 0, present = 0;
    gathered.length = 0;
    for (let w = v; w < stop; w++) {
      const e = leaf + (w & 511), kind = tables.kind[e] & PTE_KIND;
      if (kind === PTE_NONE) continue;
      const pfn = tables.pfn[e];
      if (!cows && (kind !== PTE_PRESENT || pages.inode[pfn] === 0)) continue;
      const dirty = tables.kind[e] & PTE_DIRTY, ofFile = (tables.kind[e] & PTE_OF_FILE) !== 0;
      tables.clear(e);
      if (kind === PTE_PRESENT) present++;
      if (kind === PTE_POISON || kind === PTE_PRESENT && pfn === ZERO_PFN) continue;
      if (kind === PTE_SWAP) {
        k.rssSwap[mm]--;
        k.swap.put(k, a, pfn);
        continue;
      }
      dropped++;
      if (kind === PTE_MIGRATION) {
        // Whoever migrates the page holds it, or has found this place gone from the reverse map and let it go.
        if (ofFile) files++;
        continue;
      }
      if (kind === PTE_EXCLUSIVE) {
        gathered.push(pfn); // a reference, but no mapping
        continue;
      }
      if (kind !== PTE_PRESENT && kind !== PTE_DEVICE) throw new Error(`entry of kind ${kind} at page ${w}`);
      pages.mapcount[pfn]--;
      if (dirty) pages.flags[pfn] |= PG_DIRTY;
      if (pages.mapping[pages.head(pfn)] === 0) files++;
      gathered.push(pfn);
    }
    k.ptlSpend(a, leaf, phase.zap, dropped * cost.zapPageNs);
    k.rssAnon[mm] -= dropped - files;
    k.rssFile[mm] -= files;
    zapped += dropped;
    if (sim.due(a)) {
      k.ptlHold(leaf);
      sim.mark(a, AT_FLUSH, v, start, end, zapped);
      yield DUE;
      k.ptlRelease(leaf);
    }
    // Only what was present can be in a translation cache; whoever took a page's entry before has flushed it.
    if (present > 0) k.flushTlb(a, mm, v, stop);
    for (const pfn of gathered) {
      if (pages.swap[pfn] !== 0 && pages.mapcount[pfn] === 0) k.swap.tryRemove(k, a, pfn); // free_swap_cache()
      pages.put(a, pfn);
    }
    v = stop;
  }
  return zapped;
}
