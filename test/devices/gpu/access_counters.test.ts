import { describe, expect, test } from "vitest";
import { type AccessCounterOptions, AccessCounters } from "../../../lib/devices/gpu/access_counters.ts";
import { Arena } from "../../../lib/sim/arena.ts";
import { refuses } from "../../refusal.ts";

const make = (options: AccessCounterOptions = {}, entries = 8, capacity = 4) =>
  new AccessCounters(new Arena(), "counters", entries, capacity, options);

test("a region notifies at its threshold, once until it is cleared", () => {
  const c = make(), out = new Float64Array(c.batch);
  for (let i = 0; i < 255; i++) expect(c.count(512 + i, 1)).toBe(false);
  expect(c.count(700, 1)).toBe(true);
  expect(c.count(700, 1000)).toBe(false);
  expect([c.fetch(out), out[0], c.waiting]).toEqual([1, 512, 0]);
  c.clear(700);
  expect(c.count(700, 255)).toBe(false);
  expect(c.count(513, 1)).toBe(true);
});

test("the granularity says which pages count together", () => {
  const c = make({ granularity: "64 KiB", threshold: 2 });
  expect(c.count(0, 1)).toBe(false);
  expect(c.count(16, 1)).toBe(false);
  expect(c.count(15, 1)).toBe(true);
  expect(make({ granularity: "16 GiB" }).regionPages).toBe(4 * 1024 * 1024);
});

test("notifications come oldest first, a batch at most, and a full buffer drops them", () => {
  const c = make({ threshold: 1, batch: 3 }), out = new Float64Array(3);
  for (const r of [5, 1, 3, 0]) expect(c.count(512 * r, 1)).toBe(true);
  expect([c.count(512 * 2, 1), c.dropped]).toEqual([false, 1]);
  expect([c.fetch(out), [...out]]).toEqual([3, [2560, 512, 1536]]);
  expect([c.fetch(out), out[0], c.fetch(out)]).toEqual([1, 0, 0]);
});

test("two regions in one entry: the newer one counts", () => {
  const c = make({ threshold: 2 });
  c.count(0, 1);
  expect(c.count(512 * 8, 1)).toBe(false);
  expect(c.count(0, 1)).toBe(false);
  expect(c.count(0, 1)).toBe(true);
  c.clear(512 * 8);
  expect(c.count(0, 5)).toBe(false);
});

describe("refuses", () => {
  refuses([
    ["1 MiB", () => make({ granularity: "1 MiB" }), "1 MiB", "64 KiB, 2 MiB, 16 MiB, 16 GiB"],
    ["a threshold of 0", () => make({ threshold: 0 }), "1 to 65535"],
    ["a batch of 0", () => make({ batch: 0 }), "batch"],
  ]);
});
