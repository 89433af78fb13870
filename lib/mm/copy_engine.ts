/**
 * What a migration asks of whoever copies its pages.
 * @module
 */
import type { Proc } from "../sim/sim.ts";

/** In a list of frames: no page; as a source it reads as zeros. */
export const NO_PAGE = 0xffff_ffff;

/** Whatever copies pages for a migration: a device's DMA engine, a plain one, CPU threads. */
export interface CopyEngine {
  /**
   * Copies pages of memory.
   *
   * @param a actor that waits for the copy
   * @param src source frames; {@link NO_PAGE} is a page of zeros
   * @param dst destination frames, or {@link NO_PAGE} to leave a row out
   * @param n rows
   * @returns 0; -EIO when it failed: rows that were not copied then have {@link NO_PAGE} in `dst`
   */
  copy(a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc<number>;
}
