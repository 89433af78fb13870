/**
 * Page tables: pools of 512-entry tables, four levels, used by address spaces and by devices alike.
 *
 * An entry is a number: `table * 512 + slot` indexes a byte of kind and flags and a 32-bit page frame number. Tables
 * exist where something was mapped, are counted, and are freed when their range is.
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Arena } from "../sim/arena.ts";

/** Entries in a table. */
export const TABLE_ENTRIES = 512;
/** Virtual pages under one upper entry of each level: leaf entry, table of 2 MiB, of 1 GiB, of 512 GiB. */
const SPAN = [1, 512, 512 * 512, 512 * 512 * 512] as const;
/** First page number past the address space: 48-bit addresses. */
export const VPN_END = 2 ** 36;

/** The low four bits of an entry's byte say what it is. */
export const PTE_KIND = 0x0f;
/** Nothing is mapped. */
export const PTE_NONE = 0;
/** A page, in memory that the CPU (or this device) can address. */
export const PTE_PRESENT = 1;
/** A page in device memory that the CPU cannot address: a device-private swap entry. */
export const PTE_DEVICE = 2;
/** A page of ordinary memory that a device has for itself: a device-exclusive swap entry. */
export const PTE_EXCLUSIVE = 3;
/** The page is on its way elsewhere: a migration entry. */
export const PTE_MIGRATION = 4;
/** The page is in swap: the frame number is a slot. */
export const PTE_SWAP = 5;
/** In an upper level: the next table. */
export const PTE_TABLE = 6;
/** The page's content is lost for good: PTE_MARKER_POISONED. */
export const PTE_POISON = 7;
/** The entry allows writing. */
export const PTE_WRITE = 0x80;
/** The page was written through this entry. */
export const PTE_DIRTY = 0x40;
/** A present page that its vma does not let the CPU access at present: PROT_NONE. */
export const PTE_PROTNONE = 0x10;
/** In a migration or swap entry: the page had one user, who may write again without a copy. */
export const PTE_ANON_EXCLUSIVE = 0x10;
/** In a migration entry: the page is of a file or of shared memory; by now it may be gone. */
export const PTE_OF_FILE = 0x40;
/** In a migration entry: its page was mapped by a huge entry, and can be again. */
export const PTE_WAS_HUGE = 0x20;
/** In a migration entry of a folio that is split: the page was used through the entry that stood here. */
export const PTE_WAS_YOUNG = 0x20;
/** The page was used through this entry. */
export const PTE_YOUNG = 0x20;

/** A pool of tables; a tree is named by the number of its root table. */
export class PageTables {
  /** Kind and flags of each entry. */
  readonly kind: Uint8Array;
  /** Page frame (or next table) of each entry. */
  readonly pfn: Uint32Array;
  /** Entries of each table that are not PTE_NONE. */
  readonly live: Uint16Array;
  /** Tables whose lock is held across a stop; on the clock none ever is. */
  readonly locked: Uint8Array;
  private readonly inUse: Uint8Array;
  /** [0] tables ever used, [1] tables in use, [2] a table below which all are in use */
  private readonly count: Uint32Array;
  /** Most tables of all trees. */
  readonly capacity: number;
  /** Whether making a table for a page fails now. A huge page's split does not: its table was set aside at the fault. */
  failing: (() => boolean) | undefined;
  private readonly name: string;

  /**
   * Makes an empty pool.
   *
   * @param state where the columns live
   * @param name what the tables belong to
   * @param capacity most tables of all trees
   */
  constructor(state: Arena, name: string, capacity: number) {
    this.name = name;
    this.capacity = capacity;
    this.count = state.u32(`${name}.tables`, 3);
    const used = () => this.count[0] * TABLE_ENTRIES;
    this.kind = state.u8(`${name}.kind`, capacity * TABLE_ENTRIES, used);
    this.pfn = state.u32(`${name}.pfn`, capacity * TABLE_ENTRIES, used);
    this.live = state.u16(`${name}.live`, capacity, () => this.count[0]);
    this.locked = state.u8(`${name}.locked`, capacity, () => this.count[0]);
    this.inUse = state.u8(`${name}.inUse`, capacity, () => this.count[0]);
  }

  /** Number of tables in use. */
  get tables(): number {
    return this.count[1];
  }

  /** Number of tables that can still be made. */
  get spare(): number {
    return this.capacity - this.count[1];
  }

  /**
   * Makes an empty tree.
   *
   * @returns its root table
   * @throws UsageError when the pool is used up: a tree is made while a machine is built
   */
  newRoot(): number {
    const root = this.tryNewRoot();
    if (root < 0) {
      throw new UsageError(
        `Cannot build: all ${this.capacity} ${this.name} tables are in use; give machine({ pageTables }) more`,
      );
    }
    return root;
  }

  /** As {@link newRoot}, but -1 when the pool is used up. */
  tryNewRoot(): number {
    return this.newTable();
  }

  /** Takes the lowest free table, or -1. */
  private newTable(): number {
    const { count, inUse } = this;
    let t = count[2];
    while (t < count[0] && inUse[t]) t++;
    if (t === this.capacity) return -1;
    if (t === count[0]) count[0]++;
    inUse[t] = 1;
    count[1]++;
    count[2] = t + 1;
    return t;
  }

  /** Frees a tree that {@link freeRange} has emptied. */
  freeRoot(root: number): void {
    this.freeTable(root);
  }

  /** Gives an empty table back. */
  private freeTable(t: number): void {
    const { count } = this;
    if (this.live[t] !== 0) throw new Error(`${this.name} table ${t} is freed with ${this.live[t]} entries`);
    this.inUse[t] = 0;
    count[1]--;
    if (t < count[2]) count[2] = t;
  }

  /**
   * Finds the leaf table of a page.
   *
   * @param root tree
   * @param vpn virtual page number
   * @returns the entry number of the table's first slot (`entry = leaf + vpn % 512`), or -1 if no table is there
   */
  leaf(root: number, vpn: number): number {
    const { kind, pfn } = this;
    // Bit operations see 32 bits only, so the page number is cut in two before them.
    const high = Math.floor(vpn / SPAN[2]), low = vpn - high * SPAN[2];
    let e = root * TABLE_ENTRIES + (high >>> 9);
    if ((kind[e] & PTE_KIND) !== PTE_TABLE) return -1;
    e = pfn[e] * TABLE_ENTRIES + (high & 511);
    if ((kind[e] & PTE_KIND) !== PTE_TABLE) return -1;
    e = pfn[e] * TABLE_ENTRIES + (low >>> 9);
    if ((kind[e] & PTE_KIND) !== PTE_TABLE) return -1;
    return pfn[e] * TABLE_ENTRIES;
  }

  /** Whether the 1 GiB around a page has a table. */
  populated(root: number, vpn: number): boolean {
    const high = Math.floor(vpn / SPAN[2]), e = root * TABLE_ENTRIES + (high >>> 9);
    if ((this.kind[e] & PTE_KIND) !== PTE_TABLE) return false;
    return (this.kind[this.pfn[e] * TABLE_ENTRIES + (high & 511)] & PTE_KIND) === PTE_TABLE;
  }

  /**
   * Finds or makes the leaf table of a page.
   *
   * @returns as {@link leaf}; -1 when no table is left
   */
  leafAlloc(root: number, vpn: number): number {
    const leaf = this.leaf(root, vpn);
    if (leaf >= 0) return leaf;
    let t = root;
    for (let level = 3; level > 0; level--) {
      const e = t * TABLE_ENTRIES + (Math.floor(vpn / SPAN[level]) & 511);
      if ((this.kind[e] & PTE_KIND) !== PTE_TABLE) {
        if (this.kind[e] !== PTE_NONE) {
          throw new Error(`a leaf table is made where page ${vpn} is mapped huge`);
        }
        const next = this.failing?.() ? -1 : this.newTable();
        if (next < 0) return -1;
        this.set(e, PTE_TABLE, next);
      }
      t = this.pfn[e];
    }
    return t * TABLE_ENTRIES;
  }

  /** The entry of the huge page that maps `vpn` (its frame is the first of 512; frame 0 the huge zero page), or -1. */
  huge(root: number, vpn: number): number {
    const e = this.upper(root, vpn);
    return e >= 0 && (this.kind[e] & PTE_KIND) === PTE_PRESENT ? e : -1;
  }

  /** The entry under which the leaf table of a page hangs, or -1 if the table of that entry is missing: pmd_offset(). */
  upper(root: number, vpn: number): number {
    const { kind, pfn } = this, high = Math.floor(vpn / SPAN[2]), low = vpn - high * SPAN[2];
    let e = root * TABLE_ENTRIES + (high >>> 9);
    if ((kind[e] & PTE_KIND) !== PTE_TABLE) return -1;
    e = pfn[e] * TABLE_ENTRIES + (high & 511);
    if ((kind[e] & PTE_KIND) !== PTE_TABLE) return -1;
    return pfn[e] * TABLE_ENTRIES + (low >>> 9);
  }

  /** Puts an empty leaf table where a huge page was. Returns its first entry, or -1 when no table is left. */
  replaceHuge(e: number): number {
    const t = this.newTable();
    if (t < 0) return -1;
    this.kind[e] = PTE_TABLE;
    this.pfn[e] = t;
    return t * TABLE_ENTRIES;
  }

  /** Puts the entry of a huge page where a leaf table hangs, whose entries go with it. */
  replaceTable(e: number, kind: number, pfn: number): void {
    const t = this.pfn[e];
    for (let i = t * TABLE_ENTRIES; i < (t + 1) * TABLE_ENTRIES; i++) this.clear(i);
    this.freeTable(t);
    this.set(e, kind, pfn);
  }

  /** Makes the tables above the leaf table of a page, as every fault does before it looks. False when none is left. */
  upperAlloc(root: number, vpn: number): boolean {
    let t = root;
    for (let level = 3; level > 1; level--) {
      const e = t * TABLE_ENTRIES + (Math.floor(vpn / SPAN[level]) & 511);
      if ((this.kind[e] & PTE_KIND) !== PTE_TABLE) {
        const next = this.failing?.() ? -1 : this.newTable();
        if (next < 0) return false;
        this.set(e, PTE_TABLE, next);
      }
      t = this.pfn[e];
    }
    return true;
  }

  /** The entry of a page, or -1 if no table is there. */
  entry(root: number, vpn: number): number {
    const leaf = this.leaf(root, vpn);
    return leaf < 0 ? -1 : leaf + (vpn & 511);
  }

  /** Writes an entry. */
  set(e: number, kind: number, pfn: number): void {
    const was = this.kind[e];
    if (was === PTE_NONE) {
      if (kind !== PTE_NONE) this.live[e >>> 9]++;
    } else if (kind === PTE_NONE) this.live[e >>> 9]--;
    this.kind[e] = kind;
    this.pfn[e] = pfn;
  }

  /** Makes an entry empty. */
  clear(e: number): void {
    this.set(e, PTE_NONE, 0);
  }

  /**
   * The first page at or after `vpn` that has a leaf table with something in it, or lies in a huge page.
   *
   * @param root tree
   * @param vpn where to begin
   * @param end where to stop
   * @returns `vpn` itself, or the first page of a later table, or `end`
   */
  nextLive(root: number, vpn: number, end: number): number {
    let v = vpn;
    while (v < end) {
      let t = root, level = 3;
      while (level > 0) {
        const e = t * TABLE_ENTRIES + (Math.floor(v / SPAN[level]) & 511);
        if (level === 1 && (this.kind[e] & PTE_KIND) === PTE_PRESENT) return v;
        if ((this.kind[e] & PTE_KIND) !== PTE_TABLE || this.live[this.pfn[e]] === 0) break;
        t = this.pfn[e];
        level--;
      }
      if (level === 0) return v;
      v = (Math.floor(v / SPAN[level]) + 1) * SPAN[level];
    }
    return end;
  }

  /**
   * Frees the empty tables that cover nothing outside `floor`..`ceiling`: free_pgtables().
   *
   * @param root tree
   * @param start first page that was unmapped
   * @param end page past the last
   * @param floor no page at or above it, up to `start`, is mapped by anything else
   * @param ceiling no page from `end` to it is mapped by anything else
   * @returns how many tables were freed
   */
  freeRange(root: number, start: number, end: number, floor: number, ceiling: number): number {
    const descend = (t: number, level: number, base: number): number => {
      const span = SPAN[level];
      let freed = 0;
      const from = Math.max(0, Math.floor((start - base) / span));
      const to = Math.min(TABLE_ENTRIES, Math.ceil((end - base) / span));
      for (let i = from; i < to; i++) {
        const e = t * TABLE_ENTRIES + i, at = base + i * span;
        if ((this.kind[e] & PTE_KIND) !== PTE_TABLE) continue;
        const child = this.pfn[e];
        if (level > 1) freed += descend(child, level - 1, at);
        if (at >= floor && at + span <= ceiling && this.live[child] === 0) {
          this.clear(e);
          this.freeTable(child);
          freed++;
        }
      }
      return freed;
    };
    return descend(root, 3, 0);
  }
}
