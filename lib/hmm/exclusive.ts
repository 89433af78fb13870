/**
 * make_device_exclusive_range(): pages that stay in system memory but that only a device may use, for its atomics.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import { getUserPage } from "../mm/gup.ts";
import type { Kernel } from "../mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_EXCLUSIVE } from "../mm/notifier.ts";
import { HUGE_PAGES, PG_DIRTY, PG_HUGETLB, PG_LARGE } from "../mm/pages.ts";
import { PTE_DIRTY, PTE_EXCLUSIVE, PTE_KIND, PTE_PRESENT, PTE_WRITE } from "../mm/pagetable.ts";

/** In the result: the page could not be made exclusive. */
export const NOT_EXCLUSIVE = 0xffff_ffff;

const AT_GUP = site("make_device_exclusive_range: getting a page");
const AT_MAKE = site("make_device_exclusive_range: making a page exclusive");
const AT_NOTIFY = site("make_device_exclusive_range: notifying");

/**
 * Makes the pages of a range exclusive to a device.
 *
 * All are first faulted in for writing (which breaks copy on write and brings device pages back); each that is then
 * mapped by this address space alone gets an exclusive entry. The caller holds the mmap lock for reading, and on return
 * the page lock and a reference of each page in `pfns`.
 *
 * @param start first page
 * @param end page past the last
 * @param owner who makes them exclusive, for its own notifier; 0 for nobody
 * @param pfns takes the frames, or {@link NOT_EXCLUSIVE}
 * @returns how many pages were looked at before one could not be had (`pfns` is filled so far), or a negated errno when
 * it was the first
 */
export function* makeDeviceExclusiveRange(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  owner: number,
  pfns: Uint32Array,
): Proc<number> {
  const { sim, pages } = k;
  let got = 0;
  for (let v = start; v < end; v++) {
    sim.call(a, AT_GUP, v, start, end, owner);
    const pfn = yield* getUserPage(k, a, mm, v, true, false, true);
    sim.ret(a);
    if (pfn < 0) {
      if (got === 0) return pfn;
      break;
    }
    pfns[got++] = pfn;
  }
  for (let i = 0; i < got; i++) {
    const pfn = pfns[i];
    if (pages.flags[pfn] & PG_HUGETLB) {
      pages.put(a, pfn);
      pfns[i] = NOT_EXCLUSIVE;
      continue;
    }
    // Of a large folio only the first page can be had, and with it goes the whole (6.12).
    if (pages.head(pfn) !== pfn || !pages.trylock(pfn)) {
      pages.put(a, pfn);
      pfns[i] = NOT_EXCLUSIVE;
      continue;
    }
    sim.call(a, AT_MAKE, i, start, end, owner);
    const made = yield* makeExclusive(k, a, mm, start + i, pfn, owner);
    sim.ret(a);
    if (made) continue;
    pages.unlock(pfn);
    pages.put(a, pfn);
    pfns[i] = NOT_EXCLUSIVE;
  }
  return got;
}

/** Replaces all entries of a locked page by exclusive ones: folio_make_device_exclusive(). */
function* makeExclusive(
  k: Kernel,
  a: number,
  mm: number,
  vpn: number,
  pfn: number,
  owner: number,
): Proc<boolean> {
  const { sim, pages, tables, vmas } = k;
  if (pages.mapping[pfn] === 0) return false; // files and shared memory cannot be exclusive
  let valid = false;
  const n = pages.flags[pfn] & PG_LARGE ? HUGE_PAGES : 1;
  for (const at of vmas.anon.placesOf(pages.mapping[pfn], pages.index[pfn], n)) {
    const space = vmas.mm[at.vma], { start, end } = at;
    const event: Invalidation = {
      mm: space,
      start,
      end,
      event: MMU_NOTIFY_EXCLUSIVE,
      owner,
      blockable: true,
      seq: 0,
    };
    sim.call(a, AT_NOTIFY, vpn, pfn, start, valid ? 1 : 0);
    yield* k.notifiers.start(a, event);
    const leaf = tables.leaf(k.root[space], start);
    if (leaf >= 0) yield* k.waitPtl(a, leaf);
    sim.ret(a);
    for (let v = start; leaf >= 0 && v < end; v++) {
      const e = leaf + (v & 511), page = tables.pfn[e], pte = tables.kind[e];
      if ((pte & PTE_KIND) !== PTE_PRESENT || page < pfn || page >= pfn + n) continue;
      if (pte & PTE_DIRTY) pages.flags[page] |= PG_DIRTY;
      if (space === mm && v === vpn && page === pfn && pte & PTE_WRITE) valid = true;
      // The mapping's reference now belongs to the entry; it no longer counts as a mapping.
      tables.kind[e] = PTE_EXCLUSIVE | (pte & PTE_WRITE);
      pages.mapcount[page]--;
      k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
    }
    k.flushTlb(a, space, start, end);
    k.notifiers.end(a, event);
    if (!mapped(k, pfn, n)) break;
  }
  return valid && !mapped(k, pfn, n);
}

/** Whether any of `n` pages is still mapped. */
function mapped(k: Kernel, pfn: number, n: number): boolean {
  for (let p = pfn; p < pfn + n; p++) if (k.pages.mapcount[p] > 0) return true;
  return false;
}
