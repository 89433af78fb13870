/**
 * Moving pages of ordinary memory to other frames, whoever maps them: migrate_pages() of mm/migrate.c.
 *
 * Each folio is locked and unmapped everywhere, all of a batch are copied (by the thread that asks, or by an engine that
 * it is given), then each takes over the identity of its source and is mapped again. A folio that is locked or held by
 * somebody is tried again: three times with the batch and without waiting, then, where that is allowed, alone and
 * waiting for its lock. Devices that mirror a page hear of it as of any other unmapping (MMU_NOTIFY_CLEAR).
 *
 * Not modelled: folios of other sizes than 4 KiB and 2 MiB, and moving pages of the hugetlb pool.
 * @module
 */
import { transferNs } from "../profiles/transfer.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import { type CopyEngine, NO_PAGE } from "./copy_engine.ts";
import { EAGAIN, ENOMEM } from "./errno.ts";
import { splitFolio } from "./split_folio.ts";
import type { Kernel } from "./kernel.ts";
import { removeFolioEntries, tryToMigrateFolio } from "./migrate_huge.ts";
import { removeMigrationPtes, tryToMigrate } from "./migration_entry.ts";
import { HUGE_PAGES, PG_DIRTY, PG_LARGE, PG_LAZYFREE, PG_LRU } from "./pages.ts";

/** Never waits: a folio that is locked or held stays. */
export const MIGRATE_ASYNC = 0;
/** Waits for folios that are locked. */
export const MIGRATE_SYNC = 2;

/** NR_MAX_MIGRATE_ASYNC_RETRY. */
const ASYNC_TRIES = 3;
/** NR_MAX_MIGRATE_SYNC_RETRY. */
const SYNC_TRIES = 7;

const AT_FOLIO = site("migrate_pages: before a folio is locked");
const AT_LOCK = site("migrate_pages: waiting for a folio's lock");
const AT_UNMAP = site("migrate_pages: unmapping a folio");
const AT_COPY = site("migrate_pages: copying");
const AT_MOVE = site("migrate_pages: before a folio's identity moves");
const AT_MAP = site("migrate_pages: replacing migration entries");
const AT_SPLIT = site("migrate_pages: splitting a folio");
const AT_TRY = site("migrate_pages: a try");

/** A pair of arrays of frames in use. */
export interface Frames {
  /** Its number. */
  readonly slot: number;
  /** Folios to move, by their first frame; {@link NO_PAGE} where there is none (any more). */
  readonly src: Uint32Array;
  /** Their destinations while they are under way. */
  readonly dst: Uint32Array;
}

/** Arrays of frames that live across stops, as the machine hands them out. */
export interface FramePool {
  /** Rows of each. */
  readonly pages: number;
  /** Takes a pair. */
  take(): Frames;
  /** Gives a pair back of which the first `n` rows were used. */
  give(frames: Frames, n: number): void;
}

/** Where the pages of a migration go, and how. */
export interface Migration {
  /** Arrays for the copy. */
  readonly pool: FramePool;
  /** MIGRATE_ASYNC or MIGRATE_SYNC. */
  readonly mode: number;
  /** What copies; the thread that asks if there is none. */
  readonly engine: CopyEngine | undefined;
  /** Takes a frame (or 512) for a folio: new_folio_t. -1 when there is none. */
  alloc(a: number, pfn: number, huge: boolean): number;
}

/**
 * Takes a folio from its LRU list, with a reference, so that nobody else moves or reclaims it: folio_isolate_lru().
 *
 * @returns its first frame, or -1 when somebody else has isolated it or it never was on a list
 */
export function isolateFolio(k: Kernel, a: number, pfn: number): number {
  const { pages } = k, first = pages.head(pfn);
  if (!(pages.flags[first] & PG_LRU)) return -1;
  pages.flags[first] &= ~PG_LRU;
  pages.refcount[first]++;
  k.sim.spend(a, k.phase.collect, k.cost.collectPageNs);
  return first;
}

/** Puts a folio back on its list and drops the reference of {@link isolateFolio}: putback_movable_pages(). */
function putBack(k: Kernel, a: number, first: number): void {
  k.pages.flags[first] |= PG_LRU;
  k.pages.put(a, first);
}

/** References of a folio that nobody maps and only we and a cache have: folio_expected_refs(). */
function expectedRefs({ pages }: Kernel, pfn: number): number {
  return 1 + (pages.inode[pfn] !== 0 || pages.swap[pfn] !== 0 ? 1 : 0);
}

/** Frames of a folio. */
function folioPages({ pages }: Kernel, pfn: number): number {
  return pages.flags[pfn] & PG_LARGE ? HUGE_PAGES : 1;
}

/** Maps a folio again, at `to` or where it was. */
function* remap(k: Kernel, a: number, pfn: number, to: number, large: boolean): Proc {
  if (large) yield* removeFolioEntries(k, a, pfn, to);
  else yield* removeMigrationPtes(k, a, pfn, to);
}

/** Gives a destination back. */
function drop(k: Kernel, a: number, to: number): void {
  k.pages.unlock(to);
  k.pages.put(a, to);
}

/**
 * Locks a folio, finds it a destination and unmaps it: migrate_folio_unmap().
 *
 * @returns 0 with the destination in `dst`; -EAGAIN when it is locked or held; -ENOMEM when there is no destination
 */
function* unmapFolio(k: Kernel, a: number, f: Frames, i: number, m: Migration, wait: boolean): Proc<number> {
  const { pages, sim } = k, pfn = f.src[i], large = (pages.flags[pfn] & PG_LARGE) !== 0;
  if (sim.grain === 1 && sim.due(a)) {
    sim.mark(a, AT_FOLIO, i, f.slot);
    yield DUE;
  }
  while (!pages.trylock(pfn)) {
    if (!wait) return -EAGAIN;
    sim.call(a, AT_LOCK, i, f.slot);
    yield* pages.waitUnlocked(a, pfn);
    sim.ret(a);
  }
  const to = m.alloc(a, pfn, large);
  if (to < 0) {
    pages.unlock(pfn);
    return -ENOMEM;
  }
  if (!pages.trylock(to)) throw new Error(`free page ${to} is locked`);
  f.dst[i] = to;
  sim.spend(a, k.phase.unmap, k.cost.unmapPageNs);
  sim.call(a, AT_UNMAP, i, f.slot, pfn, to);
  if (large) yield* tryToMigrateFolio(k, a, pfn);
  else yield* tryToMigrate(k, a, pfn);
  sim.ret(a);
  if (pages.refcount[pfn] === expectedRefs(k, pfn)) return 0;
  sim.call(a, AT_MAP, i, f.slot, pfn, to);
  yield* remap(k, a, pfn, pfn, large);
  sim.ret(a);
  f.dst[i] = NO_PAGE;
  pages.unlock(pfn);
  drop(k, a, to);
  return -EAGAIN;
}

/** Copies folios with the thread that asks: folio_copy(). */
function* copyByThread(k: Kernel, a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc {
  const { sim, pages } = k;
  for (let i = 0; i < n; i++) {
    if (dst[i] === NO_PAGE) continue;
    if (sim.grain === 1 && sim.due(a)) {
      sim.mark(a, AT_COPY, i, n);
      yield DUE;
    }
    pages.copy(dst[i], src[i]);
    sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
  }
}

/**
 * Copies rows with the engine of a migration; if that fails, or there is none, with the thread that asks.
 *
 * @param fill writes the rows into `c` and says how many they are; an engine that fails takes some of them out
 */
function* copyRows(k: Kernel, a: number, m: Migration, c: Frames, fill: () => number): Proc {
  const n = fill();
  if (n === 0) return;
  k.sim.call(a, AT_COPY, c.slot, n);
  const rc = m.engine === undefined ? -1 : yield* m.engine.copy(a, c.src, c.dst, n);
  if (rc !== 0) yield* copyByThread(k, a, c.src, c.dst, fill());
  k.sim.ret(a);
}

/** Copies what of a batch is unmapped: the small folios together, each large one by itself. */
function* copyFolios(k: Kernel, a: number, f: Frames, n: number, m: Migration): Proc {
  const { pages, sim } = k, c = m.pool.take();
  yield* copyRows(k, a, m, c, () => {
    let small = 0;
    for (let i = 0; i < n; i++) {
      if (f.dst[i] === NO_PAGE || pages.flags[f.src[i]] & PG_LARGE) continue;
      c.src[small] = f.src[i];
      c.dst[small++] = f.dst[i];
    }
    return small;
  });
  for (let i = 0; i < n; i++) {
    if (f.dst[i] === NO_PAGE || !(pages.flags[f.src[i]] & PG_LARGE)) continue;
    for (let from = 0; from < HUGE_PAGES; from += m.pool.pages) {
      sim.call(a, AT_COPY, i, from, f.slot, c.slot);
      yield* copyRows(k, a, m, c, () => {
        const rows = Math.min(m.pool.pages, HUGE_PAGES - from);
        for (let j = 0; j < rows; j++) {
          c.src[j] = f.src[i] + from + j;
          c.dst[j] = f.dst[i] + from + j;
        }
        return rows;
      });
      sim.ret(a);
    }
  }
  m.pool.give(c, m.pool.pages);
}

/** Lets a destination be what its source was: folio_migrate_mapping(), folio_migrate_flags(). */
function takeOver(k: Kernel, from: number, to: number, n: number): void {
  const { pages } = k;
  if (pages.inode[from] !== 0) k.inodes.replace(k, from, to);
  if (pages.swap[from] !== 0) k.swap.replace(k, from, to);
  for (let i = 0; i < n; i++) {
    pages.mapping[to + i] = pages.mapping[from + i];
    pages.index[to + i] = pages.index[from + i];
    pages.flags[to + i] |= pages.flags[from + i] & (PG_DIRTY | PG_LAZYFREE);
  }
}

/** Ends the migration of a folio that is copied: migrate_folio_move(). Returns 0, or -EAGAIN when it is held. */
function* moveFolio(k: Kernel, a: number, f: Frames, i: number): Proc<number> {
  const { pages, sim } = k, pfn = f.src[i], to = f.dst[i], n = folioPages(k, pfn), large = n > 1;
  if (sim.grain === 1 && sim.due(a)) {
    sim.mark(a, AT_MOVE, i, f.slot, pfn, to);
    yield DUE;
  }
  const held = pages.refcount[pfn] !== expectedRefs(k, pfn);
  if (!held) takeOver(k, pfn, to, n);
  sim.spend(a, k.phase.finalize, k.cost.finalizePageNs);
  sim.call(a, AT_MAP, i, f.slot, pfn, to);
  yield* remap(k, a, pfn, held ? pfn : to, large);
  sim.ret(a);
  f.dst[i] = NO_PAGE;
  pages.unlock(pfn);
  if (held) {
    drop(k, a, to);
    return -EAGAIN;
  }
  f.src[i] = NO_PAGE;
  pages.put(a, pfn);
  for (let p = to; p < to + n; p++) pages.flags[p] |= PG_LRU;
  drop(k, a, to);
  sim.counters.values[k.pgmigrate.success] += n;
  return 0;
}

/**
 * Splits a large folio for which there is no large destination, and moves all of its pages but the first, which stays
 * with the caller: try_split_folio().
 *
 * @returns whether it was split
 */
function* splitAndMove(k: Kernel, a: number, pfn: number, m: Migration): Proc<boolean> {
  const { pages, sim } = k;
  if (!(pages.flags[pfn] & PG_LARGE) || !pages.trylock(pfn)) return false;
  sim.call(a, AT_SPLIT, pfn);
  const split = yield* splitFolio(k, a, pfn);
  sim.ret(a);
  pages.unlock(pfn);
  if (!split) return false;
  for (let p = pfn + 1; p < pfn + HUGE_PAGES;) {
    const f = m.pool.take();
    let n = 0;
    for (; p < pfn + HUGE_PAGES && n < m.pool.pages; p++) {
      if (!pages.isFree(p) && isolateFolio(k, a, p) >= 0) f.src[n++] = p;
    }
    sim.call(a, AT_SPLIT, pfn, p, n, f.slot);
    if (n > 0) yield* migratePages(k, a, f, n, m);
    sim.ret(a);
    m.pool.give(f, n);
  }
  return true;
}

/**
 * One try of the rows `from` to `to`: migrate_pages_batch().
 *
 * @returns how many can be tried again; -ENOMEM when there is no memory to move to
 */
function* tryBatch(
  k: Kernel,
  a: number,
  f: Frames,
  from: number,
  to: number,
  m: Migration,
  wait: boolean,
): Proc<number> {
  const { sim } = k;
  let again = 0, unmapped = 0, rc = 0;
  for (let i = from; i < to && rc !== -ENOMEM; i++) {
    f.dst[i] = NO_PAGE;
    if (f.src[i] === NO_PAGE) continue;
    sim.call(a, AT_TRY, i, to, again, unmapped);
    rc = yield* unmapFolio(k, a, f, i, m, wait);
    if (rc === -ENOMEM && (yield* splitAndMove(k, a, f.src[i], m))) {
      rc = yield* unmapFolio(k, a, f, i, m, wait);
    }
    sim.ret(a);
    if (rc === 0) unmapped++;
    else again++;
  }
  const noMemory = rc === -ENOMEM;
  if (unmapped === 0) return noMemory ? rc : again;
  sim.call(a, AT_TRY, to, again, unmapped, noMemory ? 1 : 0);
  yield* copyFolios(k, a, f, to, m);
  sim.ret(a);
  for (let i = from; i < to; i++) {
    if (f.dst[i] === NO_PAGE || f.src[i] === NO_PAGE) continue;
    sim.call(a, AT_TRY, i, to, again, noMemory ? 1 : 0);
    if ((yield* moveFolio(k, a, f, i)) !== 0) again++;
    sim.ret(a);
  }
  return noMemory ? -ENOMEM : again;
}

/**
 * Moves folios that {@link isolateFolio} took: migrate_pages(). Those that could not move are put back on their lists.
 *
 * @param f the folios, in the first `n` rows of `src`; afterwards NO_PAGE for each that moved
 * @param n rows
 * @returns folios that did not move; -ENOMEM when there was no memory to move to
 */
export function* migratePages(k: Kernel, a: number, f: Frames, n: number, m: Migration): Proc<number> {
  const { sim } = k;
  f.dst.fill(NO_PAGE, 0, n);
  sim.spans.begin(a, k.kindMigratePages, 0);
  let left = n;
  for (let tries = 0; tries < ASYNC_TRIES && left > 0; tries++) {
    if (tries > 0 && sim.due(a)) {
      sim.mark(a, AT_TRY, tries, left, f.slot);
      yield DUE;
    }
    sim.call(a, AT_TRY, tries, n, f.slot);
    left = yield* tryBatch(k, a, f, 0, n, m, false);
    sim.ret(a);
  }
  for (let i = 0; i < n && left > 0 && m.mode === MIGRATE_SYNC; i++) {
    if (f.src[i] === NO_PAGE) continue;
    let one = 1;
    for (let tries = 0; tries < SYNC_TRIES && one > 0; tries++) {
      if (sim.due(a)) {
        sim.mark(a, AT_TRY, tries, i, f.slot);
        yield DUE;
      }
      sim.call(a, AT_TRY, tries, i, f.slot, n);
      one = yield* tryBatch(k, a, f, i, i + 1, m, true);
      sim.ret(a);
    }
    if (one < 0) left = one;
  }
  let failed = 0, moved = 0;
  for (let i = 0; i < n; i++) {
    if (f.src[i] === NO_PAGE) {
      moved++;
      continue;
    }
    failed++;
    sim.counters.values[k.pgmigrate.fail] += folioPages(k, f.src[i]);
    putBack(k, a, f.src[i]);
  }
  sim.spans.end(a, k.kindMigratePages, moved);
  return left < 0 ? left : failed;
}
