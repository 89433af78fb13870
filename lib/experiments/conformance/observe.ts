/**
 * What the transcripts record, seen on the lab's side: page maps, snapshots, mirrors, events.
 * @module
 */
import { asDummy } from "../../devices/dummy/device.ts";
import { dummySnapshot } from "../../devices/dummy/snapshot.ts";
import { FAULT_FLAG_UNSHARE, FAULT_FLAG_VMA_LOCK, FAULT_FLAG_WRITE } from "../../mm/fault_anon.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_NAMES } from "../../mm/notifier.ts";
import { MEMORY_DEVICE_COHERENT, PG_HUGETLB, PG_LARGE, ZERO_PFN } from "../../mm/pages.ts";
import {
  PTE_DEVICE,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_WRITE,
} from "../../mm/pagetable.ts";
import type { Bench, PlayedProcess } from "./machine.ts";
import type { RegionText } from "./transcript.ts";

/** A region of a program's address space. */
export interface PlayedRegion {
  readonly name: string;
  /** First page. */
  readonly vpn: number;
  readonly pages: number;
}

/** Page of region A: address 0x1000_0000_0000. */
export const REGION_A = 0x1_0000_0000;
/** Pages from one region to the next: 1 GiB. */
export const REGION_STEP = 0x4_0000;

/** Characters of pages by device: writable and read-only private entries; coherent pages mapped once and more often. */
const PRIVATE_CHARS = ["Mm", "Nn"], COHERENT_CHARS = ["", "", "Gg", "Kk"];

/** The character of one page of a process's page map. */
function pageChar(k: Kernel, mm: number, vpn: number): string {
  const { tables, pages } = k, huge = tables.huge(k.root[mm], vpn);
  const e = huge >= 0 ? huge : tables.entry(k.root[mm], vpn);
  if (e < 0) return ".";
  if (huge >= 0 && tables.pfn[e] === ZERO_PFN) return "h";
  const pte = tables.kind[e],
    pfn = huge >= 0 ? tables.pfn[e] + (vpn & 511) : tables.pfn[e],
    readOnly = pte & PTE_WRITE ? 0 : 1;
  switch (pte & PTE_KIND) {
    case PTE_NONE:
      return ".";
    case PTE_PRESENT: {
      if (pfn === ZERO_PFN) return "z";
      const shared = pages.mapcount[pfn] > 1 ? 1 : 0, zone = pages.zoneOf(pfn);
      if (zone.type === MEMORY_DEVICE_COHERENT) return COHERENT_CHARS[zone.owner - 1][shared];
      if ((pages.flags[pfn] & (PG_LARGE | PG_HUGETLB)) === PG_LARGE) return "Tt"[shared];
      return (pages.inode[pfn] !== 0 ? "Ff" : "Aa")[shared];
    }
    case PTE_DEVICE:
      return PRIVATE_CHARS[pages.zoneOf(pfn).owner - 1][readOnly];
    case PTE_EXCLUSIVE:
      return "Xx"[readOnly];
    case PTE_MIGRATION:
      return "!";
    default:
      return "s";
  }
}

/** Whether two processes have the same frame (or swap slot) at a page. */
function sameFrame(k: Kernel, mm: number, other: number, vpn: number): boolean {
  const { tables } = k, huge = tables.huge(k.root[mm], vpn), hugeToo = tables.huge(k.root[other], vpn);
  if (huge >= 0 && hugeToo >= 0) return tables.pfn[huge] === tables.pfn[hugeToo];
  if (huge >= 0 && tables.pfn[huge] === ZERO_PFN || hugeToo >= 0 && tables.pfn[hugeToo] === ZERO_PFN) {
    return false;
  }
  if (huge >= 0 || hugeToo >= 0) {
    // One maps it huge, the other by small entries: the same page of the same folio.
    const [h, root] = huge >= 0 ? [huge, k.root[other]] : [hugeToo, k.root[mm]], s = tables.entry(root, vpn);
    return s >= 0 && (tables.kind[s] & PTE_KIND) === PTE_PRESENT &&
      tables.pfn[s] === tables.pfn[h] + (vpn & 511);
  }
  const e = tables.entry(k.root[mm], vpn), f = tables.entry(k.root[other], vpn);
  if (e < 0 || f < 0 || tables.kind[e] === PTE_NONE || tables.kind[f] === PTE_NONE) return false;
  const mapped = (x: number) =>
    (tables.kind[x] & PTE_KIND) <= PTE_DEVICE ? PTE_PRESENT : tables.kind[x] & PTE_KIND;
  return tables.pfn[e] === tables.pfn[f] && mapped(e) === mapped(f);
}

/** The page map of every living process. */
export function pageMaps(
  k: Kernel,
  processes: Iterable<PlayedProcess>,
  regions: readonly PlayedRegion[],
): Record<string, RegionText> {
  const maps: Record<string, RegionText> = {};
  let first: PlayedProcess | undefined;
  for (const p of processes) {
    first ??= p;
    if (p.exited) continue;
    const map: Record<string, string> = {};
    for (const r of regions) {
      let text = "", same = "";
      for (let i = 0; i < r.pages; i++) {
        text += pageChar(k, p.mm, r.vpn + i);
        if (p !== first) same += !first.exited && sameFrame(k, p.mm, first.mm, r.vpn + i) ? "=" : "-";
      }
      map[r.name] = text;
      if (p !== first) map[`${r.name}=`] = same;
    }
    maps[p.name] = map;
  }
  return maps;
}

/** A snapshot of every region through a process's first open file; undefined when it has none. */
export function snapshots(
  bench: Bench,
  p: PlayedProcess,
  regions: readonly PlayedRegion[],
): RegionText | undefined {
  const [file] = p.files.values();
  if (p.exited || file === undefined) return undefined;
  const seen: Record<string, string> = {};
  for (const r of regions) {
    const bytes: number[] = [];
    bench.look(dummySnapshot(file.device, 0, file.mirror, r.vpn, r.pages, bytes));
    seen[r.name] = hexBytes(bytes);
  }
  return seen;
}

/** Bytes as two hexadecimal digits each. */
export function hexBytes(bytes: readonly number[]): string {
  return bytes.map((b) => b.toString(16).padStart(2, "0")).join("");
}

/** The mirrors of all files that living processes opened and have open, by process and slot. */
export function mirrors(
  processes: Iterable<PlayedProcess>,
  regions: readonly PlayedRegion[],
): Record<string, RegionText> {
  const seen: Record<string, RegionText> = {};
  for (const p of processes) {
    if (p.exited) continue;
    for (const [slot, { mirror }] of p.files) {
      if (mirror.mm !== p.mm) continue; // inherited
      seen[`${p.name}${slot}`] = Object.fromEntries(
        regions.map((r) => [r.name, mirror.text(r.vpn, r.pages)]),
      );
    }
  }
  return seen;
}

/** Who a fault is for, as the transcripts say it. */
export type FaultCause = "cpu" | "remote" | "kernel";

/** Records the events of an operation as the transcripts write them. */
export class EventLog {
  /** Events so far, each with the address space that it belongs to. */
  private entries: { readonly mm: number; readonly text: string; readonly tried: boolean }[] = [];
  /** Who the faults of the running operation are for. */
  cause: FaultCause = "cpu";
  /** The process that runs it. */
  doer = "P";

  /**
   * Begins to watch a machine.
   *
   * @param bench whose events are recorded
   * @param processOf the process of an address space, if it is one of the program
   */
  constructor(bench: Bench, private readonly processOf: (mm: number) => PlayedProcess | undefined) {
    const { kernel: k, deviceList } = bench.machine;
    k.notifiers.watch = (_a, e, start) => this.invalidation(e, start);
    k.watchFault = (mm, vpn, flags) => this.fault(mm, vpn, flags);
    for (const d of deviceList.map(asDummy)) {
      d.watchFaultBack = ({ mm, vpn }) => this.add(mm, vpn, (place) => `R:${place}`);
    }
  }

  private add(mm: number, vpn: number, text: (place: string) => string, tried = false): void {
    const slot = Math.floor((vpn - REGION_A) / REGION_STEP);
    if (slot < 0 || slot > 25) return;
    const place = `${String.fromCharCode(65 + slot)}+${vpn - REGION_A - slot * REGION_STEP}`;
    this.entries.push({ mm, text: text(place), tried });
  }

  private invalidation(e: Invalidation, start: boolean): void {
    const p = this.processOf(e.mm);
    if (p === undefined || !p.opened) return;
    const owner = e.owner === 0 ? "-" : `d${e.owner - 1}`;
    const name = MMU_NOTIFY_NAMES[e.event], pages = e.end - e.start;
    this.add(e.mm, e.start, (place) => `${start ? "S" : "E"}:${name}:${p.name}:${place}:${pages}:${owner}`);
  }

  private fault(mm: number, vpn: number, flags: number): void {
    if (this.processOf(mm) === undefined) return;
    const access = flags & FAULT_FLAG_WRITE ? "w" : flags & FAULT_FLAG_UNSHARE ? "ru" : "r",
      last = this.entries.at(-1);
    this.add(mm, vpn, (place) => {
      const text = `F:${place}:${access}:${this.cause}:${this.doer}`;
      // The same fault again, now with the mmap lock: one fault to who looks on.
      if (last?.tried && last.text === text) this.entries.pop();
      return text;
    }, (flags & FAULT_FLAG_VMA_LOCK) !== 0);
  }

  /** Takes the events since the last time. */
  take(): string[] {
    const texts = this.entries.map((e) => e.text);
    this.entries = [];
    return texts;
  }
}
