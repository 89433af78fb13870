/**
 * What a program asks of a GPU's driver: prefetches and hints. The counterparts of cudaMemPrefetchAsync() and
 * cudaMemAdvise().
 *
 * Read duplication is accepted and does nothing, as NVIDIA's driver has it for memory over HMM (595.45.04,
 * uvm_hmm_set_read_duplication()): HMM keeps one physical page for each virtual address.
 * @module
 */
import { EINVAL, ENODEV } from "../../mm/errno.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { Gpu } from "./device.ts";
import { ACCESSED_BY, NOT_ACCESSED_BY, PREFER_DEVICE, PREFER_NONE, PREFER_SYSTEM } from "./hints.ts";
import { moveToSystem } from "./migrate.ts";
import { ACCESS_READ } from "./launch.ts";
import { BLOCK_PAGES } from "./policy.ts";
import { serviceBlock, type Serviced } from "./service.ts";
import { CAUSE_CALL } from "./work.ts";

const AT_BLOCK = site("gpu call: a block of a prefetch");
const AT_BACK = site("gpu call: a part of a prefetch to system memory");

/** What a program can say of a range of its memory. */
export type GpuHint =
  | "prefer-gpu"
  | "prefer-system"
  | "prefer-none"
  | "accessed-by"
  | "not-accessed-by"
  | "read-mostly";

const HINTS: Readonly<Record<Exclude<GpuHint, "read-mostly">, number>> = {
  "prefer-gpu": PREFER_DEVICE,
  "prefer-system": PREFER_SYSTEM,
  "prefer-none": PREFER_NONE,
  "accessed-by": ACCESSED_BY,
  "not-accessed-by": NOT_ACCESSED_BY,
};

/** Every {@linkcode GpuHint}. */
export const GPU_HINTS: readonly GpuHint[] = [...Object.keys(HINTS) as GpuHint[], "read-mostly"];

/** Nothing done yet. */
export function nothingServiced(): Serviced {
  return { pages: 0, evicted: 0, evictNs: 0, migrateNs: 0, mapNs: 0 };
}

/** Services the pages of a range for a call: to move, or to map where they are. Returns 0 or the first error. */
function* serviceRange(d: Gpu, a: number, mm: number, start: number, end: number): Proc<number> {
  const { work, k: { sim, locks } } = d, mirror = d.mirror(mm);
  let rc = 0;
  for (let v = start; v < end;) {
    const first = v - (v % BLOCK_PAGES), stop = Math.min(end, first + BLOCK_PAGES);
    sim.call(a, AT_BLOCK, v, start, end, rc);
    yield* locks.lock(a, d.blockLock);
    work.begin(first, CAUSE_CALL);
    for (let i = v; i < stop; i++) work.fault(i - first, ACCESS_READ);
    yield* serviceBlock(d, a, mirror, nothingServiced());
    sim.ret(a);
    for (let i = 0; i < BLOCK_PAGES && rc === 0; i++) rc = work.error[i];
    locks.unlock(a, d.blockLock);
    v = stop;
  }
  return rc;
}

/**
 * Moves a range to the GPU before it is touched, evicting others if need be.
 *
 * @param mm address space
 * @param start first page
 * @param end page past the last
 * @returns 0; -EFAULT where nothing is mapped; what cannot move stays where it is
 */
export function prefetch(d: Gpu, a: number, mm: number, start: number, end: number): Proc<number> {
  return serviceRange(d, a, mm, start, end);
}

/** Moves a range back to system memory before the CPU touches it. Returns how many pages came. */
export function* prefetchBack(d: Gpu, a: number, mm: number, start: number, end: number): Proc<number> {
  const { k } = d, { sim, locks, vmas } = k;
  let came = 0;
  for (let v = start; v < end;) {
    sim.call(a, AT_BACK, v, start, end, came);
    yield* locks.read(a, k.mmapLock(mm));
    const vma = vmas.find(mm, v), from = vma < 0 ? end : Math.max(v, vmas.start[vma]);
    const stop = vma < 0 ? end : Math.min(end, vmas.end[vma], from + BLOCK_PAGES);
    if (from < stop) came += yield* moveToSystem(d, a, mm, vma, from, stop, -1);
    locks.readUnlock(a, k.mmapLock(mm));
    sim.ret(a);
    v = Math.max(stop, v + 1);
  }
  return came;
}

/**
 * Says something of a range. "accessed-by" maps what is there at once.
 *
 * @param mm address space
 * @param start first page
 * @param end page past the last
 * @param hint one of {@linkcode GPU_HINTS}
 * @returns 0; -ENOMEM when the GPU remembers no more hints; -EINVAL for an empty range
 */
export function* advise(
  d: Gpu,
  a: number,
  mm: number,
  start: number,
  end: number,
  hint: GpuHint,
): Proc<number> {
  if (!(end > start)) return -EINVAL;
  if (!d.mirror(mm).alive) return -ENODEV;
  if (hint === "read-mostly") return 0;
  const rc = d.hints.add(mm, start, end, HINTS[hint]);
  if (rc !== 0 || hint !== "accessed-by") return rc;
  yield* serviceRange(d, a, mm, start, end);
  return 0;
}
