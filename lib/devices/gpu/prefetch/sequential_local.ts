/**
 * Prefetch of the 64 KiB around a fault: "sequential-local" (SL) of UVM Smart, and what big pages are to NVIDIA's driver.
 * @module
 */
import { addGroup, group } from "../bitmap.ts";
import { BLOCK_PAGES, type PrefetchPolicy } from "../policy.ts";

/** Moves the whole 64 KiB of every page that faulted, as far as it is valid and not on the GPU yet. */
export const sequentialLocal: PrefetchPolicy = {
  name: "64 KiB",
  grow(b) {
    for (let leaf = 0; leaf < BLOCK_PAGES / 16; leaf++) {
      if (group(b.faulted, leaf) !== 0) {
        addGroup(b.wanted, leaf, group(b.valid, leaf) & ~group(b.resident, leaf));
      }
    }
  },
};
