/**
 * move_pages() and migrate_pages(): where pages are, and moving them between NUMA nodes.
 * @module
 */
import { EFAULT, ENOENT } from "./errno.ts";
import type { Kernel } from "./kernel.ts";
import { ZERO_PFN } from "./pages.ts";
import { PTE_KIND, PTE_PRESENT } from "./pagetable.ts";

/** The frame that is mapped at a page of ordinary or device-coherent memory, or -1: folio_walk_start(). */
function mappedFrame(k: Kernel, mm: number, vpn: number): number {
  const { tables } = k,
    huge = tables.huge(k.root[mm], vpn),
    e = huge >= 0 ? huge : tables.entry(k.root[mm], vpn);
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
