import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Search } from "../../lib/explore/search.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/region.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { migrateRegion } from "../../lib/machine/placement.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { truncate } from "../../lib/mm/files.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { mmap } from "../../lib/mm/mmap.ts";
import { VM_READ, VM_SHARED, VM_WRITE } from "../../lib/mm/vma.ts";
import { complete, steps } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { brokenAtRest } from "../rest.ts";
import { draws, interleave } from "../schedule.ts";

const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);

/** A machine with two nodes of 16 pages, a device, and a process with some written pages on node 0. */
function small(pages: number, revert: readonly string[] = []) {
  const m = machine({
    nodes: [{ memory: "64 KiB" }, { memory: "64 KiB" }],
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", onFault: "map" } },
    processes: 3,
    actors: 6,
    vmas: 16,
    pageTables: 24,
    batchPages: 4,
    checkers: "all",
    swapPages: 8,
    tlbEntries: 1,
    revert,
  });
  const p = m.process(), A = p.mmap(4096 * pages), t = new Thread(p), t1 = new Thread(p, { node: 1 });
  p.write(A, 1);
  const dev = new DeviceThread(m.dev, p), spaces = [p.mm];
  m.kernel.cpus[p.mm] = 3;
  return { m, k: m.kernel, p, A, t, t1, dev, spaces };
}
type Small = ReturnType<typeof small>;
type Build = (s: Small) => { actors: (() => Proc<unknown>)[]; check?: () => void };

/** Explores every interleaving; what was broken first, and how much was seen. */
function explored(build: Build, pages = 1, revert: readonly string[] = []) {
  const s = small(pages, revert), { actors, check } = build(s), { sim } = s.k;
  const search = new Search({
    sim,
    memory: s.m.checkers!.memory,
    begin: () => actors.map((make, i) => ({ a: i + 1, proc: make() })),
    checkEnd: () => {
      try {
        check?.();
        return brokenAtRest(s.m)[0];
      } catch (e) {
        return (e as Error).message;
      }
    },
  }, { maxStates: 150_000 });
  search.run();
  const { exhaustive, violations, states } = search.result();
  return { exhaustive, rule: violations[0]?.rule, states };
}

/** The words of a region as the process reads them, which must be among those allowed. */
function among(s: Small, r: Region, allowed: readonly (readonly unknown[])[]): void {
  expect(allowed.map((x) => JSON.stringify(x))).toContain(JSON.stringify(s.p.read(r)));
}

describe("every interleaving of movePages() with", () => {
  const cases: [string, Build][] = [
    ["a store: no word is lost", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t.write(s.A, 7)],
      check: () => expect(s.p.read(s.A)).toEqual([7]),
    })],
    ["a store and a load on another CPU", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t.write(s.A, 7), () => s.t1.read(s.A)],
      check: () => expect(s.p.read(s.A)).toEqual([7]),
    })],
    ["munmap(): the page is freed once", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t.munmap(s.A)],
      check: () => expect(s.k.pages.zones.slice(0, 2).map((z) => s.k.pages.used(z))).toEqual([1, 0]),
    })],
    ["munmap() and a mapping in its place", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), function* () {
        yield* s.t.munmap(s.A);
        yield* s.t.mmapAt(s.A);
        yield* s.t.write(s.A, 9);
      }],
      check: () => among(s, s.A, [[9]]),
    })],
    ["mprotect()", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t.mprotect(s.A, "r")],
      check: () => expect([s.p.read(s.A), s.p.write(s.A, 3)]).toEqual([[1], { 0: "SEGV_ACCERR" }]),
    })],
    ["page-out", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t.madvise(s.A, "pageout")],
      check: () => expect(s.p.read(s.A)).toEqual([1]),
    })],
    ["MADV_DONTNEED and a store", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), function* () {
        yield* s.t.madvise(s.A, "dontneed");
        yield* s.t.write(s.A, 5);
      }],
      check: () => expect(s.p.read(s.A)).toEqual([5]),
    })],
    ["a move to the other node", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.t1.movePages(s.A, 0)],
      check: () => expect(s.p.read(s.A)).toEqual([1]),
    })],
    ["a device fault: the mirror is never stale", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.dev.fault(s.A)],
      check: () => expect([s.dev.stale(s.A), s.p.read(s.A)]).toEqual([false, [1]]),
    })],
    ["a migration to a device", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.dev.migrate(s.A)],
      check: () => expect(s.p.read(s.A)).toEqual([1]),
    })],
    ["a device's exclusive access", (s) => ({
      actors: [() => s.t.movePages(s.A, 1), () => s.dev.exclusive(s.A)],
      check: () => expect(s.p.read(s.A)).toEqual([1]),
    })],
  ];
  for (const [what, build] of cases) {
    test(what, { timeout: 120_000 }, () => {
      const { exhaustive, rule, states } = explored(build);
      expect(rule).toBeUndefined();
      expect(exhaustive, `${states} states`).toBe(true);
    });
  }

  test("a store finds the lost word if the TLB is not flushed", { timeout: 120_000 }, () => {
    const build: Build = (s) => ({
      actors: [() => s.t.movePages(s.A, 1), function* () {
        yield* s.t.write(s.A, 7);
        yield* s.t.write(s.A, 8);
      }],
      check: () => expect(s.p.read(s.A)).toEqual([8]),
    });
    expect(explored(build).rule).toBeUndefined();
    expect(explored(build, 1, ["tlb flush"]).rule).toMatch(/toEqual|deeply equal|stale tlb/);
  });

  test("a device fault leaves a stale mirror without the sequence check", { timeout: 120_000 }, () => {
    const build: Build = (s) => ({ actors: [() => s.t.movePages(s.A, 1), () => s.dev.fault(s.A)] });
    expect(explored(build, 1, ["sequence check"]).rule).toMatch(/mirror: stale/);
  });
});

/** Runs a race by many schedules of a seed each. */
function race(schedules: number, pages: number, build: Build): void {
  for (let seed = 0; seed < schedules; seed++) {
    const s = small(pages), { actors, check } = build(s);
    try {
      interleave(s.k.sim, actors.map((make, i) => ({ a: i + 1, proc: make() })), draws(seed));
      expect(brokenAtRest(s.m)).toEqual([]);
      check?.();
    } catch (e) {
      throw new Error(`schedule of seed ${seed}: ${(e as Error).message}`, { cause: e });
    }
  }
}

describe("every interleaving of migrateRange() with", () => {
  const range = (s: Small) =>
    function* (): Proc {
      yield* migrateRegion(s.p, s.k.sim.current, s.A, 1);
    };
  const cases: [string, Build][] = [
    ["a store", (s) => ({
      actors: [range(s), () => s.t.write(s.A, 7)],
      check: () => expect(s.p.read(s.A)).toEqual([7]),
    })],
    ["munmap()", (s) => ({
      actors: [range(s), () => s.t.munmap(s.A)],
      check: () => expect(s.k.pages.zones.slice(0, 2).map((z) => s.k.pages.used(z))).toEqual([1, 0]),
    })],
    ["movePages() back", (s) => ({
      actors: [range(s), () => s.t.movePages(s.A, 0)],
      check: () => expect(s.p.read(s.A)).toEqual([1]),
    })],
    ["a device fault", (s) => ({
      actors: [range(s), () => s.dev.fault(s.A)],
      check: () => expect([s.dev.stale(s.A), s.p.read(s.A)]).toEqual([false, [1]]),
    })],
  ];
  for (const [what, build] of cases) {
    test(what, { timeout: 120_000 }, () => {
      const { exhaustive, rule, states } = explored(build);
      expect(rule).toBeUndefined();
      expect(exhaustive, `${states} states`).toBe(true);
    });
  }
});

test("without a page to move to, by choice at every allocation, nothing moves half and nothing leaks", () => {
  const { exhaustive, rule } = explored((s) => {
    s.k.sim.injectFailure("page allocation", 500_000);
    return {
      actors: [() => s.t.movePages(s.A, 1), () => s.t.write(s.A, 60)],
      check: () => s.k.sim.withoutFailures(() => expect(s.p.read(s.A)).toEqual([60, 61])),
    };
  }, 2);
  expect([rule, exhaustive]).toEqual([undefined, true]);
});

describe("by many schedules, movePages() of several pages with", () => {
  test("fork, for both processes", () => {
    race(150, 3, (s) => ({
      actors: [() => s.t.movePages(s.A, 1, { all: true }), function* () {
        const child = yield* forkMm(s.k, s.k.sim.current, s.p.mm);
        if (child > 0) s.spaces.push(child);
      }, () => s.t.write(page(s.A, 1), 50)],
      check: () => expect(s.p.read(s.A)).toEqual([1, 50, 3]),
    }));
  });

  test("exit", () => {
    race(100, 3, (s) => ({
      actors: [() => s.t.movePages(s.A, 1), function* () {
        yield* exitMm(s.k, s.k.sim.current, s.p.mm);
      }],
      check: () => expect(s.k.pages.zones.slice(0, 2).map((z) => s.k.pages.used(z))).toEqual([1, 0]),
    }));
  });

  test("migratePages(), mbind() and stores", () => {
    race(150, 4, (s) => ({
      actors: [
        () => s.t.movePages(s.A, [1, 0, 1, 0]),
        () => s.t.mbind(page(s.A, 1, 2), "bind", [1], { move: true }),
        () => s.t.write(s.A, 60),
      ],
      check: () => expect(s.p.read(s.A)).toEqual([60, 61, 62, 63]),
    }));
  });

  test("truncation of a shared file", () => {
    race(150, 1, (s) => {
      const { k, p } = s, inode = k.inodes.make(3);
      const vpn = s.m.complete(mmap(k, 0, p.mm, -1, 3, VM_READ | VM_WRITE | VM_SHARED, inode));
      k.inodes.put(k, 0, inode);
      const shared = new Region(p, vpn, 3);
      p.write(shared, 20);
      return {
        actors: [
          () => s.t.movePages(shared, 1),
          function* () {
            yield* truncate(k, k.sim.current, inode, 1);
          },
          () => s.t.write(page(shared, 0), 44),
        ],
        check: () => expect(p.read(shared)).toEqual([44, "SIGBUS", "SIGBUS"]),
      };
    });
  });
});

test("all runners leave the same state and say the same", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ at: fc.nat(7), n: fc.integer({ min: 1, max: 4 }), node: fc.nat(1), what: fc.nat(3) }),
        {
          minLength: 1,
          maxLength: 8,
        },
      ),
      (ops) => {
        const done = (runner: "complete" | "clock" | "steps") => {
          const s = small(8), told: unknown[] = [];
          function* program(): Proc {
            for (const { at, n, node, what } of ops) {
              const r = page(s.A, at, Math.min(n, 8 - at));
              if (what === 0) told.push(yield* s.t.movePages(r, node));
              else if (what === 1) told.push(yield* s.t.mbind(r, "bind", [node], { move: true }));
              else if (what === 2) told.push(yield* s.t.write(r, 9));
              else told.push(yield* s.dev.migrate(r));
            }
          }
          if (runner === "steps") steps(s.k.sim, [{ a: 1, proc: program() }]);
          else complete(s.k.sim, [{ a: 1, proc: program() }]);
          expect(brokenAtRest(s.m)).toEqual([]);
          return { told, words: s.p.read(s.A), nodes: s.p.nodes(s.A) };
        };
        expect(done("steps")).toEqual(done("complete"));
      },
    ),
    { numRuns: 60 },
  );
});
