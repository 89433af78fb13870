/**
 * Arrays of page frame entries that live across stops: the src and dst of a migration, the pfns of a range.
 *
 * They are state (what a migration has collected decides what it does), so they lie in the arena and are handed out
 * lowest first.
 * @module
 */
import type { Sim } from "../sim/sim.ts";

/** A pair of arrays in use. */
export interface Batch {
  /** Number of the batch; the lowest free one was taken. */
  readonly slot: number;
  /** First array: what is there. */
  readonly src: Uint32Array;
  /** Second array: where it goes. */
  readonly dst: Uint32Array;
}

/** All batches of a machine. */
export class Batches {
  /** Pages that a batch holds. */
  readonly pages: number;
  private readonly inUse: Uint8Array;
  private readonly all: Batch[] = [];

  /**
   * Makes batches, none in use.
   *
   * @param sim the machine's contract
   * @param count batches in use at once, at most
   * @param pages pages of each
   */
  constructor(sim: Sim, count: number, pages: number) {
    this.pages = pages;
    this.inUse = sim.state.u8("batch.inUse", count);
    const src = sim.state.u32("batch.src", count * pages), dst = sim.state.u32("batch.dst", count * pages);
    for (let slot = 0; slot < count; slot++) {
      const from = slot * pages, to = from + pages;
      this.all.push({ slot, src: src.subarray(from, to), dst: dst.subarray(from, to) });
    }
  }

  /** Takes the lowest free batch. */
  take(): Batch {
    let slot = 0;
    while (slot < this.all.length && this.inUse[slot]) slot++;
    if (slot === this.all.length) throw new Error(`all ${slot} batches are in use`);
    this.inUse[slot] = 1;
    return this.all[slot];
  }

  /** What is wrong when nobody migrates: batches that are in use, and such as were not emptied. */
  left(): string[] {
    const left: string[] = [];
    this.inUse.forEach((used, slot) => used && left.push(`batch: ${slot} is in use`));
    for (const { slot, src, dst } of this.all) {
      if (src.some((x) => x !== 0) || dst.some((x) => x !== 0)) left.push(`batch: ${slot} was not emptied`);
    }
    return left;
  }

  /** Gives a batch back and zeroes the `n` rows that were used. */
  give(b: Batch, n: number): void {
    this.inUse[b.slot] = 0;
    // A loop, since most batches of a CPU's fault are one row and a call of fill() costs more than that.
    for (let i = 0; i < n; i++) b.src[i] = b.dst[i] = 0;
  }
}
