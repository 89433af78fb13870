import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HINT_NONE, HINT_PIN, HINT_THROTTLE, Thrashing } from "../../../lib/devices/gpu/thrashing.ts";
import type { ThrashingOptions } from "../../../lib/devices/gpu/thrashing.ts";
import { Arena } from "../../../lib/sim/arena.ts";
import { refuses, wrong } from "../../refusal.ts";
import { pagesOf } from "./block.ts";

const CPU = 0, GPU = 1, US = 1000, LAPSE = 500 * US;
/** Over PCIe: a GPU maps the host's memory, the CPU maps no GPU's. */
const PCIE = Uint32Array.of(0b111, 0b010, 0b100);

function make(options: ThrashingOptions = {}, watched = 2) {
  const arena = new Arena();
  return {
    arena,
    t: new Thrashing({ arena, prefix: "thrash", blocks: 4, watched, reachableBy: PCIE }, options),
  };
}

/** Page 5 of block 1 moves to and fro every 100 us, until it thrashes; returns the time after. */
function fight(t: Thrashing, moves = 5, from = 0): number {
  let now = from;
  for (let i = 0; i < moves; i++, now += 100 * US) t.migrated(1, 5, 6, i % 2 === 0 ? GPU : CPU, now);
  return now;
}

const thrashing = (t: Thrashing) => {
  const map = new Uint32Array(16);
  t.copyTo(1, map);
  return pagesOf(map);
};

test("a page thrashes at the third move within a lapse of the one before, once its block is watched", () => {
  const { t } = make();
  // The first move is remembered by the block only, the second begins to watch: three more make three events.
  const began = [0, 1, 2, 3, 4].map((i) => t.migrated(1, 5, 6, i % 2 === 0 ? GPU : CPU, i * 100 * US));
  expect(began).toEqual([0, 0, 0, 0, 1]);
  expect(thrashing(t)).toEqual([5]);
});

test("moves to one processor only, or a lapse apart, are no thrashing", () => {
  const { t } = make();
  for (let i = 0; i < 20; i++) t.migrated(1, 5, 6, GPU, i * 100 * US);
  expect(thrashing(t)).toEqual([]);
  for (let i = 20; i < 40; i++) t.migrated(1, 5, 6, i % 2, i * (LAPSE + 1));
  expect(thrashing(t)).toEqual([]);
});

test("a move a lapse later ends it", () => {
  const { t } = make();
  const now = fight(t);
  t.migrated(1, 5, 6, CPU, now + LAPSE + 1);
  expect(thrashing(t)).toEqual([]);
});

test("one processor is served, the other naps for a lapse; after ten naps the page is pinned", () => {
  const { t } = make();
  let now = fight(t), naps = 0, hint = HINT_NONE;
  const seen: number[] = [];
  for (let i = 0; i < 400 && hint < HINT_PIN; i++, now += 50 * US) {
    const p = i % 2 === 0 ? GPU : CPU;
    hint = t.hint(1, 5, p, p === GPU ? CPU : GPU, -1, now);
    seen.push(hint);
    if (hint === HINT_THROTTLE) {
      naps++;
      expect(t.napEnd(1, 5)).toBeGreaterThan(now);
    } else if (hint === HINT_NONE) t.migrated(1, 5, 6, p, now);
  }
  expect(seen[0]).toBe(HINT_NONE);
  expect(seen[1]).toBe(HINT_THROTTLE);
  expect(naps).toBeGreaterThanOrEqual(10);
  expect(t.pinnedOn(1, 5)).toBe(hint - HINT_PIN);
  // The pin lasts 300 lapses.
  const pinnedNs = now - 50 * US;
  expect(t.expired(pinnedNs + 150_000 * US - 1)).toBe(-1);
  expect(t.expired(pinnedNs + 150_000 * US)).toBe(512 + 5);
  t.release(1, 5, 6);
  expect([t.pinnedOn(1, 5), t.expired(1e15)]).toEqual([-1, -1]);
  expect(thrashing(t)).toEqual([]);
});

test("a page whose preferred location all can reach is pinned there at once", () => {
  const { t } = make(), now = fight(t);
  expect(t.hint(1, 5, GPU, CPU, CPU, now)).toBe(HINT_PIN + CPU);
  // Not on the GPU, which the CPU cannot map over PCIe.
  const other = make().t;
  fight(other);
  expect(other.hint(1, 5, CPU, GPU, GPU, now)).toBeLessThan(HINT_PIN);
});

test("what is pinned on the host is mapped remotely by a GPU", () => {
  const { t } = make(), now = fight(t);
  t.hint(1, 5, GPU, CPU, CPU, now);
  expect(t.hint(1, 5, GPU, CPU, -1, now + 10)).toBe(HINT_PIN + CPU);
});

test("a pinned page with revocations makes all but one nap", () => {
  const { t } = make(), now = fight(t);
  expect(t.hint(1, 5, GPU, CPU, CPU, now)).toBe(HINT_PIN + CPU);
  t.revocation(1, 5, 6, CPU, now + 10);
  t.hint(1, 5, GPU, CPU, CPU, now + 20);
  expect(t.hint(1, 5, CPU, CPU, CPU, now + 30)).toBe(HINT_THROTTLE);
});

test("a block quiet for an epoch forgets, four times", () => {
  const { t } = make();
  let now = 0;
  for (let k = 0; k < 6; k++) {
    now = fight(t, 6, now) + 2000 * LAPSE + 1;
    expect(thrashing(t)).toEqual([5]);
    t.hint(1, 5, GPU, CPU, -1, now);
    expect(thrashing(t)).toEqual(k < 4 ? [] : [5]);
    // A fifth time it does not: what is left is ended by the next move, a lapse too late.
    if (k >= 4) t.migrated(1, 5, 6, GPU, now);
    now += 10 * LAPSE;
  }
});

test("more blocks than can be watched do not thrash", () => {
  const { t } = make({}, 1);
  for (let i = 0; i < 5; i++) t.migrated(2, 0, 1, i % 2, i * 100 * US);
  fight(t);
  expect(thrashing(t)).toEqual([]);
  t.drop(2);
  fight(t, 5, 10_000 * US);
  expect(thrashing(t)).toEqual([5]);
});

test("its state comes back with a snapshot, and a dropped block leaves none", () => {
  const { arena, t } = make();
  const now = fight(t);
  const saved = arena.snapshot(), digest = arena.digest();
  t.hint(1, 5, GPU, CPU, CPU, now);
  expect(arena.digest()).not.toBe(digest);
  arena.restore(saved);
  expect(arena.digest()).toBe(digest);
  t.drop(1);
  expect(thrashing(t)).toEqual([]);
  expect(arena.differences(make().arena.snapshot()).filter((d) => !d.startsWith("thrash.ends"))).toEqual([]);
});

test("whatever happens: pinned pages thrash, naps end, and every pin is found when it runs out", () => {
  const step = fc.record({
    op: fc.constantFrom("migrated", "migrated", "hint", "hint", "revocation", "release"),
    page: fc.nat({ max: 2 }),
    p: fc.nat({ max: 2 }),
    at: fc.nat({ max: 2 }),
    preferred: fc.constantFrom(-1, -1, 0, 1),
    ns: fc.constantFrom(1, 10_000, 100_000, 600_000),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (program) => {
    const { t } = make({ threshold: 2, pinThreshold: 2 });
    const pinned = new Set<number>();
    let now = 0;
    for (const { op, page, p, at, preferred, ns } of program) {
      now += ns;
      if (op === "release") {
        t.release(1, page, page + 1);
        pinned.delete(page);
      } else if (op === "hint") {
        if (t.hint(1, page, p, at, preferred, now) >= HINT_PIN) pinned.add(page);
      } else t[op](1, page, page + 1, p, now);
      for (let i = 0; i < 3; i++) expect(t.pinnedOn(1, i) >= 0).toBe(pinned.has(i));
      expect(thrashing(t)).toEqual(expect.arrayContaining([...pinned]));
    }
    for (let at = t.expired(1e15); at >= 0; at = t.expired(1e15)) {
      expect(pinned.delete(at - 512)).toBe(true);
      t.release(1, at - 512, at - 511);
    }
    expect(pinned.size).toBe(0);
  }));
});

describe("refuses", () => {
  refuses([
    ["a threshold of 8", () => make({ threshold: 8 }), "threshold", "1 to 7"],
    ["an unknown option", () => make(wrong({ lapse: 3 })), '"lapse"', "did you mean lapseNs"],
  ]);
});
