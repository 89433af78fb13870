/**
 * mremap(): moving a mapping with everything in it.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EFAULT, EINVAL, ENOMEM } from "./errno.ts";
import { hugeEnd, hugeStart, splitHugeEntry } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { mergeVma, unmapLocked } from "./mmap.ts";
import { type Invalidation, MMU_NOTIFY_UNMAP } from "./notifier.ts";
import { PTE_NONE, VPN_END } from "./pagetable.ts";
import { VM_HUGETLB } from "./vma.ts";

const AT_LOCK = site("mremap: taking the mmap lock");
const AT_UNMAP = site("mremap: unmapping");
const AT_MOVE = site("mremap: moving a table");
const AT_PTL = site("mremap: waiting for a page-table lock");

/**
 * Moves a range to a given place: mremap(MREMAP_MAYMOVE | MREMAP_FIXED). What was there goes; entries of every kind
 * move as they are.
 *
 * @param from first page of the old range
 * @param pages its length
 * @param to first page of the new place
 * @param newPages length there; beyond `pages` it is empty
 * @returns `to`, or -EINVAL, -EFAULT (no vma, or the range is in several), -ENOMEM
 */
export function* mremap(
  k: Kernel,
  a: number,
  mm: number,
  from: number,
  pages: number,
  to: number,
  newPages: number,
): Proc<number> {
  const { sim, locks } = k;
  if (newPages <= 0 || to + newPages > VPN_END) return -EINVAL;
  sim.spans.begin(a, k.kindSyscall, from);
  sim.spend(a, k.phase.syscall, k.cost.syscallNs);
  sim.call(a, AT_LOCK, from, pages, to, newPages);
  yield* locks.lock(a, k.mmapLock(mm));
  const rc = yield* moveTo(k, a, mm, from, pages, to, newPages);
  sim.ret(a);
  k.mmapWriteUnlock(a, mm);
  sim.spans.end(a, k.kindSyscall, pages);
  sim.progress++;
  return rc;
}

/** mremap_to() and move_vma(), with the mmap lock held alone. */
function* moveTo(
  k: Kernel,
  a: number,
  mm: number,
  from: number,
  pages: number,
  to: number,
  newPages: number,
): Proc<number> {
  const { sim, vmas } = k;
  // Before anything is touched; that the range lies in one vma is seen only after the target is gone.
  if (vmas.lookup(mm, from) < 0) return -EFAULT;
  if (vmas.flags[vmas.lookup(mm, from)] & VM_HUGETLB) {
    // Whole pages of 2 MiB, at places where such can be, and no growth.
    pages = hugeEnd(pages);
    newPages = hugeEnd(newPages);
    if (hugeStart(from) !== from || hugeStart(to) !== to || newPages > pages) return -EINVAL;
  }
  if (from < to + newPages && to < from + pages) return -EINVAL;
  sim.call(a, AT_UNMAP, from, pages, to, newPages);
  let rc = yield* unmapLocked(k, a, mm, to, to + newPages);
  // A shorter new range drops the old one's tail first.
  if (rc === 0 && newPages < pages) rc = yield* unmapLocked(k, a, mm, from + newPages, from + pages);
  sim.ret(a);
  if (rc !== 0) return rc;
  const length = Math.min(pages, newPages), old = vmas.lookup(mm, from);
  if (old < 0) return -EFAULT;
  // A move of nothing would copy a shared mapping; for private memory it is an error.
  if (length === 0) return -EINVAL;
  if (from + length > vmas.end[old]) return -EFAULT;
  const flags = vmas.flags[old], pgoff = vmas.pgoff[old] + (from - vmas.start[old]);
  if (vmas.anonVma[old] !== 0 && !vmas.anon.hasRoom(old)) return -ENOMEM;
  // Memory without a page can be anywhere: its offsets follow the new address, so that it can merge there.
  const made = vmas.insert(
    mm,
    to,
    to + newPages,
    flags,
    vmas.anonVma[old] === 0 && !vmas.isFile(old) ? to : pgoff,
  );
  if (made < 0) return -ENOMEM;
  vmas.policy[made] = vmas.policy[old];
  vmas.back(made, vmas.inode[old]);
  if (vmas.anonVma[old] !== 0) vmas.anon.clone(made, old, false);
  sim.call(a, AT_MOVE, from, length, to, old);
  yield* k.vmaStartWrite(a, made);
  yield* k.vmaStartWrite(a, old);
  const moved = yield* moveEntries(k, a, mm, from, to, length);
  // Out of tables: what has moved goes back, which takes none, and the new place goes instead of the old.
  if (moved < length) yield* moveEntries(k, a, mm, to, from, moved);
  else yield* mergeVma(k, a, made);
  sim.ret(a);
  if (moved < length) {
    sim.call(a, AT_UNMAP, from, length, to, newPages);
    yield* unmapLocked(k, a, mm, to, to + newPages);
    sim.ret(a);
    return -ENOMEM;
  }
  sim.call(a, AT_UNMAP, from, length, to, newPages);
  rc = yield* unmapLocked(k, a, mm, from, from + length);
  sim.ret(a);
  return rc === 0 ? to : rc;
}

/** Moves the entries of a range: move_page_tables(). Returns of how many pages; fewer when no table is left. */
function* moveEntries(
  k: Kernel,
  a: number,
  mm: number,
  from: number,
  to: number,
  pages: number,
): Proc<number> {
  const { sim, tables, vmas } = k, root = k.root[mm], end = from + pages;
  const event: Invalidation = {
    mm,
    start: from,
    end,
    event: MMU_NOTIFY_UNMAP,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  sim.call(a, AT_UNMAP, from, to, pages);
  yield* k.notifiers.start(a, event);
  sim.ret(a);
  let moved = pages;
  const hugetlb = vmas.flags[vmas.lookup(mm, from)] & VM_HUGETLB;
  for (let v = from; v < end;) {
    // A piece lies in one table of the old range and in one of the new.
    const w = to + (v - from), stop = Math.min(end, v - (v & 511) + 512, v + 512 - (w & 511));
    const huge = tables.huge(root, v);
    if (huge >= 0 && hugetlb) {
      if (!tables.upperAlloc(root, w)) {
        moved = v - from;
        break;
      }
      tables.set(tables.upper(root, w), tables.kind[huge], tables.pfn[huge]);
      tables.clear(huge);
      v = stop;
      continue;
    }
    if (huge >= 0) {
      sim.call(a, AT_MOVE, v, from, to, pages);
      yield* splitHugeEntry(k, a, mm, v);
      sim.ret(a);
    }
    const leaf = tables.leaf(root, v);
    if (leaf < 0) {
      v = stop;
      continue;
    }
    if (sim.due(a)) {
      sim.mark(a, AT_MOVE, v, from, to, pages);
      yield DUE;
    }
    sim.call(a, AT_PTL, v, from, to, pages);
    yield* k.waitPtl(a, leaf);
    sim.ret(a);
    const into = tables.leafAlloc(root, w); // even if there is nothing to move into it
    if (into < 0) {
      moved = v - from;
      break;
    }
    for (; v < stop; v++) {
      const e = leaf + (v & 511);
      if (tables.kind[e] === PTE_NONE) continue;
      tables.set(into + ((to + (v - from)) & 511), tables.kind[e], tables.pfn[e]);
      tables.clear(e);
    }
    k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
  }
  k.flushTlb(a, mm, from, end);
  k.notifiers.end(a, event);
  return moved;
}
