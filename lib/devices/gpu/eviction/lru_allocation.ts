/**
 * Eviction of what was allocated first, however often it was accessed since, as NVIDIA's driver does: it sees faults, not
 * accesses.
 * @module
 */
import type { EvictionPolicy } from "../policy.ts";
import { ChunkList } from "./list.ts";

/** The chunk allocated longest ago goes. */
export const lruAllocation: EvictionPolicy = {
  name: "lru-allocation",
  needsFuture: false,
  make({ arena, prefix, chunks, busy }) {
    const list = new ChunkList(arena, prefix, chunks);
    return {
      watchesAccess: false,
      allocated: (c) => list.append(c),
      accessed() {},
      freed: (c) => list.remove(c),
      victim: () => list.oldest(busy),
    };
  },
};
