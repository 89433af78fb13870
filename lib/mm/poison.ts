/**
 * Poison markers: what stands in page tables for a page whose content is lost for good (PTE_MARKER_POISONED).
 *
 * A touch gets SIGBUS, whoever touches. Fork copies a marker, unmapping drops it, and it counts in no resident set.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { PTE_KIND, PTE_MIGRATION, PTE_POISON } from "./pagetable.ts";

const AT_PTL = site("poison: waiting for a page-table lock");

/**
 * Replaces all migration entries of a page by poison markers. The page is locked, and nothing maps it.
 *
 * @param pfn the page whose content is lost
 */
export function* poisonMigrationEntries(k: Kernel, a: number, pfn: number): Proc {
  const { tables, vmas, pages, sim } = k;
  for (const { vma, vpn } of k.places(pfn)) {
    const mm = vmas.mm[vma], e = tables.entry(k.root[mm], vpn);
    if (e < 0) continue;
    if (tables.locked[e >>> 9]) {
      sim.call(a, AT_PTL, pfn, vpn, mm);
      yield* k.waitPtl(a, e - (vpn & 511));
      sim.ret(a);
    }
    if ((tables.kind[e] & PTE_KIND) !== PTE_MIGRATION || tables.pfn[e] !== pfn) continue;
    tables.set(e, PTE_POISON, 0);
    if (pages.inode[pfn] === 0) k.rssAnon[mm]--;
    else k.rssFile[mm]--;
    k.ptlSpend(a, e - (vpn & 511), k.phase.pte, k.cost.pteInstallNs);
  }
}
