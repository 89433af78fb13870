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
    s.submit(atNs, s.worker(), job, { lanes: [0], bytes, mostBytesPerSecond: rate, setupNs: 0, ...more });
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
  const there = start(0, 1000), back = start(0, 1000, { lanes: [1] });
  expect([s.endNs(there), s.endNs(back)]).toEqual([1000, 1000]);
});

describe("transfers that cross several lanes", () => {
  test("have what the narrowest leaves them, and leave the rest of the others to those that cross only these", () => {
    // Lanes: two links of 10 bytes a ns, and a switch of 12 above both; a third link above nothing.
    const s = new Shares(), rate = 10_000_000_000;
    s.lanes.push(rate, rate, 12_000_000_000);
    const start = (lanes: number[], bytes: number) => {
      const job = s.job();
      s.submit(0, s.worker(), job, { lanes, bytes, mostBytesPerSecond: rate, setupNs: 0 });
      return job;
    };
    const a = start([0, 2], 6000), b = start([1, 2], 3000), c = start([1], 4000);
    // b and c have 5 each of the second link; a has 7 of the switch until b ends at 600, and 10 from then on; so has c.
    expect([a, b, c].map((job) => s.endNs(job))).toEqual([780, 600, 700]);
  });

  test("no lane ever moves more than its rate, whatever crosses it", () => {
    const transfer = fc.record({
      at: fc.integer({ min: 0, max: 3000 }),
      bytes: fc.integer({ min: 1, max: 20_000 }),
      lanes: fc.subarray([0, 1, 2, 3], { minLength: 1 }),
    });
    const rates = fc.array(fc.integer({ min: 1_000_000_000, max: 9_000_000_000 }), {
      minLength: 4,
      maxLength: 4,
    });
    fc.assert(fc.property(fc.array(transfer, { minLength: 1, maxLength: 8 }), rates, (given, lanes) => {
      const crossed: { lane: number; to: number; bytes: number }[] = [];
      const s = new Shares((lane, _from, to, bytes) => crossed.push({ lane, to, bytes }));
      s.lanes.push(...lanes);
      const all = [...given].sort((x, y) => x.at - y.at);
      const jobs = all.map((t) => {
        const job = s.job();
        s.advance(t.at);
        s.submit(t.at, s.worker(), job, {
          lanes: t.lanes,
          bytes: t.bytes,
          mostBytesPerSecond: 8_000_000_000,
          setupNs: 0,
        });
        return job;
      });
      const ends = jobs.map((j) => s.endNs(j));
      s.advance(Math.max(...ends));
      all.forEach((t, i) => {
        const alone = transferNs(t.bytes, 0, Math.min(8_000_000_000, ...t.lanes.map((l) => lanes[l])));
        expect(ends[i] - t.at).toBeGreaterThanOrEqual(alone);
      });
      lanes.forEach((rate, lane) => {
        const here = crossed.filter((x) => x.lane === lane);
        for (const { to: end } of here) {
          const bytes = here.filter((x) => x.to <= end).reduce((n, x) => n + x.bytes, 0);
          const begin = Math.min(...all.filter((t) => t.lanes.includes(lane)).map((t) => t.at));
          expect(bytes * 1e9).toBeLessThanOrEqual(rate * (end - begin));
        }
      });
    }));
  });

  test("that pass at once while all is idle end as those that are waited for", () => {
    const transfer = fc.record({
      bytes: fc.integer({ min: 1, max: 30_000_000 }),
      setupNs: fc.integer({ min: 0, max: 5000 }),
      lanes: fc.subarray([0, 1], { minLength: 1 }),
    });
    fc.assert(fc.property(transfer, fc.integer({ min: 0, max: 5000 }), (t, at) => {
      const told: number[][][] = [[], []];
      const [fast, slow] = told.map((list) => new Shares((...x) => list.push(x)));
      for (const s of [fast, slow]) s.lanes.push(7_000_000_001, 3_000_000_000);
      const d = { ...t, mostBytesPerSecond: 5_000_000_000 }, job = slow.job();
      slow.submit(at, slow.worker(), job, d);
      const endNs = slow.endNs(job);
      slow.advance(endNs);
      expect([fast.pass(at, d), fast.nowNs, fast.idle]).toEqual([endNs, endNs, true]);
      expect(told[0]).toEqual(told[1]);
    }));
  });
});

test("a worker moves one descriptor after the other, with a setup before each", () => {
  const { s } = bench(1_000_000_000), w = s.worker(), job = s.job();
  for (let i = 0; i < 3; i++) {
    s.submit(0, w, job, { lanes: [0], bytes: 100, mostBytesPerSecond: 1_000_000_000, setupNs: 50 });
  }
  expect([s.queued(w), s.backlogBytes(w), s.nextEndNs(w), s.endNs(job)]).toEqual([3, 300, 150, 450]);
  s.advance(160);
  expect([s.queued(w), s.backlogBytes(w), s.open(job), s.nextEndNs(w)]).toEqual([2, 200, 2, 300]);
});
