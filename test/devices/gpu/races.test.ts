import { describe, expect, test } from "vitest";
import type { Gpu } from "../../../lib/devices/gpu/device.ts";
import type { Grid } from "../../../lib/devices/gpu/launch.ts";
import type { GpuOptions } from "../../../lib/devices/gpu/spec.ts";
import { type Model, Search, type SearchResult } from "../../../lib/explore/search.ts";
import { type Machine, machine } from "../../../lib/machine/machine.ts";
import type { Process, Region } from "../../../lib/machine/process.ts";
import { Thread } from "../../../lib/machine/thread.ts";
import { AccessResult } from "../../../lib/mm/access.ts";
import type { Proc } from "../../../lib/sim/sim.ts";
import { streamGrid } from "../../../lib/workloads/launch.ts";
import { brokenAtRest } from "../../rest.ts";

/** Two multiprocessors with one thread block each, chunks of two pages. */
const SMALL: GpuOptions = {
  kind: "gpu",
  memory: "16 KiB",
  chunk: "8 KiB",
  prefetch: "none",
  parameters: {
    sms: 2,
    smsPerUtlb: 1,
    blocksPerSm: 1,
    outstandingFaults: 2,
    faultBufferEntries: 4,
    faultBatch: 2,
  },
};

interface Scene {
  readonly m: Machine;
  readonly gpu: Gpu;
  readonly p: Process;
  readonly t: Thread;
  readonly A: Region;
  readonly out: AccessResult;
}

interface Race {
  readonly pages?: number;
  readonly gpu?: Partial<GpuOptions>;
  readonly revert?: readonly string[];
  readonly maxStates?: number;
  readonly grid: (A: Region) => Grid;
  /** Actors beside the multiprocessors and the driver. */
  readonly others: (s: Scene) => (() => Proc<unknown>)[];
  /** Looks at the end; a text says what is wrong. */
  readonly end?: (s: Scene) => string | undefined;
}

/** A kernel with its driver against other actors. */
function model(race: Race): Model {
  const m = machine({
    memory: "128 KiB",
    devices: { gpu: { ...SMALL, ...race.gpu, kind: "gpu" } },
    revert: race.revert,
    processes: 1,
    actors: 5,
    vmas: 8,
    pageTables: 24,
    swapPages: 0,
    checkers: "all",
  });
  const p = m.process(), A = p.mmap((race.pages ?? 1) * 4096), { gpu } = m;
  p.write(A, 1);
  gpu.mirror(p.mm);
  gpu.driver.expect();
  const s: Scene & { out: AccessResult } = { m, gpu, p, t: new Thread(p), A, out: new AccessResult(true) };
  const { sim } = m.kernel, others = race.others(s), grid = race.grid(A);
  const begin = () => {
    s.out = new AccessResult(true);
    return [
      { a: 1, proc: gpu.launch(1, p.mm, grid, s.out) },
      { a: 2, proc: gpu.driver.run(2) },
      ...others.map((make, i) => ({ a: 3 + i, proc: make() })),
    ];
  };
  const checkEnd = () => {
    const wrong = brokenAtRest(m)[0];
    if (wrong !== undefined) return wrong;
    const stale = gpu.latest(p.mm).table.stalePage(p.mm, A.vpn, A.pages);
    return stale >= 0 ? `page ${stale - A.vpn} of the GPU's table is stale` : race.end?.(s);
  };
  const check = () => gpu.latest(p.mm).table.storedToFreed ? "the GPU stored into a free page" : undefined;
  return { sim, memory: m.checkers!.memory, begin, check, checkEnd };
}

/** Every interleaving. */
function explore(race: Race): SearchResult {
  const search = new Search(model(race), { maxStates: race.maxStates });
  search.run();
  return search.result();
}

/** Steps after which a schedule of {@link exploreRound} is cut: several rounds of CPU and GPU taking the page from each other. */
const MOST_STEPS = 120;

/**
 * Every interleaving, but that a schedule is cut after so many steps. Where CPU and GPU fault on one page again and again, only
 * a fair scheduler ends it, and the sequence numbers of the notifiers make each round a new state: so a search has no end by
 * itself, and cannot tell a fair cycle from an unfair one either.
 *
 * @returns the search, its cuts as `cut`, whatever else it found as violations
 */
function exploreRound(race: Race): SearchResult & { readonly cut: number } {
  const search = new Search(model(race), { maxSteps: MOST_STEPS, all: true });
  search.run();
  const r = search.result(), isCut = (rule: string) => rule === `livelock: no end within ${MOST_STEPS} steps`;
  const violations = r.violations.filter((v) => !isCut(v.rule));
  return { ...r, violations, cut: r.violations.length - violations.length };
}

function expectSafe(r: SearchResult): void {
  expect(r.violations).toEqual([]);
  expect(r.exhaustive).toBe(true);
  expect(r.states).toBeGreaterThan(100);
}

describe("a kernel and the GPU's driver against", () => {
  test("munmap, every interleaving: nothing stale is mapped, nothing freed is written", () => {
    const race: Race = {
      grid: (A) => streamGrid(A, { write: true, value: 5, pagesPerBlock: 1 }),
      others: ({ t, A }) => [() => t.munmap(A)],
    };
    expectSafe(explore(race));
    const broken = explore({ ...race, revert: ["sequence check"] });
    expect(broken.violations[0]?.rule).toMatch(/^sequence protocol: gpu maps a page/);
  });

  test("a CPU that reads: it sees what was before or what the GPU wrote", () => {
    const seen = new Set<unknown>();
    const r = exploreRound({
      grid: (A) => streamGrid(A, { write: true, value: 5, pagesPerBlock: 1 }),
      others: ({ t, A }) => [function* () {
        seen.add(yield* t.read(A));
      }],
      end: ({ p, A }) => p.read(A)[0] === 5 ? undefined : "the GPU's store is lost",
    });
    expectSafe(r);
    expect(r.cut).toBeGreaterThan(0);
    expect([...seen].sort()).toEqual([1, 5]);
  });

  test("a CPU that writes: one of the two stores is there at the end, whole", () => {
    const ends = new Set<unknown>();
    const r = exploreRound({
      grid: (A) => streamGrid(A, { write: true, value: 5, pagesPerBlock: 1 }),
      others: ({ t, A }) => [() => t.write(A, 9)],
      end: ({ p, A }) => {
        const [word] = p.read(A);
        ends.add(word);
        return word === 5 || word === 9 ? undefined : `neither store is there: ${word}`;
      },
    });
    expectSafe(r);
    expect(r.cut).toBeGreaterThan(0);
    expect([...ends].sort()).toEqual([5, 9]);
  });

  test("mprotect, every interleaving: no store after it has returned", () => {
    expectSafe(explore({
      grid: (A) => streamGrid(A, { write: true, value: 5, pagesPerBlock: 1 }),
      others: ({ t, A, p, gpu }) => [function* () {
        yield* t.mprotect(A, "r");
        if (gpu.latest(p.mm).table.translate(A.vpn, true) >= 0) throw new Error("still writable on the GPU");
      }],
    }));
  });
});

test("two blocks on two uTLBs and two pages keep both stores, whoever goes first", () => {
  const r = explore({
    pages: 2,
    maxStates: 400_000,
    grid: (A) => streamGrid(A, { write: true, value: 5, pagesPerBlock: 1 }),
    others: () => [],
    end: ({ p, A }) => p.read(A).join() === "5,6" ? undefined : "a store is lost",
  });
  expectSafe(r);
});
