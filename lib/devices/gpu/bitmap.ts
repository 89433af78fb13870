/**
 * Operations on bitmaps of a VA block's pages.
 * @module
 */
import { BLOCK_WORDS } from "./policy.ts";

/** Whether bit `i` is set. */
export function has(map: Uint32Array, i: number): boolean {
  return (map[i >>> 5] >>> (i & 31) & 1) === 1;
}

/** Sets bit `i`. */
export function set(map: Uint32Array, i: number): void {
  map[i >>> 5] |= 1 << (i & 31);
}

/** Sets the bits from `from` to `end`. */
export function setRange(map: Uint32Array, from: number, end: number): void {
  for (let i = from; i < end;) {
    const n = Math.min(end - i, 32 - (i & 31));
    map[i >>> 5] |= ones(n) << (i & 31);
    i += n;
  }
}

/** A word with its lowest `n` bits set, 0 to 32 of them. */
export function ones(n: number): number {
  return n === 32 ? -1 : (1 << n) - 1;
}

/** The first bit from `from` on that is set, or `end`. */
export function next(map: Uint32Array, from: number, end: number): number {
  for (let i = from; i < end; i = (i | 31) + 1) {
    const word = map[i >>> 5] >>> (i & 31);
    if (word !== 0) return Math.min(end, i + 31 - Math.clz32(word & -word));
  }
  return end;
}

/** The first bit from `from` on that is set in neither of two bitmaps, or `end`. */
export function nextInNeither(one: Uint32Array, other: Uint32Array, from: number, end: number): number {
  for (let i = from; i < end; i = (i | 31) + 1) {
    const word = ~(one[i >>> 5] | other[i >>> 5]) >>> (i & 31);
    if (word !== 0) return Math.min(end, i + 31 - Math.clz32(word & -word));
  }
  return end;
}

/** The last bit before `end` that is set, or -1. */
export function last(map: Uint32Array, end: number): number {
  for (let i = end - 1; i >= 0; i = (i & ~31) - 1) {
    const word = map[i >>> 5] << (31 - (i & 31));
    if (word !== 0) return i - Math.clz32(word);
  }
  return -1;
}

/** How many bits of a word are set. */
export function popcount(word: number): number {
  let x = word - ((word >>> 1) & 0x5555_5555);
  x = (x & 0x3333_3333) + ((x >>> 2) & 0x3333_3333);
  return Math.imul((x + (x >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/** How many bits of a bitmap are set. */
export function count(map: Uint32Array): number {
  let n = 0;
  for (let w = 0; w < BLOCK_WORDS; w++) n += popcount(map[w]);
  return n;
}

/** Whether no bit of a bitmap is set. */
export function isEmpty(map: Uint32Array): boolean {
  for (let w = 0; w < BLOCK_WORDS; w++) if (map[w] !== 0) return false;
  return true;
}

/** The 16 bits of a bitmap that are the pages of 64 KiB group `leaf`. */
export function group(map: Uint32Array, leaf: number): number {
  return (map[leaf >>> 1] >>> ((leaf & 1) << 4)) & 0xffff;
}

/** Sets the bits of 64 KiB group `leaf` that are set in the 16 bits `pages`. */
export function addGroup(map: Uint32Array, leaf: number, pages: number): void {
  map[leaf >>> 1] |= pages << ((leaf & 1) << 4);
}
