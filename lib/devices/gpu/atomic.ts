/**
 * Atomic accesses of a GPU to system memory: the page becomes the GPU's alone until a CPU touches it.
 *
 * A link that carries no atomic operations, such as PCIe 3, leaves no other way. As nouveau has it (6.12,
 * nouveau_atomic_range_fault()), the driver asks for exclusive access page by page and enters the page under its lock after
 * the check of the sequence. Other than there, each round first faults the page in, and a page that somebody has locked is
 * tried again until the timeout.
 * @module
 */
import { makeDeviceExclusiveRange, NOT_EXCLUSIVE } from "../../hmm/exclusive.ts";
import { EBUSY, EINVAL, ENOMEM } from "../../mm/errno.ts";
import { populate } from "../../mm/gup.ts";
import { PG_HUGETLB } from "../../mm/pages.ts";
import { PTE_KIND, PTE_PRESENT } from "../../mm/pagetable.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { REVERT_SEQUENCE_CHECK } from "../dummy/fault.ts";
import { has, next } from "./bitmap.ts";
import type { Gpu } from "./device.ts";
import type { GpuMirror } from "./mirror.ts";

const AT_PAGE = site("gpu atomics: a page of the block");
const AT_BEGIN = site("gpu atomics: reading the sequence");
const AT_MAKE = site("gpu atomics: making a page exclusive");
const AT_LOCK = site("gpu atomics: taking the driver's lock");
const AT_WAIT = site("gpu atomics: waiting for a page that somebody has locked");

/**
 * Gives the GPU what faulted on an atomic access and is not in its memory, each page for itself. The caller holds the
 * block lock and no other.
 *
 * @returns how long it took in ns
 */
export function* atomicPart(d: Gpu, a: number, mirror: GpuMirror, start: number, stop: number): Proc<number> {
  const { work, k: { sim } } = d, at = sim.nowNs[a];
  const first = work.firstVpn, end = stop - first;
  for (let i = next(work.atomics, start - first, end); i < end; i = next(work.atomics, i + 1, end)) {
    if (!has(work.faulted, i) || has(work.resident, i)) continue;
    const v = first + i;
    sim.call(a, AT_PAGE, v, start, stop);
    const rc = yield* makeAtomic(d, a, mirror, v);
    sim.ret(a);
    if (rc === 0) work.served(v);
    else work.fail(v, v + 1, rc);
  }
  return sim.nowNs[a] - at;
}

/** Makes one page the GPU's alone. Returns 0, -EFAULT, -EINVAL for what can never be, -EBUSY after the timeout, -ENOMEM. */
function* makeAtomic(d: Gpu, a: number, mirror: GpuMirror, v: number): Proc<number> {
  const { k, batches, spec, counter } = d, { sim, locks, notifiers, pages } = k, { mm, sub, table } = mirror;
  // A duplicate: asking again would take the page away first.
  if (table.isAtomic(v)) return 0;
  const batch = batches.take(), { src: pfns } = batch, deadlineNs = sim.nowNs[a] + spec.timeoutNs;
  let rc = -EBUSY;
  while (!sim.expired(a, deadlineNs)) {
    // What breaks copy on write or takes back an exclusive access, also that of the last round, is an invalidation too: it
    // comes before the look, or no round would ever be in time.
    sim.call(a, AT_BEGIN, v, batch.slot);
    if (!locks.readNow(a, k.mmapLock(mm))) yield* locks.read(a, k.mmapLock(mm));
    yield* populate(k, a, mm, v, v + 1, true);
    locks.readUnlock(a, k.mmapLock(mm));
    const seq = yield* notifiers.readBegin(a, sub);
    sim.ret(a);
    sim.call(a, AT_MAKE, v, batch.slot, seq);
    if (!locks.readNow(a, k.mmapLock(mm))) yield* locks.read(a, k.mmapLock(mm));
    const got = yield* makeDeviceExclusiveRange(k, a, mm, v, v + 1, d.owner, pfns);
    locks.readUnlock(a, k.mmapLock(mm));
    sim.ret(a);
    if (got < 0) {
      rc = got;
      break;
    }
    const pfn = pfns[0];
    if (pfn === NOT_EXCLUSIVE) {
      sim.counters.values[counter.retries]++;
      const e = k.tables.entry(k.root[mm], v);
      if (e < 0 || (k.tables.kind[e] & PTE_KIND) !== PTE_PRESENT) continue; // it went meanwhile
      const there = k.tables.pfn[e];
      if (neverExclusive(d, there)) {
        rc = -EINVAL;
        break;
      }
      sim.call(a, AT_WAIT, v, batch.slot);
      yield* pages.waitUnlocked(a, there);
      sim.ret(a);
      continue;
    }
    if (!locks.lockNow(a, d.lock)) {
      sim.call(a, AT_LOCK, v, batch.slot, seq, pfn);
      yield* locks.lock(a, d.lock);
      sim.ret(a);
    }
    const stale = !k.reverts(REVERT_SEQUENCE_CHECK) && notifiers.readRetry(sub, seq);
    if (!stale) {
      rc = table.set(v, pfn, true, true) ? 0 : -ENOMEM;
      sim.spend(a, d.phase.table, spec.cost.pteUpdateNs);
    }
    locks.unlock(a, d.lock);
    pages.unlock(pfn);
    pages.put(a, pfn);
    if (!stale) break;
    sim.counters.values[counter.retries]++;
  }
  if (rc === 0) sim.counters.values[counter.exclusive]++;
  batches.give(batch, 1);
  return rc;
}

/** Whether a page can never be one device's alone: of a file, of hugetlb, or not the first of a large folio (6.12). */
function neverExclusive({ k: { pages } }: Gpu, pfn: number): boolean {
  return pages.mapping[pfn] === 0 || (pages.flags[pfn] & PG_HUGETLB) !== 0 || pages.head(pfn) !== pfn;
}
