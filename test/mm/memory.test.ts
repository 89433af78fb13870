import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ENOMEM, VM_FAULT_ACCERR, VM_FAULT_MAPERR, VM_FAULT_OOM } from "../../lib/mm/errno.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { mmap, mprotect, munmap } from "../../lib/mm/mmap.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import { steps } from "../../lib/sim/runners.ts";
import { access, brokenIn, run, smallKernel } from "../kernel.ts";
import { BASE, PAGES, Reference } from "../reference.ts";

const SPACES = 3;
const RW = VM_READ | VM_WRITE;

const operation = fc.record({
  op: fc.constantFrom(
    "w",
    "w",
    "w",
    "r",
    "r",
    "mmap",
    "mmap",
    "munmap",
    "mprotect",
    "mprotect",
    "dontneed",
    "fork",
    "exit",
  ),
  p: fc.nat({ max: SPACES - 1 }),
  at: fc.nat({ max: PAGES - 1 }),
  n: fc.integer({ min: 1, max: 6 }),
  flags: fc.constantFrom(RW, RW, VM_READ, VM_WRITE, 0),
  value: fc.integer({ min: 1, max: 0xffff_fff0 }),
});
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

/** Does one operation on both, and compares what the program sees. */
function step(k: Kernel, ref: Reference, mms: Map<number, number>, o: Operation): void {
  const { op, p, at, n, flags, value } = o, end = Math.min(PAGES, at + n), count = end - at, vpn = BASE + at;
  const mm = mms.get(p);
  if (mm === undefined) return;
  const pages = ref.pages(p);
  switch (op) {
    case "mmap":
      expect(run(k, mmap(k, 0, mm, vpn, count, flags))).toBe(vpn);
      for (let i = at; i < end; i++) pages[i] = { flags, word: undefined };
      return;
    case "munmap":
      expect(run(k, munmap(k, 0, mm, vpn, count))).toBe(0);
      pages.fill(undefined, at, end);
      return;
    case "mprotect":
      expect(run(k, mprotect(k, 0, mm, vpn, count, flags))).toBe(ref.protect(p, at, end, flags));
      return;
    case "dontneed": {
      const hole = pages.slice(at, end).includes(undefined);
      expect(run(k, madvise(k, 0, mm, vpn, count, "dontneed"))).toBe(hole ? -ENOMEM : 0);
      for (const page of pages.slice(at, end)) if (page !== undefined) page.word = undefined;
      return;
    }
    case "fork": {
      const child = [...Array(SPACES).keys()].find((x) => !mms.has(x));
      if (child === undefined) return;
      mms.set(child, run(k, forkMm(k, 0, mm)));
      ref.spaces.set(child, structuredClone(pages));
      return;
    }
    case "exit":
      if (mms.size === 1) return;
      run(k, exitMm(k, 0, mm));
      k.freeMm(mm);
      mms.delete(p);
      ref.spaces.delete(p);
      return;
    case "w":
    case "r": {
      const write = op === "w", { words, signals } = access(k, mm, vpn, count, write ? value : undefined);
      const expected = new Map<number, number>(), read: number[] = [];
      for (let i = at; i < end; i++) {
        const page = pages[i];
        if (page === undefined) expected.set(BASE + i, VM_FAULT_MAPERR);
        else if (!(page.flags & (write ? VM_WRITE : RW))) expected.set(BASE + i, VM_FAULT_ACCERR);
        else if (write) page.word = value + (i - at);
        else read.push(page.word ?? 0);
      }
      expect([signals, words]).toEqual([expected, read]);
    }
  }
}

function compare(k: Kernel, ref: Reference, mms: Map<number, number>): void {
  expect(brokenIn(k)).toEqual([]);
  for (const [p, mm] of mms) expect(k.rssAnon[mm]).toBe(ref.resident(p));
  const all = [...mms.keys()].reduce((sum, p) => sum + ref.resident(p), 0);
  expect(k.pages.used(k.ram)).toBeLessThanOrEqual(1 + all);
}

/** Runs a program and takes everything down at the end; whatever it did, nothing may be left. */
function play(program: readonly Operation[], options: Parameters<typeof smallKernel>[0] = {}): void {
  const k = smallKernel(options), ref = new Reference(), mms = new Map([[0, k.newMm()]]);
  for (const o of program) {
    step(k, ref, mms, o);
    compare(k, ref, mms);
  }
  for (const [p, mm] of mms) {
    const words = ref.pages(p).flatMap((page) => page && page.flags & RW ? [page.word ?? 0] : []);
    expect(access(k, mm, BASE, PAGES, undefined).words).toEqual(words);
  }
  for (const mm of mms.values()) {
    run(k, munmap(k, 0, mm, 0, 2 ** 36));
    expect([k.rssAnon[mm], k.vmas.find(mm, 0)]).toEqual([0, -1]);
  }
  expect([k.pages.used(k.ram), k.vmas.length, k.tables.tables]).toEqual([1, 0, mms.size]);
  expect(brokenIn(k)).toEqual([]);
}

describe("programs of mmap, munmap, mprotect, madvise, fork, exit, loads and stores", () => {
  test("see what a page-by-page reference sees, and leave nothing behind", () => {
    fc.assert(fc.property(fc.array(operation, { maxLength: 40 }), (program) => play(program)), {
      numRuns: 150,
    });
  });

  test("the same with translation caches", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (program) => play(program, { tlbEntries: 3 })),
      { numRuns: 100 },
    );
  });

  test("the checker notices a lost flush", () => {
    const k = smallKernel({ tlbEntries: 4, revert: ["tlb flush"] }), mm = k.newMm();
    run(k, mmap(k, 0, mm, BASE, 2, RW));
    access(k, mm, BASE, 2, 7);
    run(k, mprotect(k, 0, mm, BASE, 2, VM_READ));
    expect(brokenIn(k).join()).toContain("stale translation");
  });
});

describe("when memory is short", () => {
  test("an access that finds no page is a signal for that page, and loses nothing", () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), fc.integer({ min: 1 }), (program, seed) => {
        const k = smallKernel({ seed }), mm = k.newMm(), words = new Map<number, number>();
        run(k, mmap(k, 0, mm, BASE, PAGES, RW));
        k.sim.injectFailure("page allocation", 400_000);
        for (const { op, at, n, value } of program) {
          const count = Math.min(PAGES, at + n) - at;
          if (op === "w") {
            const { signals } = access(k, mm, BASE + at, count, value);
            for (const cause of signals.values()) expect(cause).toBe(VM_FAULT_OOM);
            for (let i = at; i < at + count; i++) if (!signals.has(BASE + i)) words.set(i, value + i - at);
          } else {
            const read = access(k, mm, BASE + at, count, undefined);
            // Reading needs no page.
            expect(read.signals.size).toBe(0);
            expect(read.words).toEqual(Array.from({ length: count }, (_, i) => words.get(at + i) ?? 0));
          }
          expect(brokenIn(k)).toEqual([]);
        }
      }),
      { numRuns: 60 },
    );
  });

  test("a machine that is full says OOM, and is whole again after munmap()", () => {
    const k = smallKernel({ memory: "64 KiB", swapPages: 0 }), mm = k.newMm();
    run(k, mmap(k, 0, mm, BASE, 30, RW));
    const { signals } = access(k, mm, BASE, 30, 1);
    expect([...signals.keys()]).toEqual(Array.from({ length: 15 }, (_, i) => BASE + 15 + i));
    expect(new Set(signals.values())).toEqual(new Set([VM_FAULT_OOM]));
    expect(brokenIn(k)).toEqual([]);
    run(k, munmap(k, 0, mm, BASE, 30));
    expect([k.pages.used(k.ram), k.tables.tables]).toEqual([1, 1]);
  });

  test("a fault that finds no page counts as one fault", () => {
    const k = smallKernel(), mm = k.newMm();
    run(k, mmap(k, 0, mm, BASE, 1, RW));
    k.sim.injectFailure("page allocation", 1_000_000);
    access(k, mm, BASE, 1, 1);
    expect(k.sim.counters.get("pgfault")).toBe(1);
  });
});

test("accesses that need no fault count as progress: a long pass over mapped pages is no livelock", () => {
  const k = smallKernel(), mm = k.newMm(), out = new AccessResult(true);
  run(k, mmap(k, 0, mm, BASE, 100, RW));
  access(k, mm, BASE, 100, 1);
  const batch = { n: 1, vpn: Float64Array.of(BASE), pages: Uint32Array.of(100), write: Uint8Array.of(0) };
  steps(k.sim, [{ a: 1, proc: cpuAccess(k, 1, mm, batch, out) }], 10);
  expect(out.words).toHaveLength(100);
});
