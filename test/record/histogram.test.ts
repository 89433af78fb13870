import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LatencyHistogram } from "../../lib/record/histogram.ts";

/** Latencies of all sizes: as many below 32 ns as near 2^52. */
const latency = fc.integer({ min: 0, max: 52 }).chain((bits) => fc.maxSafeNat().map((x) => x % 2 ** bits));
const latencies = fc.array(latency, { minLength: 1, maxLength: 200 });

function filled(values: readonly number[]): LatencyHistogram {
  const h = new LatencyHistogram("test");
  for (const ns of values) h.record(ns);
  return h;
}

const column = (h: LatencyHistogram, name: string) => h.buckets().columns[name] as Float64Array;

describe("LatencyHistogram", () => {
  test("counts, sums and bounds are exact", () => {
    fc.assert(fc.property(latencies, (values) => {
      const small = values.map((x) => x % 2 ** 40), h = filled(small);
      expect(h.count).toBe(small.length);
      expect(h.sumNs).toBe(small.reduce((s, x) => s + x, 0));
      expect(h.minNs).toBe(Math.min(...small));
      expect(h.maxNs).toBe(Math.max(...small));
      expect(h.meanNs).toBe(h.sumNs / h.count);
    }));
  });

  test("every value lies in exactly one bucket, and the buckets add up", () => {
    fc.assert(fc.property(latencies, (values) => {
      const h = filled(values), low = column(h, "lowNs"), high = column(h, "highNs"), n = column(h, "count");
      expect(n.reduce((s, x) => s + x, 0)).toBe(values.length);
      for (let b = 0; b < low.length; b++) {
        expect(values.filter((x) => x >= low[b] && x < high[b])).toHaveLength(n[b]);
        if (b > 0) expect(low[b]).toBeGreaterThanOrEqual(high[b - 1]);
        // 32 steps an octave, exact below 64 ns
        expect(high[b] - low[b]).toBeLessThanOrEqual(Math.max(1, low[b] / 32));
      }
    }));
  });

  test("a percentile lies within a bucket's width of what sorting gives", () => {
    fc.assert(fc.property(latencies, fc.integer({ min: 1, max: 100 }), (values, p) => {
      const sorted = values.toSorted((x, y) => x - y);
      // The rank in integers: the least number of values that are p percent of all.
      const rank = Math.floor((p * values.length + 99) / 100), exact = sorted[rank - 1];
      const found = filled(values).percentileNs(p);
      expect(found).toBeGreaterThanOrEqual(exact);
      expect(found - exact).toBeLessThanOrEqual(exact / 32);
    }));
  });

  test("a whole percentage is not rounded up to the next rank", () => {
    // 7/100*100 is more than 7 in floating point.
    const h = filled(Array.from({ length: 100 }, (_, i) => i < 7 ? 1 : 1000));
    expect(h.percentileNs(7)).toBe(1);
    expect(h.percentileNs(8)).toBeGreaterThan(900);
  });

  test("percentiles rise with p and end at the bounds", () => {
    fc.assert(fc.property(latencies, (values) => {
      const h = filled(values), all = Array.from({ length: 101 }, (_, p) => h.percentileNs(p));
      for (let p = 1; p <= 100; p++) expect(all[p]).toBeGreaterThanOrEqual(all[p - 1]);
      expect(all[0]).toBeGreaterThanOrEqual(h.minNs);
      expect(all[100]).toBe(h.maxNs);
    }));
  });

  test("the largest latencies have a bucket", () => {
    const h = filled([2 ** 53 - 1, 2 ** 32, 2 ** 32 - 1]);
    expect(column(h, "count").reduce((s, x) => s + x, 0)).toBe(3);
    expect(h.percentileNs(100)).toBe(2 ** 53 - 1);
    expect(column(h, "highNs").at(-1)).toBe(2 ** 53);
  });

  test("an empty one has no buckets, and zeros for figures", () => {
    const h = new LatencyHistogram("nothing");
    expect(h.buckets().numRows).toBe(0);
    expect([h.count, h.sumNs, h.maxNs, h.meanNs, h.percentileNs(50)]).toEqual([0, 0, 0, 0, 0]);
    expect(h.minNs).toBe(Infinity);
  });

  test("reset forgets everything", () => {
    const h = filled([1, 2, 3e6]);
    h.reset();
    expect(h).toEqual(new LatencyHistogram("test"));
  });

  test("the summary is the row of figures with their units", () => {
    const s = filled([10, 20, 30]).summary();
    expect(s.numRows).toBe(1);
    expect(s.columns.kind).toEqual(["test"]);
    expect([...s.columns.count as Float64Array]).toEqual([3]);
    expect([...s.columns.meanNs as Float64Array]).toEqual([20]);
    expect(s.units.p99Ns).toBe("ns");
  });
});
