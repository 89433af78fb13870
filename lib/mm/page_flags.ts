/**
 * Flags of a struct page: what is known of a frame beside its counts.
 * @module
 */

/** The page is locked: its content or mapping is being changed. */
export const PG_LOCKED = 1;
/** The page was written since it was last clean. */
export const PG_DIRTY = 2;
/** The page is on an LRU list. */
export const PG_LRU = 4;
/** The one mapping of this anonymous page may write without copying. */
export const PG_ANON_EXCLUSIVE = 8;

/** The program said that it can do without the page: MADV_FREE, until it is written again. */
export const PG_LAZYFREE = 16;

/** Part of a large folio: 512 frames, aligned, with one reference count and one lock, those of the first. */
export const PG_LARGE = 32;
/** A large folio of the hugetlb pool: never split, not part of the resident set. */
export const PG_HUGETLB = 64;
