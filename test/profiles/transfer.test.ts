import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";

const length = fc.oneof(fc.integer({ min: 0, max: 1e7 }), fc.integer({ min: 0, max: 2 ** 42 }));
const latency = fc.integer({ min: 0, max: 1e9 });
const rate = fc.integer({ min: 1e6, max: 1e13 });

describe("transferNs()", () => {
  test.each([
    [0, 0, 1, 0],
    [0, 1444, 13e9, 1444],
    [1, 0, 1e9, 1],
    [1, 0, 1e12, 1],
    [4096, 0, 1e9, 4096],
    [4097, 0, 2e9, 2049],
    [2 ** 30, 100, 2 ** 30, 1_000_000_100],
    [2 ** 44, 0, 1e9, 2 ** 44],
  ])(
    "of %d bytes at latency %d and rate %d is %d ns",
    (lengthBytes, latencyNs, rateBytesPerSecond, expected) => {
      expect(transferNs(lengthBytes, latencyNs, rateBytesPerSecond)).toBe(expected);
    },
  );

  test("is the exact quotient, rounded up", () => {
    fc.assert(fc.property(length, latency, rate, (n, l, r) => {
      const busy = BigInt(transferNs(n, l, r) - l);
      const needed = BigInt(n) * 1_000_000_000n;
      expect(busy * BigInt(r)).toBeGreaterThanOrEqual(needed);
      if (n > 0) expect((busy - 1n) * BigInt(r)).toBeLessThan(needed);
    }));
  });

  test("grows with the length and the latency and falls with the rate", () => {
    fc.assert(fc.property(length, length, latency, rate, rate, (n, more, l, r, faster) => {
      expect(transferNs(n + more, l, r)).toBeGreaterThanOrEqual(transferNs(n, l, r));
      expect(transferNs(n, l + 1, r)).toBe(transferNs(n, l, r) + 1);
      expect(transferNs(n, l, r + faster)).toBeLessThanOrEqual(transferNs(n, l, r));
    }));
  });

  test("of two parts takes as long as of the whole, or 1 ns more", () => {
    fc.assert(fc.property(length, length, rate, (a, b, r) => {
      const parts = transferNs(a, 0, r) + transferNs(b, 0, r);
      const whole = transferNs(a + b, 0, r);
      expect(parts - whole === 0 || parts - whole === 1).toBe(true);
    }));
  });

  test("agrees with itself on both sides of where floats stop being exact", () => {
    const edge = Math.floor(Number.MAX_SAFE_INTEGER / 1e9);
    for (const r of [1e6, 999_999_937, 13_004_361_000, 1e13]) {
      const steps = [edge - 1, edge, edge + 1, edge + 2].map((n) => transferNs(n, 0, r));
      const exact = [-1, 0, 1, 2].map((d) =>
        Number((BigInt(edge + d) * 10n ** 9n + BigInt(r) - 1n) / BigInt(r))
      );
      expect(steps).toEqual(exact);
    }
  });

  test.each([
    [-1, 0, 1],
    [1.5, 0, 1],
    [NaN, 0, 1],
    [1, -1, 1],
    [1, 0.5, 1],
    [1, 0, 0],
    [1, 0, Infinity],
    [2 ** 53, 0, 1],
    [2 ** 50, 0, 1],
    [1, Number.MAX_SAFE_INTEGER, 1e9],
  ])("refuses %d bytes, %d ns, %d bytes per second", (lengthBytes, latencyNs, rateBytesPerSecond) => {
    const call = () => transferNs(lengthBytes, latencyNs, rateBytesPerSecond);
    expect(call).toThrow(UsageError);
    expect(call).toThrow(/^Cannot time a transfer: got .* allowed/);
  });

  test("takes the longest time that is an integer", () => {
    expect(transferNs(0, Number.MAX_SAFE_INTEGER, 1)).toBe(Number.MAX_SAFE_INTEGER);
  });
});
