/**
 * Migration of a range in the three calls of migrate_vma: setup (collect, unmap), pages, finalize.
 *
 * Between setup and pages the caller allocates destinations and copies; between pages and finalize it looks which
 * entries kept MIGRATE_PFN_MIGRATE and updates its own tables. It holds the mmap lock for reading all the time.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EINVAL } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR, MMU_NOTIFY_MIGRATE } from "../mm/notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LRU, ZERO_PFN } from "../mm/pages.ts";
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
  PTE_YOUNG,
} from "../mm/pagetable.ts";
import { VM_ACCESS_FLAGS, VM_WRITE } from "../mm/vma.ts";

/** The entry's frame number is valid. */
export const MIGRATE_PFN_VALID = 1;
/** The page migrates (after setup) or has migrated (after pages). */
export const MIGRATE_PFN_MIGRATE = 2;
/** The page was mapped writable. */
export const MIGRATE_PFN_WRITE = 8;
/** Frame numbers begin at this bit. */
export const MIGRATE_PFN_SHIFT = 6;

/** Collect ordinary memory. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1;
/** Collect device-private pages of `owner`. */
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 2;

/** The src or dst entry of a frame: migrate_pfn(). */
export function migratePfn(pfn: number): number {
  return ((pfn << MIGRATE_PFN_SHIFT) | MIGRATE_PFN_VALID) >>> 0;
}

/** The frame of an entry, or -1: migrate_pfn_to_page(). */
export function migratePfnToPage(entry: number): number {
  return entry & MIGRATE_PFN_VALID ? entry >>> MIGRATE_PFN_SHIFT : -1;
}

/** What a migration is about: struct migrate_vma. */
export interface MigrateVma {
  /** Address space. */
  readonly mm: number;
  /** The vma that contains the whole range. */
  readonly vma: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** What was there: one MIGRATE_PFN_ entry a page, filled by setup. */
  readonly src: Uint32Array;
  /** Where it goes: filled by the caller between setup and pages; destinations are locked. */
  readonly dst: Uint32Array;
  /** MIGRATE_VMA_SELECT_ flags. */
  readonly flags: number;
  /** Owner of the device memory: pgmap_owner. */
  readonly owner: number;
  /** The device page whose CPU fault this migration answers, or -1. */
  readonly faultPage: number;
  /** Pages that were collected and not given up: filled by setup. */
  cpages: number;
}

const AT_COLLECT = site("migrate_vma_setup: before a table is collected");
const AT_ENTRY = site("migrate_vma_setup: between entries of a table");
const AT_FLUSH = site("migrate_vma_setup: entries cleared, translations not yet flushed");
const AT_UNMAP = site("migrate_vma_setup: collected, not yet isolated");
const AT_PTL = site("migrate_vma: waiting for a page-table lock");
const AT_NOTIFY = site("migrate_vma: notifying");
const AT_INSERT = site("migrate_vma_pages: before a page goes into a hole");
const AT_RESTORE = site("migrate_vma: before a migration entry is replaced");

function event(m: MigrateVma, start: number, end: number): Invalidation {
  return { mm: m.mm, start, end, event: MMU_NOTIFY_MIGRATE, owner: m.owner, blockable: true, seq: 0 };
}

/**
 * Collects the pages of a range and takes them out of the page tables: migrate_vma_setup().
 *
 * @returns 0 (also when `cpages` is 0), or -EINVAL for a range that is not within the vma
 */
export function* migrateVmaSetup(k: Kernel, a: number, m: MigrateVma): Proc<number> {
  const { vmas, sim } = k;
  if (m.start >= m.end || vmas.start[m.vma] > m.start || vmas.end[m.vma] < m.end) return -EINVAL;
  if (m.faultPage >= 0 && !k.pages.isDevicePrivate(m.faultPage)) return -EINVAL;
  m.src.fill(0, 0, m.end - m.start);
  m.cpages = 0;
  const e = event(m, m.start, m.end);
  sim.call(a, AT_NOTIFY, m.start, m.end, m.flags);
  yield* k.notifiers.start(a, e);
  sim.ret(a);
  for (let v = m.start; v < m.end;) {
    const stop = Math.min(m.end, v - (v & 511) + 512);
    if (sim.due(a)) {
      sim.mark(a, AT_COLLECT, v, m.start, m.end, m.cpages);
      yield DUE;
    }
    sim.call(a, AT_COLLECT, v, m.start, m.end, m.cpages);
    yield* collectTable(k, a, m, v, stop);
    sim.ret(a);
    v = stop;
  }
  k.notifiers.end(a, e);
  sim.call(a, AT_UNMAP, m.start, m.end, m.flags, m.cpages);
  yield* unmapCollected(k, a, m);
  sim.ret(a);
  return 0;
}

/** Collects the entries under one table, under its lock: migrate_vma_collect_pmd(). */
function* collectTable(k: Kernel, a: number, m: MigrateVma, start: number, end: number): Proc {
  const { sim, tables, pages } = k, { kind } = tables, leaf = tables.leaf(k.root[m.mm], start);
  if (leaf < 0) {
    if (k.vmas.isFile(m.vma)) return;
    // Nothing was ever mapped: pages of zeros to be made where they shall live, without a fault.
    m.src.fill(MIGRATE_PFN_MIGRATE, start - m.start, end - m.start);
    m.cpages += end - start;
    return;
  }
  if (tables.locked[leaf >>> 9]) yield* k.waitPtl(a, leaf);
  const file = k.vmas.isFile(m.vma);
  let unmapped = 0, holes = 0;
  for (let v = start; v < end; v++) {
    const e = leaf + (v & 511), pte = kind[e], pfn = tables.pfn[e], i = v - m.start;
    if (sim.grain === 1 && sim.due(a)) {
      k.ptlHold(leaf);
      sim.mark(a, AT_ENTRY, v, unmapped, holes, m.cpages);
      yield DUE;
      k.ptlRelease(leaf);
    }
    switch (pte & PTE_KIND) {
      case PTE_NONE:
        if (file) continue; // its pages are made by the file
        m.src[i] = MIGRATE_PFN_MIGRATE;
        m.cpages++;
        holes++;
        continue;
      case PTE_PRESENT:
        if (!(m.flags & MIGRATE_VMA_SELECT_SYSTEM)) continue;
        if (pfn === ZERO_PFN) {
          m.src[i] = MIGRATE_PFN_MIGRATE;
          m.cpages++;
          holes++;
          continue;
        }
        break;
      case PTE_DEVICE:
        if (!(m.flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) || pages.zoneOf(pfn).owner !== m.owner) continue;
        break;
      default:
        continue; // a migration entry: somebody else is at it
    }
    // The reference keeps the page; its lock is only tried, since whoever holds it may wait for this table.
    pages.refcount[pfn]++;
    if (!pages.trylock(pfn)) {
      pages.put(a, pfn);
      continue;
    }
    const writable = (pte & PTE_WRITE) !== 0, exclusive = (pages.flags[pfn] & PG_ANON_EXCLUSIVE) !== 0;
    m.src[i] = (migratePfn(pfn) | MIGRATE_PFN_MIGRATE | (writable ? MIGRATE_PFN_WRITE : 0)) >>> 0;
    m.cpages++;
    unmapped++;
    // What only the entry knew must survive it: the dirty bit goes to the page, exclusivity to the new entry.
    if (pte & PTE_DIRTY) pages.flags[pfn] |= PG_DIRTY;
    pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
    kind[e] = PTE_MIGRATION | (writable ? PTE_WRITE : 0) | (exclusive ? PTE_ANON_EXCLUSIVE : 0);
    pages.mapcount[pfn]--;
    pages.refcount[pfn]--; // the mapping's reference; ours stays
  }
  k.ptlSpend(a, leaf, k.phase.collect, (unmapped + holes) * k.cost.collectPageNs);
  if (unmapped === 0) return;
  if (sim.due(a)) {
    k.ptlHold(leaf);
    sim.mark(a, AT_FLUSH, start, end, unmapped, m.cpages);
    yield DUE;
    k.ptlRelease(leaf);
  }
  // Before the lock is given up: no CPU may store into a page whose copy is about to begin.
  k.flushTlb(a, m.mm, start, end);
}

/** Isolates what was collected, unmaps it elsewhere, refuses what is pinned: migrate_device_unmap(). */
export function* unmapCollected(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, pages } = k, n = m.end - m.start;
  let refused = 0, isolated = 0;
  if (sim.due(a)) {
    sim.mark(a, AT_UNMAP, 0, n);
    yield DUE;
  }
  for (let i = 0; i < n; i++) {
    const pfn = migratePfnToPage(m.src[i]);
    if (pfn < 0) continue;
    isolated++;
    pages.flags[pfn] &= ~PG_LRU;
    if (pages.mapcount[pfn] > 0) {
      sim.call(a, AT_UNMAP, i, n, refused);
      yield* tryToMigrate(k, a, pfn);
      sim.ret(a);
    }
    if (pages.mapcount[pfn] > 0 || pages.refcount[pfn] > 1 + extraReferences(k, m, pfn)) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE;
      m.cpages--;
      refused++;
    }
  }
  sim.spend(a, k.phase.unmap, isolated * k.cost.unmapPageNs);
  if (refused === 0) return;
  for (let i = 0; i < n; i++) {
    const pfn = migratePfnToPage(m.src[i]);
    if (pfn < 0 || m.src[i] & MIGRATE_PFN_MIGRATE) continue;
    sim.call(a, AT_RESTORE, i, n, refused);
    yield* removeMigrationEntries(k, a, m, m.start + i, pfn, pfn);
    sim.ret(a);
    m.src[i] = 0;
    if (!pages.isDevicePrivate(pfn)) pages.flags[pfn] |= PG_LRU;
    pages.unlock(pfn);
    pages.put(a, pfn);
  }
}

/** References beyond ours that are no pin: the fault's, the page cache's, one that ZONE_DEVICE pages are allowed. */
function extraReferences(k: Kernel, m: MigrateVma, pfn: number): number {
  const { pages } = k;
  return (pfn === m.faultPage ? 1 : 0) + (pages.isDevicePrivate(pfn) ? 1 : 0) +
    (pages.inode[pfn] !== 0 ? 1 : 0);
}

/**
 * Replaces every remaining entry of a page by a migration entry, in all address spaces: try_to_migrate().
 *
 * Each address space that the walk visits hears of it, whether or not it still maps the page; the walk ends as soon as
 * nobody does.
 */
function* tryToMigrate(k: Kernel, a: number, pfn: number): Proc {
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

/**
 * Puts the migrated pages into the address space, and pages for holes where nothing was: migrate_vma_pages().
 *
 * An entry whose page could not go has MIGRATE_PFN_MIGRATE cleared in `src`.
 */
export function* migrateVmaPages(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, pages } = k, n = m.end - m.start;
  let notified: Invalidation | undefined;
  for (let i = 0; i < n; i++) {
    if (!(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
    const page = migratePfnToPage(m.src[i]), to = migratePfnToPage(m.dst[i]);
    if (to < 0) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE;
      continue;
    }
    if (page >= 0) {
      if (pages.inode[page] !== 0 && pages.isDevicePrivate(to)) {
        m.src[i] &= ~MIGRATE_PFN_MIGRATE; // a file's page cannot live where the CPU does not reach
        continue;
      }
      if (pages.refcount[page] !== 1 + (page === m.faultPage ? 1 : 0)) {
        m.src[i] &= ~MIGRATE_PFN_MIGRATE; // somebody took a reference meanwhile
        continue;
      }
      pages.mapping[to] = pages.mapping[page];
      pages.index[to] = pages.index[page];
      pages.flags[to] |= pages.flags[page] & PG_DIRTY;
      continue;
    }
    if (notified === undefined) {
      notified = event(m, m.start + i, m.end);
      sim.call(a, AT_NOTIFY, i, n, m.start);
      yield* k.notifiers.start(a, notified);
      sim.ret(a);
    }
    sim.call(a, AT_INSERT, i, n, m.start);
    if (!(yield* insertPage(k, a, m, m.start + i, to))) m.src[i] &= ~MIGRATE_PFN_MIGRATE;
    sim.ret(a);
  }
  if (notified !== undefined) k.notifiers.end(a, notified);
}

/** Maps a new page where nothing (or the zero page) is mapped: migrate_vma_insert_page(). False if something came first. */
function* insertPage(k: Kernel, a: number, m: MigrateVma, vpn: number, pfn: number): Proc<boolean> {
  const { sim, tables, pages, vmas } = k;
  if (sim.grain === 1 && sim.due(a)) {
    sim.mark(a, AT_INSERT, vpn, pfn);
    yield DUE;
  }
  vmas.prepareAnon(m.vma);
  const leaf = tables.leafAlloc(k.root[m.mm], vpn);
  if (leaf < 0) return false;
  if (tables.locked[leaf >>> 9]) yield* k.waitPtl(a, leaf);
  const e = leaf + (vpn & 511), kind = tables.kind[e] & PTE_KIND;
  k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
  if (kind !== PTE_NONE && !(kind === PTE_PRESENT && tables.pfn[e] === ZERO_PFN)) return false;
  const write = vmas.flags[m.vma] & VM_WRITE ? PTE_WRITE : 0, device = pages.isDevicePrivate(pfn);
  if (kind === PTE_PRESENT) k.flushTlb(a, m.mm, vpn, vpn + 1);
  tables.set(e, device ? PTE_DEVICE | write : PTE_PRESENT | PTE_YOUNG | (write ? write | PTE_DIRTY : 0), pfn);
  pages.refcount[pfn]++;
  pages.mapcount[pfn] = 1;
  pages.mapping[pfn] = vmas.anonVma[m.vma];
  pages.index[pfn] = vmas.pgoff[m.vma] + (vpn - vmas.start[m.vma]);
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE | (device ? 0 : PG_LRU);
  k.rssAnon[m.mm]++;
  return true;
}

/** Ends a migration: entries point to where the pages are now, pages are unlocked: migrate_vma_finalize(). */
export function* migrateVmaFinalize(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, pages } = k, n = m.end - m.start;
  let done = 0;
  for (let i = 0; i < n; i++) {
    const page = migratePfnToPage(m.src[i]);
    let to = migratePfnToPage(m.dst[i]);
    if (page < 0) {
      if (to >= 0) {
        pages.unlock(to);
        pages.put(a, to);
      }
      continue;
    }
    if (!(m.src[i] & MIGRATE_PFN_MIGRATE) || to < 0) {
      if (to >= 0) {
        pages.unlock(to);
        pages.put(a, to);
      }
      to = page;
    }
    done++;
    if (sim.grain === 1 && sim.due(a)) {
      sim.mark(a, AT_RESTORE, i, n, page, to);
      yield DUE;
    }
    sim.call(a, AT_RESTORE, i, n, page, to);
    yield* removeMigrationEntries(k, a, m, m.start + i, page, to);
    sim.ret(a);
    if (!pages.isDevicePrivate(to)) pages.flags[to] |= PG_LRU;
    pages.unlock(page);
    pages.put(a, page);
    if (to !== page) {
      pages.unlock(to);
      pages.put(a, to);
    }
  }
  sim.spend(a, k.phase.finalize, done * k.cost.finalizePageNs);
}

/** Replaces all migration entries of `page` by entries of `to`: remove_migration_ptes(). */
function* removeMigrationEntries(
  k: Kernel,
  a: number,
  m: MigrateVma,
  vpn: number,
  page: number,
  to: number,
): Proc {
  const { pages, vmas, tables, sim } = k, anon = pages.mapping[page];
  // One vma can hold it: the one that the caller looks at. That is every page that was never shared by a fork.
  if (vmas.anon.linked[anon] === 1 && vmas.anonVma[m.vma] === anon) {
    const leaf = tables.leaf(k.root[m.mm], vpn);
    if (leaf >= 0 && tables.locked[leaf >>> 9]) yield* k.waitPtl(a, leaf);
    if (leaf >= 0) restoreEntry(k, m.vma, leaf + (vpn & 511), page, to);
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
