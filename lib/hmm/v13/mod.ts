/**
 * Patchset v13 of HMM (J. Glisse, linux-mm, 18 November 2016) as code of that time would call it, on today's model.
 *
 * The calls keep their names in camel case, their order of arguments and their results; addresses are page numbers, an
 * array of `hmm_pfn_t` is a `BigUint64Array`, and what may sleep is a generator (`yield*`). Each part stands alone: a
 * mirror without device memory, migration without a mirror.
 *
 * A mirror of one address space with a snapshot under a monitor:
 * `hmmMirrorRegister`; `mm.downRead()`, `findVma`; `hmmVmaRangeMonitorStart`, `hmmVmaGetPfns` or `hmmVmaFault`; the
 * driver's lock; `hmmVmaRangeMonitorEnd`, and from the beginning if that is false.
 *
 * **What the posted code got wrong** is a switch of `machine({ revert })` and `explore(race, { revert })`, off by default:
 * "v13 waited invalidation", "v13 overlapping range locks", "v13 monitor range", "v13 unmap restore", "v13 isolate
 * restore". Without them an invalidation that waited goes on to the mirrors, waits for every range lock of its range that
 * came before it, and lets locks that come after it wait.
 *
 * **What is not reproduced of 2016.** There is no `notifierEra`: below, the machine is Linux 6.12.
 * - `invalidate_page` came after the change of the entry, outside of start and end. Here every change lies between
 *   `invalidate_range_start` and `_end`, also those of one page.
 * - There were list notifiers only. Here the interval notifiers of a range are called before HMM's.
 * - A free ZONE_DEVICE page had one reference, so `free` came when a put left 1. Here it has none, and `free` comes when
 *   the last is put; the pages' own counts differ by one.
 * - An invalidation could always sleep. One of today that must not (the OOM reaper's) is refused with -EAGAIN while the
 *   address space has a mirror.
 * - The end of a process told mirrors nothing. Here they hear one invalidation of everything, then the unmapping.
 * - A fault could let mmap_sem go to wait for a page; faults of the model keep it, so `hmmVmaFault` always returns true.
 *   Callers should still look.
 * - An area that `remap_pfn_range()` made (VM_PFNMAP, VM_IO) does not exist in the model; hugetlb and `vm_insert_page()` do.
 * - `hmm->sequence` counted invalidations and nobody read it: it is left out.
 * - `devm_memremap_pages()` with its flags, `is_addressable_page()` and the safety net in `free_hot_cold_page()` (patches
 *   1 to 8) are the model's own device memory: see `hmmDevmemAdd`.
 * @module
 */
export {
  HMM_PFN_DEVICE,
  HMM_PFN_EMPTY,
  HMM_PFN_ERROR,
  HMM_PFN_FAULT,
  HMM_PFN_LOCKED,
  HMM_PFN_MIGRATE,
  HMM_PFN_READ,
  HMM_PFN_SHIFT,
  HMM_PFN_SPECIAL,
  HMM_PFN_UNADDRESSABLE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  HMM_UPDATE_INVALIDATE,
  hmmPfnFromPage,
  hmmPfnToPage,
} from "./flags.ts";
export type { HmmMirrorOps, MirrorHead } from "./hmm.ts";
export { findVma, MmStruct, VmArea } from "./mm.ts";
export { HmmMirror, hmmMirrorRegister, hmmMirrorUnregister } from "./mirror.ts";
export {
  HmmRange,
  hmmVmaRangeLock,
  hmmVmaRangeMonitorEnd,
  hmmVmaRangeMonitorStart,
  hmmVmaRangeUnlock,
} from "./range.ts";
export { hmmVmaFault, hmmVmaGetPfns } from "./pfns.ts";
export { type HmmMigrateOps, hmmVmaMigrate } from "./migrate.ts";
export {
  type HmmDevice,
  hmmDeviceNew,
  hmmDevicePut,
  HmmDevmem,
  hmmDevmemAdd,
  hmmDevmemFaultRange,
  type HmmDevmemOps,
  hmmDevmemPageGetDrvdata,
  hmmDevmemPageSetDrvdata,
  hmmDevmemRemove,
  hmmVmaAllocLockedPage,
} from "./devmem.ts";
