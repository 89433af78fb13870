/**
 * mbind() and set_mempolicy(): what a program says of where its memory shall be.
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import { allocByPolicy } from "./alloc.ts";
import type { CopyEngine } from "./copy_engine.ts";
import { EFAULT, EINVAL, EIO, ENOMEM } from "./errno.ts";
import { cutsHugetlb } from "./hugetlb.ts";
import type { Kernel } from "./kernel.ts";
import { type FramePool, MIGRATE_SYNC, migratePages, type Migration } from "./migrate_pages.ts";
import { mergeVma, splitEnds } from "./mmap.ts";
import { MPOL_MF_MOVE, MPOL_MF_MOVE_ALL, MPOL_MF_STRICT, type PageQueue, queuePages } from "./move_pages.ts";
import { mempolicy, MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, policyMask, policyMode } from "./numa.ts";
import { HUGE_PAGES } from "./pages.ts";
import { VPN_END } from "./pagetable.ts";

const AT_LOCK = site("mbind: taking the mmap lock");
const AT_VMA = site("mbind: one vma");
const AT_MOVE = site("mbind: moving pages");

/**
 * A policy out of a mode and nodes: mpol_new(). Nodes that the machine does not have are left out.
 *
 * @returns the policy as mempolicy() packs it, or -EINVAL for a mode that does not go with those nodes
 */
export function makePolicy(k: Kernel, mode: number, mask: number): number {
  const nodes = mask & k.nodes.all;
  if (mode < MPOL_DEFAULT || mode > MPOL_INTERLEAVE) return -EINVAL;
  if (mode === MPOL_DEFAULT) return mask === 0 ? MPOL_DEFAULT : -EINVAL;
  if (nodes === 0 && (mask !== 0 || mode === MPOL_BIND || mode === MPOL_INTERLEAVE)) return -EINVAL;
  return mempolicy(mode, nodes);
}

/**
 * Sets the policy of a process for memory that has none of its own: set_mempolicy(). Pages that are there stay.
 *
 * @param mode MPOL_ mode
 * @param mask nodes, a bit each
 * @returns 0 or -EINVAL
 */
export function setMempolicy(k: Kernel, a: number, mm: number, mode: number, mask: number): number {
  const policy = makePolicy(k, mode, mask);
  k.sim.spans.begin(a, k.kindSyscall, 0);
  k.sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  if (policy >= 0) k.nodes.policy[mm] = policy;
  k.sim.spans.end(a, k.kindSyscall);
  k.sim.progress++;
  return Math.min(policy, 0);
}

/** The nodes on which a policy lets pages be: those to which pages move when the policy is set. */
function allowedNodes(k: Kernel, policy: number): number {
  const mask = policyMask(policy);
  return policyMode(policy) === MPOL_DEFAULT || mask === 0 ? k.nodes.all : mask;
}

/** Gives the vmas of a range a policy, cutting those at its ends: mbind_range(). Returns 0 or -ENOMEM. */
function* setRange(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  policy: number,
): Proc<number> {
  const { sim, vmas } = k;
  for (let at = start; at < end;) {
    const vma = vmas.lookup(mm, at), stop = Math.min(end, vmas.end[vma]);
    if (vmas.policy[vma] !== policy) {
      if (cutsHugetlb(k, mm, at, stop)) return -EINVAL;
      sim.call(a, AT_VMA, at, start, end, policy);
      yield* k.vmaStartWrite(a, vma);
      const cut = yield* splitEnds(k, a, mm, at, stop);
      if (cut) {
        const own = vmas.lookup(mm, at);
        vmas.policy[own] = policy;
        yield* mergeVma(k, a, own);
      }
      sim.ret(a);
      if (!cut) return -ENOMEM;
    }
    at = stop;
  }
  return 0;
}

/**
 * Sets the memory policy of a range, and moves what is elsewhere if that is asked for: mbind().
 *
 * @param start first page
 * @param pages length
 * @param mode MPOL_ mode
 * @param mask nodes, a bit each
 * @param flags MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
 * @param pool arrays for the pages under way
 * @param engine what copies; the thread itself if left out
 * @returns 0; -EINVAL for a bad range, mode or nodes; -EFAULT for a hole; -EIO when with MPOL_MF_STRICT a page is not, or
 * could not be moved, where the policy wants it; -ENOMEM
 */
export function* mbind(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  pages: number,
  mode: number,
  mask: number,
  flags: number,
  pool: FramePool,
  engine?: CopyEngine,
): Proc<number> {
  const { sim, locks } = k, lock = k.mmapLock(mm), end = start + pages, policy = makePolicy(k, mode, mask);
  const strict = (flags & MPOL_MF_STRICT) !== 0 && mode !== MPOL_DEFAULT;
  const move = (flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) !== 0;
  if (policy < 0 || start < 0 || pages < 0 || end > VPN_END) return -EINVAL;
  if (pages === 0) return 0;
  sim.spans.begin(a, k.kindSyscall, start);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_LOCK, start, pages, policy, flags);
  yield* locks.lock(a, lock);
  sim.ret(a);
  const q: PageQueue = { frames: pool.take(), queued: 0, failed: 0, next: start };
  let rc = isCovered(k, mm, start, end) ? 0 : -EFAULT;
  if (rc === 0 && strict && !move) {
    queuePages(k, a, mm, start, end, allowedNodes(k, policy), true, flags, q, pool.pages);
    if (q.failed > 0) rc = -EIO;
  }
  sim.call(a, AT_VMA, start, end, policy, q.frames.slot);
  if (rc === 0) rc = yield* setRange(k, a, mm, start, end, policy);
  sim.ret(a);
  k.mmapWriteUnlock(a, mm);
  // Linux isolates all pages before it gives the lock up; here a batch at a time, each under the lock.
  q.next = start;
  while (rc === 0 && move && q.next < end) {
    const at = q.next;
    sim.call(a, AT_MOVE, at, end, policy, q.failed);
    if (!locks.readNow(a, lock)) yield* locks.read(a, lock);
    queuePages(k, a, mm, at, end, allowedNodes(k, policy), true, flags, q, pool.pages);
    locks.readUnlock(a, lock);
    if (q.queued > 0) {
      const left = yield* migratePages(k, a, q.frames, q.queued, byPolicy(k, mm, policy, pool, engine));
      q.failed += left < 0 ? q.queued : left;
    }
    sim.ret(a);
  }
  if (rc === 0 && strict && q.failed > 0) rc = -EIO;
  pool.give(q.frames, pool.pages);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return rc;
}

/** Whether every page of a range is mapped by some vma. */
function isCovered(k: Kernel, mm: number, start: number, end: number): boolean {
  for (let at = start; at < end;) {
    const vma = k.vmas.lookup(mm, at);
    if (vma < 0) return false;
    at = k.vmas.end[vma];
  }
  return true;
}

/** A migration to where a policy wants pages: alloc_migration_target_by_mpol(). */
function byPolicy(
  k: Kernel,
  mm: number,
  policy: number,
  pool: FramePool,
  engine: CopyEngine | undefined,
): Migration {
  const wanted = policy === MPOL_DEFAULT ? k.nodes.policy[mm] : policy;
  const alloc = (a: number, pfn: number, huge: boolean): number => {
    const index = Math.floor(k.pages.index[pfn] / (huge ? HUGE_PAGES : 1));
    return allocByPolicy(k, a, wanted, index, huge);
  };
  return { pool, engine, mode: MIGRATE_SYNC, alloc };
}
