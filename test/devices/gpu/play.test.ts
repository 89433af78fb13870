import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { playPolicies } from "../../../lib/devices/gpu/play.ts";
import type { PlayOptions } from "../../../lib/devices/gpu/play_layout.ts";
import {
  EVICTION_POLICIES,
  PRE_EVICTION_POLICIES,
  PREFETCH_POLICIES,
} from "../../../lib/devices/gpu/policies.ts";
import type { EvictionPolicy, PrefetchPolicy } from "../../../lib/devices/gpu/policy.ts";
import { type PageReferences, referencesOf } from "../../../lib/devices/gpu/references.ts";
import { builtinTrace } from "../../../lib/workloads/trace_file.ts";
import { refuses, wrong } from "../../refusal.ts";
import { pagesOf, range } from "./block.ts";

const KIB = 1024, PAGE = 4 * KIB;

/** References to pages of regions, each read unless its number is odd. */
function references(
  page: readonly number[],
  regions: readonly [vpn: number, pages: number][],
): PageReferences {
  let firstPage = 0;
  const laid = regions.map(([startVpn, pages]) => {
    const r = { startVpn, pages, firstPage };
    firstPage += pages;
    return r;
  });
  const write = Uint8Array.from(page, (p) => p & 1);
  return { rows: page.length, page: Uint32Array.from(page), write, pages: firstPage, regions: laid };
}

/** Some hundred references to 1,100 pages in two regions, which begin and end inside VA blocks; local, as programs are. */
const anyReferences = fc.array(
  fc.record({
    at: fc.nat({ max: 1099 }),
    n: fc.integer({ min: 1, max: 40 }),
    stride: fc.constantFrom(0, 1, 1, 7),
  }),
  { minLength: 1, maxLength: 40 },
).map((runs) => {
  const page = runs.flatMap(({ at, n, stride }) => range(0, n).map((i) => (at + i * stride) % 1100));
  return references(page, [[1000, 700], [5000, 400]]);
});
const anyUnit = fc.constantFrom(4 * KIB, 8 * KIB, 64 * KIB, 256 * KIB, 2048 * KIB);
const onDemand = { prefetch: "none", frames: "page" } as const;

describe("counts as one would by hand", () => {
  test("a loop over one page more than fits: LRU misses always, Belady once a round", () => {
    const page = range(0, 10).flatMap(() => [0, 1, 2, 3]), refs = references(page, [[512, 4]]);
    const play = (eviction: string) =>
      playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: 3 * PAGE, eviction });
    expect(play("lru-access")).toEqual({
      references: 40,
      farFaults: 40,
      refaults: 36,
      migratedPages: 40,
      migratedBytes: 40 * PAGE,
      returnedPages: 36,
      evictions: 37,
      evictedPages: 37,
      evictedDirtyPages: 18,
      residentPages: 3,
    });
    expect(play("belady").farFaults).toBe(4 + 12);
  });

  test("by allocation and by access differ where a page is used again", () => {
    const refs = references([0, 1, 0, 2, 0, 1, 0, 2, 0], [[0, 3]]);
    const play = (eviction: string) =>
      playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: 2 * PAGE, eviction }).farFaults;
    expect([play("lru-allocation"), play("lru-access"), play("belady")]).toEqual([7, 5, 5]);
  });

  test("a unit takes its whole memory, or a page at a time", () => {
    // One page in each of three blocks.
    const refs = references([0, 512, 1024, 0], [[0, 1536]]);
    const play = (frames: "unit" | "page") =>
      playPolicies(refs, { prefetch: "none", memory: "4 MiB", frames }).farFaults;
    expect([play("unit"), play("page")]).toEqual([4, 3]);
  });

  test("the prefetcher changes with the first eviction", () => {
    const refs = references([0, 16, 32, 48, 64, 80], [[0, 96]]);
    const run = playPolicies(refs, {
      memory: 48 * PAGE,
      unit: "64 KiB",
      prefetch: "64 KiB",
      prefetchWhenFull: "none",
    });
    // The policy is asked before room is made: the first fault that finds none still brings its 64 KiB.
    expect(run.migratedPages).toBe(4 * 16 + 2);
  });

  test("the tree empties what is left of a sub-tree when less than half stays", () => {
    // Four leaves are there; leaf 0 goes, then leaf 1: two of four stay, and half is enough; with leaf 2 all go.
    const refs = references([0, 16, 32, 48, 64, 80, 96], [[0, 64], [512, 64]]);
    const play = (preEviction: string) =>
      playPolicies(refs, { memory: 64 * PAGE, unit: "64 KiB", prefetch: "64 KiB", preEviction });
    expect([play("none").evictions, play("none").evictedPages]).toEqual([3, 48]);
    expect([play("tree50").evictions, play("tree50").evictedPages]).toEqual([3, 64]);
  });
});

/** LRU by access with pages as units, as anyone would write it. */
function plainLru(page: Uint32Array, most: number): number {
  let faults = 0;
  const list: number[] = [];
  for (const p of page) {
    const at = list.indexOf(p);
    if (at >= 0) list.splice(at, 1);
    else {
      faults++;
      if (list.length === most) list.shift();
    }
    list.push(p);
  }
  return faults;
}

/** Belady's rule by looking ahead. */
function plainBelady(page: Uint32Array, most: number): number {
  let faults = 0;
  const there = new Set<number>();
  page.forEach((p, i) => {
    if (there.has(p)) return;
    faults++;
    if (there.size === most) {
      const next = (q: number) => (page.indexOf(q, i + 1) + page.length + 1) % (page.length + 1);
      const last = [...there].map((q) => [page.indexOf(q, i + 1) < 0 ? Infinity : next(q), q]);
      there.delete(last.reduce((x, y) => y[0] > x[0] ? y : x)[1]);
    }
    there.add(p);
  });
  return faults;
}

test("of references in flight those that hit go first", () => {
  // Memory for two pages, 0 and 1 are there; 2 faults. In order it takes the room of 0, which then faults for 1's, and so on.
  const refs = references([0, 1, 2, 0, 1], [[0, 3]]);
  const play = (inFlight: number) =>
    playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: 2 * PAGE, eviction: "lru-access", inFlight })
      .farFaults;
  expect([play(1), play(2)]).toEqual([5, 4]);
});

describe("without prefetch", () => {
  const memory = fc.integer({ min: 1, max: 200 });

  test("LRU by access and Belady fault as often as their plain forms", () => {
    fc.assert(fc.property(anyReferences, memory, (refs, most) => {
      const play = (eviction: string) =>
        playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: most * PAGE, eviction }).farFaults;
      expect(play("lru-access")).toBe(plainLru(refs.page, most));
      expect(play("belady")).toBe(plainBelady(refs.page, most));
    }));
  });

  test("Belady is the lower bound of all others", () => {
    fc.assert(fc.property(anyReferences, memory, fc.nat(), (refs, most, seed) => {
      const faults = EVICTION_POLICIES.map((eviction) =>
        playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: most * PAGE, eviction, seed }).farFaults
      );
      expect(Math.min(...faults)).toBe(faults[EVICTION_POLICIES.findIndex((p) => p.name === "belady")]);
    }));
  });

  test("LRU by access never faults more with more memory", () => {
    fc.assert(fc.property(anyReferences, anyUnit, memory, memory, (refs, unit, units, more) => {
      const play = (n: number) =>
        playPolicies(refs, { prefetch: "none", unit, memory: n * unit, eviction: "lru-access" }).farFaults;
      expect(play(units + more)).toBeLessThanOrEqual(play(units));
    }));
  });

  test("by allocation more memory can fault more: Belady's anomaly", () => {
    const refs = references([1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5], [[0, 6]]);
    const play = (n: number) =>
      playPolicies(refs, { ...onDemand, unit: "4 KiB", memory: n * PAGE }).farFaults;
    expect([play(3), play(4)]).toEqual([9, 10]);
  });
});

test("whatever the policies: pages are kept account of, memory is never exceeded, nothing wanted is there or unmapped", () => {
  const policies = fc.record({
    prefetch: fc.constantFrom(...PREFETCH_POLICIES),
    prefetchWhenFull: fc.constantFrom(...PREFETCH_POLICIES),
    eviction: fc.constantFrom(...EVICTION_POLICIES),
    preEviction: fc.constantFrom(...PRE_EVICTION_POLICIES),
    frames: fc.constantFrom("unit", "page"),
    seed: fc.nat(),
  });
  fc.assert(
    fc.property(anyReferences, anyUnit, fc.integer({ min: 1, max: 30 }), policies, (refs, unit, n, o) => {
      let moved = 0;
      const options: PlayOptions = {
        ...o,
        unit,
        memory: n * unit,
        watch(b) {
          const there = new Set(pagesOf(b.resident)),
            valid = new Set(pagesOf(b.valid)),
            wanted = pagesOf(b.wanted);
          expect(wanted.filter((i) => there.has(i) || !valid.has(i))).toEqual([]);
          moved += wanted.length;
        },
      };
      const run = playPolicies(refs, options);
      expect(run.migratedPages).toBe(moved);
      expect(run.residentPages).toBe(run.migratedPages - run.evictedPages);
      expect(run.residentPages).toBeLessThanOrEqual((n * unit) / PAGE);
      expect(run.farFaults).toBeGreaterThanOrEqual(run.refaults);
      expect(run.returnedPages).toBeLessThanOrEqual(run.evictedPages);
      expect(run.evictedDirtyPages).toBeLessThanOrEqual(run.evictedPages);
      // Who only looks changes nothing, and the same seed gives the same.
      expect(playPolicies(refs, { ...options, watch: undefined })).toEqual(run);
    }),
  );
});

test("with memory for all, prefetch only ever saves faults", () => {
  fc.assert(fc.property(anyReferences, (refs) => {
    const distinct = new Set(refs.page).size;
    for (const prefetch of PREFETCH_POLICIES) {
      const run = playPolicies(refs, { memory: "1 GiB", prefetch });
      if (prefetch.name === "none") expect(run.farFaults).toBe(distinct);
      expect(run.farFaults).toBeLessThanOrEqual(distinct);
      expect(run.evictions).toBe(0);
    }
  }));
});

test("policies of one's own are asked", () => {
  const all: PrefetchPolicy = {
    name: "all",
    grow: (b) => b.wanted.forEach((_, w) => b.wanted[w] = b.valid[w] & ~b.resident[w]),
  };
  const newest: EvictionPolicy = {
    name: "newest",
    needsFuture: false,
    make({ busy }) {
      const stack: number[] = [];
      return {
        watchesAccess: false,
        allocated: (c) => stack.push(c),
        accessed() {},
        freed: (c) => stack.splice(stack.indexOf(c), 1),
        victim: () => stack.findLast((c) => busy[c] === 0) ?? -1,
      };
    },
  };
  const refs = references([0, 512, 1024, 0, 1], [[0, 1536]]);
  const run = playPolicies(refs, { memory: "4 MiB", prefetch: all, eviction: newest });
  expect([run.farFaults, run.migratedPages, run.refaults]).toEqual([3, 1536, 0]);
});

test("a recorded program: less memory, more faults, and Belady below all", async () => {
  const trace = await builtinTrace("gzip-licenses");
  const play = (memory: number, eviction: string) =>
    playPolicies(trace, { memory: memory * PAGE, unit: "4 KiB", prefetch: "none", eviction }).farFaults;
  const distinct = new Set(trace.page).size;
  expect(play(distinct, "lru-access")).toBe(distinct);
  const half = EVICTION_POLICIES.map((p) => play(distinct >>> 1, p.name));
  expect(Math.min(...half)).toBe(play(distinct >>> 1, "belady"));
  expect(Math.min(...half)).toBeGreaterThan(distinct);
});

test("referencesOf() writes out ranges as every access of theirs", () => {
  const ranges = fc.array(
    fc.record({ at: fc.nat({ max: 90 }), n: fc.integer({ min: 1, max: 10 }), write: fc.nat({ max: 1 }) }),
  );
  fc.assert(fc.property(ranges, (accesses) => {
    const batch = {
      n: accesses.length,
      vpn: Float64Array.from(accesses, (x) => x.at < 50 ? 1000 + Math.min(x.at, 40) : 2000 + x.at - 50),
      pages: Uint32Array.from(accesses, (x) => x.n),
      write: Uint8Array.from(accesses, (x) => x.write),
    };
    const refs = referencesOf([batch], [{ vpn: 1000, pages: 50 }, { vpn: 2000, pages: 50 }]);
    const pages = accesses.flatMap((x) =>
      range(0, x.n).map((i) => (x.at < 50 ? Math.min(x.at, 40) : x.at) + i)
    );
    expect([...refs.page]).toEqual(pages);
    expect([...refs.write]).toEqual(accesses.flatMap((x) => Array(x.n).fill(x.write)));
    expect(refs.rows).toBe(pages.length);
  }));
});

describe("refuses", () => {
  const refs = references([0], [[0, 1]]);
  const accesses = { n: 1, vpn: Float64Array.of(7), pages: Uint32Array.of(2), write: Uint8Array.of(0) };
  refuses([
    ["no trace", () => playPolicies(wrong([]), { memory: "1 MiB" }), "an array of 0", "builtinTrace"],
    [
      "a page outside",
      () => playPolicies(references([3], [[0, 2]]), { memory: "2 MiB" }),
      "page 3",
      "0 to 1",
    ],
    ["less memory than a unit", () => playPolicies(refs, { memory: "1 MiB" }), "1 MiB", "2 MiB"],
    ["a unit of 12 KiB", () => playPolicies(refs, { memory: "4 MiB", unit: "12 KiB" }), "12 KiB"],
    [
      "an unknown option",
      () => playPolicies(refs, wrong({ memory: "4 MiB", evict: 1 })),
      "did you mean eviction",
    ],
    [
      "an unknown policy",
      () => playPolicies(refs, { memory: "4 MiB", preEviction: "tree" }),
      '"none", "tree50"',
    ],
    [
      "unknown frames",
      () => playPolicies(refs, wrong({ memory: "4 MiB", frames: "big" })),
      '"unit" and "page"',
    ],
    ["an access outside", () => referencesOf([accesses], [{ vpn: 0, pages: 8 }]), "pages 7 to 8", "map them"],
    [
      "ranges out of order",
      () => referencesOf([], [{ vpn: 8, pages: 8 }, { vpn: 0, pages: 9 }]),
      "sort them",
    ],
  ]);
});
