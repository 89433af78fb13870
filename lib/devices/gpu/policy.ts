/**
 * What a GPU's memory policies are: which pages a batch of faults brings along (prefetch), and which memory is given up
 * when there is no more (eviction).
 *
 * Both see bitmaps and numbers only, never the kernel or a device, so the same object serves a simulated GPU and a
 * recorded trace. `prefetchPolicy` and `evictionPolicy` of policies.ts find one by its name.
 * @module
 */
import type { Arena } from "../../sim/arena.ts";

/** Pages of a VA block, the 2 MiB of address space that are serviced together. */
export const BLOCK_PAGES = 512;
/** Words of a block's bitmap: bit `i % 32` of word `i >>> 5` is page `i`. */
export const BLOCK_WORDS: number = BLOCK_PAGES / 32;

/** Draws a number from 0 to n - 1: seeded on the clock, a branch in the explorer. */
export type Draw = (n: number) => number;

/** One VA block as a prefetch policy sees it. Every bitmap is {@linkcode BLOCK_WORDS} words; the caller may reuse them. */
export interface PrefetchBlock {
  /** Virtual page number of the block's first page, a multiple of {@linkcode BLOCK_PAGES}. */
  firstVpn: number;
  /** Pages that may be moved: those inside the vma. */
  readonly valid: Uint32Array;
  /** Pages that are on the GPU already. */
  readonly resident: Uint32Array;
  /** Pages with a fault in this batch, none of them resident, all of them valid. */
  readonly faulted: Uint32Array;
  /** Pages found to thrash. */
  readonly thrashing: Uint32Array;
  /** Pages to move: equal to `faulted` before, and what the policy adds to it after. */
  readonly wanted: Uint32Array;
}

/** Decides what moves to the GPU beside the pages that faulted. It keeps no state of its own. */
export interface PrefetchPolicy {
  /** Its name in specs and tables. */
  readonly name: string;
  /**
   * Adds pages to `b.wanted`: only valid ones, none that is resident.
   *
   * @param b the block; everything but `wanted` is left as it is
   * @param draw for what is left to chance
   */
  grow(b: PrefetchBlock, draw: Draw): void;
}

/** What an eviction policy is given to keep its order in. */
export interface EvictionSetup {
  /** Where its columns are laid, so that a snapshot of the machine holds its order. */
  readonly arena: Arena;
  /** First part of its columns' names, unique in the arena. */
  readonly prefix: string;
  /** How many chunks there are; a chunk is a number below. */
  readonly chunks: number;
  /** By chunk: 1 while it must stay, because it is being filled, emptied or read by someone. The caller's column. */
  readonly busy: Uint8Array;
  /** How many chunks on end share a VA block (default 1). */
  readonly chunksPerBlock?: number;
  /** When a chunk is needed next, in any unit, Infinity for never; only a recorded trace knows it. */
  readonly nextUse?: (chunk: number) => number;
}

/** The order of eviction of one device's chunks. */
export interface Evictor {
  /** Whether {@linkcode Evictor.accessed} changes anything; if not, callers need not tell. */
  readonly watchesAccess: boolean;
  /** A free chunk has been given pages. */
  allocated(chunk: number): void;
  /** Pages of a chunk in use have been accessed; a run of accesses to one chunk may be told once. */
  accessed(chunk: number): void;
  /** A chunk in use is free again, evicted or not. */
  freed(chunk: number): void;
  /**
   * Chooses the chunk in use to evict; the caller empties it and then says {@linkcode Evictor.freed}.
   *
   * @param draw for what is left to chance
   * @returns a chunk in use that is not busy, or -1 if there is none
   */
  victim(draw: Draw): number;
}

/** Decides which chunk is given up first. */
export interface EvictionPolicy {
  /** Its name in specs and tables. */
  readonly name: string;
  /** Whether it must be told the future ({@linkcode EvictionSetup.nextUse}), which only a recorded trace can. */
  readonly needsFuture: boolean;
  /**
   * Lays the columns for one device.
   *
   * @param setup chunks, arena and the caller's column of busy chunks
   * @returns the order of that device's chunks, all of them free
   * @throws {UsageError} if it needs the future and none is given
   */
  make(setup: EvictionSetup): Evictor;
}

/** Decides what leaves a VA block together with a chunk that is evicted, so that the next eviction finds room. */
export interface PreEvictionPolicy {
  /** Its name in specs and tables. */
  readonly name: string;
  /**
   * Adds pages to `leaving`: only resident ones, none that is busy. A chunk of which a page leaves, leaves as a whole.
   *
   * @param valid pages inside the vma
   * @param resident pages of the block that are on the GPU
   * @param busy pages that must stay
   * @param leaving the pages of the chunk that goes, and what the policy adds
   */
  spread(valid: Uint32Array, resident: Uint32Array, busy: Uint32Array, leaving: Uint32Array): void;
}
