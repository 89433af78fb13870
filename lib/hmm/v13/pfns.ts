/**
 * What the CPU's page table says of a range, in the words of patchset v13: snapshot (patch 12) and fault (patch 13).
 *
 * Linux 4.14 kept both calls with a range and errors in place of the bare bool; 5.8 has `hmm_range_fault()` alone.
 * @module
 */
import { EINVAL, VM_FAULT_DONE, VM_FAULT_RETRY } from "../../mm/errno.ts";
import { handleMmFault } from "../../mm/fault.ts";
import { FAULT_FLAG_ALLOW_RETRY, FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE } from "../../mm/fault_anon.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { ZERO_PFN } from "../../mm/pages.ts";
import {
  PTE_DEVICE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SWAP,
  PTE_WRITE,
} from "../../mm/pagetable.ts";
import { VM_HUGETLB, VM_MIXEDMAP, VM_READ, VM_WRITE } from "../../mm/vma.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import {
  foldPfns,
  HMM_PFN_DEVICE,
  HMM_PFN_EMPTY,
  HMM_PFN_ERROR,
  HMM_PFN_FAULT,
  HMM_PFN_READ,
  HMM_PFN_SPECIAL,
  HMM_PFN_UNADDRESSABLE,
  HMM_PFN_WRITE,
  hmmPfnFromPage,
} from "./flags.ts";
import { tell, type VmArea } from "./mm.ts";

const AT_PAGE = site("v13 page walk: before an entry");
const AT_FAULT = site("v13 hmm_vma_fault: in a fault");
const AT_WAIT = site("v13 hmm_vma_fault: waiting for a migration");

/** What is in an area that no device mirrors: v13 `is_vm_hugetlb_page() || VM_SPECIAL`. */
export function isSpecial(vma: VmArea): boolean {
  return (vma.vmFlags & (VM_HUGETLB | VM_MIXEDMAP)) !== 0;
}

/** One entry of the CPU's page table: its kind and flags, and its frame. */
interface Entry {
  readonly kind: number;
  readonly pfn: number;
}

/** Looks a page up, as part of a huge page too. */
function look(k: Kernel, mm: number, vpn: number): Entry {
  const { tables } = k, e = tables.entry(k.root[mm], vpn);
  if (e >= 0) return { kind: tables.kind[e], pfn: tables.pfn[e] };
  const huge = tables.huge(k.root[mm], vpn);
  if (huge < 0) return { kind: PTE_NONE, pfn: 0 };
  const kind = tables.kind[huge], first = tables.pfn[huge];
  // v13 left the pages of a huge entry without access as 0, those of a small one with the READ that the area has.
  if (kind & PTE_PROTNONE) return { kind: PTE_SWAP, pfn: 0 };
  return { kind, pfn: first === ZERO_PFN ? ZERO_PFN : first + (vpn & 511) };
}

/** What v13 said of an entry. */
function entryOf(k: Kernel, { kind, pfn }: Entry, read: bigint): bigint {
  const write = kind & PTE_WRITE ? HMM_PFN_WRITE : 0n;
  switch (kind & PTE_KIND) {
    case PTE_NONE:
      return HMM_PFN_EMPTY;
    case PTE_PRESENT:
      return hmmPfnFromPage(pfn) | read | write | (k.pages.isZoneDevice(pfn) ? HMM_PFN_DEVICE : 0n);
    case PTE_DEVICE:
      return hmmPfnFromPage(pfn) | read | write | HMM_PFN_DEVICE | HMM_PFN_UNADDRESSABLE;
    case PTE_SWAP:
    case PTE_MIGRATION:
      return 0n;
    default:
      return HMM_PFN_ERROR; // a special entry that v13 did not know
  }
}

/** Whether an entry must be faulted in for what was asked of it. */
function needsFault({ kind }: Entry, asked: bigint, vmFlags: number): boolean {
  if (!(asked & HMM_PFN_FAULT) || !(vmFlags & VM_READ)) return false;
  const of = kind & PTE_KIND;
  if (of === PTE_NONE || of === PTE_SWAP) return true;
  if (of !== PTE_PRESENT || kind & PTE_WRITE) return false;
  return (asked & HMM_PFN_WRITE) !== 0n && (vmFlags & VM_WRITE) !== 0;
}

/** Walks a range. Returns false when mmap_sem was let go. */
function* walk(
  vma: VmArea,
  start: number,
  end: number,
  pfns: BigUint64Array,
  fault: boolean,
): Proc<boolean> {
  const { vmMm: { kernel: k, mm } } = vma, { sim, pages } = k, a = sim.current;
  const read = vma.vmFlags & VM_READ ? HMM_PFN_READ : 0n;
  for (let v = start; v < end; v++) {
    const i = v - start, asked = pfns[i];
    for (;;) {
      if (sim.grain === 1 && sim.due(a)) {
        sim.mark(a, AT_PAGE, v, end, foldPfns(pfns, i), vma.row);
        yield DUE;
      }
      const entry = look(k, mm, v);
      if (fault && (entry.kind & PTE_KIND) === PTE_MIGRATION) {
        sim.call(a, AT_WAIT, v, end, foldPfns(pfns, i), vma.row);
        yield* pages.waitUnlocked(a, entry.pfn);
        sim.ret(a);
        continue;
      }
      if (!fault || !needsFault(entry, asked, vma.vmFlags)) {
        pfns[i] = entryOf(k, entry, read);
        break;
      }
      const write = (asked & HMM_PFN_WRITE) !== 0n && (vma.vmFlags & VM_WRITE) !== 0;
      const flags = FAULT_FLAG_REMOTE | FAULT_FLAG_ALLOW_RETRY | (write ? FAULT_FLAG_WRITE : 0);
      sim.call(a, AT_FAULT, v, end, foldPfns(pfns, i), vma.row);
      const rc = yield* handleMmFault(k, a, mm, vma.row, v, flags);
      sim.ret(a);
      if (rc === VM_FAULT_RETRY) {
        pfns.fill(0n, i, end - start);
        return false;
      }
      if (rc !== VM_FAULT_DONE) {
        pfns[i] = HMM_PFN_ERROR;
        break;
      }
    }
  }
  return true;
}

/**
 * Looks at the CPU's page table: v13 `hmm_vma_get_pfns()` (patch 12); 6.12 `hmm_range_fault()` without request flags.
 *
 * mmap_sem is held; what is found is good as long as a range lock is held or a monitor says so. An entry is: VALID with
 * READ (if the area lets it be read) and WRITE for a page, with DEVICE in a device's memory, with UNADDRESSABLE too in one
 * that the CPU cannot address; EMPTY for nothing; 0 for a page in swap or on its way elsewhere; ERROR for what v13 did not
 * know (a device's exclusive page).
 *
 * @param vma the area
 * @param start first page
 * @param end page past the last
 * @param pfns takes one entry a page
 * @returns 0; -EINVAL for a range not within the area, and for hugetlb and special mappings, where the array is filled
 * with SPECIAL
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), pfns = new BigUint64Array(2);
 * p.write(heap.slice(0, "4 KiB"), 1);
 * const vma = v13.findVma(new v13.MmStruct(p), heap.vpn)!;
 * console.log(p.complete(v13.hmmVmaGetPfns(vma, heap.vpn, heap.vpn + 2, pfns))); // 0
 * console.log(Boolean(pfns[0] & v13.HMM_PFN_WRITE), pfns[1] === v13.HMM_PFN_EMPTY); // true true
 * ```
 */
export function* hmmVmaGetPfns(
  vma: VmArea,
  start: number,
  end: number,
  pfns: BigUint64Array,
): Proc<number> {
  const { kernel: k } = vma.vmMm;
  if (isSpecial(vma)) {
    pfns.fill(HMM_PFN_SPECIAL, 0, end - start);
    return tell(k, -EINVAL);
  }
  if (!vma.contains(start, end)) return tell(k, -EINVAL);
  yield* walk(vma, start, end, pfns, false);
  return tell(k, 0, foldPfns(pfns, end - start));
}

/**
 * Faults pages in for a device: v13 `hmm_vma_fault()` (patch 13). 4.14 has `bool write, bool block` and an errno; 6.12
 * `hmm_range_fault()`.
 *
 * mmap_sem is held for reading. An entry that carries FAULT is faulted in, for writing if it carries WRITE too; every
 * entry comes out as {@linkcode hmmVmaGetPfns} has it, or ERROR where the fault failed. Nothing is faulted where the area
 * cannot be read, and where it cannot be written an entry comes out without WRITE. Pages on their way elsewhere are waited
 * for with mmap_sem held; a page in swap or of a file that somebody has locked is waited for without it; a page in device memory is reported and stays there. A range not within the area is left as it was, a special one
 * filled with SPECIAL. To be used with a range monitor: under a range lock it waits for ever as soon as a fault has to
 * invalidate.
 *
 * @param vma the area
 * @param start first page
 * @param end page past the last
 * @param pfns one entry a page: requests in, results out
 * @returns true when mmap_sem is still held; false when it was let go to wait for a page: the entries from there on are 0;
 * take it again, look the area up, fill the requests in and try again
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), mm = new v13.MmStruct(p);
 * const pfns = BigUint64Array.of(v13.HMM_PFN_FAULT | v13.HMM_PFN_WRITE, 0n);
 * function* fault() {
 *   yield* mm.downRead();
 *   const vma = v13.findVma(mm, heap.vpn)!;
 *   if (yield* v13.hmmVmaFault(vma, heap.vpn, heap.vpn + 2, pfns)) mm.upRead();
 * }
 * p.complete(fault());
 * console.log(Boolean(pfns[0] & v13.HMM_PFN_WRITE), pfns[1] === v13.HMM_PFN_EMPTY); // true true
 * ```
 */
export function* hmmVmaFault(
  vma: VmArea,
  start: number,
  end: number,
  pfns: BigUint64Array,
): Proc<boolean> {
  const { kernel: k } = vma.vmMm;
  if (isSpecial(vma)) {
    pfns.fill(HMM_PFN_SPECIAL, 0, end - start);
    return tell(k, true);
  }
  if (!vma.contains(start, end)) return tell(k, true);
  const held = yield* walk(vma, start, end, pfns, true);
  return tell(k, held, foldPfns(pfns, end - start));
}
