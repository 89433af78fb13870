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
 * **What is not reproduced of 2016.** There is no `notifierEra`: below, the machine is Linux 6.12, and that decides which
 * invalidation comes when, with which range, and how often. A trace of what a mirror hears is one of 6.12, not of 2016.
 * - `invalidate_page` came after the change of the entry, outside of start and end. Here every change lies between
 *   `invalidate_range_start` and `_end`, also those of one page.
 * - There were list notifiers only. Here the interval notifiers of a range are called before HMM's.
 * - A free ZONE_DEVICE page had one reference, so `free` came when a put left 1. Here it has none, and `free` comes when
 *   the last is put; the pages' own counts differ by one.
 * - An invalidation could always sleep. One of today that must not (the OOM reaper's) is refused with -EAGAIN while the
 *   address space has a mirror.
 * - The end of a process told mirrors nothing. Here they hear one invalidation of everything, then the unmapping.
 * - `hmmVmaFault` lets mmap_sem go for a page in swap or of a file that somebody has locked, and returns false. A fault of
 *   the CPU waits for such a page with its lock held, where 2016 let it go too.
 * - A fault of the CPU had mmap_sem, and `munmap()` kept it alone to its end. Here a fault takes the lock of its area (6.4),
 *   and `munmap()` goes on beside readers once its areas are gone (4.20): a device can hold mmap_sem while the pages go.
 * - A write to a shared page was let through when no other entry mapped it. Here a page is marked as one process's alone
 *   (5.19), so some writes copy that did not, and the other way round.
 * - Of threads that fault on one device page, each held a reference and could keep the others from migrating it. That is
 *   mended here as in 6.15; `revert: ["fault page lock"]` brings it back.
 * - An area that `remap_pfn_range()` made (VM_PFNMAP, VM_IO) does not exist in the model; hugetlb and `vm_insert_page()` do.
 * - `hmm->sequence` counted invalidations and nobody read it: it is left out.
 * - `devm_memremap_pages()` with its flags, `is_addressable_page()` and the safety net in `free_hot_cold_page()` (patches
 *   1 to 8) are the model's own device memory: see `hmmDevmemAdd`. `hmmDevmemRemove` could also sleep until the last page
 *   was free; here it returns false, and the driver calls again.
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
