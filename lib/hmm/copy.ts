/**
 * The part of a migration that is the driver's: destinations for what was collected, and the copy by an engine.
 * @module
 */
import { type CopyEngine, NO_PAGE } from "../bus/link.ts";
import { allocPage } from "../mm/alloc.ts";
import { allocPageSlow } from "../mm/direct_reclaim.ts";
import { EIO, ENOMEM } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import { VM_WRITE } from "../mm/vma.ts";
import { type Proc, site } from "../sim/sim.ts";
import type { Batch, Batches } from "./batches.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
} from "./migrate.ts";

const AT_ALLOC = site("migration: no page of ordinary memory is free");
const AT_COPY = site("migration: the engine copies");

/** What hands out destinations: a device's memory, or a driver that says which page goes where. */
export interface Destinations {
  /** Hands out a locked page for a row of the migration, or -1. */
  alloc(a: number, row: number): number;
}

/**
 * Finds a destination for each collected page and lets an engine copy; a page without one, or that was not copied, has no
 * destination and so stays where it is.
 *
 * @param k the machine
 * @param a actor
 * @param m what was collected; `dst` is filled
 * @param batch the arrays of `m`
 * @param batches where the engine's arrays come from
 * @param engine what copies
 * @param to what hands out the destinations, locked: a device's memory; ordinary memory, reclaimed if need be, if undefined
 * @param holes whether pages are made for holes too
 * @returns 0; -EIO when the engine failed, -ENOMEM when a page had no destination: then some pages stay
 */
export function* allocAndCopy(
  k: Kernel,
  a: number,
  m: MigrateVma,
  batch: Batch,
  batches: Batches,
  engine: CopyEngine,
  to: Destinations | undefined,
  holes: boolean,
): Proc<number> {
  const { pages, sim, vmas } = k, n = m.end - m.start;
  const frames = batches.take(), vmaWrite = (vmas.flags[m.vma] & VM_WRITE) !== 0;
  let short = false;
  for (let i = 0; i < n; i++) {
    frames.src[i] = frames.dst[i] = NO_PAGE;
    if (!(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
    const from = migratePfnToPage(m.src[i]);
    if (from < 0 && !holes) continue; // a hole is nothing to bring back
    let page = to === undefined ? allocPage(k, a) : to.alloc(a, i);
    if (page < 0 && to === undefined) {
      // The pages that are collected are locked and off their lists: reclaim does not see them.
      sim.call(a, AT_ALLOC, batch.slot, frames.slot, i, n);
      page = yield* allocPageSlow(k, a);
      sim.ret(a);
    }
    if (page < 0) {
      short = true;
      continue;
    }
    if (to === undefined && !pages.trylock(page)) throw new Error(`free page ${page} is locked`);
    const write = from >= 0 ? (m.src[i] & MIGRATE_PFN_WRITE) !== 0 : vmaWrite;
    m.dst[i] = (migratePfn(page) | (write ? MIGRATE_PFN_WRITE : 0)) >>> 0;
    frames.dst[i] = page;
    if (from >= 0) frames.src[i] = from;
  }
  sim.call(a, AT_COPY, batch.slot, frames.slot, n);
  const rc = yield* engine.copy(a, frames.src, frames.dst, n);
  sim.ret(a);
  if (rc !== 0) {
    for (let i = 0; i < n; i++) {
      const page = migratePfnToPage(m.dst[i]);
      if (page < 0 || frames.dst[i] !== NO_PAGE) continue;
      m.dst[i] = 0;
      pages.unlock(page);
      pages.put(a, page);
    }
  }
  batches.give(frames, n);
  return rc !== 0 ? -EIO : short ? -ENOMEM : 0;
}
