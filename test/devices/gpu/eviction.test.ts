import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EVICTION_POLICIES, evictionPolicy } from "../../../lib/devices/gpu/policies.ts";
import type { EvictionPolicy } from "../../../lib/devices/gpu/policy.ts";
import { Arena } from "../../../lib/sim/arena.ts";
import { refuses, wrong } from "../../refusal.ts";

const CHUNKS = 6;

/** A policy with its arena, its busy column, and a future that the test can change. */
function make(policy: EvictionPolicy) {
  const arena = new Arena(), busy = arena.u8("busy", CHUNKS), next = new Float64Array(CHUNKS);
  const order = policy.make({
    arena,
    prefix: "order",
    chunks: CHUNKS,
    busy,
    chunksPerBlock: 2,
    nextUse: (c) => next[c],
  });
  return { arena, busy, next, order };
}

const step = fc.record({
  op: fc.constantFrom("allocate", "allocate", "access", "access", "free", "busy"),
  chunk: fc.nat({ max: CHUNKS - 1 }),
  next: fc.nat({ max: 50 }),
  draw: fc.nat({ max: CHUNKS - 1 }),
});

describe.each(EVICTION_POLICIES.map((p) => [p.name, p] as const))("%s", (name, policy) => {
  test("the victim is what a list in plain sight says", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (program) => {
      const { busy, next, order } = make(policy);
      let byAllocation: number[] = [], byAccess: number[] = [];
      const future = new Map<number, number>(), blockAge = new Map<number, number>();
      let tick = 0;
      for (const { op, chunk: c, next: use, draw } of program) {
        const used = byAllocation.includes(c);
        if (op === "busy") busy[c] ^= 1;
        if ((op === "allocate" && !used) || (op === "access" && used)) {
          next[c] = use;
          future.set(c, use);
          byAccess = [...byAccess.filter((x) => x !== c), c];
          blockAge.set(c >> 1, ++tick);
        }
        if (op === "allocate" && !used) {
          byAllocation.push(c);
          order.allocated(c);
        } else if (op === "access" && used) order.accessed(c);
        else if (op === "free" && used) {
          byAllocation = byAllocation.filter((x) => x !== c);
          byAccess = byAccess.filter((x) => x !== c);
          order.freed(c);
        }
        const idle = (list: number[]) => list.filter((x) => busy[x] === 0);
        const victim = order.victim((n) => draw % n);
        if (name === "lru-allocation") expect(victim).toBe(idle(byAllocation)[0] ?? -1);
        else if (name === "lru-access") expect(victim).toBe(idle(byAccess)[0] ?? -1);
        else if (name === "lru-block") {
          // Chunks 2k and 2k + 1 share a block, which is as old as its last access, be that to a chunk since freed.
          const age = (x: number) => blockAge.get(x >> 1)!;
          const oldest = idle(byAccess).sort((x, y) =>
            age(x) - age(y) || byAccess.indexOf(x) - byAccess.indexOf(y)
          );
          expect(victim).toBe(oldest[0] ?? -1);
        } else if (name === "belady") {
          const last = idle(byAllocation).sort((x, y) => future.get(y)! - future.get(x)! || x - y);
          expect(victim).toBe(last[0] ?? -1);
        } else expect(idle(byAllocation).length === 0 ? [-1] : idle(byAllocation)).toContain(victim);
      }
    }));
  });

  test("its order is state: it comes back with a snapshot", () => {
    const { arena, order } = make(policy);
    for (const c of [3, 1, 4]) order.allocated(c);
    const saved = arena.snapshot(), digest = arena.digest(), was = order.victim(() => 0);
    order.freed(was);
    order.allocated(0);
    expect(arena.digest()).not.toBe(digest);
    arena.restore(saved);
    expect([arena.digest(), order.victim(() => 0)]).toEqual([digest, was]);
  });

  test("chunks allocated and freed leave an equal state", () => {
    const { arena, order } = make(policy), digest = arena.digest();
    order.allocated(2);
    order.allocated(5);
    order.freed(2);
    order.freed(5);
    expect(arena.digest()).toBe(digest);
  });

  describe("refuses", () => {
    refuses([
      [
        "a chunk in use",
        () => {
          const { order } = make(policy);
          order.allocated(1);
          order.allocated(1);
        },
        "chunk 1",
        "a free one is allowed",
      ],
      ["to free a free chunk", () => make(policy).order.freed(2), "chunk 2", "one in use is allowed"],
    ]);
  });
});

test("random can draw every chunk", () => {
  const { order } = make(evictionPolicy("random"));
  for (let c = 0; c < 4; c++) order.allocated(c);
  expect(new Set([0, 1, 2, 3].map((k) => order.victim(() => k)))).toEqual(new Set([0, 1, 2, 3]));
});

describe("refuses", () => {
  refuses([
    [
      "an unknown policy",
      () => evictionPolicy("lru"),
      '"lru"',
      '"lru-allocation", "lru-access", "lru-block", "random", "belady"',
      "did you mean lru-",
    ],
    ["no policy", () => evictionPolicy(wrong(7)), "7"],
    [
      "the future without a trace",
      () => {
        const arena = new Arena(), busy = arena.u8("busy", 1);
        evictionPolicy("belady").make({ arena, prefix: "order", chunks: 1, busy });
      },
      "no future",
      "lru-allocation",
    ],
  ]);
});
