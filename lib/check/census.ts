/**
 * A walk over every page table of a machine: what each entry says, and how often each frame and slot is named.
 * @module
 */
import type { Kernel } from "../mm/kernel.ts";
import { HUGE_PAGES, PG_HUGETLB, PG_LARGE, ZERO_PFN } from "../mm/pages.ts";
import {
  type PageTables,
  PTE_DEVICE,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_SWAP,
  TABLE_ENTRIES,
  VPN_END,
} from "../mm/pagetable.ts";

/** Told of an entry: the page, its kind with flags, its own frame (not the folio's first), whether it is mapped huge. */
export type VisitEntry = (vpn: number, kind: number, pfn: number, huge: boolean) => void;

/** The frame that an entry, huge or not, names for one of its pages. */
function frameOf(tables: PageTables, e: number, vpn: number, huge: boolean): number {
  // Frame 0 stands for the zero page, be it huge or not.
  return huge && tables.pfn[e] !== ZERO_PFN ? tables.pfn[e] + (vpn % HUGE_PAGES) : tables.pfn[e];
}

/** Tells of every entry of a tree that is not empty, page by page, in order. */
export function forEachEntry(tables: PageTables, root: number, visit: VisitEntry): void {
  for (let v = tables.nextLive(root, 0, VPN_END); v < VPN_END; v = tables.nextLive(root, v, VPN_END)) {
    const huge = tables.huge(root, v), leaf = huge >= 0 ? -1 : tables.leaf(root, v);
    for (const stop = v - (v % TABLE_ENTRIES) + TABLE_ENTRIES; v < stop; v++) {
      const e = huge >= 0 ? huge : leaf + (v % TABLE_ENTRIES), kind = tables.kind[e];
      if (kind !== PTE_NONE) visit(v, kind, frameOf(tables, e, v, huge >= 0), huge >= 0);
    }
  }
}

/** What the table of an address space says of one page. */
export function lookAt(k: Kernel, mm: number, vpn: number): { readonly kind: number; readonly pfn: number } {
  const { tables } = k, root = k.root[mm], huge = tables.huge(root, vpn);
  const e = huge >= 0 ? huge : tables.entry(root, vpn);
  if (e < 0) return { kind: PTE_NONE, pfn: 0 };
  return { kind: tables.kind[e], pfn: frameOf(tables, e, vpn, huge >= 0) };
}

/** Pages of one address space by what holds them. */
export interface SpaceCount {
  /** Address space. */
  readonly mm: number;
  /** Anonymous pages, wherever they are: present, on a device, exclusive to one, on their way. */
  anon: number;
  /** Pages of files and shared memory. */
  file: number;
  /** Swap entries. */
  swap: number;
}

/** Counts of one look at a machine at rest. */
export class Census {
  /** Entries that map each frame. */
  readonly mapped: Int32Array;
  /** References that entries hold to each folio, by its first frame. */
  readonly held: Int32Array;
  /** Entries that name each swap slot, of page tables and of page caches. */
  readonly slots: Int32Array;
  /** References that somebody outside the machine holds, by frame: a test, or a user below the public face. */
  outside: ReadonlyMap<number, number> | undefined;
  private counted: SpaceCount[] | undefined;

  /**
   * Makes room for the counts; nothing is counted yet.
   *
   * @param k the machine
   */
  constructor(private readonly k: Kernel) {
    this.mapped = new Int32Array(k.pages.frames);
    this.held = new Int32Array(k.pages.frames);
    this.slots = new Int32Array(k.swap.users.length);
  }

  /** Forgets what was counted: the next question counts anew. */
  forget(): void {
    this.counted = undefined;
  }

  /** The counts of each address space; what belongs to frames is counted with them. */
  spaces(): readonly SpaceCount[] {
    return this.counted ??= this.count();
  }

  /** Walks every table. */
  private count(): SpaceCount[] {
    const { k, mapped, held, slots } = this, { pages, tables } = k;
    for (const zone of pages.zones) {
      mapped.fill(0, zone.start, pages.unusedFrom(zone));
      held.fill(0, zone.start, pages.unusedFrom(zone));
    }
    slots.fill(0);
    const spaces = k.spaces().map((mm): SpaceCount => {
      const space = { mm, anon: 0, file: 0, swap: 0 };
      forEachEntry(tables, k.root[mm], (vpn, pte, pfn, huge) => {
        const kind = pte & PTE_KIND;
        if (kind === PTE_SWAP) {
          space.swap++;
          slots[pfn]++;
          return;
        }
        if (kind === PTE_PRESENT && pfn === ZERO_PFN) return;
        if (kind !== PTE_PRESENT && kind !== PTE_DEVICE && kind !== PTE_EXCLUSIVE && kind !== PTE_MIGRATION) {
          return;
        }
        const head = pages.head(pfn);
        if (!(pages.flags[head] & PG_HUGETLB)) {
          if (pages.mapping[head] !== 0) space.anon++;
          else space.file++;
        }
        if (kind === PTE_MIGRATION) return; // whoever migrates the page holds it
        if (kind !== PTE_EXCLUSIVE) mapped[pfn]++;
        // A huge page's one entry holds one reference to the whole, each small entry one of its own.
        if (!huge || vpn % HUGE_PAGES === 0) held[head]++;
      });
      return space;
    });
    for (const slot of k.inodes.swappedSlots()) slots[slot]++;
    return spaces;
  }

  /** References to the folio of a first frame that can be accounted for: entries, page and swap caches, pins. */
  holders(pfn: number): number {
    this.spaces();
    const { pages } = this.k, n = pages.flags[pfn] & PG_LARGE ? HUGE_PAGES : 1;
    let holders = this.held[pfn] + (this.outside?.get(pfn) ?? 0);
    for (let p = pfn; p < pfn + n; p++) {
      holders += (pages.inode[p] !== 0 ? 1 : 0) + (pages.swap[p] !== 0 ? 1 : 0) + pages.pins[p];
    }
    return holders;
  }
}
