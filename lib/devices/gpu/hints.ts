/**
 * What a program told the driver about ranges of its memory: where they should be, who else will use them.
 *
 * The counterparts of cudaMemAdvise() and NVIDIA's UvmSetPreferredLocation(), UvmSetAccessedBy(). UvmEnableReadDuplication() is
 * refused: HMM keeps one physical page for each virtual address, and a page that is on a device is nowhere else.
 * @module
 */
import { ENOMEM } from "../../mm/errno.ts";
import type { Sim } from "../../sim/sim.ts";
import { set } from "./bitmap.ts";
import { BLOCK_PAGES } from "./policy.ts";

/** Hints that one GPU remembers at once. */
const MOST_HINTS = 256;

/** Nothing is said any more of where a range should be. */
export const PREFER_NONE = 0;
/** A range should stay in system memory; the GPU reaches it over the link. */
export const PREFER_SYSTEM = 1;
/** A range should be on this GPU. */
export const PREFER_DEVICE = 2;
/** This GPU maps a range wherever it is, before it touches it. */
export const ACCESSED_BY = 3;
/** This GPU maps a range only when it touches it. */
export const NOT_ACCESSED_BY = 4;

/** The hints of one GPU, the latest last. */
export class Hints {
  private readonly mm: Uint16Array;
  private readonly start: Float64Array;
  private readonly end: Float64Array;
  private readonly what: Uint8Array;
  private readonly n: Uint32Array;

  /**
   * Makes room for hints.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   */
  constructor(sim: Sim, name: string) {
    const { state } = sim, rows = () => this.n[0];
    this.n = state.u32(`gpu.${name}.hints`, 1);
    this.mm = state.u16(`gpu.${name}.hintMm`, MOST_HINTS, rows);
    this.start = state.f64(`gpu.${name}.hintStart`, MOST_HINTS, rows);
    this.end = state.f64(`gpu.${name}.hintEnd`, MOST_HINTS, rows);
    this.what = state.u8(`gpu.${name}.hintWhat`, MOST_HINTS, rows);
  }

  /** Whether anything was ever said. */
  get any(): boolean {
    return this.n[0] > 0;
  }

  /**
   * Remembers a hint; it holds until another of its sort covers it.
   *
   * @param mm address space
   * @param start first page
   * @param end page past the last
   * @param what PREFER_ or ACCESSED_BY
   * @returns 0, or -ENOMEM when there is no room for another
   */
  add(mm: number, start: number, end: number, what: number): number {
    const { n } = this, place = what <= PREFER_DEVICE;
    let kept = 0;
    // What the new one covers wholly counts no more.
    for (let i = 0; i < n[0]; i++) {
      const same = this.mm[i] === mm && this.what[i] <= PREFER_DEVICE === place;
      if (same && this.start[i] >= start && this.end[i] <= end) continue;
      this.mm[kept] = this.mm[i];
      this.start[kept] = this.start[i];
      this.end[kept] = this.end[i];
      this.what[kept++] = this.what[i];
    }
    n[0] = kept;
    if (kept === MOST_HINTS) return -ENOMEM;
    this.mm[kept] = mm;
    this.start[kept] = start;
    this.end[kept] = end;
    this.what[kept] = what;
    n[0]++;
    return 0;
  }

  /**
   * Sets the bits of a block's pages of which the last word was `what`, or clears them where it was another of its sort.
   *
   * @param mm address space
   * @param first the block's first page
   * @param what PREFER_SYSTEM, PREFER_DEVICE or ACCESSED_BY
   * @param map takes the bits
   */
  mark(mm: number, first: number, what: number, map: Uint32Array): void {
    const place = what <= PREFER_DEVICE;
    map.fill(0);
    for (let h = 0; h < this.n[0]; h++) {
      if (this.mm[h] !== mm || this.what[h] <= PREFER_DEVICE !== place) continue;
      const from = Math.max(0, this.start[h] - first), to = Math.min(BLOCK_PAGES, this.end[h] - first);
      for (let i = from; i < to; i++) {
        if (this.what[h] === what) set(map, i);
        else map[i >>> 5] &= ~(1 << (i & 31));
      }
    }
  }
}
