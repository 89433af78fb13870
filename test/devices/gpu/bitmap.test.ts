import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { has, last, next, nextInNeither, set, setRange } from "../../../lib/devices/gpu/bitmap.ts";
import { BLOCK_PAGES, BLOCK_WORDS } from "../../../lib/devices/gpu/policy.ts";

const place = fc.integer({ min: 0, max: BLOCK_PAGES });
/** Few bits, or nearly all: both the search for a set bit and for a clear one go far. */
const map = fc.tuple(
  fc.uniqueArray(fc.integer({ min: 0, max: BLOCK_PAGES - 1 }), { maxLength: 40 }),
  fc.boolean(),
)
  .map(([bits, inverse]) => {
    const made = new Uint32Array(BLOCK_WORDS);
    for (const i of bits) set(made, i);
    return inverse ? made.map((w) => ~w) : made;
  });
const range = fc.tuple(place, place).map(([x, y]) => [Math.min(x, y), Math.max(x, y)] as const);
const bits = (from: number, end: number) => Array.from({ length: end - from }, (_, i) => from + i);

describe("searches in a bitmap of a block", () => {
  it("find what a search bit by bit finds", () => {
    fc.assert(fc.property(map, map, range, (one, other, [from, end]) => {
      const found = bits(from, end).find((i) => has(one, i)) ?? end;
      expect(next(one, from, end)).toBe(found);
      const clear = bits(from, end).find((i) => !has(one, i) && !has(other, i)) ?? end;
      expect(nextInNeither(one, other, from, end)).toBe(clear);
      expect(last(one, end)).toBe(bits(0, end).findLast((i) => has(one, i)) ?? -1);
    }));
  });

  it("visit every bit that is set, once and in order", () => {
    fc.assert(fc.property(map, range, (one, [from, end]) => {
      const seen: number[] = [];
      for (let i = next(one, from, end); i < end; i = next(one, i + 1, end)) seen.push(i);
      expect(seen).toEqual(bits(from, end).filter((i) => has(one, i)));
    }));
  });

  it("leave what lies outside a range that is set", () => {
    fc.assert(
      fc.property(map, range, (one, [from, end]) => {
        const made = one.slice();
        setRange(made, from, end);
        for (const i of bits(0, BLOCK_PAGES)) {
          expect(has(made, i)).toBe(has(one, i) || (i >= from && i < end));
        }
      }),
      { numRuns: 30 },
    );
  });
});
