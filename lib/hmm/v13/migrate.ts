/**
 * Migration in the words of patchset v13 (patch 16): one call, two callbacks, one array for source and destination.
 *
 * Linux 4.14 parted the array in two, 5.4 the call in three (`migrate_vma_setup()`, `pages()`, `finalize()`): a callback
 * hides which locks are held, and who has to deal with an error.
 * @module
 */
import { EINVAL } from "../../mm/errno.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { removeMigrationEntries } from "../../mm/migration_entry.ts";
import { PG_LRU } from "../../mm/pages.ts";
import { PTE_DEVICE, PTE_KIND, PTE_PRESENT } from "../../mm/pagetable.ts";
import { defineRevert } from "../../sim/revert.ts";
import { type Proc, site } from "../../sim/sim.ts";
import {
  lockedByFault,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../migrate.ts";
import {
  foldPfns,
  HMM_PFN_DEVICE,
  HMM_PFN_ERROR,
  HMM_PFN_LOCKED,
  HMM_PFN_MIGRATE,
  HMM_PFN_UNADDRESSABLE,
  HMM_PFN_WRITE,
  hmmPfnFromPage,
  hmmPfnToPage,
} from "./flags.ts";
import { HmmSpaces } from "./hmm.ts";
import { tell, type VmArea } from "./mm.ts";
import { isSpecial } from "./pfns.ts";

/** With it the loop that puts back what could not be unmapped begins where the one before it has ended: it does nothing. */
export const V13_UNMAP_RESTORE: string = defineRevert(
  "v13 unmap restore",
  "a page that others map too and that cannot migrate stays locked for ever",
);
/** With it the loop that unlocks refused pages goes 12 bytes further a page, and so past the table that it is at. */
export const V13_ISOLATE_RESTORE: string = defineRevert(
  "v13 isolate restore",
  "a pinned page in the second of two page tables keeps its migration entry for ever",
);

const AT_RUN = site("v13 hmm_vma_migrate: a part of the range");
const AT_COPY = site("v13 hmm_vma_migrate: in alloc_and_copy");
const AT_FINALIZE = site("v13 hmm_vma_migrate: in finalize_and_map");
const AT_RESTORE = site("v13 hmm_vma_migrate: putting refused pages back");

/** What the user of a migration provides: v13 `struct hmm_migrate_ops` (patch 16). P is the type of `private`. */
export interface HmmMigrateOps<P = unknown> {
  /**
   * Allocates destinations and copies to them. An entry with MIGRATE is a page that can go. It is replaced by the
   * destination, VALID, MIGRATE and LOCKED (and locked); or it loses MIGRATE, and stays.
   */
  allocAndCopy(vma: VmArea, start: number, end: number, pfns: BigUint64Array, priv: P): Proc;
  /** Looks what went: entries that still have MIGRATE. The device's own table is brought in step here. */
  finalizeAndMap(vma: VmArea, start: number, end: number, pfns: BigUint64Array, priv: P): Proc;
}

/** The parts of a range whose device pages are of one owner: the calls of today ask for one. */
function runs(
  k: Kernel,
  mm: number,
  start: number,
  end: number,
): { start: number; end: number; owner: number }[] {
  const found: { start: number; end: number; owner: number }[] = [];
  for (let v = start; v < end; v++) {
    const e = k.tables.entry(k.root[mm], v), kind = e < 0 ? 0 : k.tables.kind[e] & PTE_KIND;
    const device = kind === PTE_DEVICE || (kind === PTE_PRESENT && k.pages.isDeviceCoherent(k.tables.pfn[e]));
    const owner = device ? k.pages.zoneOf(k.tables.pfn[e]).owner : 0, last = found.at(-1);
    if (last === undefined || (owner !== 0 && last.owner !== 0 && owner !== last.owner)) {
      found.push({ start: v, end: v + 1, owner });
    } else {
      last.end = v + 1;
      last.owner ||= owner;
    }
  }
  return found;
}

/** The in/out entry of a collected page. */
function entryOf(k: Kernel, src: number): bigint {
  const page = migratePfnToPage(src);
  if (!(src & MIGRATE_PFN_MIGRATE) || page < 0) return 0n;
  return hmmPfnFromPage(page) | HMM_PFN_MIGRATE | HMM_PFN_LOCKED |
    (src & MIGRATE_PFN_WRITE ? HMM_PFN_WRITE : 0n) |
    (k.pages.isZoneDevice(page) ? HMM_PFN_DEVICE : 0n) |
    (k.pages.isDevicePrivate(page) ? HMM_PFN_UNADDRESSABLE : 0n);
}

/** Puts one refused page back; what the two loops of v13 had in common. */
function release(k: Kernel, a: number, m: MigrateVma, i: number): void {
  const { pages } = k, pfn = migratePfnToPage(m.src[i]);
  m.src[i] = 0;
  if (!pages.isZoneDevice(pfn)) pages.flags[pfn] |= PG_LRU;
  if (!lockedByFault(k, m, pfn)) pages.unlock(pfn);
  pages.put(a, pfn);
}

/**
 * Puts refused pages back as v13 did, in two loops: those that only this area mapped (`hmm_migrate_lock_and_isolate()`),
 * table by table, and those that had to be unmapped elsewhere (`hmm_migrate_unmap()`).
 */
function* putBackV13(k: Kernel, a: number, m: MigrateVma): Proc {
  const { sim, revert } = k, n = m.end - m.start;
  const refused = (i: number) => (m.src[i] & (MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)) === MIGRATE_PFN_VALID;
  const shared = (i: number) => k.places(migratePfnToPage(m.src[i])).length > 1;
  let left = 0;
  for (let i = 0; i < n; i++) if (refused(i) && !shared(i)) left++;
  for (let i = 0; i < n && left > 0;) {
    const next = Math.min(n, i + 512 - ((m.start + i) & 511));
    for (let j = i; j < next; j++) {
      if (!refused(j) || shared(j)) continue;
      const pfn = migratePfnToPage(m.src[j]);
      sim.call(a, AT_RESTORE, j, n, left);
      yield* removeMigrationEntries(k, a, m.mm, m.vma, m.start + j, pfn, pfn);
      sim.ret(a);
    }
    // Posted: addr += PAGE_SHIFT, so that the end of the table is not seen as long as pages are left to be unlocked.
    const stop = revert.has(V13_ISOLATE_RESTORE) ? n : next;
    for (let j = i; j < stop && left > 0; j++) {
      if (!refused(j) || shared(j)) continue;
      release(k, a, m, j);
      left--;
    }
    i = next;
  }
  // Posted: addr still stands at the end of the range.
  for (let i = revert.has(V13_UNMAP_RESTORE) ? n : 0; i < n; i++) {
    if (!refused(i)) continue;
    const pfn = migratePfnToPage(m.src[i]);
    sim.call(a, AT_RESTORE, i, n);
    yield* removeMigrationEntries(k, a, m.mm, m.vma, m.start + i, pfn, pfn);
    sim.ret(a);
    release(k, a, m, i);
  }
  for (let i = 0; i < n; i++) if (refused(i)) m.src[i] = 0; // given up, however it stands
}

/**
 * Migrates a range: v13 `hmm_vma_migrate()` (patch 16). It needs no mirror.
 *
 * mmap_sem is held for reading. Pages of ordinary and of device memory are collected, locked, unmapped; then
 * `allocAndCopy` is called, the pages change their identity, `finalizeAndMap` is called and the CPU's entries are set.
 * Nothing goes from empty entries (that came in v18), nor to memory that the CPU cannot address from a file's page. The
 * callbacks are not called when nothing can move. A page that somebody has locked is passed over, as today; v13 slept.
 * Pins are looked for once, after unmapping, as today; v13 looked before it too.
 *
 * @param ops the two callbacks
 * @param vma the area
 * @param start first page
 * @param end page past the last
 * @param pfns room for one entry a page; sources, then destinations; afterwards 0, or ERROR where a callback left that
 * @param priv handed to both callbacks
 * @param faultPage the device page whose CPU fault this answers, for {@linkcode hmmDevmemFaultRange}; else left out
 * @returns 0, whatever moved; -EINVAL for hugetlb and special mappings, a range not within the area or empty, and for
 * missing ops or array
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * // Between two places of ordinary memory, by a plain copy.
 * const m = machine({ memory: "64 MiB" }), p = m.process(), heap = p.mmap("8 KiB"), mm = new v13.MmStruct(p);
 * p.write(heap, 1);
 * let moved = 0;
 * const ops: v13.HmmMigrateOps<null> = {
 *   *allocAndCopy(vma, start, _end, pfns) {
 *     for (let i = 0; i < pfns.length; i++) {
 *       const from = v13.hmmPfnToPage(pfns[i]), to = v13.hmmVmaAllocLockedPage(vma, start + i);
 *       if (from < 0 || to < 0) continue;
 *       m.kernel.pages.copy(to, from);
 *       pfns[i] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
 *     }
 *   },
 *   *finalizeAndMap(_vma, _start, _end, pfns) {
 *     for (const pfn of pfns) if (pfn & v13.HMM_PFN_MIGRATE) moved++;
 *   },
 * };
 * function* migrate() {
 *   yield* mm.downRead();
 *   const vma = v13.findVma(mm, heap.vpn)!;
 *   yield* v13.hmmVmaMigrate(ops, vma, heap.vpn, heap.vpn + 2, new BigUint64Array(2), null);
 *   mm.upRead();
 * }
 * p.complete(migrate());
 * console.log(moved, p.read(heap)); // 2 [ 1, 2 ]
 * ```
 */
export function* hmmVmaMigrate<P>(
  ops: HmmMigrateOps<P> | null,
  vma: VmArea,
  start: number,
  end: number,
  pfns: BigUint64Array | null,
  priv: P,
  faultPage: number = -1,
): Proc<number> {
  const { vmMm: { kernel: k, mm } } = vma, { sim } = k, a = sim.current, n = end - start;
  if (isSpecial(vma) || !ops || !pfns || start >= end || !vma.contains(start, end)) return tell(k, -EINVAL);
  const hmm = HmmSpaces.of(k), pair = hmm.takePair(n), { src, dst, slot } = pair, parts: MigrateVma[] = [];
  pfns.fill(0n, 0, n);
  let collected = 0;
  for (const run of runs(k, mm, start, end)) {
    const i = run.start - start, to = run.end - start;
    const m: MigrateVma = {
      mm,
      vma: vma.row,
      start: run.start,
      end: run.end,
      src: src.subarray(i, to),
      dst: dst.subarray(i, to),
      flags: MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_DEVICE_PRIVATE |
        MIGRATE_VMA_SELECT_DEVICE_COHERENT,
      owner: run.owner,
      faultPage,
      cpages: 0,
    };
    parts.push(m);
    sim.call(a, AT_RUN, run.start, run.end, run.owner, slot);
    yield* migrateVmaSetup(k, a, m, putBackV13);
    sim.ret(a);
    for (let j = i; j < to; j++) {
      if (!(src[j] & MIGRATE_PFN_VALID)) src[j] = 0; // nothing is there, and in v13 nothing came
      pfns[j] = entryOf(k, src[j]);
      if (pfns[j] !== 0n) collected++;
    }
  }
  if (collected === 0) {
    hmm.givePair(pair);
    return tell(k, 0);
  }
  sim.call(a, AT_COPY, start, end, foldPfns(pfns, n), slot);
  yield* ops.allocAndCopy(vma, start, end, pfns, priv);
  sim.ret(a);
  for (let i = 0; i < n; i++) {
    const to = pfns[i] & HMM_PFN_MIGRATE ? hmmPfnToPage(pfns[i]) : -1;
    dst[i] = to < 0 || to === migratePfnToPage(src[i]) ? 0 : migratePfn(to);
  }
  sim.call(a, AT_FINALIZE, start, end, foldPfns(pfns, n), slot);
  for (const m of parts) yield* migrateVmaPages(k, a, m);
  for (let i = 0; i < n; i++) {
    if (dst[i] === 0 || !(src[i] & MIGRATE_PFN_MIGRATE)) pfns[i] &= ~HMM_PFN_MIGRATE;
  }
  yield* ops.finalizeAndMap(vma, start, end, pfns, priv);
  for (const m of parts) yield* migrateVmaFinalize(k, a, m);
  sim.ret(a);
  hmm.givePair(pair);
  for (let i = 0; i < n; i++) pfns[i] &= HMM_PFN_ERROR;
  sim.progress++;
  return tell(k, 0);
}
