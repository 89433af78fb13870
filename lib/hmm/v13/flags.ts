/**
 * The entries of patchset v13: one `hmm_pfn_t` a page, which goes in as a request and comes out as a result.
 *
 * The bits are those after patch 16; patches 12 and 13 had fewer of them at other places. `hmm_pfn_t` was an unsigned
 * long, so an array of them is a `BigUint64Array`. Linux 4.14 kept the idea with fewer flags, 5.8 replaced it by the
 * `HMM_PFN_` flags of today, with requests and results apart.
 * @module
 */
import { wholeNumber } from "../../arguments.ts";
import { MAX_PAGES } from "../../mm/pages.ts";

/** The entry's frame is valid. */
export const HMM_PFN_VALID: bigint = 1n << 0n;
/** The vma lets the page be read. */
export const HMM_PFN_READ: bigint = 1n << 1n;
/** The page may be written; as a request, with {@link HMM_PFN_FAULT}: make it so. */
export const HMM_PFN_WRITE: bigint = 1n << 2n;
/** The page cannot be had. */
export const HMM_PFN_ERROR: bigint = 1n << 3n;
/** Nothing is mapped here (`pte_none()`). */
export const HMM_PFN_EMPTY: bigint = 1n << 4n;
/** A request of `hmm_vma_fault()`: fault the page in. */
export const HMM_PFN_FAULT: bigint = 1n << 5n;
/** The page is of a device's memory (ZONE_DEVICE). */
export const HMM_PFN_DEVICE: bigint = 1n << 6n;
/** The page is locked (patch 16). */
export const HMM_PFN_LOCKED: bigint = 1n << 7n;
/** The area holds what is no page to be mirrored: `vm_insert_page()`, hugetlb. */
export const HMM_PFN_SPECIAL: bigint = 1n << 8n;
/** The page migrates, or has migrated (patch 16). */
export const HMM_PFN_MIGRATE: bigint = 1n << 9n;
/** The page is of a device's memory that the CPU cannot address. */
export const HMM_PFN_UNADDRESSABLE: bigint = 1n << 10n;
/** Frame numbers begin at this bit. */
export const HMM_PFN_SHIFT = 11n;

/** The one thing that a mirror was told: drop the range. `enum hmm_update` of patch 9; 4.14 kept it, 5.5 had no need. */
export const HMM_UPDATE_INVALIDATE = 0;

/**
 * The frame of an entry: v13 `hmm_pfn_to_page()`.
 *
 * @param pfn an entry
 * @returns the frame, or -1 when the entry is not valid
 *
 * @example
 * ```ts
 * import { v13 } from "hmmlab";
 *
 * console.log(v13.hmmPfnToPage(v13.hmmPfnFromPage(7)), v13.hmmPfnToPage(v13.HMM_PFN_EMPTY)); // 7 -1
 * ```
 */
export function hmmPfnToPage(pfn: bigint): number {
  return pfn & HMM_PFN_VALID ? Number(pfn >> HMM_PFN_SHIFT) : -1;
}

/**
 * The valid entry of a frame, with no other flag: v13 `hmm_pfn_from_page()` and `hmm_pfn_from_pfn()`.
 *
 * @param page the frame
 * @returns the entry
 * @throws {UsageError} for what is no frame number
 *
 * @example
 * ```ts
 * import { v13 } from "hmmlab";
 *
 * console.log(v13.hmmPfnFromPage(1)); // 2049n
 * ```
 */
export function hmmPfnFromPage(page: number): bigint {
  wholeNumber("make an entry of a page", "the frame", page, 0, MAX_PAGES - 1);
  return (BigInt(page) << HMM_PFN_SHIFT) | HMM_PFN_VALID;
}

/** A number for the first `n` entries, so that what a stopped walk has found is part of the actor's frame. */
export function foldPfns(pfns: BigUint64Array, n: number): number {
  let h = n;
  for (let i = 0; i < n; i++) {
    h = (Math.imul(h ^ Number(pfns[i] & 0xffff_ffffn), 0x01000193) ^ (h >>> 15)) | 0;
  }
  return h;
}
