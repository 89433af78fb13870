/**
 * Emptying a device's memory, whoever maps its pages: what a driver does before the memory goes.
 *
 * migrate_device_range() over all frames, destinations in ordinary memory, the device's engine copies,
 * migrate_device_pages() and finalize. A page that somebody has locked is skipped, and asked for again once it was unlocked.
 * @module
 */
import type { CopyEngine } from "../bus/link.ts";
import { EBUSY } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import { PG_LOCKED } from "../mm/pages.ts";
import { poisonMigrationEntries } from "../mm/poison.ts";
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import type { Batches } from "./batches.ts";
import { allocAndCopy } from "./copy.ts";
import type { DeviceMemory } from "./devmem.ts";
import {
  MIGRATE_PFN_MIGRATE,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
} from "./migrate.ts";
import { migrateDeviceRange } from "./migrate_device.ts";

/** Rounds over the memory in which nothing could move, before its driver gives up: as often as migrate_pages() tries. */
const FRUITLESS_ROUNDS = 10;

/**
 * Without it a driver that goes leaves the pages of its memory where they are: 249881232e14 (nouveau), for which
 * e778406b40db made migrate_device_range().
 */
export const REVERT_EVICTION: string = defineRevert(
  "eviction before removal",
  "the removal of a device waits for pages that nobody will ever bring back",
);

const AT_EVICT = site("eviction: a part of the memory");
const AT_WAIT = site("eviction: waiting for a page that is busy");

/** What is emptied, and how. */
export interface Eviction {
  /** The memory. */
  readonly memory: DeviceMemory;
  /** Where arrays come from. */
  readonly batches: Batches;
  /** What copies; undefined when the content is lost, and whoever touches a page shall get SIGBUS. */
  readonly engine: CopyEngine | undefined;
  /** Told how many pages came back. */
  moved(pages: number): void;
}

/** Gives up pages whose content is lost: their entries become poison markers. */
function* poisonCollected(k: Kernel, a: number, m: MigrateVma, slot: number): Proc {
  const { pages, sim } = k, n = m.end - m.start;
  for (let i = 0; i < n; i++) {
    const pfn = migratePfnToPage(m.src[i]);
    if (pfn < 0 || !(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
    sim.call(a, AT_EVICT, i, n, slot, 1);
    yield* poisonMigrationEntries(k, a, pfn);
    sim.ret(a);
    pages.unlock(pfn);
    pages.put(a, pfn);
  }
}

/**
 * Goes over the memory once and moves what it can.
 *
 * @param k the machine
 * @param a actor
 * @param e what is emptied
 * @returns 0; -ENOMEM or -EIO when a page stayed for want of memory or because a copy failed
 */
export function* evictOnce(k: Kernel, a: number, e: Eviction): Proc<number> {
  const { sim, pages } = k, { memory, batches } = e, { zone } = memory;
  let rc = 0;
  for (let first = zone.start; first < zone.end && pages.used(zone) > 0;) {
    while (first < zone.end && pages.isFree(first)) first++;
    const n = Math.min(zone.end - first, batches.pages), batch = batches.take();
    sim.call(a, AT_EVICT, first, n, batch.slot, rc);
    const m = yield* migrateDeviceRange(k, a, first, batch.src, batch.dst, n);
    if (e.engine === undefined) yield* poisonCollected(k, a, m, batch.slot);
    else if (m.cpages > 0) {
      const copied = yield* allocAndCopy(
        k,
        a,
        m,
        batch,
        batches,
        e.engine,
        undefined,
        false,
      );
      if (copied !== 0) rc = copied;
      yield* migrateVmaPages(k, a, m);
      let moved = 0;
      for (let i = 0; i < n; i++) if (m.src[i] & MIGRATE_PFN_MIGRATE) moved++;
      e.moved(moved);
      yield* migrateVmaFinalize(k, a, m);
    }
    sim.ret(a);
    batches.give(batch, n);
    first += n;
  }
  return rc;
}

/** The first page of the memory that is in use and locked, or -1. */
function firstLocked(k: Kernel, { zone }: DeviceMemory): number {
  const { pages } = k;
  for (let pfn = zone.start, left = pages.used(zone); pfn < zone.end && left > 0; pfn++) {
    if (pages.isFree(pfn)) continue;
    left--;
    if (pages.flags[pfn] & PG_LOCKED) return pfn;
  }
  return -1;
}

/**
 * Empties the memory: round after round until no page is in use. No page is handed out from now on.
 *
 * Linux asks for the destinations with __GFP_NOFAIL and tries without end; here ten rounds in a row in which no page moved
 * end it, with the pages where they are.
 *
 * @param k the machine
 * @param a actor
 * @param e what is emptied
 * @returns 0 when no page is in use; -ENOMEM when there was no memory for one, -EIO when it could not be copied, -EBUSY when
 * somebody holds it: pages are handed out again then
 */
export function* evictDeviceMemory(k: Kernel, a: number, e: Eviction): Proc<number> {
  const { sim, pages } = k, { memory } = e;
  memory.kill();
  if (k.revert.has(REVERT_EVICTION)) return 0;
  for (let round = 1, before = memory.used; memory.used > 0; round++) {
    sim.call(a, AT_WAIT, round, before);
    const rc = yield* evictOnce(k, a, e);
    const locked = firstLocked(k, memory);
    if (locked >= 0) yield* pages.waitUnlocked(a, locked);
    sim.ret(a);
    if (memory.used < before) {
      before = memory.used;
      round = 0;
    } else if (locked < 0 && round >= FRUITLESS_ROUNDS) {
      memory.revive();
      return rc === 0 ? -EBUSY : rc;
    }
    if (sim.due(a)) {
      sim.mark(a, AT_WAIT, round, before);
      yield DUE;
    }
  }
  return 0;
}
