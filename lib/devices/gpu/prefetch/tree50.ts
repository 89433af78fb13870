/**
 * The tree prefetcher measured on a GTX 1080 and modelled by UVM Smart ("tree-based neighborhood", TBN).
 *
 * A block is a binary tree over leaves of 64 KiB. A fault fills its leaf; then, from the leaves up, a sub-tree of which
 * more than half is on the GPU or on its way is filled. Source: Ganguly et al., "Interplay between hardware prefetcher
 * and page eviction policy in CPU-GPU unified virtual memory", ISCA 2019.
 * @module
 */
import { addGroup, group, isEmpty, popcount } from "../bitmap.ts";
import { BLOCK_PAGES, type PrefetchPolicy } from "../policy.ts";

const LEAVES = BLOCK_PAGES / 16;
/** Pages of each leaf that there are, and that are or will be on the GPU; scratch of one call. */
const present = new Uint16Array(LEAVES);
const valid = new Uint16Array(LEAVES);

/** Moves the 64 KiB around a fault, and fills a sub-tree as soon as more than half of its valid pages are present. */
export const tree50: PrefetchPolicy = {
  name: "tree50",
  grow(b) {
    if (isEmpty(b.faulted)) return;
    for (let leaf = 0; leaf < LEAVES; leaf++) {
      const pages = group(b.valid, leaf), faulted = group(b.faulted, leaf) !== 0;
      const resident = group(b.resident, leaf) & pages;
      if (faulted) addGroup(b.wanted, leaf, pages & ~resident);
      valid[leaf] = popcount(pages);
      present[leaf] = faulted ? valid[leaf] : popcount(resident);
    }
    for (let width = 2; width <= LEAVES; width *= 2) {
      for (let first = 0; first < LEAVES; first += width) {
        let all = 0, have = 0;
        for (let leaf = first; leaf < first + width; leaf++) {
          all += valid[leaf];
          have += present[leaf];
        }
        if (have === all || 2 * have <= all) continue;
        for (let leaf = first; leaf < first + width; leaf++) {
          addGroup(b.wanted, leaf, group(b.valid, leaf) & ~group(b.resident, leaf));
          present[leaf] = valid[leaf];
        }
      }
    }
  },
};
