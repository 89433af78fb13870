/**
 * Service of access counters: a region that the GPU keeps reaching over the link moves to it.
 * @module
 */
import { PTE_KIND, PTE_PRESENT } from "../../mm/pagetable.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { nothingServiced } from "./calls.ts";
import type { Gpu } from "./device.ts";
import type { GpuMirror } from "./mirror.ts";
import { ACCESS_READ } from "./launch.ts";
import { BLOCK_PAGES } from "./policy.ts";
import { serviceBlock } from "./service.ts";
import { CAUSE_COUNTER } from "./work.ts";

const AT_REGION = site("gpu driver: a region that was counted out");
const AT_BLOCK = site("gpu driver: a block of such a region");

/** Services a batch of notifications. Returns pages that moved. */
export function* serviceNotifications(d: Gpu, a: number, mm: number): Proc<number> {
  const { counters, notified, k: { sim } } = d, mirror = mm < 0 ? undefined : d.opened(mm);
  const n = counters!.fetch(notified);
  let moved = 0;
  sim.spend(a, d.phase.batch, d.spec.cost.batchServiceNs);
  for (let i = 0; i < n; i++) {
    sim.call(a, AT_REGION, i, n, moved);
    if (mirror !== undefined) moved += yield* serviceRegion(d, a, mirror, notified[i]);
    sim.ret(a);
    counters!.clear(notified[i]);
  }
  notified.fill(0, 0, n);
  return moved;
}

/** Moves what the GPU maps over the link in a region. */
function* serviceRegion(d: Gpu, a: number, mirror: GpuMirror, start: number): Proc<number> {
  const { work, k: { sim, locks, deviceTables: tables } } = d, { root } = mirror.table;
  const end = start + d.counters!.regionPages, did = nothingServiced();
  for (let v = tables.nextLive(root, start, end); v < end;) {
    const first = v - (v % BLOCK_PAGES), stop = Math.min(end, first + BLOCK_PAGES);
    sim.call(a, AT_BLOCK, v, start, end);
    yield* locks.lock(a, d.blockLock);
    work.begin(first, CAUSE_COUNTER);
    const leaf = tables.leaf(root, first), { zone } = d.memory;
    for (let i = v; leaf >= 0 && i < stop; i++) {
      const e = leaf + (i & 511), pfn = tables.pfn[e];
      if ((tables.kind[e] & PTE_KIND) === PTE_PRESENT && (pfn < zone.start || pfn >= zone.end)) {
        work.fault(i - first, ACCESS_READ);
      }
    }
    yield* serviceBlock(d, a, mirror, did);
    sim.ret(a);
    locks.unlock(a, d.blockLock);
    v = tables.nextLive(root, stop, end);
  }
  return did.pages;
}
