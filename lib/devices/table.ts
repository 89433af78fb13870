/**
 * The page table of a device and the translations that its TLB holds.
 *
 * Hardware reads both without any lock: a store goes where the TLB says, until the driver flushes it.
 * @module
 */
import { HMM_PFN_MASK, HMM_PFN_VALID, HMM_PFN_WRITE } from "../hmm/range.ts";
import type { Kernel } from "../mm/kernel.ts";
import { PTE_KIND, PTE_NONE, PTE_PRESENT, PTE_WRITE, VPN_END } from "../mm/pagetable.ts";

/** Translations that a device's TLB keeps. */
const TLB_ENTRIES = 4;
/** One word of a TLB: 0 for none, else frame, a bit for writing, and one to tell frame 0 from nothing. */
const TLB_VALID = 1, TLB_WRITE = 2, TLB_SHIFT = 2;

/** In an entry of a device's table: the device has the page for itself, for atomic operations. */
const ENTRY_ATOMIC = 0x10;

/** Places of the flags in an entry of a range. */
const VALID_BIT = 31 - Math.clz32(HMM_PFN_VALID), WRITE_BIT = 31 - Math.clz32(HMM_PFN_WRITE);

/** One device's table of one address space. */
export class DeviceTable {
  /** Root in the kernel's pool of device tables. */
  readonly root: number;
  private readonly k: Kernel;
  private readonly tlbVpn: Float64Array;
  private readonly tlbEntry: Float64Array;
  /** [0] stores into pages that were free at that time */
  private readonly stale: Uint32Array;

  /**
   * Makes an empty table.
   *
   * @param k the machine
   */
  constructor(k: Kernel) {
    this.k = k;
    this.root = k.deviceTables.newRoot();
    const name = k.sim.state.unique("device tlb");
    this.tlbVpn = k.sim.state.f64(`${name}.vpn`, TLB_ENTRIES);
    this.tlbEntry = k.sim.state.f64(`${name}.entry`, TLB_ENTRIES);
    this.stale = k.sim.state.u32(`${name}.stale`, 1);
  }

  /**
   * Enters what hmm_range_fault() found.
   *
   * @param start first page
   * @param pfns HMM_PFN_ entries of the pages from `start` on
   * @param n how many
   * @returns how many entries were made or changed; -1 when no table is left
   */
  map(start: number, pfns: Uint32Array, n: number): number {
    const { deviceTables } = this.k, { kind, pfn } = deviceTables;
    // Local integers, as in hmm_range_fault()'s loop.
    const valid = VALID_BIT,
      writable = WRITE_BIT,
      write = PTE_WRITE,
      present = PTE_PRESENT,
      mask = HMM_PFN_MASK | 0;
    let made = 0;
    for (let i = 0; i < n;) {
      const v = start + i, slot = v & 511, end = Math.min(n, i + 512 - slot);
      let leaf = deviceTables.leaf(this.root, v);
      if (leaf < 0) {
        while (i < end && (pfns[i] & HMM_PFN_VALID) === 0) i++;
        if (i === end) continue;
        leaf = deviceTables.leafAlloc(this.root, v);
        if (leaf < 0) return -1;
      }
      for (let e = leaf + ((start + i) & 511); i < end; i++, e++) {
        const found = pfns[i], here = -((found >>> valid) & 1), frame = found & mask;
        const flags = present | (-((found >>> writable) & 1) & write);
        // Most of a block that is serviced again stands there already, and is not written.
        if ((((kind[e] ^ flags) | (pfn[e] ^ frame)) & here) === 0) continue;
        deviceTables.set(e, flags, frame);
        made++;
      }
    }
    this.k.watch?.deviceMapped(this.root, start, n);
    return made;
  }

  /** Enters one page, `atomic` if the device has it for itself. Returns false when no table is left. */
  set(vpn: number, pfn: number, write: boolean, atomic = false): boolean {
    const { deviceTables } = this.k, leaf = deviceTables.leafAlloc(this.root, vpn);
    const flags = (write ? PTE_WRITE : 0) | (atomic ? ENTRY_ATOMIC : 0);
    if (leaf >= 0) deviceTables.set(leaf + (vpn & 511), PTE_PRESENT | flags, pfn);
    this.k.watch?.deviceMapped(this.root, vpn, 1);
    return leaf >= 0;
  }

  /** Whether the device has a page for itself. */
  isAtomic(vpn: number): boolean {
    const { deviceTables } = this.k, e = deviceTables.entry(this.root, vpn);
    return e >= 0 && (deviceTables.kind[e] & ENTRY_ATOMIC) !== 0;
  }

  /** Empties the whole table and frees what it took but for its root. */
  reset(): void {
    this.zap(0, VPN_END);
    this.flush(0, VPN_END);
    this.k.deviceTables.freeRange(this.root, 0, VPN_END, 0, VPN_END);
  }

  /**
   * Empties a range of the table and frees the tables that are empty then; the TLB still holds what it held.
   *
   * @returns how many entries were there
   */
  zap(start: number, end: number): number {
    const { deviceTables } = this.k;
    let gone = 0, emptied = false;
    for (
      let v = deviceTables.nextLive(this.root, start, end);
      v < end;
      v = deviceTables.nextLive(this.root, v, end)
    ) {
      const leaf = deviceTables.leaf(this.root, v), stop = Math.min(end, v - (v & 511) + 512);
      for (; v < stop; v++) {
        const e = leaf + (v & 511);
        if (deviceTables.kind[e] === PTE_NONE) continue;
        deviceTables.clear(e);
        gone++;
      }
      if (deviceTables.live[leaf >>> 9] === 0) emptied = true;
    }
    if (emptied) deviceTables.freeRange(this.root, start, end, 0, VPN_END);
    return gone;
  }

  /** Drops a range from the TLB. Returns how many translations were in it. */
  flush(start: number, end: number): number {
    let gone = 0;
    for (let i = 0; i < TLB_ENTRIES; i++) {
      const vpn = this.tlbVpn[i];
      if (this.tlbEntry[i] === 0 || vpn < start || vpn >= end) continue;
      this.tlbVpn[i] = this.tlbEntry[i] = 0;
      gone++;
    }
    return gone;
  }

  /** The frame that the table has for a page; -1 for none, -2 when it must not write there. */
  translate(vpn: number, write: boolean): number {
    const { deviceTables } = this.k, e = deviceTables.entry(this.root, vpn);
    if (e < 0 || (deviceTables.kind[e] & PTE_KIND) !== PTE_PRESENT) return -1;
    return write && !(deviceTables.kind[e] & PTE_WRITE) ? -2 : deviceTables.pfn[e];
  }

  /** As {@link translate}, but as the hardware does it: through the TLB, which keeps what it finds. */
  walk(vpn: number, write: boolean): number {
    const i = vpn % TLB_ENTRIES, cached = this.tlbVpn[i] === vpn ? this.tlbEntry[i] : 0;
    if (cached !== 0 && (!write || cached % 4 >= TLB_WRITE)) return Math.floor(cached / 2 ** TLB_SHIFT);
    const pfn = this.translate(vpn, write);
    if (pfn < 0) return pfn;
    this.tlbVpn[i] = vpn;
    this.tlbEntry[i] = pfn * 2 ** TLB_SHIFT + TLB_VALID + (this.translate(vpn, true) >= 0 ? TLB_WRITE : 0);
    return pfn;
  }

  /** Stores a word through the TLB and the table, as hardware does. Returns false for a device fault. */
  store(vpn: number, value: number): boolean {
    const { pages } = this.k, pfn = this.walk(vpn, true);
    if (pfn < 0) return false;
    if (pages.isFree(pfn)) this.stale[0] = 1;
    pages.word[pfn * pages.wordsPerPage] = value;
    return true;
  }

  /**
   * Adds to a word with one atomic operation, as hardware does: only in memory of the device, or where it has the page for
   * itself. The entry is read anew each time.
   *
   * @param vpn the page
   * @param value what is added
   * @param start first frame of the device's memory
   * @param end frame past its last
   * @returns the frame, or -1 for a device fault
   */
  add(vpn: number, value: number, start: number, end: number): number {
    const { deviceTables, pages } = this.k, e = deviceTables.entry(this.root, vpn);
    if (e < 0) return -1;
    const flags = deviceTables.kind[e], pfn = deviceTables.pfn[e];
    if ((flags & PTE_KIND) !== PTE_PRESENT || !(flags & PTE_WRITE)) return -1;
    if (!(flags & ENTRY_ATOMIC) && (pfn < start || pfn >= end)) return -1;
    if (pages.isFree(pfn)) this.stale[0] = 1;
    pages.word[pfn * pages.wordsPerPage] += value;
    return pfn;
  }

  /** Whether a store of the hardware ever went into a free page: a use after free by the device. */
  get storedToFreed(): boolean {
    return this.stale[0] !== 0;
  }

  /** A range as the transcripts write it: `.` nothing, `r` readable, `w` writable, `x` the device's alone. */
  text(start: number, n: number): string {
    return Array.from({ length: n }, (_, i) => {
      if (this.translate(start + i, false) < 0) return ".";
      if (this.isAtomic(start + i)) return "x";
      return this.translate(start + i, true) < 0 ? "r" : "w";
    }).join("");
  }

  /**
   * Checks the table against the process's: every entry must name the page that the process's own entry names, and may
   * be written only where that one may.
   *
   * @param mm the mirrored address space
   * @param start first page
   * @param n how many
   * @returns the first page that is stale, or -1
   */
  stalePage(mm: number, start: number, n: number): number {
    const { k } = this;
    for (let v = start; v < start + n; v++) {
      const pfn = this.translate(v, false);
      if (pfn < 0) continue;
      const e = k.tables.entry(k.root[mm], v);
      if (e < 0 || k.tables.pfn[e] !== pfn || k.tables.kind[e] === PTE_NONE) return v;
      if (this.translate(v, true) >= 0 && !(k.tables.kind[e] & PTE_WRITE)) return v;
    }
    return -1;
  }
}
