/**
 * hmm_range_fault(): what the CPU's page table says of a range, faulting in what a device asks for.
 * @module
 */
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { EBUSY, EFAULT, EPERM, VM_FAULT_DONE, VM_FAULT_RETRY } from "../mm/errno.ts";
import { handleMmFault } from "../mm/fault.ts";
import { FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE } from "../mm/fault_anon.ts";
import type { Kernel } from "../mm/kernel.ts";
import { ZERO_PFN } from "../mm/pages.ts";
import {
  PTE_DEVICE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_WRITE,
} from "../mm/pagetable.ts";
import { VM_READ, VM_WRITE } from "../mm/vma.ts";

/** Output: the frame number is valid. As input {@link HMM_PFN_REQ_FAULT}. */
export const HMM_PFN_VALID = 0x8000_0000;
/** Output: the device may write. As input {@link HMM_PFN_REQ_WRITE}. */
export const HMM_PFN_WRITE = 0x4000_0000;
/** Output: nothing can be had at this page. */
export const HMM_PFN_ERROR = 0x2000_0000;
/** Input: fault the page in if it is not there. */
export const HMM_PFN_REQ_FAULT: number = HMM_PFN_VALID;
/** Input: make the page writable. */
export const HMM_PFN_REQ_WRITE: number = HMM_PFN_WRITE;
/** Output: the page is mapped as part of a 2 MiB page: hmm_pfn_to_map_order() is 9. */
export const HMM_PFN_ORDER_PMD = 0x0400_0000;
/** The bits of an entry that are the frame number. */
export const HMM_PFN_MASK = 0x03ff_ffff;

/** A range to look at: struct hmm_range. */
export interface HmmRange {
  /** Subscription whose sequence guards the range. */
  readonly sub: number;
  /** Sequence from mmu_interval_read_begin(). */
  seq: number;
  /** Address space; its mmap lock is held for reading. */
  readonly mm: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** One entry a page: request flags in, HMM_PFN_ flags and frame out. */
  readonly pfns: Uint32Array;
  /** Request flags for all pages. */
  readonly defaultFlags: number;
  /** Which request flags of single entries count. */
  readonly pfnFlagsMask: number;
  /** Whose device-private pages are reported instead of faulted back: dev_private_owner; 0 for nobody's. */
  readonly owner: number;
}

/** Without it hmm_range_fault() gives up on the private page of another device: 8a295dbbaf72. */
export const REVERT_FOREIGN_PAGE: string = defineRevert(
  "foreign device page",
  "a device fault on a page that another device has in its private memory ends with -EFAULT",
);

const AT_PAGE = site("hmm_range_fault: before a page-table entry");
const AT_FAULT = site("hmm_range_fault: in a fault");
const AT_WAIT = site("hmm_range_fault: waiting for a migration");

const NEED_FAULT = 1, NEED_WRITE = 2;

/** What an entry of the range asks for beyond what `cpu` (HMM_PFN_ flags of the page table) gives: hmm_pte_need_fault(). */
function needFault(range: HmmRange, i: number, cpu: number): number {
  const asked = (range.pfns[i] & range.pfnFlagsMask) | range.defaultFlags;
  if (!(asked & HMM_PFN_REQ_FAULT)) return 0;
  if ((asked & HMM_PFN_REQ_WRITE) && !(cpu & HMM_PFN_WRITE)) return NEED_FAULT | NEED_WRITE;
  return cpu & HMM_PFN_VALID ? 0 : NEED_FAULT;
}

/** Faults every page from `vpn` to the end of the walk's piece, present or not: hmm_vma_fault(). -EBUSY means look again. */
function* faultPages(
  k: Kernel,
  a: number,
  range: HmmRange,
  vma: number,
  vpn: number,
  end: number,
  need: number,
): Proc<number> {
  const { sim } = k;
  let flags = FAULT_FLAG_REMOTE;
  if (need & NEED_WRITE) {
    if (!(k.vmas.flags[vma] & VM_WRITE)) return -EPERM;
    flags |= FAULT_FLAG_WRITE;
  }
  for (let v = vpn; v < end; v++) {
    sim.call(a, AT_FAULT, v, vpn, end, need);
    // The entry was looked at without its lock: what the fault finds there may be something else, a device's page even.
    if (sim.grain === 1 && sim.due(a)) {
      sim.mark(a, AT_FAULT, v, vma);
      yield DUE;
    }
    const rc = yield* handleMmFault(k, a, range.mm, vma, v, flags);
    sim.ret(a);
    if (rc !== VM_FAULT_DONE && rc !== VM_FAULT_RETRY) return -EFAULT;
  }
  return -EBUSY;
}

/** A number for the first `n` entries, so that what a stopped walk has found is part of the actor's frame. */
function fold(pfns: Uint32Array, n: number): number {
  let h = n;
  for (let i = 0; i < n; i++) h = (Math.imul(h ^ pfns[i], 0x01000193) ^ (h >>> 15)) | 0;
  return h;
}

/** Entries that {@link fillPresent} looks at together. */
const GROUP = 32;
/** Places of the flags in an entry of a range and of a page table. */
const VALID_BIT = 31 - Math.clz32(HMM_PFN_VALID), WRITE_BIT = 31 - Math.clz32(HMM_PFN_WRITE);
const PTE_WRITE_BIT = 31 - Math.clz32(PTE_WRITE);

/**
 * Fills entries from page `start` of a leaf table on, as long as nothing has to be faulted in or waited for: most of a
 * range, so without a generator.
 *
 * A range of which random pages are present would be guessed wrong at every other entry. So a group of entries in which
 * every page is one of the asking device's own, or none, is filled without a branch.
 *
 * @returns the first page that is left, or `end`
 */
function fillPresent(k: Kernel, range: HmmRange, leaf: number, start: number, end: number): number {
  const { pages, tables: { kind, pfn } } = k, { pfns, owner } = range;
  const mask = range.pfnFlagsMask | 0, always = range.defaultFlags | 0;
  const n = end - start, row = start - range.start, slot = leaf + (start & 511);
  // As local integers: what a module exports is loaded anew, and converted, wherever it is named.
  const kindBits = PTE_KIND, present = PTE_PRESENT, device = PTE_DEVICE, none = PTE_NONE;
  const fault = HMM_PFN_REQ_FAULT | 0, valid = VALID_BIT, write = WRITE_BIT, pteWrite = PTE_WRITE_BIT;
  // The zone of the last own page: most of its neighbours lie there too.
  let zoneStart = 0, zoneEnd = 0;
  for (let from = 0; from < n; from += GROUP) {
    const to = Math.min(n, from + GROUP);
    let other = zoneEnd === 0 ? -1 : 0;
    for (let i = from; i < to && zoneEnd !== 0; i++) {
      const pte = kind[slot + i], what = pte & kindBits, frame = pfn[slot + i];
      const own = ((what ^ device) - 1) >> 31, nothing = ((what ^ none) - 1) >> 31;
      const outside = ((frame - zoneStart) | (zoneEnd - 1 - frame)) >> 31;
      other |= ~(own | nothing) | (own & outside) | (((pfns[row + i] & mask) | always) & fault);
    }
    if (other === 0) {
      for (let i = from; i < to; i++) {
        const pte = kind[slot + i], own = (((pte & kindBits) ^ device) - 1) >> 31;
        pfns[row + i] = own & ((1 << valid) | ((pte >>> pteWrite) << write) | pfn[slot + i]);
      }
      continue;
    }
    for (let i = from; i < to; i++) {
      const pte = kind[slot + i], what = pte & kindBits, frame = pfn[slot + i];
      let cpu = what === present ? (1 << valid) | ((pte >>> pteWrite) << write) : 0;
      if (what === device && owner !== 0) {
        if (frame < zoneStart || frame >= zoneEnd) {
          const zone = pages.zoneOf(frame), own = zone.owner === owner;
          zoneStart = own ? zone.start : 0;
          zoneEnd = own ? zone.end : 0;
        }
        if (frame < zoneEnd) {
          pfns[row + i] = (1 << valid) | ((pte >>> pteWrite) << write) | frame;
          continue;
        }
      }
      const asked = (pfns[row + i] & mask) | always;
      if (asked & fault && needFault(range, row + i, cpu) !== 0) return start + i;
      if (cpu !== 0) cpu |= frame;
      pfns[row + i] = cpu;
    }
  }
  return end;
}

/** One piece of a range, within one vma and one leaf table. Returns 0, an errno, or -EBUSY with the place in `at[0]`. */
function* walkPiece(
  k: Kernel,
  a: number,
  range: HmmRange,
  vma: number,
  start: number,
  end: number,
  at: Float64Array,
): Proc<number> {
  const { sim, tables, pages } = k, { pfns } = range;
  const leaf = tables.leaf(k.root[range.mm], start),
    huge = leaf < 0 ? tables.huge(k.root[range.mm], start) : -1;
  for (let v = sim.grain > 1 && leaf >= 0 ? fillPresent(k, range, leaf, start, end) : start; v < end; v++) {
    const i = v - range.start;
    if (sim.grain === 1 && sim.due(a)) {
      sim.mark(a, AT_PAGE, v, end, fold(pfns, i), range.seq);
      yield DUE;
    }
    const e = leaf < 0 ? huge : leaf + (v & 511), kind = e < 0 ? PTE_NONE : tables.kind[e];
    const pfn = e < 0
      ? 0
      : leaf < 0 && tables.pfn[e] !== ZERO_PFN
      ? tables.pfn[e] + (v & 511)
      : tables.pfn[e];
    let cpu = 0;
    switch (kind & PTE_KIND) {
      case PTE_PRESENT:
        cpu = HMM_PFN_VALID | (kind & PTE_WRITE ? HMM_PFN_WRITE : 0) | (leaf < 0 ? HMM_PFN_ORDER_PMD : 0);
        break;
      case PTE_DEVICE:
        if (range.owner !== 0 && pages.zoneOf(pfn).owner === range.owner) {
          // An own page is reported as it is, even if it is read-only and writing was asked for (6.12).
          pfns[i] = (HMM_PFN_VALID | (kind & PTE_WRITE ? HMM_PFN_WRITE : 0) | pfn) >>> 0;
          continue;
        }
        break;
    }
    const need = needFault(range, i, cpu);
    if (need !== 0) {
      at[0] = v;
      if ((kind & PTE_KIND) === PTE_MIGRATION) {
        sim.call(a, AT_WAIT, v, start, end, range.seq);
        yield* pages.waitUnlocked(a, pfn);
        sim.ret(a);
        return -EBUSY;
      }
      if ((kind & PTE_KIND) === PTE_DEVICE && k.revert.has(REVERT_FOREIGN_PAGE)) {
        pfns[i] = HMM_PFN_ERROR;
        return -EFAULT;
      }
      if ((kind & PTE_KIND) === PTE_POISON) return -EFAULT;
      return yield* faultPages(k, a, range, vma, v, end, need);
    }
    pfns[i] = (cpu & HMM_PFN_VALID) ? (cpu | pfn) >>> 0 : 0;
  }
  return 0;
}

/** Where no vma lets anything be read: an error if a page was asked for, else error entries. */
function fillError(range: HmmRange, start: number, end: number): number {
  for (let v = start; v < end; v++) if (needFault(range, v - range.start, 0)) return -EFAULT;
  range.pfns.fill(HMM_PFN_ERROR, start - range.start, end - range.start);
  return 0;
}

/**
 * Fills `range.pfns` from the page table, faulting in pages that the request flags ask for.
 *
 * Once a page has to be faulted in, every page after it in the same vma and page table is faulted too, and then the
 * walk goes on from there. Entries at and after the place of a failure still hold what was put in.
 *
 * @param range what to look at; the mmap lock is held for reading
 * @returns 0; -EBUSY when an invalidation came (begin again with mmu_interval_read_begin()); -EFAULT where nothing is
 * mapped or readable and a page was asked for; -EPERM for a write where the vma forbids it
 */
export function* hmmRangeFault(k: Kernel, a: number, range: HmmRange): Proc<number> {
  const { vmas, notifiers } = k;
  k.watch?.rangeFaultStarts(a, range);
  const at = new Float64Array(1);
  let last = range.start, rc = -EBUSY;
  while (rc === -EBUSY) {
    // If the answer is stale already there is no use in going on (mmu_interval_check_retry).
    if (notifiers.readRetry(range.sub, range.seq)) break;
    rc = 0;
    let v = last;
    while (v < range.end && rc === 0) {
      const vma = vmas.find(range.mm, v);
      const hole = vma < 0 ? range.end : Math.min(range.end, vmas.start[vma]);
      if (v < hole) {
        rc = fillError(range, v, hole);
        v = hole;
        continue;
      }
      const end = Math.min(range.end, vmas.end[vma], v - (v & 511) + 512);
      if (vmas.flags[vma] & VM_READ) rc = yield* walkPiece(k, a, range, vma, v, end, at);
      else rc = fillError(range, v, end);
      v = end;
    }
    last = at[0];
  }
  k.watch?.rangeFaultEnds(a, range, rc);
  return rc;
}
