/**
 * Eviction from the VA block that was accessed longest ago: the order of UVM Smart's 64 KiB and tree eviction, which keeps
 * a block together. With chunks as large as blocks it is the same as LRU by access.
 * @module
 */
import type { EvictionPolicy } from "../policy.ts";
import { ChunkList } from "./list.ts";

/** Of the block accessed longest ago the chunk accessed longest ago goes. */
export const lruBlock: EvictionPolicy = {
  name: "lru-block",
  needsFuture: false,
  make({ arena, prefix, chunks, busy, chunksPerBlock = 1 }) {
    const blocks = Math.ceil(chunks / chunksPerBlock);
    const order = new ChunkList(arena, `${prefix}.block`, blocks);
    const inside = new ChunkList(arena, `${prefix}.chunk`, chunks, blocks);
    const blockOf = (c: number) => Math.floor(c / chunksPerBlock);
    return {
      watchesAccess: true,
      allocated(c) {
        const block = blockOf(c);
        inside.append(c, block);
        if (order.holds(block)) order.touch(block);
        else order.append(block);
      },
      accessed(c) {
        inside.touch(c, blockOf(c));
        order.touch(blockOf(c));
      },
      freed(c) {
        inside.remove(c);
        if (inside.isEmpty(blockOf(c))) order.remove(blockOf(c));
      },
      victim() {
        for (let block = order.first(); block >= 0; block = order.after(block)) {
          const c = inside.oldest(busy, block);
          if (c >= 0) return c;
        }
        return -1;
      },
    };
  },
};
