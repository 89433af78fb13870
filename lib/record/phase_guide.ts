/**
 * What spans and phases are called elsewhere: in Linux, in Intel's Xe driver, in NVIDIA's unified memory.
 * @module
 */
import { type Columns, columnsOf } from "./columns.ts";

/** One span or phase, with its counterparts; "" where there is none. */
type Entry = readonly [
  name: string,
  is: "span" | "phase",
  what: string,
  linux: string,
  xe: string,
  nvidia: string,
];

const WAIT = "wait: ";

// Xe's counters exist for 4K, 64K and 2M each. They nest: pagefault holds migrate, get_pages and bind; migrate holds copy.
const ENTRIES: readonly Entry[] = [
  [
    "cpu fault",
    "span",
    "from the CPU's access to its return",
    "handle_mm_fault()",
    "",
    "UvmEventTypeCpuFault",
  ],
  ["system call", "span", "entry to exit", "mmap(), madvise(), …", "", ""],
  [
    "device fault",
    "span",
    "from the device's report to the mapping",
    "driver's fault handler",
    "svm_*_pagefault_us",
    "UvmEventTypeGpuFault to UvmEventTypeGpuFaultReplay",
  ],
  [
    "migration to device",
    "span",
    "one batch, setup to finalize",
    "migrate_vma_setup() to migrate_vma_finalize()",
    "svm_*_migrate_us",
    "UvmEventTypeMigration to the GPU",
  ],
  [
    "migration to system",
    "span",
    "one batch, setup to finalize",
    "migrate_to_ram()",
    "",
    "UvmEventTypeMigration to the CPU",
  ],
  [
    "invalidation",
    "span",
    "until every subscriber is done",
    "mmu_notifier_invalidate_range_start()",
    "",
    "",
  ],
  ["direct reclaim", "span", "from an allocation that fails to its next try", "try_to_free_pages()", "", ""],
  ["page migration", "span", "one call between NUMA nodes", "migrate_pages()", "", ""],
  [
    "device removal",
    "span",
    "a device taken out of the running machine",
    "pci_stop_and_remove_bus_device()",
    "",
    "",
  ],
  [
    "far fault",
    "span",
    "from the GPU's access to the replay that finds its page",
    "",
    "",
    "UvmEventTypeGpuFault to UvmEventTypeGpuFaultReplay",
  ],
  [
    "fault batch",
    "span",
    "from the fetch of a batch to its replay",
    "",
    "",
    "batchId of UvmEventTypeGpuFaultReplay",
  ],
  ["gpu kernel", "span", "one grid of thread blocks", "", "", ""],
  [
    "eviction",
    "span",
    "a chunk that leaves the GPU to make room",
    "migrate_device_range()",
    "",
    "UvmEventTypeEviction",
  ],
  ["fault entry", "phase", "exception, vma lookup, accounting", "exc_page_fault()", "", ""],
  ["page allocation", "phase", "taking page frames", "alloc_pages()", "", ""],
  ["page clearing", "phase", "zeroing page frames", "clear_page()", "", ""],
  ["page-table entry", "phase", "setting CPU page-table entries", "set_pte_at()", "", ""],
  ["access", "phase", "the program's own loads and stores", "", "", ""],
  ["access to another node", "phase", "what distance adds to them", "", "", ""],
  ["copy", "phase", "copying page frames with the CPU", "copy_page()", "", ""],
  ["zap", "phase", "clearing CPU page-table entries", "zap_pte_range()", "", ""],
  ["reclaim", "phase", "isolating pages and taking them out of page tables", "shrink_folio_list()", "", ""],
  ["protect", "phase", "changing permissions", "change_pte_range()", "", ""],
  ["cpu tlb flush", "phase", "interrupting other CPUs", "flush_tlb_mm_range()", "", ""],
  ["migrate: collect", "phase", "locking pages, migration entries", "migrate_vma_collect()", "", ""],
  ["migrate: unmap", "phase", "isolating and unmapping pages", "migrate_vma_unmap()", "", ""],
  ["migrate: finalize", "phase", "replacing migration entries", "migrate_vma_finalize()", "", ""],
  ["notifier call", "phase", "calling subscribers", "mn_itree_invalidate()", "", ""],
  [
    "device fault service",
    "phase",
    "interrupt, fetch, replay of a batch",
    "",
    "rest of svm_*_pagefault_us",
    "",
  ],
  ["device access", "phase", "the device's own loads and stores", "", "", ""],
  ["device page table", "phase", "writing the device's page table", "", "svm_*_bind_us", ""],
  ["device tlb invalidation", "phase", "flushing the device's TLB", "", "svm_tlb_inval_us", ""],
  ["dma map", "phase", "mapping pages for the device", "dma_map_page()", "in svm_*_get_pages_us", ""],
  ["dma unmap", "phase", "taking such mappings back", "dma_unmap_page()", "", ""],
  ["dma submit", "phase", "starting a transfer", "", "in svm_*_device_copy_us", ""],
  [
    "copy over the link",
    "phase",
    "bytes on their way",
    "",
    "svm_*_device_copy_us to the device, svm_*_cpu_copy_us back",
    "UvmEventTypeMigration",
  ],
  ["gpu access", "phase", "loads and stores of thread blocks", "", "", ""],
  ["fault batch: fetch", "phase", "interrupt, reading the fault buffer", "", "", ""],
  ["fault batch: parse", "phase", "sorting faults, dropping duplicates", "", "", ""],
  ["fault batch: block", "phase", "lock and state of a VA block", "", "", ""],
  ["fault batch: replay", "phase", "telling the GPU to try again", "", "", "UvmEventTypeGpuFaultReplay"],
  ["far fault: in the fault buffer", "phase", "until its batch is fetched", "", "", ""],
  ["far fault: batch, before its block", "phase", "other blocks of its batch", "", "", ""],
  [
    "far fault: service of its block",
    "phase",
    "migration and mapping",
    "",
    "svm_*_pagefault_us",
    "UvmEventTypeMigration",
  ],
  ["far fault: batch, after its block", "phase", "other blocks of its batch", "", "", ""],
  ["far fault: replay", "phase", "until its access succeeds", "", "", "UvmEventTypeGpuFaultReplay"],
  ["idle", "phase", "waiting between two pieces of work", "", "", ""],
  [`${WAIT}…`, "phase", "waiting for what others had: a lock, a core, a link", "", "", ""],
];

/**
 * What the spans and phases of a run mean, and what they are called in Linux, in Intel Xe's counters and in NVIDIA's
 * UvmEventType names.
 *
 * The names of Xe are those of `drivers/gpu/drm/xe/xe_gt_stats.c`, with `*` for 4K, 64K and 2M; those of NVIDIA are of
 * `uvm_types.h` of the open driver.
 *
 * @returns columns name, is ("span" or "phase"), what, linux, xe, nvidia
 *
 * @example
 * ```ts
 * import { phaseGuide, show } from "hmmlab";
 *
 * await show(phaseGuide());
 * ```
 */
export function phaseGuide(): Columns {
  const rows = ENTRIES.map(([name, is, what, linux, xe, nvidia]) => ({ name, is, what, linux, xe, nvidia }));
  return columnsOf("What spans and phases are called elsewhere", rows);
}

/** The row of {@linkcode phaseGuide} for a phase of a run: all waits share one. */
export function guideName(phase: string): string {
  return phase.startsWith(WAIT) ? `${WAIT}…` : phase;
}
