import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import {
  MAX_PAGES,
  MEMORY_DEVICE_PRIVATE,
  type PagemapOps,
  Pages,
  SECTION_PAGES,
  ZERO_PFN,
  type Zone,
} from "../../lib/mm/pages.ts";
import { complete } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim } from "../../lib/sim/sim.ts";

function made(ramPages: number, deviceSizes: readonly number[] = [], wordsPerPage = 1) {
  const sim = new Sim(1, 4), freed: number[] = [];
  const pages = new Pages(
    sim,
    ramPages,
    deviceSizes.reduce((n, x) => n + x, 0),
    deviceSizes.length,
    wordsPerPage,
  );
  const ops: PagemapOps = {
    *migrateToRam() {
      yield DUE;
      return 0;
    },
    pageFree: (_a, pfn) => void freed.push(pfn),
  };
  const zones = deviceSizes.map((n, i) => {
    const zone = pages.declareZone(`device ${i}`, MEMORY_DEVICE_PRIVATE, ops, i + 1)!;
    pages.open(zone, pages.freeRegion(n), n);
    return zone;
  });
  return { sim, pages, zones: [pages.zones[0], ...zones], freed };
}

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ take: fc.integer({ min: 1, max: 200 }), zone: fc.nat({ max: 2 }) }) },
  {
    weight: 2,
    arbitrary: fc.record({ give: fc.array(fc.nat(), { maxLength: 50 }), zone: fc.nat({ max: 2 }) }),
  },
);

describe("the allocator of frames", () => {
  test("gives the lowest free frame of the zone, as a set of numbers would", () => {
    fc.assert(fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }),
      fc.integer({ min: 1, max: 300 }),
      (program, ram, device) => {
        const { pages, zones } = made(ram, [device, 40]), model = zones.map(() => new Set<number>());
        model[0].add(ZERO_PFN);
        const lowest = (z: Zone, used: Set<number>) => {
          for (let pfn = z.start; pfn < z.end; pfn++) if (!used.has(pfn)) return pfn;
          return -1;
        };
        for (const s of program) {
          const zone = zones[s.zone], used = model[s.zone];
          if ("take" in s) {
            for (let i = 0; i < s.take; i++) {
              const expected = lowest(zone, used), pfn = pages.take(zone);
              expect(pfn).toBe(expected);
              if (pfn < 0) break;
              expect([pages.refcount[pfn], pages.isFree(pfn)]).toEqual([1, false]);
              used.add(pfn);
            }
          } else {
            for (const pick of s.give) {
              const held = [...used].filter((pfn) => pfn !== ZERO_PFN);
              if (held.length === 0) break;
              const pfn = held[pick % held.length];
              pages.put(0, pfn);
              expect(pages.isFree(pfn)).toBe(true);
              used.delete(pfn);
            }
          }
          zones.forEach((z, i) => expect(pages.used(z)).toBe(model[i].size));
        }
      },
    ));
  });

  test("fills a zone of many words to the last frame, and finds the one hole in it", () => {
    const size = 2 * SECTION_PAGES + 1037, { pages, zones: [, zone] } = made(16, [size]);
    for (let i = 0; i < size; i++) if (pages.take(zone) !== zone.start + i) throw new Error(`not frame ${i}`);
    expect([pages.take(zone), pages.used(zone)]).toEqual([-1, size]);
    for (const i of [0, 1, 31, 32, 1023, 1024, 32767, 32768, 65535, 65536, size - 1]) {
      pages.put(0, zone.start + i);
      expect(pages.take(zone)).toBe(zone.start + i);
      expect(pages.take(zone)).toBe(-1);
    }
    // Two holes: the lower one comes first, whichever was made last.
    pages.put(0, zone.start + 40_000);
    pages.put(0, zone.start + 70);
    expect([pages.take(zone), pages.take(zone)]).toEqual([zone.start + 70, zone.start + 40_000]);
  });

  test("equal sets of frames are equal states, however they came about", () => {
    const { sim, pages, zones } = made(100, [50]), [ram, device] = zones;
    const take = (z: Zone, n: number) => Array.from({ length: n }, () => pages.take(z));
    take(ram, 30);
    take(device, 10);
    const before = sim.state.snapshot(), hash = sim.state.hash();
    const more = [...take(ram, 20), ...take(device, 5)];
    for (const pfn of more.reverse()) pages.put(0, pfn);
    expect(pages.used(ram)).toBe(31);
    // What differs are the marks that shorten the next search and the next look at the columns.
    const columns = sim.state.differences(before).map((d) => d.replace(/\[.*/, ""));
    expect(columns).toEqual(["zone.fresh", "zone.lowest"]);
    sim.state.restore(before);
    expect(sim.state.hash()).toBe(hash);
  });

  test("a device's memory begins at a section, from the top down, and cannot exceed what the machine was built for", () => {
    const { zones: [ram, one, two] } = made(100, [SECTION_PAGES + 1, 5]);
    expect([ram.start, ram.end]).toEqual([0, 100]);
    expect([one.start, one.end]).toEqual([3 * SECTION_PAGES, 4 * SECTION_PAGES + 1]);
    expect([two.start, two.end]).toEqual([2 * SECTION_PAGES, 2 * SECTION_PAGES + 5]);
    const { pages } = made(16, [16]);
    expect(pages.freeRegion(2 * SECTION_PAGES)).toBe(-1);
    expect(() => new Pages(new Sim(1, 1), MAX_PAGES + 1, 0, 0, 1)).toThrow(UsageError);
  });

  test("a removed range is free for others, holds nothing of what was there, and comes back", () => {
    fc.assert(fc.property(
      fc.array(fc.record({ zone: fc.integer({ min: 1, max: 3 }), take: fc.nat({ max: 40 }) }), {
        maxLength: 30,
      }),
      fc.tuple(...[1, 2, 3].map(() => fc.integer({ min: 1, max: 2 * SECTION_PAGES }))),
      (program, sizes) => {
        const { sim, pages, zones } = made(16, sizes), rows = (z: Zone) => [z.start, z.end];
        for (const z of zones.slice(1)) pages.close(z);
        const empty = sim.state.hash(), saved = sim.state.snapshot();
        for (const { zone: i, take } of program) {
          const zone = zones[i], n = sizes[i - 1];
          if (zone.end > zone.start) {
            for (let p = zone.start; p < zone.end && pages.used(zone) > 0; p++) {
              if (!pages.isFree(p)) pages.put(0, p);
            }
            pages.close(zone);
            continue;
          }
          const start = pages.freeRegion(n);
          expect(start % SECTION_PAGES).toBe(0);
          expect(start).toBeGreaterThanOrEqual(16);
          pages.open(zone, start, n);
          const others = zones.filter((z) => z !== zone && z.end > z.start).map(rows);
          for (const [s, e] of others) expect(s >= zone.end || e <= zone.start).toBe(true);
          for (let j = 0; j < Math.min(take, n); j++) {
            const pfn = pages.take(zone);
            expect([pages.word[pfn], pages.zoneOf(pfn)]).toEqual([0, zone]);
            pages.word[pfn] = 7 + j;
          }
        }
        for (const zone of zones.slice(1)) {
          for (let p = zone.start; p < zone.end && pages.used(zone) > 0; p++) {
            if (!pages.isFree(p)) pages.put(0, p);
          }
          if (zone.end > zone.start) pages.close(zone);
        }
        expect(sim.state.hash()).toBe(empty);
        sim.state.restore(saved);
        expect(zones.slice(1).map(rows)).toEqual([[0, 0], [0, 0], [0, 0]]);
      },
    ));
  });

  test("zoneOf and isDevicePrivate go by the frame", () => {
    const { pages, zones: [ram, one, two] } = made(100, [5, 5]);
    expect(pages.zoneOf(99)).toBe(ram);
    expect(pages.zoneOf(one.start)).toBe(one);
    expect(pages.zoneOf(two.end - 1)).toBe(two);
    expect([0, 99, one.start, two.start].map((pfn) => pages.isDevicePrivate(pfn))).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });
});

describe("references", () => {
  test("the last one frees the page; the device hears of it first", () => {
    const { pages, zones: [, device], freed } = made(16, [4]), pfn = pages.take(device);
    pages.refcount[pfn]++;
    pages.put(0, pfn);
    expect([freed, pages.isFree(pfn)]).toEqual([[], false]);
    pages.put(0, pfn);
    expect([freed, pages.isFree(pfn)]).toEqual([[pfn], true]);
  });

  test("a second free, a free of what is mapped, a reference nobody held: each throws", () => {
    const { pages, zones: [ram] } = made(16), pfn = pages.take(ram);
    pages.put(0, pfn);
    expect(() => pages.put(0, pfn)).toThrow("lost a reference that nobody held");
    pages.refcount[pfn] = 1;
    expect(() => pages.put(0, pfn)).toThrow(`page ${pfn} is freed twice`);
    const mapped = pages.take(ram);
    pages.mapcount[mapped] = 1;
    expect(() => pages.put(0, mapped)).toThrow("is freed while 1 entries map it");
  });
});

describe("page locks", () => {
  test("are had by one at a time; who waits is woken when it is seen unlocked", () => {
    const { sim, pages, zones: [ram] } = made(16), pfn = pages.take(ram), log: string[] = [];
    expect([pages.trylock(pfn), pages.trylock(pfn)]).toEqual([true, false]);
    function* waiter(): Proc {
      yield* pages.waitUnlocked(0, pfn);
      log.push("woken");
    }
    function* holder(): Proc {
      if (sim.due(1)) yield DUE;
      pages.unlock(pfn);
      log.push("unlocked");
    }
    complete(sim, [{ a: 0, proc: waiter() }, { a: 1, proc: holder() }]);
    expect(log).toEqual(["unlocked", "woken"]);
    expect(() => pages.unlock(pfn)).toThrow("is unlocked but was not locked");
  });

  test("are not waited for in an atomic context", () => {
    const { sim, pages } = made(16);
    sim.enterAtomic(0);
    expect(() => pages.waitUnlocked(0, 3).next()).toThrow("atomic context: page lock");
  });
});

test.each([1, 3, 8, 49])("content of %i words a page is cleared and copied page by page", (words) => {
  const { sim, pages, zones: [ram] } = made(SECTION_PAGES, [], words);
  const [a, b, c] = [pages.take(ram), pages.take(ram), pages.take(ram)];
  const content = (pfn: number) => [...pages.word.slice(pfn * words, (pfn + 1) * words)];
  pages.word.fill(7, a * words, (c + 1) * words);
  pages.clear(b);
  expect([content(a), content(b), content(c)]).toEqual([7, 0, 7].map((x) => Array(words).fill(x)));
  for (let i = 0; i < words; i++) pages.word[c * words + i] = i + 1;
  pages.copy(b, c);
  expect(content(b)).toEqual(content(c));
  expect(content(a)).toEqual(Array(words).fill(7));
  // The words of frames in use are state, to the last.
  const saved = sim.state.snapshot();
  pages.word[(c + 1) * words - 1] ^= 1;
  expect(sim.state.differences(saved)).toHaveLength(1);
});
