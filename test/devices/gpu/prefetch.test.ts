import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PREFETCH_POLICIES, prefetchPolicy } from "../../../lib/devices/gpu/policies.ts";
import { BLOCK_PAGES, type PrefetchBlock, type PrefetchPolicy } from "../../../lib/devices/gpu/policy.ts";
import { random } from "../../../lib/devices/gpu/prefetch/random.ts";
import { tree50 } from "../../../lib/devices/gpu/prefetch/tree50.ts";
import { tree51, tree51With } from "../../../lib/devices/gpu/prefetch/tree51.ts";
import { refuses, wrong } from "../../refusal.ts";
import { anyBlock, block, pagesOf, range } from "./block.ts";

const never = () => {
  throw new Error("nothing is left to chance here");
};
const draw = (n: number) => n >>> 1;
const wantedOf = (p: PrefetchPolicy, b: PrefetchBlock) => {
  p.grow(b, p === random ? draw : never);
  return pagesOf(b.wanted);
};

describe.each(PREFETCH_POLICIES.map((p) => [p.name, p] as const))("%s", (_name, policy) => {
  test("wants the faults, nothing outside the vma, nothing that is there", () => {
    fc.assert(fc.property(anyBlock, (b) => {
      const before = {
        ...b,
        valid: b.valid.slice(),
        resident: b.resident.slice(),
        faulted: b.faulted.slice(),
      };
      const wanted = wantedOf(policy, b),
        valid = new Set(pagesOf(b.valid)),
        there = new Set(pagesOf(b.resident));
      expect(wanted).toEqual(expect.arrayContaining(pagesOf(b.faulted)));
      expect(wanted.filter((i) => !valid.has(i) || there.has(i))).toEqual([]);
      expect([b.valid, b.resident, b.faulted]).toEqual([before.valid, before.resident, before.faulted]);
    }));
  });

  test("wants nothing where nothing faulted", () => {
    fc.assert(fc.property(anyBlock, (b) => {
      expect(wantedOf(policy, block([], pagesOf(b.resident), pagesOf(b.valid)))).toEqual([]);
    }));
  });
});

describe("tree50", () => {
  /** The rule written down as sets: close the block under "more than half of a sub-tree". */
  function closure(b: PrefetchBlock): number[] {
    const valid = new Set(pagesOf(b.valid)), have = new Set(pagesOf(b.resident));
    const fill = (from: number, to: number) =>
      range(from, to).filter((i) => valid.has(i)).forEach((i) => have.add(i));
    for (const i of pagesOf(b.faulted)) fill(i & ~15, (i & ~15) + 16);
    for (let width = 32; width <= BLOCK_PAGES; width *= 2) {
      for (let from = 0; from < BLOCK_PAGES; from += width) {
        const all = range(from, from + width).filter((i) => valid.has(i));
        if (2 * all.filter((i) => have.has(i)).length > all.length) fill(from, from + width);
      }
    }
    return [...have].filter((i) => !pagesOf(b.resident).includes(i)).sort((x, y) => x - y);
  }

  test("is what its rule says", () => {
    fc.assert(fc.property(anyBlock, (b) => {
      // Without a fault nobody asks; a fault anywhere asks for the whole block.
      if (pagesOf(b.faulted).length > 0) expect(wantedOf(tree50, b)).toEqual(closure(b));
    }));
  });

  test("is a closure: once everything has moved, a fault that changes nothing brings nothing", () => {
    fc.assert(fc.property(anyBlock, (b) => {
      const faulted = pagesOf(b.faulted);
      if (faulted.length === 0) return;
      const all = new Set([...pagesOf(b.resident), ...wantedOf(tree50, b)]);
      // Take one page back and fault on it again: its leaf and nothing else is missing, so nothing else may come.
      all.delete(faulted[0]);
      expect(wantedOf(tree50, block([faulted[0]], all, pagesOf(b.valid)))).toEqual([faulted[0]]);
    }));
  });

  test("never wants less when more is there", () => {
    fc.assert(fc.property(anyBlock, fc.array(fc.nat({ max: 511 }), { maxLength: 40 }), (b, more) => {
      const valid = pagesOf(b.valid), faulted = pagesOf(b.faulted);
      const there = [
        ...pagesOf(b.resident),
        ...more.filter((i) => valid.includes(i) && !faulted.includes(i)),
      ];
      const after = (resident: number[]) =>
        new Set([...resident, ...wantedOf(tree50, block(faulted, resident, valid))]);
      const less = after(pagesOf(b.resident)), rich = after(there);
      expect([...less].filter((i) => !rich.has(i))).toEqual([]);
    }));
  });
});

describe("tree51", () => {
  test("a first fault brings its 64 KiB", () => {
    expect(wantedOf(tree51, block([100]))).toEqual(range(96, 112));
  });

  test("grows by the largest region of which more than 51 % are there", () => {
    // Leaves 0 and 1 are there, a fault in leaf 2: 48 of 64 pages.
    expect(wantedOf(tree51, block([33], range(0, 32)))).toEqual(range(32, 64));
    // Exactly half of a region is not enough.
    expect(wantedOf(tree51, block([17], [], range(0, 64)))).toEqual(range(16, 32));
    // 262 of 512 are more than 51 %, 261 are not: 261 * 100 = 26,100 < 26,112.
    expect(wantedOf(tree51, block([0], range(16, 262)))).toHaveLength(512 - 246);
    expect(wantedOf(tree51, block([0], range(17, 262)))).not.toContain(511);
  });

  test("its threshold can be set", () => {
    expect(wantedOf(tree51With({ thresholdPercent: 49 }), block([0]))).toEqual(range(0, 32));
    expect(wantedOf(tree51With({ thresholdPercent: 100 }), block([0], range(16, 511)))).toEqual([0]);
  });

  test("a 64 KiB page in which a page thrashes does not grow, nor does a fault on a thrashing page", () => {
    expect(wantedOf(tree51, block([3], [], range(0, 512), [7]))).toEqual([3]);
    expect(wantedOf(tree51, block([3], range(4, 300), range(0, 512), [3]))).toEqual([3]);
    expect(wantedOf(tree51, block([3], range(4, 300), range(0, 512), [500]))).toEqual(
      [...range(0, 4), ...range(300, 500), ...range(501, 512)],
    );
  });

  test("regions are aligned to 64 KiB where the vma begins in between", () => {
    // The vma begins at page 10: its prefix of six pages counts as a leaf that begins at 0.
    expect(wantedOf(tree51, block([12], [], range(10, 512)))).toEqual(range(10, 16));
    expect(wantedOf(tree51, block([20], [], range(10, 512)))).toEqual(range(16, 32));
  });

  test("a vma without a whole 64 KiB page moves at once", () => {
    expect(wantedOf(tree51, block([21], [], range(20, 30)))).toEqual(range(20, 30));
  });

  /** The driver's rule written down page by page, for vmas that begin on a 64 KiB boundary. */
  function driver(b: PrefetchBlock): number[] {
    const valid = pagesOf(b.valid),
      there = new Set(pagesOf(b.resident)),
      thrashing = new Set(pagesOf(b.thrashing));
    const faulted = pagesOf(b.faulted), first = valid[0], end = valid[valid.length - 1] + 1;
    const tree = new Set([...there, ...faulted]);
    const whole = Math.floor(end / 16) * 16;
    const pieces = whole > first
      ? [...range(0, (whole - first) / 16).map((i) => [first + 16 * i, first + 16 * i + 16]), [whole, end]]
      : [[first, end]];
    for (const [from, to] of pieces) {
      const piece = range(from, to);
      if (piece.some((i) => faulted.includes(i)) && !piece.some((i) => thrashing.has(i))) {
        piece.forEach((i) => tree.add(i));
      }
    }
    const out = new Set<number>();
    for (const page of faulted.filter((i) => !thrashing.has(i))) {
      let best: number[] = [];
      for (let width = 1; width < 2 * (end - first); width *= 2) {
        const from = first + Math.floor((page - first) / width) * width,
          all = range(from, Math.min(end, from + width));
        if (100 * all.filter((i) => tree.has(i)).length > 51 * all.length) best = all;
      }
      best.forEach((i) => out.add(i));
    }
    const more = [...out].filter((i) => !there.has(i) && !thrashing.has(i));
    return [...new Set([...faulted, ...more])].sort((x, y) => x - y);
  }

  test("is what the driver's rule says", () => {
    fc.assert(
      fc.property(anyBlock, (b) => {
        if (pagesOf(b.faulted).length === 0 || pagesOf(b.valid)[0] % 16 !== 0) return;
        expect(wantedOf(tree51, b)).toEqual(driver(b));
      }),
      { numRuns: 300 },
    );
  });
});

test("random brings one page for each fault at most", () => {
  fc.assert(fc.property(anyBlock, fc.infiniteStream(fc.nat({ max: 511 })), (b, pages) => {
    random.grow(b, () => pages.next().value!);
    expect(pagesOf(b.wanted).length).toBeLessThanOrEqual(2 * pagesOf(b.faulted).length);
  }));
  const b = block([1, 2]);
  random.grow(b, () => 300);
  expect(pagesOf(b.wanted)).toEqual([1, 2, 300]);
});

describe("an unknown prefetch policy is refused", () => {
  refuses([
    [
      "a name",
      () => prefetchPolicy("tree"),
      '"tree"',
      '"none", "random", "64 KiB", "tree50", "tree51"',
      "did you mean tree50",
    ],
    ["no policy", () => prefetchPolicy(wrong(undefined)), "undefined", '"tree51"'],
    ["an object without grow", () => prefetchPolicy(wrong({ name: "x" })), "an object with name"],
  ]);
});

test("a policy of one's own is taken as it is", () => {
  const own: PrefetchPolicy = { name: "mine", grow() {} };
  expect(prefetchPolicy(own)).toBe(own);
});
