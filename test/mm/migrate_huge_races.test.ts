/** A large folio on its way to another node, raced by many schedules. */
import { expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/region.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { draws, interleave } from "../schedule.ts";

const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);

function small() {
  const m = machine({
    nodes: [{ memory: "6 MiB" }, { memory: "6 MiB" }],
    processes: 3,
    actors: 6,
    vmas: 16,
    pageTables: 32,
    tlbEntries: 1,
  });
  const p = m.process(), t = new Thread(p), heap = p.mmap("2 MiB"), k = m.kernel;
  p.madvise(heap, "hugepage");
  p.write(heap, 1);
  expect(k.tables.huge(k.root[p.mm], heap.vpn)).toBeGreaterThanOrEqual(0);
  k.cpus[p.mm] = 2;
  return { m, k, p, t, heap, children: [] as number[] };
}
type Small = ReturnType<typeof small>;

/** Runs a race by many schedules; then everything must be free once all processes have ended. */
function race(
  schedules: number,
  actors: (s: Small) => (() => Proc<unknown>)[],
  check: (s: Small) => void,
): void {
  for (let seed = 0; seed < schedules; seed++) {
    const s = small(), { k, p } = s, draw = draws(seed);
    // The move stops some thousand times, the others a few dozen: they must not always be first.
    const pick = (n: number) => n === 2 ? Number(draw(512) < 2 ** (1 + seed % 8)) : draw(n);
    try {
      interleave(k.sim, actors(s).map((make, i) => ({ a: i + 1, proc: make() })), pick);
      check(s);
      expect(k.pages.flags.some((f) => f & 1)).toBe(false); // PG_LOCKED
      for (const mm of [p.mm, ...s.children]) p.complete(exitMm(k, 0, mm));
      expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 0]);
      expect(k.rssAnon[p.mm]).toBe(0);
    } catch (e) {
      throw new Error(`schedule of seed ${seed}: ${(e as Error).message}`, { cause: e });
    }
  }
}

test("no store to any of its pages is lost", { timeout: 60_000 }, () => {
  race(80, ({ t, heap }) => [
    () => t.movePages(page(heap, 0), 1),
    function* () {
      yield* t.write(page(heap, 3), 70);
      yield* t.write(page(heap, 511), 71);
    },
  ], ({ p, heap }) => {
    const words = p.read(heap);
    expect([words[0], words[3], words[4], words[511]]).toEqual([1, 70, 5, 71]);
    expect(p.nodes(page(heap, 0))).toEqual([1]);
  });
});

test("munmap() of a half, mprotect() of a quarter and MADV_DONTNEED find it in any state", {
  timeout: 60_000,
}, () => {
  race(80, ({ t, heap }) => [
    () => t.movePages(page(heap, 300), 1),
    function* () {
      yield* t.munmap(page(heap, 0, 256));
      yield* t.mprotect(page(heap, 256, 128), "r");
      yield* t.madvise(page(heap, 500, 12), "dontneed");
    },
  ], ({ p, heap }) => {
    const words = p.read(page(heap, 256, 256));
    expect([words[0], words[127], words[243], words[244], words[255]]).toEqual([257, 384, 500, 0, 0]);
    expect(p.write(page(heap, 256), 9)).toEqual({ 0: "SEGV_ACCERR" });
  });
});

test("fork shares it, wherever it is", { timeout: 60_000 }, () => {
  race(64, ({ k, p, t, heap, children }) => [
    () => t.movePages(page(heap, 0), 1, { all: true }),
    function* () {
      const child = yield* forkMm(k, k.sim.current, p.mm);
      if (child > 0) children.push(child);
      yield* t.write(page(heap, 9), 90);
    },
  ], ({ p, heap, children }) => {
    expect(children.length).toBe(1);
    const words = p.read(heap);
    expect([words[8], words[9], words[10]]).toEqual([9, 90, 11]);
  });
});

test("two moves to different nodes leave it on one of them", { timeout: 60_000 }, () => {
  race(64, ({ t, heap }) => [
    () => t.movePages(page(heap, 0), 1),
    () => t.movePages(page(heap, 1), 0),
  ], ({ p, heap }) => {
    const nodes = new Set(p.nodes(heap));
    expect(nodes.size).toBe(1);
    expect(p.read(heap)).toEqual(Array.from({ length: 512 }, (_, i) => 1 + i));
  });
});
