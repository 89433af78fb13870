/**
 * move_pages() and migrate_pages(): where pages are, and moving them between NUMA nodes.
 *
 * Both take a process by its address space: asking for another's is a matter of rights, which are not modelled.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { allocOnNode } from "./alloc.ts";
import type { CopyEngine } from "./copy_engine.ts";
import { EACCES, EBUSY, EFAULT, EINVAL, ENODEV, ENOENT } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import {
  type FramePool,
  type Frames,
  isolateFolio,
  MIGRATE_SYNC,
  migratePages,
  type Migration,
} from "./migrate_pages.ts";
import { firstNode, nodesWeight, nthNode } from "./numa.ts";
import { HUGE_PAGES, PG_LARGE, ZERO_PFN } from "./pages.ts";
import { PTE_KIND, PTE_MIGRATION, PTE_PRESENT, VPN_END } from "./pagetable.ts";
import { VM_MIXEDMAP } from "./vma.ts";

/** Of mbind(): existing pages that are not as the policy wants make it fail with -EIO. */
export const MPOL_MF_STRICT = 1;
/** Pages that this process alone maps are moved. */
export const MPOL_MF_MOVE = 2;
/** Pages are moved, whoever maps them. */
export const MPOL_MF_MOVE_ALL = 4;

/** In the status of move_pages(): it gave up before it came to the page. */
export const STATUS_UNTOLD = 0x7fff_ffff;

const AT_LOCK = site("move_pages: taking the mmap lock");
const AT_MOVE = site("move_pages: moving pages");
const AT_COLLECT = site("migrate_pages: collecting a process's pages");

/** The frame that is mapped at a page of ordinary or device-coherent memory, or -1: folio_walk_start(). */
function mappedFrame(k: Kernel, mm: number, vpn: number): number {
  const { tables } = k, huge = tables.huge(k.root[mm], vpn);
  const e = huge >= 0 ? huge : tables.entry(k.root[mm], vpn);
  if (e < 0 || (tables.kind[e] & PTE_KIND) !== PTE_PRESENT) return -1;
  return huge >= 0 && tables.pfn[e] !== ZERO_PFN ? tables.pfn[e] + (vpn & 511) : tables.pfn[e];
}

/**
 * The node of a page: what move_pages() without nodes says of it. The mmap lock is held, or nothing runs beside.
 *
 * @returns the node; -EFAULT where nothing is mapped or the page is the zero page; -ENOENT where no page of ordinary
 * memory is present
 */
export function pageNode(k: Kernel, mm: number, vpn: number): number {
  if (k.vmas.lookup(mm, vpn) < 0) return -EFAULT;
  const pfn = mappedFrame(k, mm, vpn);
  if (pfn === ZERO_PFN) return -EFAULT;
  return pfn < 0 || k.pages.isZoneDevice(pfn) ? -ENOENT : k.nodes.nodeOf(pfn);
}

/** A migration to one node and no other. */
function toNode(k: Kernel, pool: FramePool, engine: CopyEngine | undefined, node: number): Migration {
  return { pool, engine, mode: MIGRATE_SYNC, alloc: (a, _pfn, huge) => allocOnNode(k, a, node, huge) };
}

/**
 * Isolates the page at `vpn` for a move to a node: add_folio_for_migration(). The mmap lock is held.
 *
 * @returns the first frame of its folio; ZERO_PFN when it is on the node already; -EFAULT, -ENOENT as {@link pageNode};
 * -EACCES when others map it too; -EBUSY when it is isolated already, or of a kind that does not move
 */
function addPage(k: Kernel, a: number, mm: number, vpn: number, node: number, all: boolean): number {
  const vma = k.vmas.lookup(mm, vpn), at = pageNode(k, mm, vpn);
  if (at < 0) return at;
  if (at === node) return ZERO_PFN;
  const first = k.pages.head(mappedFrame(k, mm, vpn));
  if (k.pages.mapcount[first] > 1 && !all) return -EACCES;
  if (k.vmas.flags[vma] & VM_MIXEDMAP) return -EBUSY;
  const isolated = isolateFolio(k, a, first);
  return isolated < 0 ? -EBUSY : isolated;
}

/** What a call of {@link movePages} works on. */
export interface MovePages {
  /** The pages, by virtual page number. */
  readonly vpn: Float64Array;
  /** The node that each shall go to. */
  readonly nodes: Int32Array;
  /** Takes what came of each: a node, or a negated errno; {@link STATUS_UNTOLD} where the call gave up before. */
  readonly status: Int32Array;
  /** Whether pages move that others map too: MPOL_MF_MOVE_ALL. */
  readonly all: boolean;
}

/** Pages on their way to one node: what move_pages() has isolated and not yet moved. */
interface Queued {
  readonly frames: Frames;
  /** The node, or -1 for none yet. */
  node: number;
  /** First page of the run, by its place in the call. */
  start: number;
  /** Folios isolated. */
  n: number;
  /** Folios of the run that could not be moved. */
  failed: number;
}

/** Moves what is queued. Returns 0, or -ENOMEM; what does not move is counted. */
function* moveQueued(
  k: Kernel,
  a: number,
  q: Queued,
  pool: FramePool,
  engine: CopyEngine | undefined,
): Proc<number> {
  if (q.n === 0) return 0;
  k.sim.call(a, AT_MOVE, q.start, q.n, q.frames.slot, q.node);
  const left = yield* migratePages(k, a, q.frames, q.n, toNode(k, pool, engine, q.node));
  k.sim.ret(a);
  q.n = 0;
  q.failed += Math.max(0, left);
  return Math.min(0, left);
}

/**
 * Moves what is queued and says so of each page: move_pages_and_store_status().
 *
 * @param i the page after the run
 * @returns 0; -ENOMEM; or the pages that are not moved, with those after the run
 */
function* flush(
  k: Kernel,
  a: number,
  q: Queued,
  op: MovePages,
  i: number,
  pool: FramePool,
  engine: CopyEngine | undefined,
): Proc<number> {
  const rc = yield* moveQueued(k, a, q, pool, engine);
  if (rc !== 0) return rc;
  if (q.failed > 0) return q.failed + (op.vpn.length - i);
  if (q.node >= 0) op.status.fill(q.node, q.start, i);
  q.node = -1;
  return 0;
}

/**
 * Moves single pages of a process to nodes: move_pages().
 *
 * Pages that go to one node one after the other move together. As in Linux, the first page that cannot be moved ends the
 * call, and so does a node that does not exist; pages that are not there at all do not.
 *
 * @param pool arrays for the pages under way
 * @param engine what copies; the thread itself if left out
 * @returns 0; the number of pages that were not moved, with those after them; -ENODEV for no node; -ENOMEM
 */
export function* movePages(
  k: Kernel,
  a: number,
  mm: number,
  op: MovePages,
  pool: FramePool,
  engine?: CopyEngine,
): Proc<number> {
  const { sim, locks } = k, lock = k.mmapLock(mm), n = op.vpn.length;
  const q: Queued = { frames: pool.take(), node: -1, start: 0, n: 0, failed: 0 };
  op.status.fill(STATUS_UNTOLD);
  sim.spans.begin(a, k.kindSyscall, n > 0 ? op.vpn[0] : 0);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  let rc = 0, i = 0;
  for (; i < n && rc === 0; i++) {
    const to = op.nodes[i];
    if (!(to >= 0 && to < k.nodes.count)) {
      rc = -ENODEV;
      break;
    }
    sim.call(a, AT_LOCK, i, q.node, q.start, q.n + q.failed / 1024);
    if (q.node !== to) rc = yield* flush(k, a, q, op, i, pool, engine);
    if (rc === 0) {
      if (q.node < 0) q.start = i;
      q.node = to;
      if (!locks.readNow(a, lock)) yield* locks.read(a, lock);
      if (sim.due(a)) {
        sim.mark(a, AT_LOCK, i, q.frames.slot);
        yield DUE;
      }
      const added = addPage(k, a, mm, op.vpn[i], to, op.all);
      locks.readUnlock(a, lock);
      if (added > 0) {
        q.frames.src[q.n++] = added;
        if (q.n === pool.pages) rc = yield* moveQueued(k, a, q, pool, engine);
      } else {
        // A page that need not or cannot move ends the run; it is not among those that were not moved.
        rc = yield* flush(k, a, q, op, i, pool, engine);
        if (rc > 0) rc--;
        op.status[i] = added < 0 ? added : to;
      }
    }
    sim.ret(a);
  }
  if (rc === 0 || rc === -ENODEV) {
    sim.call(a, AT_LOCK, i, q.node, q.start, q.n + q.failed / 1024);
    const last = yield* flush(k, a, q, op, i, pool, engine);
    sim.ret(a);
    if (rc === 0) rc = last;
  }
  pool.give(q.frames, pool.pages);
  sim.spans.end(a, k.kindSyscall, n);
  sim.progress++;
  return rc;
}

/** What a walk over a range collects: struct queue_pages. */
export interface PageQueue {
  /** Folios that were isolated, in the first rows of `src`. */
  readonly frames: Frames;
  /** How many. */
  queued: number;
  /** Folios that should move and could not be isolated. */
  failed: number;
  /** Where the walk stopped because no more fit. */
  next: number;
}

/**
 * Isolates the pages of a range that are (or, with `invert`, are not) on some nodes: queue_pages_range(). The mmap lock is
 * held.
 *
 * @param mask the nodes, a bit each
 * @param flags MPOL_MF_ flags; without one that moves nothing is isolated, and each page found counts as failed
 * @param rows most folios to isolate
 */
export function queuePages(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  mask: number,
  invert: boolean,
  flags: number,
  q: PageQueue,
  rows: number,
): void {
  const { tables, pages, vmas } = k, root = k.root[mm];
  q.queued = 0;
  let v = tables.nextLive(root, start, end);
  for (; v < end && q.queued < rows; v = tables.nextLive(root, v + 1, end)) {
    const vma = vmas.lookup(mm, v), pfn = vma < 0 ? -1 : mappedFrame(k, mm, v);
    if (pfn < 0) {
      const e = tables.entry(root, v);
      if (e >= 0 && (tables.kind[e] & PTE_KIND) === PTE_MIGRATION) q.failed++;
      continue;
    }
    const large = (pages.flags[pfn] & PG_LARGE) !== 0;
    if (tables.huge(root, v) >= 0) v += HUGE_PAGES - 1 - (v & (HUGE_PAGES - 1));
    if (pfn === ZERO_PFN || pages.isZoneDevice(pfn)) continue;
    if (((mask >>> k.nodes.nodeOf(pfn) & 1) !== 0) === invert) continue;
    if (!(flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) || vmas.flags[vma] & VM_MIXEDMAP) {
      q.failed++;
      continue;
    }
    // Not to move what others map too is no failure.
    const first = pages.head(pfn);
    if (pages.mapcount[first] > 1 && !(flags & MPOL_MF_MOVE_ALL)) continue;
    if (large && q.queued > 0 && q.frames.src[q.queued - 1] === first) continue;
    if (isolateFolio(k, a, first) < 0) q.failed++;
    else q.frames.src[q.queued++] = first;
  }
  q.next = v;
}

/** Moves what a process has on one node to another: migrate_to_node(). Returns how many could not be moved, or -ENOMEM. */
function* migrateToNode(
  k: Kernel,
  a: number,
  mm: number,
  from: number,
  to: number,
  flags: number,
  pool: FramePool,
  engine: CopyEngine | undefined,
): Proc<number> {
  const { sim, locks } = k, lock = k.mmapLock(mm);
  const q: PageQueue = { frames: pool.take(), queued: 0, failed: 0, next: 0 };
  let rc = 0;
  while (rc >= 0 && q.next < VPN_END) {
    const at = q.next;
    sim.call(a, AT_COLLECT, at, from, to, q.failed);
    if (!locks.readNow(a, lock)) yield* locks.read(a, lock);
    if (sim.due(a)) {
      sim.mark(a, AT_COLLECT, q.frames.slot, flags);
      yield DUE;
    }
    queuePages(k, a, mm, at, VPN_END, 1 << from, false, flags, q, pool.pages);
    locks.readUnlock(a, lock);
    sim.ret(a);
    if (q.queued === 0) break;
    sim.call(a, AT_MOVE, q.next, from, to, q.failed);
    rc = yield* migratePages(k, a, q.frames, q.queued, toNode(k, pool, engine, to));
    sim.ret(a);
    q.failed += Math.max(0, rc);
  }
  pool.give(q.frames, pool.pages);
  return rc < 0 ? rc : q.failed;
}

/** The node of `to` that stands for a node of `from`: node_remap(). */
function remapNode(node: number, from: number, to: number): number {
  const place = nodesWeight(from & ((1 << node) - 1));
  return nthNode(to, place % nodesWeight(to));
}

/**
 * Moves all pages that a process has on some nodes to others, each node's to one: migrate_pages() the system call.
 *
 * @param from nodes, a bit each
 * @param to nodes, a bit each
 * @param all whether pages move that others map too
 * @param pool arrays for the pages under way
 * @param engine what copies; the thread itself if left out
 * @returns pages (folios) that could not be moved; -EINVAL for no node that exists, -ENOMEM
 */
export function* migrateProcess(
  k: Kernel,
  a: number,
  mm: number,
  from: number,
  to: number,
  all: boolean,
  pool: FramePool,
  engine?: CopyEngine,
): Proc<number> {
  const { sim } = k, flags = all ? MPOL_MF_MOVE_ALL : MPOL_MF_MOVE, source = from & k.nodes.all;
  if ((to & k.nodes.all) === 0 || to & ~k.nodes.all) return -EINVAL;
  sim.spans.begin(a, k.kindSyscall, 0);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  let left = source, rc = 0, failed = 0;
  while (left !== 0 && rc >= 0) {
    // A source whose destination is not itself still to be emptied goes first, so that no page moves twice.
    let s = -1, d = -1;
    for (let rest = left; rest !== 0; rest &= rest - 1) {
      const node = firstNode(rest);
      if (nodesWeight(from) !== nodesWeight(to) && to & (1 << node)) continue;
      const dest = remapNode(node, from, to);
      if (dest === node) continue;
      s = node;
      d = dest;
      if (!(left & (1 << dest))) break;
    }
    if (s < 0) break;
    left &= ~(1 << s);
    sim.call(a, AT_MOVE, left, failed, s, d);
    rc = yield* migrateToNode(k, a, mm, s, d, flags, pool, engine);
    sim.ret(a);
    failed += Math.max(0, rc);
  }
  sim.spans.end(a, k.kindSyscall, 0);
  sim.progress++;
  return rc < 0 ? rc : failed;
}
