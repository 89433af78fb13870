/**
 * Long-term pins: pin_user_pages(FOLL_LONGTERM) and what it does to device memory first.
 * @module
 */
import { allocPage } from "../mm/alloc.ts";
import { allocPageSlow } from "../mm/direct_reclaim.ts";
import { NO_PAGE } from "../bus/link.ts";
import { transferNs } from "../profiles/transfer.ts";
import { type Proc, site } from "../sim/sim.ts";
import { EBUSY, ENOMEM } from "../mm/errno.ts";
import { getUserPage } from "../mm/gup.ts";
import type { Kernel } from "../mm/kernel.ts";
import { ZERO_PFN } from "../mm/pages.ts";
import { PAGE_SIZE } from "../units.ts";
import { migratePfn, migrateVmaFinalize, migrateVmaPages } from "./migrate.ts";
import { migrateDeviceRange } from "./migrate_device.ts";

const AT_LOCK = site("pin: taking the mmap lock");
const AT_GUP = site("pin: getting a page");
const AT_ALLOC = site("pin: no page of system memory is free");
const AT_MOVE = site("pin: moving a coherent page");

/**
 * Pins the pages of a range for long: pin_user_pages(FOLL_LONGTERM).
 *
 * Device-private pages come back by the fault; coherent ones are migrated to system memory, since device memory is never
 * pinned for long.
 *
 * @param write whether what pins will write
 * @param pfns takes the pinned frames, {@link NO_PAGE} for the zero page
 * @returns 0, or a negated errno with nothing pinned
 */
export function* pinLongterm(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  pages: number,
  write: boolean,
  pfns: Uint32Array,
): Proc<number> {
  const { sim, locks } = k, lock = k.mmapLock(mm);
  sim.call(a, AT_LOCK, start, pages, write ? 1 : 0);
  yield* locks.read(a, lock);
  sim.ret(a);
  let rc = 0, moved = 1;
  // All pages are had first; if some are coherent, all are let go, those move, and it begins again
  // (check_and_migrate_movable_pages).
  while (moved > 0 && rc === 0) {
    moved = 0;
    let got = 0;
    for (; got < pages && rc === 0; got++) {
      sim.call(a, AT_GUP, start, pages, got, write ? 1 : 0);
      const pfn = yield* getUserPage(k, a, mm, start + got, write, true);
      sim.ret(a);
      if (pfn < 0) {
        rc = pfn;
        break;
      }
      if (pfn !== ZERO_PFN) k.pages.pins[pfn]++;
      pfns[got] = pfn === ZERO_PFN ? NO_PAGE : pfn;
      if (k.pages.isDeviceCoherent(pfn)) moved++;
    }
    if (rc !== 0) unpin(k, a, pfns, got);
    if (rc !== 0 || moved === 0) continue;
    unpin(k, a, pfns, got);
    for (let i = 0; i < got && rc === 0; i++) {
      if (pfns[i] === NO_PAGE || !k.pages.isDeviceCoherent(pfns[i]) || k.pages.isFree(pfns[i])) continue;
      sim.call(a, AT_MOVE, start, pages, i, pfns[i]);
      rc = yield* moveCoherent(k, a, pfns[i]);
      sim.ret(a);
    }
  }
  locks.readUnlock(a, lock);
  sim.progress++;
  return rc;
}

/** Ends pins: unpin_user_pages(). */
export function unpin(k: Kernel, a: number, pfns: Uint32Array, n: number): void {
  for (let i = 0; i < n; i++) {
    if (pfns[i] === NO_PAGE) continue;
    k.pages.pins[pfns[i]]--;
    k.pages.put(a, pfns[i]);
  }
}

/** Moves one coherent page to system memory, whoever maps it: migrate_device_coherent_folio(). */
function* moveCoherent(k: Kernel, a: number, pfn: number): Proc<number> {
  const { sim, pages } = k, src = new Uint32Array(1), dst = new Uint32Array(1);
  const m = yield* migrateDeviceRange(k, a, pfn, src, dst, 1);
  if (m.cpages === 0) return -EBUSY;
  let to = allocPage(k, a);
  if (to < 0) {
    sim.call(a, AT_ALLOC, pfn);
    to = yield* allocPageSlow(k, a);
    sim.ret(a);
  }
  if (to >= 0) {
    sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
    pages.trylock(to);
    pages.copy(to, pfn);
    dst[0] = migratePfn(to);
  }
  yield* migrateVmaPages(k, a, m);
  yield* migrateVmaFinalize(k, a, m);
  return to < 0 ? -ENOMEM : 0;
}
