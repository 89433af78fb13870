import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Timeline } from "../../lib/record/timeline.ts";

const transfer = fc.record({
  from: fc.nat({ max: 5_000_000 }),
  ns: fc.oneof(fc.constant(0), fc.nat({ max: 3_000_000 })),
  amount: fc.nat({ max: 2 ** 31 }),
});

describe("Timeline", () => {
  test("keeps the sum of whole amounts exactly, however often its bins widen", () => {
    fc.assert(fc.property(fc.array(transfer, { maxLength: 60 }), (transfers) => {
      const t = new Timeline("link", "bytes", 64);
      let sum = 0;
      for (const { from, ns, amount } of transfers) {
        t.addSpan(from, from + ns, amount);
        sum += amount;
        expect(t.total).toBe(sum);
        expect(t.bins).toBeLessThanOrEqual(t.amounts.length);
      }
      const amount = t.columns().columns.amount as Float64Array;
      expect(amount.reduce((s, x) => s + x, 0)).toBe(sum);
      expect(amount.every((x) => Number.isInteger(x) && x >= 0)).toBe(true);
    }));
  });

  test("puts an amount only into the bins that its span touches, evenly", () => {
    fc.assert(fc.property(transfer, ({ from, ns, amount }) => {
      const t = new Timeline("link", "bytes", 128);
      t.addSpan(from, from + ns, amount);
      const first = Math.floor(from / t.binNs), last = Math.floor((from + ns) / t.binNs);
      expect(t.bins).toBe(last + 1);
      t.amounts.forEach((x, b) => {
        if (b < first || b > last) return expect(x).toBe(0);
        if (ns === 0) return expect(x).toBe(amount);
        const overlap = Math.min(from + ns, (b + 1) * t.binNs) - Math.max(from, b * t.binNs);
        // Each bin but the last is rounded down; what that leaves over goes to the last.
        const even = amount * overlap / ns;
        if (b < last) expect(Math.abs(x - even)).toBeLessThanOrEqual(1);
        else expect(x - even).toBeLessThanOrEqual(last - first + 1);
      });
    }));
  });

  test("widening merges neighbours: the width stays a power of two times the first", () => {
    const t = new Timeline("link", "bytes", 10);
    for (let i = 0; i < 512; i++) t.addSpan(i * 10, i * 10, i + 1);
    expect([t.binNs, t.bins]).toEqual([10, 512]);
    t.addSpan(5120, 5120, 1000);
    expect([t.binNs, t.bins]).toEqual([20, 257]);
    expect([...t.amounts.slice(0, 3)]).toEqual([1 + 2, 3 + 4, 5 + 6]);
    expect([t.amounts[255], t.amounts[256]]).toEqual([511 + 512, 1000]);
  });

  test("its columns give the rate by second", () => {
    const t = new Timeline("link", "bytes", 1000);
    t.addSpan(0, 0, 500);
    t.addSpan(1500, 1500, 1);
    const c = t.columns();
    expect(c.title).toBe("link");
    expect(c.units).toEqual({ startNs: "ns", amount: "bytes", perSecond: "bytes/s" });
    expect([...c.columns.startNs as Float64Array]).toEqual([0, 1000]);
    expect([...c.columns.perSecond as Float64Array]).toEqual([500e6, 1e6]);
  });
});
