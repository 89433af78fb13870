/**
 * Device-exclusive entries: a page that only a device may use, until the CPU touches it.
 *
 * The entry holds the mapping's reference to the page but does not count as a mapping.
 * @module
 */
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { VM_FAULT_DONE } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_EXCLUSIVE } from "./notifier.ts";
import { PG_LOCKED } from "./pages.ts";
import { PTE_DIRTY, PTE_EXCLUSIVE, PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from "./pagetable.ts";
import { VM_ACCESS_FLAGS, VM_WRITE } from "./vma.ts";

/** Without it a CPU fault on an exclusive entry locks the page with no reference of its own: 7c7b962938dd. */
export const REVERT_EXCLUSIVE_REFERENCE: string = defineRevert(
  "exclusive page reference",
  "a CPU fault locks a page that was exclusive to a device and is free by then",
);

const AT_LOOKED = site("exclusive entry: looked at without its lock");
const AT_LOCK = site("exclusive entry: before the page lock");
const AT_NOTIFY = site("exclusive entry: notifying");

/** Makes an exclusive entry present again: restore_exclusive_pte(). The page-table lock is held. */
function restore(k: Kernel, vma: number, e: number): void {
  const { tables, pages } = k, pfn = tables.pfn[e];
  const allowed = k.vmas.flags[vma];
  const write = tables.kind[e] & PTE_WRITE && allowed & VM_WRITE ? PTE_WRITE | PTE_DIRTY : 0;
  tables.kind[e] = PTE_PRESENT | write | (allowed & VM_ACCESS_FLAGS ? 0 : PTE_PROTNONE);
  pages.mapcount[pfn]++;
}

/** Makes an exclusive entry present again if its page can be locked: try_restore_exclusive_pte(). */
export function restoreExclusiveEntry(k: Kernel, vma: number, e: number): boolean {
  if (k.pages.flags[k.pages.head(k.tables.pfn[e])] & PG_LOCKED) return false;
  restore(k, vma, e);
  return true;
}

/**
 * A CPU access to a page that a device has for itself: remove_device_exclusive_entry().
 *
 * @returns VM_FAULT_DONE; the caller looks at the entry again
 */
export function* removeExclusiveEntry(
  k: Kernel,
  a: number,
  mm: number,
  vma: number,
  vpn: number,
): Proc<number> {
  const { sim, tables, pages } = k,
    leaf = tables.leaf(k.root[mm], vpn),
    e = leaf + (vpn & 511),
    pfn = tables.pfn[e];
  const held = !k.revert.has(REVERT_EXCLUSIVE_REFERENCE);
  if (sim.due(a)) {
    sim.mark(a, AT_LOOKED, vpn, pfn);
    yield DUE;
  }
  // The reference first, then the lock: between the two the entry may go and with it the page (folio_try_get).
  if (held) {
    if (pages.refs(pfn) === 0) return VM_FAULT_DONE;
    pages.get(pfn);
  }
  sim.call(a, AT_LOCK, vpn, pfn);
  while (!pages.trylock(pfn)) yield* pages.waitUnlocked(a, pfn);
  sim.ret(a);
  if (sim.due(a)) {
    sim.mark(a, AT_LOCK, vpn, pfn);
    yield DUE;
  }
  const event: Invalidation = {
    mm,
    start: vpn,
    end: vpn + 1,
    event: MMU_NOTIFY_EXCLUSIVE,
    owner: 0,
    blockable: true,
    seq: 0,
  };
  sim.call(a, AT_NOTIFY, vpn, pfn);
  yield* k.notifiers.start(a, event);
  yield* k.waitPtl(a, leaf);
  sim.ret(a);
  if ((tables.kind[e] & PTE_KIND) === PTE_EXCLUSIVE && tables.pfn[e] === pfn) restore(k, vma, e);
  k.ptlSpend(a, leaf, k.phase.pte, k.cost.pteInstallNs);
  k.notifiers.end(a, event);
  pages.unlock(pfn);
  if (held) pages.put(a, pfn);
  return VM_FAULT_DONE;
}
