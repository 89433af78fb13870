/**
 * get_user_pages(): references to the pages of a process, faulted in as needed.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EFAULT, ENOMEM, VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import { handleMmFault } from "./fault.ts";
import { FAULT_FLAG_REMOTE, FAULT_FLAG_UNSHARE, FAULT_FLAG_WRITE } from "./fault_anon.ts";
import { splitHugeEntry } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { PG_ANON_EXCLUSIVE, ZERO_PFN } from "./pages.ts";
import { PTE_KIND, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from "./pagetable.ts";
import { VM_HUGETLB, VM_READ, VM_SHARED, VM_WRITE } from "./vma.ts";

const AT_FAULT = site("get_user_pages: in a fault");

/**
 * Takes a reference to one page of a process, faulting it in: faultin_page() and follow_page_mask().
 *
 * @param vpn virtual page; the mmap lock is held for reading
 * @param write whether the page must be writable (which breaks copy on write)
 * @param longterm whether the reference is a pin that stays: the page then is made this process's own first
 * @param split whether a huge page is to be mapped by small entries first (FOLL_SPLIT_PMD)
 * @returns the frame, or -EFAULT, -ENOMEM
 */
export function* getUserPage(
  k: Kernel,
  a: number,
  mm: number,
  vpn: number,
  write: boolean,
  longterm = false,
  split = false,
): Proc<number> {
  const { sim, tables, pages, vmas } = k, vma = vmas.lookup(mm, vpn);
  if (vma < 0 || !(vmas.flags[vma] & (write ? VM_WRITE : VM_READ))) return -EFAULT;
  let unshare = 0;
  for (;;) {
    const huge = tables.huge(k.root[mm], vpn);
    if (huge >= 0 && split && !(vmas.flags[vma] & VM_HUGETLB)) {
      sim.call(a, AT_FAULT, vpn, write ? 1 : 0, vma);
      yield* splitHugeEntry(k, a, mm, vpn);
      sim.ret(a);
      continue;
    }
    const e = huge >= 0 ? huge : tables.entry(k.root[mm], vpn), kind = e < 0 ? 0 : tables.kind[e];
    if ((kind & (PTE_KIND | PTE_PROTNONE)) === PTE_PRESENT && (!write || kind & PTE_WRITE)) {
      const pfn = huge >= 0 && tables.pfn[e] !== ZERO_PFN ? tables.pfn[e] + (vpn & 511) : tables.pfn[e];
      // gup_must_unshare(): a pin on a page that others share would not see what the process writes later.
      const own = pages.flags[pfn] & PG_ANON_EXCLUSIVE || vmas.flags[vma] & VM_SHARED;
      if (!longterm || write || own) {
        if (pfn !== ZERO_PFN) pages.get(pfn);
        return pfn;
      }
      unshare = FAULT_FLAG_UNSHARE;
    }
    sim.call(a, AT_FAULT, vpn, write ? 1 : 0, vma);
    if (sim.grain === 1 && sim.due(a)) {
      // The page-table lock is given up before the fault.
      sim.mark(a, AT_FAULT, vpn, unshare);
      yield DUE;
    }
    const flags = FAULT_FLAG_REMOTE | unshare | (write ? FAULT_FLAG_WRITE : 0);
    const rc = yield* handleMmFault(k, a, mm, vma, vpn, flags);
    unshare = 0;
    sim.ret(a);
    if (rc === VM_FAULT_OOM) return -ENOMEM;
    if (rc !== VM_FAULT_DONE && rc !== VM_FAULT_RETRY) return -EFAULT;
  }
}

/**
 * Faults the pages of a range in for what its vmas allow: populate_vma_page_range().
 *
 * @returns 0, or a negated errno at the first page that cannot be had
 */
export function* populate(
  k: Kernel,
  a: number,
  mm: number,
  start: number,
  end: number,
  write: boolean,
): Proc<number> {
  const { sim, pages } = k;
  for (let v = start; v < end; v++) {
    sim.call(a, AT_FAULT, v, start, end, write ? 1 : 0);
    const pfn = yield* getUserPage(k, a, mm, v, write);
    sim.ret(a);
    if (pfn < 0) return pfn;
    if (pfn !== ZERO_PFN) pages.put(a, pfn);
  }
  return 0;
}
