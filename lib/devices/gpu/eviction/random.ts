/**
 * Eviction of a chunk at random: what any order must beat.
 * @module
 */
import { UsageError } from "../../../errors.ts";
import type { EvictionPolicy } from "../policy.ts";

/** Every chunk in use is as likely to go; if it is busy, the next one that is not. */
export const randomEviction: EvictionPolicy = {
  name: "random",
  needsFuture: false,
  make({ arena, prefix, chunks, busy }) {
    const used = arena.u32(`${prefix}.used`, chunks); // The chunks in use, in any order.
    const at = arena.u32(`${prefix}.at`, chunks); // Where a chunk stands in it, plus 1; 0 for a free one.
    const n = arena.u32(`${prefix}.n`, 1);
    return {
      watchesAccess: false,
      allocated(c) {
        if (at[c] !== 0) {
          throw new UsageError(`Cannot allocate chunk ${c}: got one in use; a free one is allowed`);
        }
        used[n[0]++] = c;
        at[c] = n[0];
      },
      accessed() {},
      freed(c) {
        if (at[c] === 0) {
          throw new UsageError(`Cannot free chunk ${c}: got a free one; one in use is allowed`);
        }
        const last = used[--n[0]];
        used[at[c] - 1] = last;
        at[last] = at[c];
        at[c] = used[n[0]] = 0;
      },
      victim(draw) {
        const count = n[0], start = count === 0 ? 0 : draw(count);
        for (let k = 0; k < count; k++) {
          const c = used[(start + k) % count];
          if (busy[c] === 0) return c;
        }
        return -1;
      },
    };
  },
};
