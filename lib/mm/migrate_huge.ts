/**
 * Migration entries of a large folio, which moves as a whole.
 *
 * The kernel has a migration entry in the place of a huge entry. Here 512 small ones stand there, each of which remembers
 * that it was part of a huge one; at the end they become one again if all of them still are there. The subscribers hear
 * the same: the whole range, once for each place.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import { clearOf, type FolioPlace, folioPlaces, splitEntry, vmaOfPlace } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, PG_DIRTY } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_TABLE,
  PTE_WAS_HUGE,
  PTE_WRITE,
} from "./pagetable.ts";
import { VM_ACCESS_FLAGS } from "./vma.ts";

const AT_NOTIFY = site("migrating a large folio: notifying");
const AT_PTL = site("migrating a large folio: waiting for a page-table lock");

/** Waits for the locks of the tables of a range; there is nothing to wait for where none is. */
export function* waitTables(k: Kernel, a: number, mm: number, start: number, end: number): Proc {
  for (let v = start; v < end; v += HUGE_PAGES - (v & (HUGE_PAGES - 1))) {
    const leaf = k.tables.leaf(k.root[mm], v);
    if (leaf < 0 || !k.tables.locked[leaf >>> 9]) continue;
    k.sim.call(a, AT_PTL, v, start, end, mm);
    yield* k.waitPtl(a, leaf);
    k.sim.ret(a);
  }
}

/** Whether anybody maps a page of a folio: folio_mapped(). */
export function isMapped(k: Kernel, first: number): boolean {
  for (let p = first; p < first + HUGE_PAGES; p++) if (k.pages.mapcount[p] > 0) return true;
  return false;
}

/**
 * Replaces every entry of a large folio by a migration entry: try_to_migrate().
 *
 * @param first first frame; the folio is locked
 */
export function* tryToMigrateFolio(k: Kernel, a: number, first: number): Proc {
  const { sim, tables, pages } = k;
  for (const at of folioPlaces(k, first)) {
    if (!isMapped(k, first)) return;
    const { mm } = at, root = k.root[mm], event = clearOf(mm, at.start, at.end);
    sim.call(a, AT_NOTIFY, first, at.vma, at.start, at.end);
    yield* k.notifiers.start(a, event);
    yield* waitTables(k, a, mm, at.start, at.end);
    sim.ret(a);
    const huge = tables.huge(root, at.start), whole = huge >= 0 && tables.pfn[huge] === first;
    if (whole) splitEntry(k, a, mm, at.start);
    for (let v = at.start; v < at.end; v++) {
      const e = tables.entry(root, v), p = e < 0 ? -1 : tables.pfn[e], kind = e < 0 ? 0 : tables.kind[e];
      if ((kind & PTE_KIND) !== PTE_PRESENT || p < first || p >= first + HUGE_PAGES) continue;
      if (kind & PTE_DIRTY) pages.flags[p] |= PG_DIRTY;
      const exclusive = pages.flags[p] & PG_ANON_EXCLUSIVE ? PTE_ANON_EXCLUSIVE : 0;
      pages.flags[p] &= ~PG_ANON_EXCLUSIVE;
      tables.kind[e] = PTE_MIGRATION | (kind & PTE_WRITE) | exclusive | (whole ? PTE_WAS_HUGE : 0);
      pages.mapcount[p]--;
      pages.refcount[first]--;
    }
    k.flushTlb(a, mm, at.start, at.end);
    k.notifiers.end(a, event);
  }
}

/**
 * Replaces the migration entries of a large folio by entries of another, or of itself: remove_migration_ptes().
 *
 * @param first the folio that was unmapped
 * @param to the first frame of where it is now
 */
export function* removeFolioEntries(k: Kernel, a: number, first: number, to: number): Proc {
  const { sim, vmas: { anon } } = k;
  let entered = -1;
  while (entered !== anon.entered) {
    entered = anon.entered;
    for (const at of folioPlaces(k, first)) {
      sim.call(a, AT_NOTIFY, first, to, at.vma, at.start);
      yield* waitTables(k, a, at.mm, at.start, at.end);
      sim.ret(a);
      restorePlace(k, first, to, at);
    }
  }
}

/** {@link removeFolioEntries} at one place. */
function restorePlace(k: Kernel, first: number, to: number, at: FolioPlace): void {
  const { vmas, tables, pages } = k, root = k.root[at.mm];
  let were = 0;
  for (let v = at.start; v < at.end; v++) {
    const e = tables.entry(root, v), p = e < 0 ? -1 : tables.pfn[e], kind = e < 0 ? 0 : tables.kind[e];
    if ((kind & PTE_KIND) !== PTE_MIGRATION || p < first || p >= first + HUGE_PAGES) continue;
    const q = p - first + to, dirty = pages.flags[q] & PG_DIRTY ? PTE_DIRTY : 0;
    const none = vmas.flags[vmaOfPlace(k, at, v)] & VM_ACCESS_FLAGS ? 0 : PTE_PROTNONE;
    tables.set(e, PTE_PRESENT | (kind & PTE_WRITE) | dirty | none, q);
    if (kind & (PTE_ANON_EXCLUSIVE | PTE_WRITE)) pages.flags[q] |= PG_ANON_EXCLUSIVE;
    pages.mapcount[q]++;
    pages.refcount[to]++;
    if (kind & PTE_WAS_HUGE && q - to === (v & (HUGE_PAGES - 1))) were++;
  }
  if (were === HUGE_PAGES) mapWhole(k, root, at.start, to);
}

/** Maps a folio by one entry again, whose 512 pages a table has in order and with the same rights. */
function mapWhole(k: Kernel, root: number, vpn: number, first: number): void {
  const { tables, pages } = k, leaf = tables.leaf(root, vpn), kind = tables.kind[leaf] & ~PTE_DIRTY;
  let dirty = 0;
  for (let e = leaf; e < leaf + HUGE_PAGES; e++) {
    if ((tables.kind[e] & ~PTE_DIRTY) !== kind) return; // the program changed a part of it meanwhile
    dirty |= tables.kind[e] & PTE_DIRTY;
  }
  const upper = tables.upper(root, vpn);
  if ((tables.kind[upper] & PTE_KIND) !== PTE_TABLE) throw new Error(`page ${vpn} has no table to replace`);
  tables.replaceTable(upper, kind | dirty, first);
  pages.refcount[first] -= HUGE_PAGES - 1;
}
