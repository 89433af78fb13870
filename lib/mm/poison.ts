/**
 * Poison markers: what stands in page tables for a page whose content is lost for good (PTE_MARKER_POISONED).
 *
 * A touch gets SIGBUS, whoever touches. Fork copies a marker, unmapping drops it, and it counts in no resident set.
 * @module
 */
import type { Proc } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { PTE_KIND, PTE_MIGRATION, PTE_POISON } from "./pagetable.ts";
import { type RmapWalk, rmapWalk } from "./rmap.ts";

/** Migration entries of a page into poison markers. */
const TO_POISON: RmapWalk = {
  clears: false,
  done: () => false,
  visit(k, a, vma, e, pfn) {
    const { tables, pages } = k, mm = k.vmas.mm[vma];
    if ((tables.kind[e] & PTE_KIND) !== PTE_MIGRATION || tables.pfn[e] !== pfn) return 0;
    tables.set(e, PTE_POISON, 0);
    if (pages.inode[pfn] === 0) k.rssAnon[mm]--;
    else k.rssFile[mm]--;
    k.ptlSpend(a, e - (e & 511), k.phase.pte, k.cost.pteInstallNs);
    return 1;
  },
};

/**
 * Replaces all migration entries of a page by poison markers. The page is locked, and nothing maps it.
 *
 * @param pfn the page whose content is lost
 * @returns how many there were
 */
export function poisonMigrationEntries(k: Kernel, a: number, pfn: number): Proc<number> {
  return rmapWalk(k, a, pfn, TO_POISON);
}
