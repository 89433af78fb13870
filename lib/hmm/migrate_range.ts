/**
 * Migration outside of HMM: a range of a process moves to a NUMA node by migrate_vma, copied by any engine.
 *
 * This is what the 2016 patchset offered with hmm_vma_migrate() to those who have no mirror and no device memory: a plain
 * DMA engine moves a program's pages between memories. Subscribers hear MMU_NOTIFY_MIGRATE once for the range, not CLEAR
 * page by page as from move_pages(). Large folios are split first, and pages of a file's cache stay.
 * @module
 */
import { allocOnNode } from "../mm/alloc.ts";
import { type CopyEngine, NO_PAGE } from "../mm/copy_engine.ts";
import { EFAULT } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import { type Proc, site } from "../sim/sim.ts";
import type { Batches } from "./batches.ts";
import { allocAndCopy } from "./copy.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "./migrate.ts";
import { transferNs } from "../profiles/transfer.ts";
import { PAGE_SIZE } from "../units.ts";

const AT_LOCK = site("migrating a range to a node: taking the mmap lock");
const AT_PART = site("migrating a range to a node: a part of it");

/** The CPU that asks as an engine: it copies page by page. */
function cpuEngine(k: Kernel): CopyEngine {
  return {
    // deno-lint-ignore require-yield -- a copy by the CPU that asks stops nowhere; an engine may
    *copy(a, src, dst, n) {
      for (let i = 0; i < n; i++) {
        if (dst[i] === NO_PAGE) continue;
        if (src[i] === NO_PAGE) k.pages.clear(dst[i]);
        else k.pages.copy(dst[i], src[i]);
        k.sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
      }
      return 0;
    },
  };
}

/**
 * Moves the ordinary memory of a range to a node: migrate_vma_setup(), the copy, migrate_vma_pages(), finalize, for each
 * part that a vma covers. Pages that are there already, shared or held by others as migrate_vma has it, stay.
 *
 * @param start first page
 * @param end page past the last
 * @param node where they shall be
 * @param batches arrays for the pages under way
 * @param engine what copies; the CPU that asks if left out
 * @returns pages that moved; -EFAULT when no vma covers any of the range
 */
export function* migrateRangeToNode(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  node: number,
  batches: Batches,
  engine: CopyEngine = cpuEngine(k),
): Proc<number> {
  const { sim, locks, vmas } = k, lock = k.mmapLock(mm);
  sim.spans.begin(a, k.kindMigratePages, start);
  sim.call(a, AT_LOCK, start, end, node);
  if (!locks.readNow(a, lock)) yield* locks.read(a, lock);
  sim.ret(a);
  let moved = 0, covered = false;
  for (let v = start; v < end;) {
    const vma = vmas.find(mm, v);
    if (vma < 0 || vmas.start[vma] >= end) break;
    covered = true;
    v = Math.max(v, vmas.start[vma]);
    const stop = Math.min(end, vmas.end[vma], v + batches.pages);
    sim.call(a, AT_PART, v, end, node, moved);
    moved += yield* migratePart(k, a, mm, vma, v, stop, node, batches, engine);
    sim.ret(a);
    v = stop;
  }
  locks.readUnlock(a, lock);
  sim.spans.end(a, k.kindMigratePages, moved);
  sim.progress++;
  return covered ? moved : -EFAULT;
}

/** One migration within one vma. Returns how many pages moved. */
function* migratePart(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  start: number,
  end: number,
  node: number,
  batches: Batches,
  engine: CopyEngine,
): Proc<number> {
  const { sim, pages, nodes } = k, n = end - start, batch = batches.take();
  const m: MigrateVma = {
    mm,
    vma,
    start,
    end,
    src: batch.src,
    dst: batch.dst,
    flags: MIGRATE_VMA_SELECT_SYSTEM,
    owner: 0,
    faultPage: -1,
    cpages: 0,
  };
  sim.call(a, AT_PART, start, end, node, batch.slot);
  let moved = 0;
  if ((yield* migrateVmaSetup(k, a, m)) === 0 && m.cpages > 0) {
    const alloc = (_a: number, row: number): number => {
      if (nodes.nodeOf(migratePfnToPage(m.src[row])) === node) return -1;
      const to = allocOnNode(k, a, node, false);
      if (to >= 0 && !pages.trylock(to)) throw new Error(`free page ${to} is locked`);
      return to;
    };
    yield* allocAndCopy(k, a, m, batch, batches, engine, { alloc }, false);
    yield* migrateVmaPages(k, a, m);
    const went = MIGRATE_PFN_MIGRATE | MIGRATE_PFN_VALID;
    for (let i = 0; i < n; i++) if ((m.src[i] & went) === went && m.dst[i] !== 0) moved++;
    yield* migrateVmaFinalize(k, a, m);
  }
  sim.ret(a);
  batches.give(batch, n);
  return moved;
}
