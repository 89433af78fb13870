/**
 * Virtual memory areas: rows of typed columns and one order by address space and address.
 * @module
 */
import type { Sim } from "../sim/sim.ts";
import { AnonVmas, type Mapping } from "./anon_vma.ts";

/** Reading is allowed. */
export const VM_READ = 1;
/** Writing is allowed. */
export const VM_WRITE = 2;
/** Changes are seen by everybody who maps the same: MAP_SHARED. */
export const VM_SHARED = 8;
/** Pages are brought in and kept: mlock(). */
export const VM_LOCKED = 0x2000;
/** The pages are of the hugetlb pool. */
export const VM_HUGETLB = 0x0040_0000;
/** A driver has put pages of its own into the area: vm_insert_page(). */
export const VM_MIXEDMAP = 0x1000_0000;
/** Pages will be used in order: MADV_SEQUENTIAL. */
export const VM_SEQ_READ = 0x8000;
/** Pages will be used in no order: MADV_RANDOM. */
export const VM_RAND_READ = 0x1_0000;
/** A fork leaves the area out: MADV_DONTFORK. */
export const VM_DONTCOPY = 0x20000;
/** A child finds the area empty: MADV_WIPEONFORK. */
export const VM_WIPEONFORK = 0x0200_0000;
/** Huge pages are wanted: MADV_HUGEPAGE. */
export const VM_HUGEPAGE = 0x2000_0000;
/** Huge pages are not wanted: MADV_NOHUGEPAGE. */
export const VM_NOHUGEPAGE = 0x4000_0000;
/** The flags that only say what may be accessed; neighbours that differ in them alone may share an anon_vma. */
export const VM_ACCESS_FLAGS = 3;

/** What a row in use is: a vma of its address space, or one that only the reverse maps lead to. */
const ATTACHED = 1, DETACHED = 2;
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
  /** anon_vma in which new pages are made; 0 until the first one. */
  readonly anonVma: Uint32Array;
  /** File or shared memory that is mapped; 0 for anonymous private memory. */
  readonly inode: Uint16Array;
  /** Order of entry into the reverse map of its file; a vma that is resized is entered anew. */
  private readonly fileEntry: Uint32Array;
  /** Memory policy, as mempolicy() of numa.ts packs it; 0 for the process's. */
  readonly policy: Uint16Array;
  /** Faults that hold the per-vma lock across a stop. */
  readonly faulting: Uint16Array;
  /** Equal to the address space's lock sequence when write-locked: vma_start_write(). */
  readonly lockSeq: Uint32Array;
  private readonly capacity: number;
  private readonly order: Uint32Array;
  private readonly inUse: Uint8Array;
  /** [0] number of vmas, [1] rows ever used, [2] entries into reverse maps of files so far, [3] detached vmas */
  private readonly count: Uint32Array;
  /** Who may have a page of anonymous memory. */
  readonly anon: AnonVmas;

  /**
   * Makes the vmas of a machine, none in use.
   *
   * @param sim the machine's contract
   * @param capacity most vmas at once
   */
  constructor(sim: Sim, capacity: number) {
    this.capacity = capacity;
    const { state } = sim, rows = () => this.count[1];
    this.count = state.u32("vma.count", 4);
    this.start = state.f64("vma.start", capacity, rows);
    this.end = state.f64("vma.end", capacity, rows);
    this.flags = state.u32("vma.flags", capacity, rows);
    this.mm = state.u16("vma.mm", capacity, rows);
    this.pgoff = state.f64("vma.pgoff", capacity, rows);
    this.anonVma = state.u32("vma.anonVma", capacity, rows);
    this.inode = state.u16("vma.inode", capacity, rows);
    this.fileEntry = state.u32("vma.fileEntry", capacity, rows);
    this.policy = state.u16("vma.policy", capacity, rows);
    this.faulting = state.u16("vma.faulting", capacity, rows);
    this.lockSeq = state.u32("vma.lockSeq", capacity, rows);
    this.inUse = state.u8("vma.inUse", capacity, rows);
    this.order = state.u32("vma.order", capacity, () => this.count[0]);
    this.anon = new AnonVmas(sim, this, capacity);
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
  insert(mm: number, start: number, end: number, flags: number, pgoff: number): number {
    const { count, inUse } = this;
    if (count[0] + count[3] === this.capacity) return NO_ROW;
    let v = 0;
    while (v < count[1] && inUse[v]) v++;
    if (v === count[1]) count[1]++;
    inUse[v] = ATTACHED;
    this.start[v] = start;
    this.end[v] = end;
    this.flags[v] = flags;
    this.mm[v] = mm;
    this.pgoff[v] = pgoff;
    this.anonVma[v] =
      this.lockSeq[v] =
      this.faulting[v] =
      this.policy[v] =
        0;
    const at = this.position(mm, start);
    this.order.copyWithin(at + 1, at, count[0]);
    this.order[at] = v;
    count[0]++;
    return v;
  }

  /** Whether a vma maps a file or shared memory. */
  isFile(v: number): boolean {
    return this.inode[v] !== 0;
  }

  /**
   * Lets a vma map an inode (0 for anonymous memory) and enters it into the inode's reverse map.
   *
   * @param parent the vma that a fork copied, after which the copy is entered (vma_interval_tree_insert_after); else -1
   */
  back(v: number, inode: number, parent = -1): void {
    const { fileEntry, count } = this;
    this.inode[v] = inode;
    if (inode === 0) return;
    if (parent < 0) fileEntry[v] = ++count[2];
    else {
      count[2]++;
      for (let i = 0; i < count[0]; i++) {
        const w = this.order[i];
        if (this.inode[w] !== 0 && fileEntry[w] > fileEntry[parent]) fileEntry[w]++;
      }
      fileEntry[v] = fileEntry[parent] + 1;
    }
    this.onMap(inode);
  }

  /** Told of each vma that begins to map an inode, and of each that ends; the inode counts its users. */
  onMap: (inode: number) => void = () => {};
  /** See {@link onMap}. */
  onUnmap: (inode: number) => void = () => {};

  /** Enters a vma anew into the reverse maps that it is in, after its range has changed. */
  private reenter(v: number): void {
    this.anon.reenter(v);
    if (this.inode[v] !== 0) this.fileEntry[v] = ++this.count[2];
  }

  /** The vmas that map part of a file's range, in the order of a walk of its reverse map. */
  mappingFile(inode: number, start: number, end: number): number[] {
    const { pgoff, fileEntry } = this, found: number[] = [];
    for (let i = 0; i < this.count[0]; i++) {
      const v = this.order[i], last = pgoff[v] + (this.end[v] - this.start[v]);
      if (this.inode[v] === inode && pgoff[v] < end && last > start) found.push(v);
    }
    for (let v = 0, left = this.count[3]; left > 0; v++) {
      if (this.inUse[v] !== DETACHED) continue;
      left--;
      const last = pgoff[v] + (this.end[v] - this.start[v]);
      if (this.inode[v] === inode && pgoff[v] < end && last > start) found.push(v);
    }
    return found.sort((a, b) => pgoff[a] - pgoff[b] || fileEntry[a] - fileEntry[b]);
  }

  /**
   * Takes a vma out of its address space: vma_mark_detached(). The reverse maps still lead to it, for its pages are still
   * mapped there; {@link dropDetached} ends it.
   */
  detach(v: number): void {
    const at = this.position(this.mm[v], this.start[v]);
    if (this.order[at] !== v) throw new Error(`vma ${v} is not where it is ordered`);
    if (this.faulting[v] !== 0) throw new Error(`vma ${v} goes while ${this.faulting[v]} faults are inside`);
    this.order.copyWithin(at, at + 1, this.count[0]);
    this.count[0]--;
    this.inUse[v] = DETACHED;
    this.count[3]++;
  }

  /** Ends the detached vmas of a range of an address space, whose pages are gone: unlink_anon_vmas(), remove_vma(). */
  dropDetached(mm: number, start: number, end: number): void {
    for (let v = 0, left = this.count[3]; left > 0; v++) {
      if (this.inUse[v] !== DETACHED) continue;
      left--;
      if (this.mm[v] === mm && this.start[v] >= start && this.end[v] <= end) this.drop(v);
    }
  }

  /** Removes a vma whose pages are gone. */
  remove(v: number): void {
    this.detach(v);
    this.drop(v);
  }

  /** Ends a detached vma and gives its row back. */
  private drop(v: number): void {
    this.count[3]--;
    this.anon.unlink(v);
    if (this.inode[v] !== 0) this.onUnmap(this.inode[v]);
    this.inode[v] = this.fileEntry[v] = 0;
    for (
      const column of [
        this.start,
        this.end,
        this.flags,
        this.mm,
        this.pgoff,
        this.anonVma,
        this.lockSeq,
        this.policy,
      ]
    ) column[v] = 0;
    this.inUse[v] = 0;
  }

  /**
   * Cuts a vma in two at `vpn`, strictly inside it: split_vma().
   *
   * @returns the upper half's row, or -1 when there is no room for another vma or what it is linked to
   */
  split(v: number, vpn: number): number {
    const { start, end, pgoff, flags, anonVma } = this, wasEnd = end[v];
    if (anonVma[v] !== 0 && !this.anon.hasRoom(v)) return -1;
    end[v] = vpn;
    const upper = this.insert(this.mm[v], vpn, wasEnd, flags[v], pgoff[v] + (vpn - start[v]));
    if (upper < 0) {
      end[v] = wasEnd;
      return upper;
    }
    this.lockSeq[upper] = this.lockSeq[v];
    this.policy[upper] = this.policy[v];
    this.back(upper, this.inode[v]);
    if (anonVma[v] !== 0) this.anon.clone(upper, v, false);
    this.reenter(v);
    return upper;
  }

  /** Whether `w` follows `v` without a gap in addresses and in what they map, with the same policy and flags but for `except`. */
  private adjoin(v: number, w: number, except: number): boolean {
    const { start, end, pgoff, flags, mm, inode } = this;
    if (v < 0 || w < 0 || mm[v] !== mm[w] || start[w] !== end[v] || inode[v] !== inode[w]) return false;
    if (this.policy[v] !== this.policy[w]) return false;
    return ((flags[v] ^ flags[w]) & ~except) === 0 && pgoff[w] === pgoff[v] + (end[v] - start[v]);
  }

  /** Whether anon_vmas let a vma join a neighbour; one that a fork has linked to others joins only its like. */
  private anonJoins(anon: number, neighbour: number): boolean {
    const other = this.anonVma[neighbour];
    return ((anon === 0 || other === 0) && this.anon.singular(neighbour)) || anon === other;
  }

  /** Swallows the next vma of `v`. */
  private absorbNext(v: number): void {
    const w = this.next(v), end = this.end[w];
    if (this.anonVma[v] === 0 && this.anonVma[w] !== 0) this.anon.clone(v, w, false);
    this.remove(w);
    this.end[v] = end;
    this.reenter(v);
  }

  /**
   * Joins a vma with its neighbours if they are of the same kind: vma_merge(). With both sides possible but not
   * together, the lower one wins.
   *
   * @returns the row that now covers the vma
   */
  merge(v: number): number {
    const { start, mm, anonVma } = this;
    const before = start[v] > 0 ? this.lookup(mm[v], start[v] - 1) : NO_ROW, after = this.next(v);
    const left = before >= 0 && this.adjoin(before, v, 0) && this.anonJoins(anonVma[v], before);
    let right = after >= 0 && this.adjoin(v, after, 0) && this.anonJoins(anonVma[v], after);
    if (left && right) {
      const a = anonVma[before], b = anonVma[after];
      right = a === 0 || b === 0 || a === b;
    }
    if (right) this.absorbNext(v);
    if (!left) return v;
    this.absorbNext(before);
    return before;
  }

  /** Gives a vma its anon_vma if it has none, a neighbour's when they might be merged one day: anon_vma_prepare(). */
  prepareAnon(v: number): void {
    if (this.anonVma[v] !== 0) return;
    const after = this.next(v),
      before = this.start[v] > 0 ? this.lookup(this.mm[v], this.start[v] - 1) : NO_ROW;
    let share = 0;
    if (this.adjoin(v, after, VM_ACCESS_FLAGS) && this.anon.singular(after)) share = this.anonVma[after];
    if (share === 0 && this.adjoin(before, v, VM_ACCESS_FLAGS) && this.anon.singular(before)) {
      share = this.anonVma[before];
    }
    this.anon.prepare(v, share);
  }

  /** The places where a page may be mapped, in the order of a walk of the reverse map. */
  mapping(anonVma: number, index: number): Mapping[] {
    return this.anon.places(anonVma, index);
  }
}
