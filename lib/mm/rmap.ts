/**
 * The reverse map: from a page to every entry that may map it, and what is done there.
 *
 * One walk serves all who change or look at the entries of a page: migration entries in and out, page-out, the look at
 * the accessed bits (rmap_walk() of the kernel, and its try_to_migrate(), try_to_unmap(), folio_referenced()). The
 * kernel keeps the walked list still with the lock of the anon_vma or of the file. Here the walk takes the list when it
 * begins and passes over a place that is gone when its turn comes: whoever takes a vma away empties its entries first.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import type { Mapping } from "./anon_vma.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR, TOLD } from "./notifier.ts";
import { LOCK_RMAP } from "./watch.ts";

const AT_NOTIFY = site("reverse map: notifying of one entry");
const AT_PTL = site("reverse map: waiting for a page-table lock");

/** What a walk does at each place: struct rmap_walk_control. */
export interface RmapWalk {
  /** Whether the subscribers of each place hear that its entry goes (MMU_NOTIFY_CLEAR), mapped or not. */
  readonly clears: boolean;
  /** Whether the walk ends before this place, of which then nobody is told. */
  done(k: Kernel, pfn: number, vma: number): boolean;
  /**
   * Looks at the entry of a place, whatever it holds, with the lock of its table held.
   *
   * @param e the entry
   * @param pfn the page that is walked
   * @param to what the walk was given
   * @returns 0 when the place has nothing of the page, else what is to be added to the walk's result
   */
  visit(k: Kernel, a: number, vma: number, e: number, pfn: number, to: number): number;
}

/** The entry at a place, or -1 where there is no table, or no longer this vma. */
function entryAt(k: Kernel, at: Mapping): number {
  return stands(k, at) ? k.tables.entry(k.root[at.mm], at.vpn) : -1;
}

/** Whether a place is still what it was when the walk began. */
function stands(k: Kernel, { mm, vma, vpn }: Mapping): boolean {
  const { vmas } = k;
  return vmas.mm[vma] === mm && vmas.start[vma] <= vpn && vpn < vmas.end[vma];
}

/** The event that one entry goes. */
function clearing(mm: number, vpn: number): Invalidation {
  return { mm, start: vpn, end: vpn + 1, event: MMU_NOTIFY_CLEAR, owner: 0, blockable: true, seq: 0 };
}

/** What {@link rmapWalkNow} returns when it did nothing. */
const NOT_NOW = -1;

/** A walk whose first notification has begun and cannot be finished without a stop. */
interface BegunWalk {
  readonly event: Invalidation;
  /** Where {@link Notifiers.startFrom} goes on. */
  readonly told: number;
}

/**
 * Does what {@link rmapWalk} does, if one vma alone can map the page and nothing has to stop: so it is with nearly every
 * page, and no generator and no list is made for it.
 *
 * @returns what the walk found; or what to hand to {@link rmapWalk}, which has to do it or to go on with it
 */
export function rmapWalkNow(k: Kernel, a: number, pfn: number, walk: RmapWalk, to = 0): number | BegunWalk {
  const { pages, vmas, tables, notifiers } = k;
  const vma = pages.inode[pfn] === 0 ? vmas.anon.sole(pages.mapping[pfn]) : -1;
  if (vma < 0 || k.watch !== undefined || k.sim.due(a)) return NOT_NOW;
  const mm = vmas.mm[vma], vpn = vmas.start[vma] + (pages.index[pfn] - vmas.pgoff[vma]);
  if (vpn < vmas.start[vma] || vpn >= vmas.end[vma] || walk.done(k, pfn, vma)) return 0;
  const e = tables.entry(k.root[mm], vpn);
  if (e >= 0 && tables.locked[e >>> 9]) return NOT_NOW;
  if (!walk.clears) return e < 0 ? 0 : walk.visit(k, a, vma, e, pfn, to);
  const event = clearing(mm, vpn), told = notifiers.startNow(a, event);
  if (told !== TOLD) return { event, told };
  const found = e < 0 ? 0 : walk.visit(k, a, vma, e, pfn, to);
  if (found > 0) k.flushTlb(a, mm, vpn, vpn + 1);
  notifiers.end(a, event);
  return found;
}

/**
 * Walks the places where a small page may be mapped: rmap_walk().
 *
 * @param pfn the page; who walks to change holds its lock
 * @param walk what to do at each place
 * @param to given to each visit
 * @param begun what {@link rmapWalkNow} has begun
 * @returns the sum of what the visits returned
 */
export function* rmapWalk(
  k: Kernel,
  a: number,
  pfn: number,
  walk: RmapWalk,
  to = 0,
  begun: BegunWalk | undefined = undefined,
): Proc<number> {
  const { sim, tables } = k, places = k.places(pfn);
  let found = 0;
  k.watch?.lockTaken(a, LOCK_RMAP, false);
  for (const [i, at] of places.entries()) {
    if (!stands(k, at)) continue;
    if (walk.done(k, pfn, at.vma)) break;
    const { mm, vpn } = at;
    let event: Invalidation | undefined;
    if (walk.clears) {
      const first: BegunWalk | undefined = i === 0 ? begun : undefined;
      event = first?.event ?? clearing(mm, vpn);
      const told = first?.told ?? k.notifiers.startNow(a, event);
      if (told !== TOLD) {
        sim.call(a, AT_NOTIFY, pfn, at.vma, vpn, places.length - i);
        yield* k.notifiers.startFrom(a, event, told);
        sim.ret(a);
      }
    }
    let e = entryAt(k, at);
    while (e >= 0 && tables.locked[e >>> 9]) {
      sim.call(a, AT_PTL, pfn, at.vma, vpn, to);
      yield* k.waitPtl(a, e - (vpn & 511));
      sim.ret(a);
      e = entryAt(k, at);
    }
    if (e >= 0) {
      const n = walk.visit(k, a, at.vma, e, pfn, to);
      if (n > 0 && walk.clears) k.flushTlb(a, mm, vpn, vpn + 1);
      found += n;
    }
    if (event !== undefined) k.notifiers.end(a, event);
  }
  k.watch?.lockDropped(a, LOCK_RMAP);
  return found;
}
