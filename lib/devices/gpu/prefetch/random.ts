/**
 * Prefetch of one page at random for every page that faulted: UVM Smart's "random", the baseline for the others.
 * @module
 */
import { has, set } from "../bitmap.ts";
import { BLOCK_PAGES, BLOCK_WORDS, type PrefetchPolicy } from "../policy.ts";

/** For every fault moves one more page of the block, drawn evenly; a page that is not to be moved is drawn in vain. */
export const random: PrefetchPolicy = {
  name: "random",
  grow(b, draw) {
    for (let w = 0; w < BLOCK_WORDS; w++) {
      for (let left = b.faulted[w]; left !== 0; left &= left - 1) {
        const page = draw(BLOCK_PAGES);
        if (has(b.valid, page) && !has(b.resident, page)) set(b.wanted, page);
      }
    }
  },
};
