/** A large folio that is split as reclaim does it, without the mmap lock, raced by its sharers, its users and a device. */
import { describe, expect, test } from "vitest";
import { Search } from "../../lib/explore/search.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { machine } from "../../lib/machine/machine.ts";
import { oneRun, Region } from "../../lib/machine/process.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { getUserPage } from "../../lib/mm/gup.ts";
import { mremap } from "../../lib/mm/mremap.ts";
import { PG_LARGE } from "../../lib/mm/pages.ts";
import { splitFolio, trySplitFolio } from "../../lib/mm/split_folio.ts";
import { DUE, type Proc, site } from "../../lib/sim/sim.ts";
import { brokenAtRest } from "../rest.ts";
import { draws, interleave } from "../schedule.ts";

const AT_HELD = site("test: a reference is held");
const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);
/** Pages that the process has written; the other 510 are zeros. */
const WRITTEN: readonly number[] = [0, 300];

/** A huge page of a process that has a device, and maybe a child that shares it. */
function small(shared: boolean) {
  const m = machine({
    memory: "6 MiB",
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", onFault: "map" } },
    processes: 4,
    actors: 6,
    vmas: 24,
    pageTables: 40,
    batchPages: 4,
    swapPages: 8,
    tlbEntries: 1,
    checkers: "all",
  });
  const p = m.process(), t = new Thread(p), dev = new DeviceThread(m.dev, p), k = m.kernel;
  const heap = p.mmap("2 MiB"), spaces = [p.mm];
  p.madvise(heap, "hugepage");
  for (const i of WRITTEN) p.write(page(heap, i), 1 + i);
  const first = k.tables.pfn[k.tables.huge(k.root[p.mm], heap.vpn)];
  if (shared) spaces.push(p.complete(forkMm(k, 0, p.mm)));
  m.complete(dev.read(page(heap, 0)));
  k.cpus[p.mm] = 3;
  return { m, k, p, t, dev, heap, first, spaces, split: undefined as boolean | undefined };
}
type Small = ReturnType<typeof small>;

/** What runs beside the split, and what then must be so. */
interface Race {
  readonly actors: readonly (() => Proc<unknown>)[];
  readonly check?: () => void;
}

/** Splits as direct reclaim does: with a reference and the lock, and nothing else. */
function* splits(s: Small): Proc {
  s.split = undefined;
  // Nothing to do any more: as reclaim looks, with no stop between the look and the reference.
  if (!(s.k.pages.flags[s.first] & PG_LARGE)) return;
  s.split = yield* trySplitFolio(s.k, s.k.sim.current, s.first);
}

/** What an address space finds in the pages that were written. */
function words(s: Small, mm: number, at: number): number[] {
  return WRITTEN.map((i) => {
    const out = new AccessResult(true);
    s.m.complete(cpuAccess(s.k, 0, mm, oneRun(new Region(s.p, at + i, 1), false, 0), out));
    return out.words[0];
  });
}

/** What is wrong at the end of a schedule. */
function broken(s: Small, { check }: Race): string | undefined {
  try {
    const [first] = brokenAtRest(s.m);
    if (first !== undefined) return first;
    if (s.split && s.k.pages.flags.subarray(s.first, s.first + 512).some((f) => f & PG_LARGE)) {
      return "a part of the folio is large";
    }
    check?.();
  } catch (e) {
    return (e as Error).message;
  }
}

/** What runs beside the split. */
const RACES: Readonly<Record<string, (s: Small) => Race>> = {
  "a write to one of its pages": (s) => ({
    actors: [() => s.t.write(page(s.heap, 300), 77)],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 77]),
  }),
  "a write to a page of zeros": (s) => ({
    actors: [() => s.t.write(page(s.heap, 9), 99)],
    check: () =>
      expect([s.p.read(page(s.heap, 8, 3)), words(s, s.p.mm, s.heap.vpn)]).toEqual([[0, 99, 0], [1, 301]]),
  }),
  "munmap() of a half": (s) => ({
    actors: [() => s.t.munmap(page(s.heap, 0, 256))],
    check: () => expect(s.p.read(page(s.heap, 300))).toEqual([301]),
  }),
  "munmap() of the whole": (s) => ({ actors: [() => s.t.munmap(s.heap)] }),
  "MADV_DONTNEED of a part": (s) => ({
    actors: [() => s.t.madvise(page(s.heap, 200, 200), "dontneed")],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 0]),
  }),
  "mprotect() of a quarter": (s) => ({
    actors: [() => s.t.mprotect(page(s.heap, 256, 128), "r")],
    check: () => {
      expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 301]);
      expect(s.p.write(page(s.heap, 300), 9)).toEqual({ 0: "SEGV_ACCERR" });
    },
  }),
  "mremap() to another place": (s) => {
    const to = s.heap.vpn + 4096;
    return {
      actors: [function* () {
        yield* mremap(s.k, s.k.sim.current, s.p.mm, s.heap.vpn, 512, to, 512);
      }],
      check: () => expect(words(s, s.p.mm, to)).toEqual([1, 301]),
    };
  },
  "a device's write": (s) => ({
    actors: [() => s.dev.write(page(s.heap, 300), 55)],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 55]),
  }),
  "a migration to the device": (s) => ({
    actors: [() => s.dev.migrate(page(s.heap, 298, 4))],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 301]),
  }),
  "another split": (s) => ({
    actors: [() => s.t.madvise(page(s.heap, 0, 2), "pageout")],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 301]),
  }),
  "a kernel that takes a reference for a moment": (s) => ({
    actors: [function* () {
      const { k, p: { mm }, heap } = s, a = k.sim.current;
      yield* k.locks.read(a, k.mmapLock(mm));
      const pfn = yield* getUserPage(k, a, mm, heap.vpn + 300, false);
      if (k.sim.due(a)) {
        k.sim.mark(a, AT_HELD, pfn);
        yield DUE;
      }
      if (k.pages.word[pfn] !== 301) throw new Error(`got page ${pfn}, which is not the process's`);
      k.pages.put(a, pfn);
      k.locks.readUnlock(a, k.mmapLock(mm));
    }],
    check: () => expect(words(s, s.p.mm, s.heap.vpn)).toEqual([1, 301]),
  }),
};

describe.each([["its only user", false], ["one of two sharers", true]])(
  "the split of a folio of %s",
  (_, shared) => {
    test.each(Object.entries(RACES))("against %s, in every order", { timeout: 120_000 }, (_name, race) => {
      const s = small(shared), beside = race(s), outcomes = new Set<string>();
      const search = new Search({
        sim: s.k.sim,
        memory: s.m.checkers!.memory,
        begin: () => [() => splits(s), ...beside.actors].map((make, i) => ({ a: i + 1, proc: make() })),
        checkEnd: () => {
          outcomes.add(String(s.split));
          return broken(s, beside);
        },
      }, { maxStates: 60_000 });
      search.run();
      const { violations, exhaustive, states } = search.result();
      expect(violations).toEqual([]);
      expect(exhaustive, `${states} states`).toBe(true);
      expect(outcomes.has("true")).toBe(true);
    });

    test("against fork, in schedules drawn at random", { timeout: 60_000 }, () => {
      const outcomes = new Set<boolean | undefined>();
      for (let seed = 0; seed < 60; seed++) {
        const s = small(shared), { k, p, heap, spaces } = s, draw = draws(seed);
        // The split stops a dozen times, fork a thousand if it goes entry by entry: neither must always be first.
        const pick = (n: number) => n === 2 ? Number(draw(512) < 2 ** (1 + seed % 9)) : draw(n);
        const forks = function* (): Proc {
          spaces.push(yield* forkMm(k, k.sim.current, p.mm));
        };
        try {
          interleave(k.sim, [forks(), splits(s)].map((proc, i) => ({ a: i + 1, proc })), pick);
          outcomes.add(s.split);
          expect(broken(s, { actors: [] })).toBeUndefined();
          for (const mm of spaces) expect(words(s, mm, heap.vpn)).toEqual([1, 301]);
          for (const mm of spaces) p.complete(exitMm(k, 0, mm));
          expect(k.pages.used(k.ram)).toBe(1);
        } catch (e) {
          throw new Error(`schedule of seed ${seed}: ${(e as Error).message}`, { cause: e });
        }
      }
      expect(outcomes.has(true)).toBe(true);
    });
  },
);

test("a folio that somebody holds stays whole, is mapped as before, and splits once it is let go", () => {
  const s = small(true), { k, p, heap, first, spaces } = s, { pages } = k;
  pages.get(first + 300);
  expect(s.m.complete(trySplitFolio(k, 0, first))).toBe(false);
  expect(k.tables.huge(k.root[p.mm], heap.vpn)).toBeGreaterThan(0);
  pages.put(0, first + 300);
  // Held only after the first look: it was unmapped by then, and is mapped again by small entries.
  pages.get(first);
  expect(pages.trylock(first)).toBe(true);
  const held = splitFolio(k, 1, first), { horizonNs } = k.sim;
  k.sim.horizonNs = -1;
  while (pages.mapcount[first] > 0) expect(held.next().done).toBe(false);
  pages.get(first);
  let end = held.next();
  while (!end.done) end = held.next();
  k.sim.horizonNs = horizonNs;
  expect(end.value).toBe(false);
  expect([pages.flags[first] & PG_LARGE, pages.mapcount[first], k.tables.huge(k.root[p.mm], heap.vpn)])
    .toEqual(
      [PG_LARGE, 2, -1],
    );
  pages.unlock(first);
  pages.put(0, first);
  pages.put(0, first);
  for (const mm of spaces) expect(words(s, mm, heap.vpn)).toEqual([1, 301]);
  expect(s.m.complete(trySplitFolio(k, 0, first))).toBe(true);
  expect(pages.flags[first] & PG_LARGE).toBe(0);
  for (const mm of spaces) expect(words(s, mm, heap.vpn)).toEqual([1, 301]);
  // The pages of zeros are the zero page now: the two that were written are all that is left.
  expect([k.rssAnon[p.mm], pages.used(k.ram)]).toEqual([2, 3]);
  expect(brokenAtRest(s.m)).toEqual([]);
});
