/**
 * Pre-eviction: what leaves with a chunk that is evicted, after Ganguly et al., ISCA 2019, whose tree evicts as theirs
 * prefetches.
 * @module
 */
import { addGroup, group, popcount } from "../bitmap.ts";
import { BLOCK_PAGES, type PreEvictionPolicy } from "../policy.ts";

/** Only the chunk goes. */
export const noPreEviction: PreEvictionPolicy = { name: "none", spread() {} };

const LEAVES = BLOCK_PAGES / 16;
const there = new Uint16Array(LEAVES);
const valid = new Uint16Array(LEAVES);

/** From the leaves of 64 KiB up, a sub-tree less than half of which stays is emptied ("TBNe"). */
export const treePreEviction: PreEvictionPolicy = {
  name: "tree50",
  spread(validMap, resident, busy, leaving) {
    for (let leaf = 0; leaf < LEAVES; leaf++) {
      valid[leaf] = popcount(group(validMap, leaf));
      there[leaf] = popcount(group(resident, leaf) & ~group(leaving, leaf));
    }
    for (let width = 2; width <= LEAVES; width *= 2) {
      for (let first = 0; first < LEAVES; first += width) {
        let all = 0, stay = 0;
        for (let leaf = first; leaf < first + width; leaf++) {
          all += valid[leaf];
          stay += there[leaf];
        }
        if (stay === 0 || 2 * stay >= all) continue;
        for (let leaf = first; leaf < first + width; leaf++) {
          // A leaf goes as a whole or not at all.
          if (group(busy, leaf) !== 0) continue;
          addGroup(leaving, leaf, group(resident, leaf));
          there[leaf] = 0;
        }
      }
    }
  },
};
