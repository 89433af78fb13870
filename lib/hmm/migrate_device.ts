/**
 * Migration by physical pages: what a driver does to empty its device, whoever maps the pages.
 * @module
 */
import type { Kernel } from "../mm/kernel.ts";
import { type Proc, site } from "../sim/sim.ts";
import { MIGRATE_PFN_MIGRATE, migratePfn, type MigrateVma, unmapCollected } from "./migrate.ts";

const AT_UNMAP = site("migrate_device_range: unmapping");

/**
 * Collects device pages by frame and takes them out of every page table: migrate_device_range().
 *
 * Between this and {@link migrateVmaPages} the caller allocates destinations, which must not fail, and copies; then
 * {@link migrateVmaFinalize}. A page that is free, or locked by somebody, has 0 in `src`: a driver that must empty its
 * device asks again.
 *
 * @param first first frame
 * @param src takes one MIGRATE_PFN_ entry a frame
 * @param dst for the destinations
 * @param n frames
 * @returns the migration, to hand to the two calls that follow
 */
export function* migrateDeviceRange(
  k: Kernel,
  a: number,
  first: number,
  src: Uint32Array,
  dst: Uint32Array,
  n: number,
): Proc<MigrateVma> {
  const { pages, sim } = k;
  const m: MigrateVma = {
    mm: -1,
    vma: -1,
    start: 0,
    end: n,
    src,
    dst,
    flags: 0,
    owner: 0,
    faultPage: -1,
    cpages: 0,
  };
  for (let i = 0; i < n; i++) {
    const pfn = first + i;
    src[i] = dst[i] = 0;
    // A free page has no reference that another could be added to (folio_try_get).
    if (pages.refcount[pfn] === 0 || !pages.trylock(pfn)) continue;
    pages.refcount[pfn]++;
    src[i] = (migratePfn(pfn) | MIGRATE_PFN_MIGRATE) >>> 0;
    m.cpages++;
  }
  sim.call(a, AT_UNMAP, first, n, m.cpages);
  yield* unmapCollected(k, a, m);
  sim.ret(a);
  k.watch?.migrationCollected(a, m);
  return m;
}
