/**
 * Virtual memory areas: rows of typed columns and one order by address space and address.
 * @module
 */
import type { Sim } from "../sim/sim.ts";

/** Reading is allowed. */
export const VM_READ = 1;
/** Writing is allowed. */
export const VM_WRITE = 2;

const NO_ROW = -1;

/** All vmas of all address spaces of a machine. */
export class Vmas {
  /** First page. */
  readonly start: Float64Array;
  /** Page past the last. */
  readonly end: Float64Array;
  /** VM_ flags. */
  readonly flags: Uint32Array;
  /** Address space. */
  readonly mm: Uint16Array;
  /** Page offset of the first page in what is mapped; for anonymous memory the page number at its creation. */
  readonly pgoff: Float64Array;
  /** anon_vma + 1; 0 until the first anonymous page. */
  readonly anonVma: Uint32Array;
  /** Faults that hold the per-vma lock across a stop. */
  readonly faulting: Uint16Array;
  /** Equal to the address space's lock sequence when write-locked: vma_start_write(). */
  readonly lockSeq: Uint32Array;
  /** Changes whenever a vma does; lets a reader keep what it found while nothing stops it. */
  generation = 0;

  private readonly capacity: number;
  private readonly order: Uint32Array;
  private readonly inUse: Uint8Array;
  /** [0] number of vmas, [1] rows ever used, [2] number of anon_vmas ever made */
  private readonly count: Uint32Array;
  /** Vmas of each anon_vma. */
  readonly anonVmaUsers: Uint32Array;

  /**
   * @param sim the machine's contract
   * @param capacity most vmas at once
   */
  constructor(sim: Sim, capacity: number) {
    this.capacity = capacity;
    const { state } = sim, rows = () => this.count[1];
    this.count = state.u32("vma.count", 3);
    this.start = state.f64("vma.start", capacity, rows);
    this.end = state.f64("vma.end", capacity, rows);
    this.flags = state.u32("vma.flags", capacity, rows);
    this.mm = state.u16("vma.mm", capacity, rows);
    this.pgoff = state.f64("vma.pgoff", capacity, rows);
    this.anonVma = state.u32("vma.anonVma", capacity, rows);
    this.faulting = state.u16("vma.faulting", capacity, rows);
    this.lockSeq = state.u32("vma.lockSeq", capacity, rows);
    this.inUse = state.u8("vma.inUse", capacity, rows);
    this.order = state.u32("vma.order", capacity, () => this.count[0]);
    this.anonVmaUsers = state.u32("anonVma.users", capacity + 1, () => this.count[2] + 1);
  }

  /** Number of vmas of all address spaces. */
  get length(): number {
    return this.count[0];
  }

  /** Position in the order of the first vma of `mm` that ends past `vpn`, or of what comes after it. */
  private position(mm: number, vpn: number): number {
    let low = 0, high = this.count[0];
    while (low < high) {
      const mid = (low + high) >>> 1, v = this.order[mid];
      if (this.mm[v] < mm || (this.mm[v] === mm && this.end[v] <= vpn)) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** The first vma of `mm` that ends past `vpn` (find_vma()), or -1. It may begin past it too. */
  find(mm: number, vpn: number): number {
    const at = this.position(mm, vpn);
    if (at === this.count[0]) return NO_ROW;
    const v = this.order[at];
    return this.mm[v] === mm ? v : NO_ROW;
  }

  /** The vma of `mm` that contains `vpn` (vma_lookup()), or -1. */
  lookup(mm: number, vpn: number): number {
    const v = this.find(mm, vpn);
    return v >= 0 && this.start[v] <= vpn ? v : NO_ROW;
  }

  /** The next vma of the same address space, or -1. */
  next(v: number): number {
    return this.find(this.mm[v], this.end[v]);
  }

  /** End of the last page before `vpn` that a vma of `mm` maps, or 0. */
  endBefore(mm: number, vpn: number): number {
    const at = this.position(mm, vpn) - 1;
    return at >= 0 && this.mm[this.order[at]] === mm ? this.end[this.order[at]] : 0;
  }

  /** Makes a vma where none is. Returns its row, or -1 when there is no room for another. */
  insert(mm: number, start: number, end: number, flags: number, pgoff: number, anonVma: number): number {
    const { count, inUse } = this;
    if (count[0] === this.capacity) return NO_ROW;
    let v = 0;
    while (v < count[1] && inUse[v]) v++;
    if (v === count[1]) count[1]++;
    inUse[v] = 1;
    this.start[v] = start;
    this.end[v] = end;
    this.flags[v] = flags;
    this.mm[v] = mm;
    this.pgoff[v] = pgoff;
    this.anonVma[v] = anonVma;
    this.lockSeq[v] = this.faulting[v] = 0;
    if (anonVma > 0) this.anonVmaUsers[anonVma]++;
    const at = this.position(mm, start);
    this.order.copyWithin(at + 1, at, count[0]);
    this.order[at] = v;
    count[0]++;
    this.generation++;
    return v;
  }

  /** Removes a vma. */
  remove(v: number): void {
    const at = this.position(this.mm[v], this.start[v]);
    if (this.order[at] !== v) throw new Error(`vma ${v} is not where it is ordered`);
    this.order.copyWithin(at, at + 1, this.count[0]);
    this.count[0]--;
    if (this.anonVma[v] > 0) this.anonVmaUsers[this.anonVma[v]]--;
    for (
      const column of [this.start, this.end, this.flags, this.mm, this.pgoff, this.anonVma, this.lockSeq]
    ) column[v] = 0;
    this.inUse[v] = 0;
    this.generation++;
  }

  /**
   * Cuts a vma in two at `vpn`, strictly inside it: split_vma().
   *
   * @returns the upper half's row, or -1 when there is no room for another vma
   */
  split(v: number, vpn: number): number {
    const { start, end, pgoff } = this, wasEnd = end[v];
    end[v] = vpn;
    const upper = this.insert(
      this.mm[v],
      vpn,
      wasEnd,
      this.flags[v],
      pgoff[v] + (vpn - start[v]),
      this.anonVma[v],
    );
    if (upper < 0) end[v] = wasEnd;
    else this.lockSeq[upper] = this.lockSeq[v];
    return upper;
  }

  /**
   * Joins a vma with the next one if they are neighbours of the same kind: vma_merge().
   *
   * @returns whether they were joined; the row of `v` stays
   */
  mergeNext(v: number): boolean {
    const { start, end, pgoff, flags, anonVma } = this, w = this.next(v);
    if (w < 0 || start[w] !== end[v] || flags[w] !== flags[v]) return false;
    if (pgoff[w] !== pgoff[v] + (end[v] - start[v])) return false;
    // One of them may have no anonymous page yet; it then joins the other's anon_vma.
    if (anonVma[v] !== anonVma[w] && anonVma[v] !== 0 && anonVma[w] !== 0) return false;
    const anon = anonVma[v] || anonVma[w], wEnd = end[w];
    this.remove(w);
    if (anonVma[v] === 0 && anon !== 0) this.anonVmaUsers[anon]++;
    end[v] = wEnd;
    anonVma[v] = anon;
    this.generation++;
    return true;
  }

  /** Gives a vma its anon_vma if it has none, a neighbour's when they could be merged: anon_vma_prepare(). */
  prepareAnon(v: number): void {
    if (this.anonVma[v] !== 0) return;
    const { anonVmaUsers } = this;
    let anon = 1;
    while (anonVmaUsers[anon] !== 0) anon++;
    if (anon > this.count[2]) this.count[2] = anon;
    this.anonVma[v] = anon;
    anonVmaUsers[anon]++;
    this.generation++;
  }

  /**
   * The vmas that can map an anonymous page: the reverse map.
   *
   * @param anonVma the page's anon_vma
   * @param index the page's place in it
   * @yields row of a vma and the virtual page at which it would map the page
   */
  *mapping(anonVma: number, index: number): Generator<{ vma: number; vpn: number }> {
    for (let i = 0; i < this.count[0]; i++) {
      const vma = this.order[i];
      if (this.anonVma[vma] !== anonVma) continue;
      const vpn = this.start[vma] + (index - this.pgoff[vma]);
      if (vpn >= this.start[vma] && vpn < this.end[vma]) yield { vma, vpn };
    }
  }
}
