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
import { type Invalidation, MMU_NOTIFY_CLEAR } from "./notifier.ts";
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

/**
 * Walks the places where a small page may be mapped: rmap_walk().
 *
 * @param pfn the page; who walks to change holds its lock
 * @param walk what to do at each place
 * @param to given to each visit
 * @returns the sum of what the visits returned
 */
export function* rmapWalk(k: Kernel, a: number, pfn: number, walk: RmapWalk, to = 0): Proc<number> {
  const { sim, tables } = k, places = k.places(pfn);
  let found = 0;
  k.watch?.lockTaken(a, LOCK_RMAP, false);
  for (const [i, at] of places.entries()) {
    if (!stands(k, at)) continue;
    if (walk.done(k, pfn, at.vma)) break;
    const { mm, vpn } = at;
    let event: Invalidation | undefined;
    if (walk.clears) {
      event = {
        mm,
        start: vpn,
        end: vpn + 1,
        event: MMU_NOTIFY_CLEAR,
        owner: 0,
        blockable: true,
        seq: 0,
      };
      sim.call(a, AT_NOTIFY, pfn, at.vma, vpn, places.length - i);
      yield* k.notifiers.start(a, event);
      sim.ret(a);
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
