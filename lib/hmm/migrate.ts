/**
 * Migration of a range in the three calls of migrate_vma: setup (collect, unmap), pages, finalize.
 *
 * Between setup and pages the caller allocates destinations and copies; between pages and finalize it looks which
 * entries kept MIGRATE_PFN_MIGRATE and updates its own tables. It holds the mmap lock for reading all the time.
 * @module
 */
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EINVAL } from "../mm/errno.ts";
import { type Kernel, REVERT_FAULT_LOCK, REVERT_FAULT_REFERENCE } from "../mm/kernel.ts";
import { removeMigrationEntries, restoreNow, tryToMigrateNow } from "../mm/migration_entry.ts";
import { type Invalidation, MMU_NOTIFY_MIGRATE, TOLD } from "../mm/notifier.ts";
import { PG_ANON_EXCLUSIVE, PG_DIRTY, PG_LARGE, PG_LRU, ZERO_PFN } from "../mm/pages.ts";
import {
  PTE_ANON_EXCLUSIVE,
  PTE_DEVICE,
  PTE_DIRTY,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_OF_FILE,
  PTE_PRESENT,
  PTE_WRITE,
  PTE_YOUNG,
} from "../mm/pagetable.ts";
import { splitHugePage } from "../mm/split_folio.ts";
import { VM_HUGETLB, VM_MIXEDMAP, VM_WRITE } from "../mm/vma.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
} from "./migrate_entry.ts";

export * from "./migrate_entry.ts";

/**
 * Without it the page-table lock is given up before CPUs' translations are flushed: 60bae7370896, 8c3328f1f36a of 2022.
 */
export const REVERT_COLLECT_FLUSH: string = defineRevert(
  "collect flush under lock",
  "a CPU still stores into a page that MADV_DONTNEED has dropped, because a migration has not flushed yet",
);

/** Without it what only a page-table entry knew of a write is forgotten when the entry becomes a migration entry. */
export const REVERT_DIRTY_BIT: string = defineRevert(
  "dirty bit",
  "a written page is taken for clean after a migration that failed, and its content may be dropped",
);

/** Without it a page that somebody holds is migrated under its holder. */
export const REVERT_PIN_CHECK: string = defineRevert(
  "pinned page refusal",
  "a pinned page moves, and who pinned it goes on with a page that the process no longer has",
);

/** Without it a page goes into a hole without another look whether the hole is still there. */
export const REVERT_HOLE_CHECK: string = defineRevert(
  "second look at a hole",
  "a page that a CPU fault has put into a hole is overwritten by the one that a migration made for it",
);

const AT_COLLECT = site("migrate_vma_setup: before a table is collected");
const AT_ENTRY = site("migrate_vma_setup: between entries of a table");
const AT_CLEARED = site("migrate_vma_setup: entry cleared, migration entry not yet set");
const AT_FLUSH = site("migrate_vma_setup: entries cleared, translations not yet flushed");
const AT_UNMAP = site("migrate_vma_setup: collected, not yet isolated");
const AT_NOTIFY = site("migrate_vma: notifying");
const AT_INSERT = site("migrate_vma_pages: before a page goes into a hole");
const AT_RESTORE = site("migrate_vma: before a migration entry is replaced");
const AT_UNLOCK = site("migrate_vma: entry replaced, page still locked");

function event(m: MigrateVma, start: number, end: number): Invalidation {
  return { mm: m.mm, start, end, event: MMU_NOTIFY_MIGRATE, owner: m.owner, blockable: true, seq: 0 };
}

/**
 * Collects the pages of a range and takes them out of the page tables: migrate_vma_setup().
 *
 * @param restore puts back what was refused; another than the kernel's only for the posted code of 2016 (hmm/v13)
 * @returns 0 (also when `cpages` is 0), or -EINVAL for a range that is not within the vma, hugetlb or a driver's own pages
 */
export function* migrateVmaSetup(k: Kernel, a: number, m: MigrateVma, restore = putBack): Proc<number> {
  const { vmas, sim, pages } = k, n = m.end - m.start;
  if (m.start >= m.end || vmas.start[m.vma] > m.start || vmas.end[m.vma] < m.end) return -EINVAL;
  if (vmas.flags[m.vma] & (VM_HUGETLB | VM_MIXEDMAP)) return -EINVAL;
  if (m.faultPage >= 0 && !pages.isDevicePrivate(m.faultPage)) return -EINVAL;
  for (let i = 0; i < n; i++) m.src[i] = 0;
  m.cpages = 0;
  k.watch?.migrationStarts(a, m);
  const e = event(m, m.start, m.end), told = k.notifiers.startNow(a, e);
  if (told !== TOLD) {
    sim.call(a, AT_NOTIFY, m.start, m.end, m.flags);
    yield* k.notifiers.startFrom(a, e, told);
    sim.ret(a);
  }
  yield* collectRange(k, a, m);
  k.notifiers.end(a, e);
  sim.call(a, AT_UNMAP, m.start, m.end, m.flags, m.cpages);
  yield* unmapCollected(k, a, m, restore);
  sim.ret(a);
  k.watch?.migrationCollected(a, m);
  return 0;
}

/** Collects the entries of a range, each table's under its lock: migrate_vma_collect_pmd(). */
function* collectRange(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, tables } = k;
  for (let v = m.start; v < m.end;) {
    const start = v, end = Math.min(m.end, v - (v & 511) + 512), before = m.cpages;
    if (sim.due(a)) {
      sim.mark(a, AT_COLLECT, v, m.start, m.end, m.cpages);
      yield DUE;
    }
    if (tables.huge(k.root[m.mm], v) >= 0) {
      sim.call(a, AT_COLLECT, v, m.start, m.end, m.cpages);
      const split = yield* splitHugePage(k, a, m.mm, v);
      sim.ret(a);
      if (!split) {
        v = end; // busy: its pages stay where they are (migrate_vma_collect_skip)
        continue;
      }
    }
    const leaf = tables.leaf(k.root[m.mm], v);
    if (leaf < 0) {
      // Nothing was ever mapped: pages of zeros to be made where they shall live, without a fault; a file makes its own.
      if (!k.vmas.isFile(m.vma)) {
        m.src.fill(MIGRATE_PFN_MIGRATE, v - m.start, end - m.start);
        m.cpages += end - v;
      }
      v = end;
      continue;
    }
    if (tables.locked[leaf >>> 9]) {
      sim.call(a, AT_COLLECT, v, m.start, m.end, m.cpages);
      yield* k.waitPtl(a, leaf);
      sim.ret(a);
    }
    let taken = 0;
    for (; v < end; v++) {
      if (sim.grain === 1 && sim.due(a)) {
        k.ptlHold(leaf);
        sim.mark(a, AT_ENTRY, v, taken, before, m.cpages);
        yield DUE;
        k.ptlRelease(leaf);
      }
      const e = leaf + (v & 511);
      if (!collectEntry(k, a, m, e, v - m.start)) continue;
      taken++;
      if (sim.grain === 1 && sim.due(a)) {
        // Who looks without the lock (hmm_range_fault, a fault's first look) can meet the entry empty.
        const entry = tables.kind[e];
        k.ptlHold(leaf);
        tables.kind[e] = PTE_NONE;
        sim.call(a, AT_ENTRY, v, taken, before, m.cpages);
        sim.mark(a, AT_CLEARED, v, entry);
        yield DUE;
        sim.ret(a);
        tables.kind[e] = entry;
        k.ptlRelease(leaf);
      }
    }
    k.ptlSpend(a, leaf, k.phase.collect, (m.cpages - before) * k.cost.collectPageNs);
    if (taken === 0) continue;
    if (sim.due(a)) {
      const locked = !k.reverts(REVERT_COLLECT_FLUSH);
      if (locked) k.ptlHold(leaf);
      sim.mark(a, AT_FLUSH, start, end, taken, m.cpages);
      yield DUE;
      if (locked) k.ptlRelease(leaf);
    }
    // Before the lock is given up: no CPU may store into a page whose copy is about to begin.
    k.flushTlb(a, m.mm, start, end);
  }
}

/** References that the CPU fault which this migration answers holds to a page: 1 to its own. */
function faultReferences(k: Kernel, m: MigrateVma, pfn: number): number {
  return pfn === m.faultPage && !k.reverts(REVERT_FAULT_REFERENCE) ? 1 : 0;
}

/** Whether the CPU fault that this migration answers has the page's lock, and keeps it. */
export function lockedByFault(k: Kernel, m: MigrateVma, pfn: number): boolean {
  return faultReferences(k, m, pfn) === 1 && !k.reverts(REVERT_FAULT_LOCK);
}

/** Collects one entry `e` into row `i`. Returns whether it became a migration entry. */
function collectEntry(k: Kernel, a: number, m: MigrateVma, e: number, i: number): boolean {
  const { tables, pages } = k, pte = tables.kind[e], pfn = tables.pfn[e];
  switch (pte & PTE_KIND) {
    case PTE_NONE:
      if (k.vmas.isFile(m.vma)) return false; // its pages are made by the file
      m.src[i] = MIGRATE_PFN_MIGRATE;
      m.cpages++;
      return false;
    case PTE_PRESENT:
      if (pages.isDeviceCoherent(pfn)) {
        if (!(m.flags & MIGRATE_VMA_SELECT_DEVICE_COHERENT)) return false;
        if (pages.zoneOf(pfn).owner !== m.owner) return false;
        break;
      }
      if (!(m.flags & MIGRATE_VMA_SELECT_SYSTEM) || pages.flags[pfn] & PG_LARGE) return false;
      if (pfn === ZERO_PFN) {
        m.src[i] = MIGRATE_PFN_MIGRATE;
        m.cpages++;
        return false;
      }
      break;
    case PTE_DEVICE:
      if (!(m.flags & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) || pages.zoneOf(pfn).owner !== m.owner) return false;
      break;
    default:
      return false; // a migration entry: somebody else is at it
  }
  // The reference keeps the page; its lock is only tried, since whoever holds it may wait for this table.
  pages.refcount[pfn]++;
  if (!lockedByFault(k, m, pfn) && !pages.trylock(pfn)) {
    pages.put(a, pfn);
    return false;
  }
  const writable = (pte & PTE_WRITE) !== 0, exclusive = (pages.flags[pfn] & PG_ANON_EXCLUSIVE) !== 0;
  m.src[i] = (migratePfn(pfn) | MIGRATE_PFN_MIGRATE | (writable ? MIGRATE_PFN_WRITE : 0)) >>> 0;
  m.cpages++;
  // What only the entry knew must survive it: the dirty bit goes to the page, exclusivity to the new entry.
  if (pte & PTE_DIRTY && !k.reverts(REVERT_DIRTY_BIT)) pages.flags[pfn] |= PG_DIRTY;
  pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE;
  tables.kind[e] = PTE_MIGRATION | (writable ? PTE_WRITE : 0) | (exclusive ? PTE_ANON_EXCLUSIVE : 0) |
    (pages.inode[pfn] !== 0 ? PTE_OF_FILE : 0);
  pages.mapcount[pfn]--;
  pages.refcount[pfn]--; // the mapping's reference; ours stays
  return true;
}

/** Isolates what was collected, unmaps it elsewhere, refuses what is pinned: migrate_device_unmap(). */
export function* unmapCollected(k: Kernel, a: number, m: MigrateVma, restore = putBack): Proc {
  const { sim } = k, n = m.end - m.start, collected = m.cpages;
  if (sim.due(a)) {
    sim.mark(a, AT_UNMAP, 0, n);
    yield DUE;
  }
  let isolated = 0;
  for (let i = 0; i < n; i++) if (m.src[i] & MIGRATE_PFN_VALID) isolated++;
  for (let i = isolate(k, m, 0); i < n; i = isolate(k, m, i + 1)) {
    const walk = tryToMigrateNow(k, a, migratePfnToPage(m.src[i]));
    sim.call(a, AT_UNMAP, i, n, collected);
    if (walk !== undefined) yield* walk;
    sim.ret(a);
    refusePinned(k, m, i);
  }
  sim.spend(a, k.phase.unmap, isolated * k.cost.unmapPageNs);
  if (m.cpages < collected) yield* restore(k, a, m);
}

/**
 * Takes collected pages from their LRU list and refuses the pinned ones, from row `from` on.
 *
 * @returns the row of the next page that is still mapped elsewhere, or the number of rows
 */
function isolate(k: Kernel, m: MigrateVma, from: number): number {
  const { pages } = k, n = m.end - m.start;
  for (let i = from; i < n; i++) {
    const pfn = migratePfnToPage(m.src[i]);
    if (pfn < 0) continue;
    if (!pages.isZoneDevice(pfn) && !(pages.flags[pfn] & PG_LRU)) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE; // reclaim has isolated it (folio_isolate_lru)
      m.cpages--;
      continue;
    }
    pages.flags[pfn] &= ~PG_LRU;
    if (pages.mapcount[pfn] > 0) return i;
    refusePinned(k, m, i);
  }
  return n;
}

/** Gives row `i` up if somebody else maps or holds its page. */
function refusePinned(k: Kernel, m: MigrateVma, i: number): void {
  const { pages } = k, pfn = migratePfnToPage(m.src[i]);
  const pinned = pages.refcount[pfn] > 1 + extraReferences(k, m, pfn) && !k.reverts(REVERT_PIN_CHECK);
  if (pages.mapcount[pfn] === 0 && !pinned) return;
  m.src[i] &= ~MIGRATE_PFN_MIGRATE;
  m.cpages--;
  if (!pages.isZoneDevice(pfn)) pages.flags[pfn] |= PG_LRU;
}

/** Puts the pages of refused rows back where they were. */
function* putBack(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, pages } = k, n = m.end - m.start;
  for (let i = 0; i < n; i++) {
    const pfn = migratePfnToPage(m.src[i]);
    if (pfn < 0 || m.src[i] & MIGRATE_PFN_MIGRATE) continue;
    sim.call(a, AT_RESTORE, i, n, m.cpages);
    yield* removeMigrationEntries(k, a, m.mm, m.vma, m.start + i, pfn, pfn);
    sim.ret(a);
    m.src[i] = 0;
    if (sim.grain === 1 && sim.due(a)) {
      sim.mark(a, AT_UNLOCK, i, n, pfn);
      yield DUE;
    }
    if (!lockedByFault(k, m, pfn)) pages.unlock(pfn);
    pages.put(a, pfn);
  }
}

/** References beyond ours that are no pin: the fault's, the page cache's, one that ZONE_DEVICE pages are allowed. */
function extraReferences(k: Kernel, m: MigrateVma, pfn: number): number {
  const { pages } = k;
  return faultReferences(k, m, pfn) + (pages.isZoneDevice(pfn) ? 1 : 0) +
    (pages.inode[pfn] !== 0 || pages.swap[pfn] !== 0 ? 1 : 0);
}

/**
 * Puts the migrated pages into the address space, and pages for holes where nothing was: migrate_vma_pages().
 *
 * An entry whose page could not go has MIGRATE_PFN_MIGRATE cleared in `src`.
 */
export function* migrateVmaPages(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, tables } = k, n = m.end - m.start;
  let notified: Invalidation | undefined;
  for (let i = movePages(k, a, m, 0); i < n; i = movePages(k, a, m, i + 1)) {
    const vpn = m.start + i, to = migratePfnToPage(m.dst[i]);
    if (notified === undefined) {
      notified = event(m, vpn, m.end);
      sim.call(a, AT_NOTIFY, i, n, m.start);
      yield* k.notifiers.start(a, notified);
      sim.ret(a);
    }
    if (sim.grain === 1 && sim.due(a)) {
      sim.call(a, AT_INSERT, i, n, m.start);
      sim.mark(a, AT_INSERT, vpn, to);
      yield DUE;
      sim.ret(a);
    }
    k.vmas.prepareAnon(m.vma);
    const leaf = tables.leafAlloc(k.root[m.mm], vpn);
    if (leaf >= 0 && tables.locked[leaf >>> 9]) {
      sim.call(a, AT_INSERT, i, n, m.start);
      yield* k.waitPtl(a, leaf);
      sim.ret(a);
    }
    if (leaf < 0 || !insertPage(k, a, m, vpn, leaf + (vpn & 511), to)) m.src[i] &= ~MIGRATE_PFN_MIGRATE;
  }
  if (notified !== undefined) k.notifiers.end(a, notified);
  k.watch?.migrationMoved(a, m);
}

/**
 * Gives migrating pages' identity to their destinations, from row `from` on.
 *
 * @returns the next row where a page goes into a hole, or the number of rows
 */
function movePages(k: Kernel, a: number, m: MigrateVma, from: number): number {
  const { pages } = k, n = m.end - m.start;
  for (let i = from; i < n; i++) {
    if (!(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
    const page = migratePfnToPage(m.src[i]), to = migratePfnToPage(m.dst[i]);
    if (to < 0) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE;
      continue;
    }
    if (page < 0) return i;
    if (pages.inode[page] !== 0 && pages.isDevicePrivate(to)) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE; // a file's page cannot live where the CPU does not reach
      continue;
    }
    // A page that only the swap cache has beside us leaves it; one whose slot others still name stays.
    if (pages.swap[page] !== 0) k.swap.tryRemove(k, a, page);
    if (pages.refcount[page] !== 1 + faultReferences(k, m, page) && !k.reverts(REVERT_PIN_CHECK)) {
      m.src[i] &= ~MIGRATE_PFN_MIGRATE; // somebody took a reference meanwhile
      continue;
    }
    pages.mapping[to] = pages.mapping[page];
    pages.index[to] = pages.index[page];
    pages.flags[to] |= pages.flags[page] & PG_DIRTY;
  }
  return n;
}

/** Maps a new page where nothing (or the zero page) is mapped: migrate_vma_insert_page(). False if something came first. */
function insertPage(k: Kernel, a: number, m: MigrateVma, vpn: number, e: number, pfn: number): boolean {
  const { tables, pages, vmas } = k, kind = tables.kind[e] & PTE_KIND;
  k.ptlSpend(a, e - (vpn & 511), k.phase.pte, k.cost.pteInstallNs);
  const hole = kind === PTE_NONE || kind === PTE_PRESENT && tables.pfn[e] === ZERO_PFN;
  if (!hole && !k.reverts(REVERT_HOLE_CHECK)) return false;
  const write = vmas.flags[m.vma] & VM_WRITE ? PTE_WRITE : 0, device = pages.isDevicePrivate(pfn);
  if (kind === PTE_PRESENT) k.flushTlb(a, m.mm, vpn, vpn + 1);
  tables.set(e, device ? PTE_DEVICE | write : PTE_PRESENT | PTE_YOUNG | (write ? write | PTE_DIRTY : 0), pfn);
  pages.refcount[pfn]++;
  pages.mapcount[pfn] = 1;
  pages.mapping[pfn] = vmas.anonVma[m.vma];
  pages.index[pfn] = vmas.pgoff[m.vma] + (vpn - vmas.start[m.vma]);
  pages.flags[pfn] |= PG_ANON_EXCLUSIVE | (pages.isZoneDevice(pfn) ? 0 : PG_LRU);
  k.rssAnon[m.mm]++;
  return true;
}

/** Ends a migration: entries point to where the pages are now, pages are unlocked: migrate_vma_finalize(). */
export function* migrateVmaFinalize(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, pages } = k, n = m.end - m.start;
  let done = 0;
  k.watch?.migrationFinalizes(a, m);
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
    if (!restoreNow(k, a, m.mm, m.vma, m.start + i, page, to)) {
      sim.call(a, AT_RESTORE, i, n, page, to);
      yield* removeMigrationEntries(k, a, m.mm, m.vma, m.start + i, page, to);
      sim.ret(a);
    }
    if (sim.grain === 1 && sim.due(a)) {
      // The page can be had again, but whoever tries its lock in vain gives up: both may lose.
      sim.mark(a, AT_UNLOCK, i, n, page, to);
      yield DUE;
    }
    if (!pages.isZoneDevice(to)) pages.flags[to] |= PG_LRU;
    if (!lockedByFault(k, m, page)) pages.unlock(page);
    pages.put(a, page);
    if (to !== page) {
      pages.unlock(to);
      pages.put(a, to);
    }
  }
  sim.spend(a, k.phase.finalize, done * k.cost.finalizePageNs);
  k.watch?.migrationEnds(a, m);
}
