/**
 * Migration entries: what stands in page tables for a page that is on its way elsewhere.
 *
 * Whoever touches one waits for the page's lock; the lock's holder puts them in and replaces them by entries of the
 * page where it is then (try_to_migrate() and remove_migration_ptes() of the kernel).
 * @module
 */
import type { Proc } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_OF_FILE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from "./pagetable.ts";
import { type RmapWalk, rmapWalk, rmapWalkNow } from "./rmap.ts";
import { VM_ACCESS_FLAGS } from "./vma.ts";

/** Entries of a page into migration entries: try_to_migrate_one(). */
const TO_MIGRATION: RmapWalk = {
  clears: true,
  done: (k, pfn) => k.pages.mapcount[pfn] === 0,
  visit(k, _a, _vma, e, pfn) {
    const { pages, tables } = k, kind = tables.kind[e] & PTE_KIND;
    if (tables.pfn[e] !== pfn || (kind !== PTE_PRESENT && kind !== PTE_DEVICE)) return 0;
    if (tables.kind[e] & PTE_DIRTY) pages.flags[pfn] |= PG_DIRTY;
    const exclusive = pages.flags[pfn] & PG_ANON_EXCLUSIVE ? PTE_ANON_EXCLUSIVE : 0;
    pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
    const file = pages.inode[pfn] !== 0 ? PTE_OF_FILE : 0;
    tables.kind[e] = PTE_MIGRATION | (tables.kind[e] & PTE_WRITE) | exclusive | file;
    pages.mapcount[pfn]--;
    pages.refcount[pfn]--;
    return 1;
  },
};

/** Migration entries of a page into entries of `to`: remove_migration_pte(). */
const FROM_MIGRATION: RmapWalk = {
  clears: false,
  done: () => false,
  visit: (k, _a, vma, e, pfn, to) => restoreEntry(k, vma, e, pfn, to),
};

/**
 * Replaces every remaining entry of a page by a migration entry, in all address spaces: try_to_migrate().
 *
 * Each address space that the walk visits hears of it, whether or not it still maps the page; the walk ends as soon as
 * nobody does.
 *
 * @returns how many entries it replaced
 */
export function tryToMigrate(k: Kernel, a: number, pfn: number): Proc<number> {
  return rmapWalk(k, a, pfn, TO_MIGRATION);
}

/**
 * Does what {@link tryToMigrate} does, as far as that needs no stop: on the hot path no generator is made for a page.
 *
 * @returns undefined when it is done, else the walk that does it or goes on with it
 */
export function tryToMigrateNow(k: Kernel, a: number, pfn: number): Proc<number> | undefined {
  const found = rmapWalkNow(k, a, pfn, TO_MIGRATION);
  if (typeof found !== "number") return rmapWalk(k, a, pfn, TO_MIGRATION, 0, found);
  return found < 0 ? rmapWalk(k, a, pfn, TO_MIGRATION) : undefined;
}

/** Replaces all migration entries of `page` by entries of `to`, by the reverse map: remove_migration_ptes(). */
export function* removeMigrationPtes(k: Kernel, a: number, page: number, to: number): Proc<number> {
  const { anon } = k.vmas;
  let found = 0, entered = -1;
  while (entered !== anon.entered) {
    entered = anon.entered;
    found += yield* rmapWalk(k, a, page, FROM_MIGRATION, to);
  }
  return found;
}

/** Whether only this vma can map a page of `anon`: true of every page that no fork ever shared. */
function isSole(k: Kernel, vma: number, anon: number): boolean {
  return k.vmas.anon.linked[anon] === 1 && k.vmas.anonVma[vma] === anon;
}

/**
 * Does what {@link removeMigrationEntries} does, if one vma alone can map the page and nothing sleeps: on the hot path
 * no generator is made for a page.
 *
 * @returns false if it does, and nothing was done
 */
export function restoreNow(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  page: number,
  to: number,
): boolean {
  if (!isSole(k, vma, k.pages.mapping[page])) {
    const found = rmapWalkNow(k, a, page, FROM_MIGRATION, to);
    return typeof found === "number" && found >= 0;
  }
  const leaf = k.tables.leaf(k.root[mm], vpn);
  if (leaf < 0) return true;
  if (k.tables.locked[leaf >>> 9]) return false;
  restoreEntry(k, vma, leaf + (vpn & 511), page, to);
  return true;
}

/**
 * Replaces all migration entries of `page` by entries of `to`: remove_migration_ptes().
 *
 * @param vma a vma of `mm` that maps the page at `vpn`, for a short cut past the reverse map
 */
export function* removeMigrationEntries(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
  page: number,
  to: number,
): Proc {
  if (!isSole(k, vma, k.pages.mapping[page])) {
    yield* removeMigrationPtes(k, a, page, to);
    return;
  }
  const leaf = k.tables.leaf(k.root[mm], vpn);
  if (leaf >= 0) yield* k.waitPtl(a, leaf);
  if (leaf >= 0) restoreEntry(k, vma, leaf + (vpn & 511), page, to);
}

/** Replaces one migration entry: remove_migration_pte(). Anything else at the place stays, and the answer is 0. */
function restoreEntry(k: Kernel, vma: number, e: number, page: number, to: number): number {
  const { tables, pages } = k, pte = tables.kind[e];
  if ((pte & PTE_KIND) !== PTE_MIGRATION || tables.pfn[e] !== page) return 0;
  const write = pte & PTE_WRITE;
  if (pages.isDevicePrivate(to)) tables.kind[e] = PTE_DEVICE | write;
  else {
    const dirty = pages.flags[to] & PG_DIRTY ? PTE_DIRTY : 0;
    tables.kind[e] = PTE_PRESENT | write | dirty | (k.vmas.flags[vma] & VM_ACCESS_FLAGS ? 0 : PTE_PROTNONE);
  }
  tables.pfn[e] = to;
  if (pte & (PTE_ANON_EXCLUSIVE | PTE_WRITE)) pages.flags[to] |= PG_ANON_EXCLUSIVE;
  pages.mapcount[to]++;
  pages.refcount[to]++;
  return 1;
}
