import * as fc from "fast-check";
import { expect, test } from "vitest";
import { columnsOf } from "../../lib/record/columns.ts";
import { binShares, cumulative, distributionsOf, logBins, shareAbove } from "../../lib/plot/distribution.ts";
import { histogram } from "./samples.ts";

const latencies = fc.array(fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 2 ** 40 })), {
  minLength: 1,
  maxLength: 200,
});

test("whatever was recorded lies within the axis, and the bins hold all of it", () => {
  fc.assert(fc.property(fc.array(latencies, { minLength: 1, maxLength: 3 }), (sets) => {
    const all = sets.flatMap((set, i) => distributionsOf(histogram(`h${i}`, set)));
    const { edgesNs, domainNs: [low, high], ticksNs } = logBins(all);
    expect(high / low).toBeGreaterThanOrEqual(9.9);
    expect(edgesNs.length).toBeLessThanOrEqual(8 * 14);
    expect(edgesNs.length).toBeGreaterThan(8);
    expect(ticksNs.every((x) => x >= low * 0.999 && x <= high * 1.001)).toBe(true);
    expect(ticksNs.length).toBeGreaterThanOrEqual(2);
    for (const d of all) {
      expect(Math.max(0.5, d.minNs)).toBeGreaterThanOrEqual(low * (1 - 1e-9));
      expect(d.maxNs).toBeLessThanOrEqual(high * (1 + 1e-9));
      const shares = binShares(d, edgesNs);
      expect(shares.every((x) => x >= -1e-12)).toBe(true);
      expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
    }
  }));
});

test("a bin holds what was recorded between its edges", () => {
  const [d] = distributionsOf(histogram("h", [...Array(30).fill(1000), ...Array(70).fill(50_000)]));
  const { edgesNs } = logBins([d]);
  const shares = binShares(d, edgesNs);
  const at = (ns: number) => shares[edgesNs.findIndex((e) => e > ns) - 1];
  expect(at(1000)).toBeCloseTo(0.3, 9);
  expect(shares.filter((x) => x > 0.01).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 9);
  const [few] = distributionsOf(histogram("h", [5, 5, 6]));
  const fine = logBins([few]);
  expect([...binShares(few, fine.edgesNs)].filter((x) => x > 0)).toEqual([
    expect.closeTo(2 / 3, 9),
    expect.closeTo(1 / 3, 9),
  ]);
  const upper = edgesNs.findIndex((e) => e > 40_000) - 1;
  expect(shares.slice(upper).reduce((a, b) => a + b, 0)).toBeCloseTo(0.7, 9);
});

test("the cumulative line never falls, ends at all events, and percentiles lie on it", () => {
  fc.assert(fc.property(latencies, (set) => {
    const [d] = distributionsOf(histogram("h", set));
    const line = cumulative(d);
    expect(line[0].share).toBe(0);
    expect(line.at(-1)).toEqual({ ns: Math.max(0.5, d.maxNs), share: 1 });
    for (let i = 1; i < line.length; i++) {
      expect(line[i].ns).toBeGreaterThanOrEqual(line[i - 1].ns);
      expect(line[i].share).toBeGreaterThan(line[i - 1].share);
    }
    for (const p of [50, 90, 99]) {
      // On a step line: at the percentile it rises through p, or it would be elsewhere.
      const ns = Math.max(0.5, d.percentileNs(p));
      const before = line.filter((c) => c.ns < ns).at(-1)?.share ?? 0;
      const after = line.filter((c) => c.ns <= ns).at(-1)?.share ?? 0;
      expect(before).toBeLessThanOrEqual(p / 100 + 1e-9);
      expect(after).toBeGreaterThanOrEqual(p / 100 - 0.002 - 1e-9);
    }
  }));
});

test("buckets say the same as the histogram that they come from", () => {
  const h = histogram("invalidation", [5, 900, 1000, 1000, 70_000]);
  const [whole] = distributionsOf(h), [buckets] = distributionsOf(h.buckets());
  expect(buckets.name).toBe("invalidation");
  expect(buckets.count).toBe(5);
  for (const p of [50, 99]) {
    expect(Math.abs(buckets.percentileNs(p) / whole.percentileNs(p) - 1)).toBeLessThan(0.033);
  }
  expect(Math.abs(buckets.meanNs / whole.meanNs - 1)).toBeLessThan(0.033);
  expect(shareAbove(whole, whole.percentileNs(50))).toBe(0.2);
});

test("one latency a row is split by kind", () => {
  const rows = [["cpu fault", 5], ["invalidation", 7], ["cpu fault", 9]].map(([kind, durationNs]) => ({
    kind,
    durationNs,
  }));
  const all = distributionsOf(columnsOf("Events", rows));
  expect(all.map((d) => [d.name, d.count, d.maxNs])).toEqual([["cpu fault", 2, 9], ["invalidation", 1, 7]]);
});

test("what holds no latencies is refused with what does", () => {
  expect(() => distributionsOf({} as never)).toThrow(
    /^Cannot draw latencies: got an object with no keys; a LatencyHistogram/,
  );
  expect(() => distributionsOf(columnsOf("t", [{ a: 1 }]))).toThrow(
    /got the table "t" with a; buckets \(lowNs, highNs, count\)/,
  );
  expect(() => distributionsOf(columnsOf("t", [{ ns: -1 }]))).toThrow(/got -1 in row 0 of ns/);
  expect(() => distributionsOf(columnsOf("t", [{ ns: NaN }]))).toThrow(/got NaN in row 0 of ns/);
  expect(() => distributionsOf(columnsOf("t", [{ ns: "5" }]))).toThrow(/"ns", which holds strings/);
  expect(() => distributionsOf(columnsOf("t", [{ lowNs: 5, highNs: 5, count: 1 }]))).toThrow(
    /highNs is not above its lowNs/,
  );
});
