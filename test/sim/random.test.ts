import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { draws, permutation } from "../../lib/sim/random.ts";

describe("permutation()", () => {
  test("sends each number to one of its own", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2000 }), fc.nat(), (n, seed) => {
      const to = permutation(n, seed), seen = new Set(Array.from({ length: n }, (_, i) => to(i)));
      expect(seen.size).toBe(n);
      expect(Math.max(...seen)).toBe(n - 1);
    }));
  });

  test("spreads neighbours: 256 in a row of a million fall into nearly as many stretches of 512 as chance gives", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const to = permutation(1 << 20, seed);
      for (let from = 0; from < 1 << 20; from += 99_991) {
        const blocks = new Set(Array.from({ length: 256 }, (_, i) => to((from + i) % (1 << 20)) >>> 9)).size;
        // Of 2,048 stretches 256 draws hit 240.7 on average, with a deviation of 3.7.
        expect(blocks).toBeGreaterThan(220);
      }
    }
  });
});

test("draws() gives all numbers below n about equally often", () => {
  const draw = draws(7), counts = new Uint32Array(10);
  for (let i = 0; i < 100_000; i++) counts[draw(10)]++;
  for (const n of counts) expect(Math.abs(n - 10_000)).toBeLessThan(500);
});
