/**
 * Looking at pages from outside: what a process's table, its frames and a device's table say of a region.
 * @module
 */
import type { Device } from "../devices/device.ts";
import type { Kernel } from "../mm/kernel.ts";
import { MEMORY_DEVICE_COHERENT, MEMORY_SYSTEM, ZERO_PFN } from "../mm/pages.ts";
import {
  PTE_DEVICE,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_SWAP,
  PTE_WRITE,
} from "../mm/pagetable.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { checkRegion, type Region } from "./process.ts";

/** What the entry of one page is, in words; `e` is the entry, -1 for none. */
function entryName(k: Kernel, e: number, pfn: number): string {
  if (e < 0) return "none";
  switch (k.tables.kind[e] & PTE_KIND) {
    case PTE_NONE:
      return "none";
    case PTE_PRESENT:
      return pfn === ZERO_PFN ? "zero page" : "present";
    case PTE_DEVICE:
      return "device-private";
    case PTE_EXCLUSIVE:
      return "device-exclusive";
    case PTE_MIGRATION:
      return "migration";
    case PTE_SWAP:
      return "swap";
    case PTE_POISON:
      return "lost";
    default:
      return "table";
  }
}

/** Where a frame is, in words. */
function place(k: Kernel, pfn: number): string {
  const zone = k.pages.zoneOf(pfn);
  if (zone.type === MEMORY_SYSTEM) return zone.name;
  return zone.type === MEMORY_DEVICE_COHERENT ? `${zone.name}, coherent` : zone.name;
}

/**
 * Shows the pages of a region as the kernel and the devices have them, without touching any.
 *
 * @param region what to look at; at most some thousand pages make a table that anyone reads
 * @param devices devices whose tables are shown too, each as a column of its name: "" nothing, "read", "write"
 * @returns columns page (of the region), entry, access ("read", "write" or "" where the entry has no page), where, frame,
 * references, mappings, word; -1 for a number that there is none of
 *
 * @example
 * ```ts
 * import { look, machine, show } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", devices: { gpu: "titan-v" } });
 * const p = m.process(), heap = p.mmap("8 KiB");
 * p.write(heap.slice(0, "4 KiB"), 7);
 * await show(look(heap, m.gpu)); // one page present, one that never was
 * ```
 */
export function look(region: Region, ...devices: readonly Device[]): Columns {
  const { process: { machine: { kernel: k }, mm }, vpn, pages: n } = checkRegion("look at pages", region);
  const { tables, pages } = k, root = k.root[mm];
  const rows = Array.from({ length: n }, (_, i) => {
    const v = vpn + i, huge = tables.huge(root, v), e = huge >= 0 ? huge : tables.entry(root, v);
    const first = e < 0 ? 0 : tables.pfn[e],
      pfn = huge >= 0 && first !== ZERO_PFN ? first + (v & 511) : first;
    const entry = entryName(k, e, pfn),
      has = !["none", "swap", "lost"].includes(entry),
      real = has && entry !== "zero page";
    const row: Record<string, number | string> = {
      page: i,
      entry: huge >= 0 ? `${entry}, huge` : entry,
      access: !has ? "" : tables.kind[e] & PTE_WRITE ? "write" : "read",
      where: entry === "swap" ? "swap" : real ? place(k, pfn) : "",
      frame: has ? pfn : -1,
      references: real ? pages.refs(pfn) : -1,
      mappings: real ? pages.mapcount[pfn] : -1,
      word: real ? pages.word[pfn * pages.wordsPerPage] : entry === "zero page" ? 0 : -1,
    };
    for (const d of devices) {
      const table = d.table(mm);
      row[d.name] = table.translate(v, true) >= 0 ? "write" : table.translate(v, false) >= 0 ? "read" : "";
    }
    return row;
  });
  return columnsOf(`Pages of a region of process ${mm}`, rows);
}
