/**
 * Migration entries: what stands in page tables for a page that is on its way elsewhere.
 *
 * Whoever touches one waits for the page's lock; the lock's holder puts them in and replaces them by entries of the
 * page where it is then (try_to_migrate() and remove_migration_ptes() of the kernel).
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY } from "./pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from "./pagetable.ts";
import { VM_ACCESS_FLAGS } from "./vma.ts";

const AT_PTL = site("migration entry: waiting for a page-table lock");

/**
 * Replaces every remaining entry of a page by a migration entry, in all address spaces: try_to_migrate().
 *
 * Each address space that the walk visits hears of it, whether or not it still maps the page; the walk ends as soon as
 * nobody does.
 */
export function* tryToMigrate(k: Kernel, a: number, pfn: number): Proc {
  const { pages, vmas, tables, sim } = k;
  for (const { vma, vpn } of k.places(pfn)) {
    if (pages.mapcount[pfn] === 0) return;
    const mm = vmas.mm[vma];
    const e: Invalidation = {
      mm,
      start: vpn,
      end: vpn + 1,
      event: MMU_NOTIFY_CLEAR,
      owner: 0,
      blockable: true,
      seq: 0,
    };
    sim.call(a, AT_PTL, pfn, vpn, mm);
    yield* k.notifiers.start(a, e);
    const entry = tables.entry(k.root[mm], vpn);
    if (entry >= 0) yield* k.waitPtl(a, entry - (vpn & 511));
    sim.ret(a);
    const kind = entry < 0 ? PTE_NONE : tables.kind[entry] & PTE_KIND;
    if (entry >= 0 && tables.pfn[entry] === pfn && (kind === PTE_PRESENT || kind === PTE_DEVICE)) {
      if (tables.kind[entry] & PTE_DIRTY) pages.flags[pfn] |= PG_DIRTY;
      const exclusive = pages.flags[pfn] & PG_ANON_EXCLUSIVE ? PTE_ANON_EXCLUSIVE : 0;
      pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
      tables.kind[entry] = PTE_MIGRATION | (tables.kind[entry] & PTE_WRITE) | exclusive;
      pages.mapcount[pfn]--;
      pages.refcount[pfn]--;
      k.flushTlb(a, mm, vpn, vpn + 1);
    }
    k.notifiers.end(a, e);
  }
}

/** Whether only this vma can map a page of `anon`: true of every page that no fork ever shared. */
function isSole(k: Kernel, vma: number, anon: number): boolean {
  return k.vmas.anon.linked[anon] === 1 && k.vmas.anonVma[vma] === anon;
}

/**
 * Does what {@link removeMigrationEntries} does, if that needs neither reverse map nor sleep: on the hot path no
 * generator is made for a page.
 *
 * @returns false if it does, and nothing was done
 */
export function restoreNow(
  k: Kernel,
  mm: number,
  vma: number,
  vpn: number,
  page: number,
  to: number,
): boolean {
  if (!isSole(k, vma, k.pages.mapping[page])) return false;
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
  const { pages, vmas, tables, sim } = k, anon = pages.mapping[page];
  if (isSole(k, vma, anon)) {
    const leaf = tables.leaf(k.root[mm], vpn);
    if (leaf >= 0) yield* k.waitPtl(a, leaf);
    if (leaf >= 0) restoreEntry(k, vma, leaf + (vpn & 511), page, to);
    return;
  }
  for (const at of k.places(page)) {
    const e = tables.entry(k.root[vmas.mm[at.vma]], at.vpn);
    if (e < 0) continue;
    sim.call(a, AT_PTL, page, to, at.vpn);
    yield* k.waitPtl(a, e - (at.vpn & 511));
    sim.ret(a);
    restoreEntry(k, at.vma, e, page, to);
  }
}

/** Replaces one migration entry: remove_migration_pte(). Anything else at the place stays. */
function restoreEntry(k: Kernel, vma: number, e: number, page: number, to: number): void {
  const { tables, pages } = k, pte = tables.kind[e];
  if ((pte & PTE_KIND) !== PTE_MIGRATION || tables.pfn[e] !== page) return;
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
}
