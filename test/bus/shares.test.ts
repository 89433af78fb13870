import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Descriptor, Shares } from "../../lib/bus/shares.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";

/** A lane of a rate; each transfer has a worker and a job of its own. Returns its end, in ns. */
function bench(rate: number) {
  const crossed: { from: number; to: number; bytes: number }[] = [];
  const s = new Shares((_lane, from, to, bytes) => crossed.push({ from, to, bytes }));
  s.lanes.push(rate);
  const start = (atNs: number, bytes: number, more: Partial<Descriptor> = {}): number => {
    const job = s.job();
    s.advance(atNs);
    s.submit(atNs, s.worker(), job, { lane: 0, bytes, mostBytesPerSecond: rate, setupNs: 0, ...more });
    return job;
  };
  return { s, start, crossed };
}

describe("transfers on one lane", () => {
  test("alone takes exactly what transferNs() says", () => {
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 1 << 23 }),
      fc.integer({ min: 1_000_000, max: 100_000_000_000 }),
      fc.integer({ min: 0, max: 10_000 }),
      (bytes, rate, setupNs) => {
        const { s, start } = bench(rate);
        expect(s.endNs(start(0, bytes, { setupNs }))).toBe(transferNs(bytes, setupNs, rate));
      },
    ));
  });

  test("n that begin together each take n times as long as one alone", () => {
    for (const n of [1, 2, 3, 5, 8]) {
      const { s, start } = bench(120_000_000_000);
      const jobs = Array.from({ length: n }, () => start(0, 1_200_000));
      expect(jobs.map((j) => s.endNs(j))).toEqual(jobs.map(() => n * 10_000));
    }
  });

  test("one that comes later halves what the first has left, and has all of it after the first's end", () => {
    const { s, start, crossed } = bench(1_000_000_000);
    const a = start(0, 1000);
    expect(s.endNs(a)).toBe(1000);
    const b = start(600, 1000);
    // 400 bytes are left of a: 800 ns at half the rate; b has then moved 400 and needs 600 ns more.
    expect([s.endNs(a), s.endNs(b)]).toEqual([1400, 2000]);
    s.advance(2000);
    expect(crossed).toEqual([{ from: 0, to: 1400, bytes: 1000 }, { from: 600, to: 2000, bytes: 1000 }]);
  });

  test("what one that is slow by itself leaves goes to the others", () => {
    const { s, start } = bench(10_000_000_000);
    const slow = start(0, 2000, { mostBytesPerSecond: 2_000_000_000 }), fast = start(0, 8000);
    expect([s.endNs(slow), s.endNs(fast)]).toEqual([1000, 1000]);
  });

  test("longer than the arithmetic is exact for are moved in pieces, with at most 1 ns for each", () => {
    const { s, start } = bench(7_000_000_000), bytes = 100 * (1 << 20);
    const ns = s.endNs(start(0, bytes)), exact = transferNs(bytes, 0, 7_000_000_000);
    expect(ns - exact).toBeGreaterThanOrEqual(0);
    expect(ns - exact).toBeLessThanOrEqual(13);
  });

  test("shares add up: nothing is faster than alone, the lane never above its rate, and never idle with work", () => {
    const transfer = fc.record({
      at: fc.integer({ min: 0, max: 3000 }),
      bytes: fc.integer({ min: 1, max: 20_000 }),
      most: fc.constantFrom(500_000_000, 3_000_000_000, 9_000_000_000),
    });
    fc.assert(fc.property(
      fc.array(transfer, { minLength: 1, maxLength: 10 }),
      fc.constantFrom(1_000_000_000, 7_000_000_001, 8_999_999_999),
      (given, rate) => {
        const { s, start, crossed } = bench(rate), all = [...given].sort((x, y) => x.at - y.at);
        const jobs = all.map((t) => start(t.at, t.bytes, { mostBytesPerSecond: t.most }));
        const ends = jobs.map((j) => s.endNs(j)), last = Math.max(...ends);
        s.advance(last);
        all.forEach((t, i) => {
          const alone = transferNs(t.bytes, 0, Math.min(rate, t.most));
          expect(ends[i] - t.at).toBeGreaterThanOrEqual(alone);
        });
        // Looking ahead, at whatever time, does not change what comes.
        expect(jobs.map((j) => s.endNs(j))).toEqual(ends);
        expect(crossed.map((x) => x.bytes).sort()).toEqual(all.map((t) => t.bytes).sort());
        // What has crossed by any end fits into the rate since the first began.
        for (const end of ends) {
          const bytes = crossed.filter((x) => x.to <= end).reduce((n, x) => n + x.bytes, 0);
          expect(bytes * 1e9).toBeLessThanOrEqual(rate * (end - all[0].at));
        }
        // Work conserving, up to a rounded-off byte per second and a nanosecond for each: not later than one after the other.
        const serial = all.reduce((n, t) => n + transferNs(t.bytes, 0, Math.min(rate, t.most)) + 2, 0);
        expect(last).toBeLessThanOrEqual(all[all.length - 1].at + serial);
      },
    ));
  });
});

test("lanes do not touch each other: a link is full duplex", () => {
  const { s, start } = bench(1_000_000_000);
  s.lanes.push(1_000_000_000);
  const there = start(0, 1000), back = start(0, 1000, { lane: 1 });
  expect([s.endNs(there), s.endNs(back)]).toEqual([1000, 1000]);
});

test("a worker moves one descriptor after the other, with a setup before each", () => {
  const { s } = bench(1_000_000_000), w = s.worker(), job = s.job();
  for (let i = 0; i < 3; i++) {
    s.submit(0, w, job, { lane: 0, bytes: 100, mostBytesPerSecond: 1_000_000_000, setupNs: 50 });
  }
  expect([s.queued(w), s.backlogBytes(w), s.nextEndNs(w), s.endNs(job)]).toEqual([3, 300, 150, 450]);
  s.advance(160);
  expect([s.queued(w), s.backlogBytes(w), s.open(job), s.nextEndNs(w)]).toEqual([2, 200, 2, 300]);
});
