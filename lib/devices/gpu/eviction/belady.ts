/**
 * Eviction of what is needed last: Belady's rule, which no policy that does not know the future can beat when pages move
 * on demand and one by one. With prefetch it is a good order and no bound.
 * @module
 */
import { UsageError } from "../../../errors.ts";
import type { EvictionPolicy } from "../policy.ts";

/** The chunk whose next use lies furthest in the future goes; of equals the one with the smallest number. */
export const belady: EvictionPolicy = {
  name: "belady",
  needsFuture: true,
  make({ arena, prefix, chunks, busy, nextUse }) {
    if (nextUse === undefined) {
      throw new UsageError(
        'Cannot evict by "belady": got no future; a recorded trace is allowed, which knows it; write for example ' +
          '"lru-allocation" for a device',
      );
    }
    // A heap of the chunks in use, the furthest next use on top.
    const heap = arena.u32(`${prefix}.heap`, chunks);
    const at = arena.u32(`${prefix}.at`, chunks); // Where a chunk stands in it, plus 1; 0 for a free one.
    const key = arena.f64(`${prefix}.nextUse`, chunks);
    const n = arena.u32(`${prefix}.n`, 1);
    const above = (c: number, d: number) => key[c] > key[d] || (key[c] === key[d] && c < d);
    const put = (c: number, i: number) => {
      heap[i] = c;
      at[c] = i + 1;
    };
    const rise = (c: number, i: number) => {
      for (; i > 0; i = (i - 1) >>> 1) {
        const parent = heap[(i - 1) >>> 1];
        if (!above(c, parent)) break;
        put(parent, i);
      }
      put(c, i);
    };
    const sink = (c: number, i: number) => {
      for (let child = 2 * i + 1; child < n[0]; child = 2 * i + 1) {
        if (child + 1 < n[0] && above(heap[child + 1], heap[child])) child++;
        if (!above(heap[child], c)) break;
        put(heap[child], i);
        i = child;
      }
      put(c, i);
    };
    const settle = (c: number, i: number) => {
      if (i > 0 && above(c, heap[(i - 1) >>> 1])) rise(c, i);
      else sink(c, i);
    };
    return {
      watchesAccess: true,
      allocated(c) {
        if (at[c] !== 0) {
          throw new UsageError(`Cannot allocate chunk ${c}: got one in use; a free one is allowed`);
        }
        key[c] = nextUse(c);
        rise(c, n[0]++);
      },
      accessed(c) {
        key[c] = nextUse(c);
        settle(c, at[c] - 1);
      },
      freed(c) {
        if (at[c] === 0) {
          throw new UsageError(`Cannot free chunk ${c}: got a free one; one in use is allowed`);
        }
        const i = at[c] - 1, last = heap[--n[0]];
        heap[n[0]] = 0;
        at[c] = key[c] = 0;
        if (last !== c) settle(last, i);
      },
      victim() {
        if (n[0] > 0 && busy[heap[0]] === 0) return heap[0];
        let best = -1;
        for (let i = 0; i < n[0]; i++) {
          const c = heap[i];
          if (busy[c] === 0 && (best < 0 || above(c, best))) best = c;
        }
        return best;
      },
    };
  },
};
