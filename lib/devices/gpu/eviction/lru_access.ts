/**
 * Eviction of what was accessed longest ago: textbook LRU, which needs hardware or a simulator that sees every access.
 * @module
 */
import type { EvictionPolicy } from "../policy.ts";
import { ChunkList } from "./list.ts";

/** The chunk accessed longest ago goes. */
export const lruAccess: EvictionPolicy = {
  name: "lru-access",
  needsFuture: false,
  make({ arena, prefix, chunks, busy }) {
    const list = new ChunkList(arena, prefix, chunks);
    return {
      watchesAccess: true,
      allocated: (c) => list.append(c),
      accessed: (c) => list.touch(c),
      freed: (c) => list.remove(c),
      victim: () => list.oldest(busy),
    };
  },
};
