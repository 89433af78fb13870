import { describe, expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { allocPageSlow, noFrameFree, SWAP_CLUSTER_MAX, tryToFreePages } from "../../lib/mm/direct_reclaim.ts";
import { ENOMEM, VM_FAULT_OOM } from "../../lib/mm/errno.ts";
import { handleMmFault } from "../../lib/mm/fault.ts";
import { fileRead, fileWrite } from "../../lib/mm/files.ts";
import { FAULT_FLAG_WRITE } from "../../lib/mm/fault_anon.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { mlock } from "../../lib/mm/mlock.ts";
import { mmap } from "../../lib/mm/mmap.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "../../lib/mm/notifier.ts";
import { PTE_KIND, PTE_PRESENT, PTE_SWAP } from "../../lib/mm/pagetable.ts";
import { VM_HUGEPAGE, VM_READ, VM_SHARED, VM_WRITE } from "../../lib/mm/vma.ts";
import { pinLongterm, unpin } from "../../lib/hmm/pin.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { brokenAtRest } from "../rest.ts";
import { access, run, smallKernel } from "../kernel.ts";
import { complete } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";

const RW = VM_READ | VM_WRITE, BASE = 512;
const count = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

/** A kernel with so many frames and slots beside the zero page, and memory of `pages` mapped in a process. */
function tight(frames: number, swapPages: number, pages: number, flags = RW) {
  const k = smallKernel({ memory: 4096 * (frames + 1), swapPages });
  const mm = k.newMm();
  run(k, mmap(k, 0, mm, BASE, pages, flags));
  return { k, mm };
}

const kindAt = (k: Kernel, mm: number, vpn: number) => {
  const e = k.tables.entry(k.root[mm], vpn);
  return e < 0 ? 0 : k.tables.kind[e];
};
const isPresent = (k: Kernel, mm: number, vpn: number) => (kindAt(k, mm, vpn) & PTE_KIND) === PTE_PRESENT;
const isSwapped = (k: Kernel, mm: number, vpn: number) => (kindAt(k, mm, vpn) & PTE_KIND) === PTE_SWAP;
const counter = (k: Kernel, name: string) => k.sim.counters.get(name);

test.each([
  ["a pin, which unshares it", true],
  ["a write", false],
])("a shared page is not reclaimed to make room for its own copy, which %s wants", (_what, pin) => {
  const { k, mm } = tight(15, 8, 1), held = new Map(count(14).map(() => [k.pages.take(k.ram), 1]));
  access(k, mm, BASE, 1, 7);
  expect(run(k, forkMm(k, 0, mm))).toBeGreaterThan(0);
  let faults = 0;
  k.watchFault = () => {
    // Out to swap for the frame and back in from it, without end.
    if (++faults > 20) throw new Error("the fault makes no progress");
  };
  const frames = new Uint32Array(1);
  if (pin) expect(run(k, pinLongterm(k, 0, mm, BASE, 1, false, frames))).toBe(-ENOMEM);
  else {expect(run(k, handleMmFault(k, 0, mm, k.vmas.lookup(mm, BASE), BASE, FAULT_FLAG_WRITE))).toBe(
      VM_FAULT_OOM,
    );}
  expect([faults, counter(k, "pswpout")]).toEqual([1, 0]); // unmapped at most, and in the swap cache
  expect(access(k, mm, BASE, 1, undefined).words).toEqual([7]);
  expect(brokenAtRest(k, held)).toEqual([]);
});

describe("a process that touches more than there is", () => {
  test.each(["complete", "clock", "steps"] as const)(
    "keeps its data, and nothing is lost (%s)",
    async (runner) => {
      const m = machine({ memory: "256 KiB", swapPages: 256, processes: 2 }), p = m.process(), k = m.kernel;
      const heap = p.mmap("800 KiB");
      const { spans } = k.sim;
      const done = await m.run({ cpu: touch(heap) }, { runner });
      const counts = Object.fromEntries(
        [...done.counters.columns.counter].map((name, i) => [name, done.counters.columns.count[i]]),
      );
      // 63 frames for 200 pages: what does not fit was written to swap, in rounds of SWAP_CLUSTER_MAX.
      expect(counts).toMatchObject({ pgfault: 200, allocstall: 5, pgsteal_direct: 160, pswpout: 160 });
      expect(counts["pgsteal_direct"]).toBe(Number(counts["allocstall"]) * SWAP_CLUSTER_MAX);
      expect(spans.openSpans(1)).toBe(0);
      p.write(heap, 100);
      expect(p.read(heap)).toEqual(count(200, 100));
      expect(brokenAtRest(k)).toEqual([]);
      p.munmap(heap);
      expect([k.pages.used(k.ram), k.swap.used]).toEqual([1, 0]);
    },
  );

  test("waits for reclaim inside its fault, whose phases add up", async () => {
    const m = machine({ memory: "256 KiB", swapPages: 256, processes: 2 }),
      heap = m.process().mmap("800 KiB");
    const done = await m.run({ cpu: touch(heap) });
    const { kind, phase, ns } = done.phases.columns as { kind: string[]; phase: string[]; ns: Float64Array };
    const of = (what: string) =>
      kind.map((x, i) => ({ x, phase: phase[i], ns: ns[i] })).filter((r) => r.x === what);
    const reclaim = of("direct reclaim"), faults = of("cpu fault");
    expect(reclaim.map((r) => r.phase).sort()).toEqual(["copy", "reclaim"]);
    for (const { phase: p, ns: spent } of reclaim) {
      expect(faults.find((f) => f.phase === p)?.ns).toBeGreaterThanOrEqual(spent);
    }
    const { spans } = m.kernel.sim;
    for (const what of ["direct reclaim", "cpu fault"]) {
      const h = done.latencies.columns as { kind: string[]; count: Float64Array; meanNs: Float64Array };
      const i = h.kind.indexOf(what);
      expect(of(what).reduce((sum, r) => sum + r.ns, 0)).toBeCloseTo(h.count[i] * h.meanNs[i], -4);
    }
    expect(spans.openSpans(1)).toBe(0);
  });

  test("gets OOM when swap is full too, and loses nothing that it had", () => {
    const { k, mm } = tight(16, 8, 40);
    const { signals } = access(k, mm, BASE, 40, 7);
    expect([...signals.values()]).toEqual(Array(40 - 24).fill(VM_FAULT_OOM));
    expect([k.pages.used(k.ram), k.swap.used]).toEqual([17, 8]);
    expect(brokenAtRest(k)).toEqual([]);
    run(k, madvise(k, 0, mm, BASE, 40, "dontneed"));
    expect([k.pages.used(k.ram), k.swap.used]).toEqual([1, 0]);
    expect(access(k, mm, BASE, 24, 9).signals.size).toBe(0);
  });

  test("gets OOM without swap as soon as the last frame is taken, and reclaim tries nothing", () => {
    const { k, mm } = tight(16, 0, 20), told: Invalidation[] = [];
    k.notifiers.watch = (_a, e) => told.push(e);
    expect(access(k, mm, BASE, 20, 7).signals.size).toBe(4);
    expect([counter(k, "allocstall"), counter(k, "pgscan_direct"), told.length]).toEqual([4, 0, 0]);
    expect(access(k, mm, BASE, 16, undefined).words).toEqual(count(16, 7));
  });

  test("gets what a failing allocation gets, whether or not memory is full", () => {
    const { k, mm } = tight(16, 40, 40);
    k.sim.injectFailure("page allocation", 300_000);
    const { signals } = access(k, mm, BASE, 40, 7);
    expect(signals.size).toBeGreaterThan(0);
    k.sim.injectFailure("page allocation", 0);
    expect(brokenAtRest(k)).toEqual([]);
    for (const i of count(40).filter((x) => !signals.has(BASE + x))) {
      expect(access(k, mm, BASE + i, 1, undefined).words).toEqual([7 + i]);
    }
  });
});

describe("which pages go", () => {
  test("those that were not used since the hand came by last", () => {
    const { k, mm } = tight(96, 96, 160);
    access(k, mm, BASE, 97, 1);
    // All were young: a first turn has cleared that, a second has taken as many as a round takes.
    expect(count(97).filter((i) => isSwapped(k, mm, BASE + i))).toEqual(count(SWAP_CLUSTER_MAX));
    access(k, mm, BASE + 32, 8, undefined);
    access(k, mm, BASE + 97, 32, 98);
    expect(count(97).filter((i) => isSwapped(k, mm, BASE + i))).toEqual([...count(32), ...count(32, 40)]);
    expect(access(k, mm, BASE, 129, undefined).words).toEqual(count(129, 1));
  });

  test("page by page, and each address space that has the page hears of it", () => {
    const { k, mm } = tight(16, 40, 17);
    access(k, mm, BASE, 4, 1);
    const told: string[] = [];
    run(k, forkMm(k, 0, mm));
    access(k, mm, BASE + 4, 12, 1);
    k.notifiers.watch = (_a, e, start) => {
      expect(e.event).toBe(MMU_NOTIFY_CLEAR);
      if (start) told.push(`${e.mm === mm ? "parent" : "child"} ${e.start - BASE} ${e.end - e.start}`);
    };
    expect(access(k, mm, BASE + 16, 1, 5).signals.size).toBe(0);
    expect(told.slice(0, 4)).toEqual(["parent 0 1", "child 0 1", "parent 1 1", "child 1 1"]);
    expect(told.length).toBe(4 * 2 + 12);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("not those of memory that is locked, whoever else maps them", () => {
    const k = smallKernel({ memory: 4096 * 17, swapPages: 60 }), [one, two] = [k.newMm(), k.newMm()];
    const inode = k.inodes.make(30);
    for (const mm of [one, two]) run(k, mmap(k, 0, mm, BASE, 30, RW | VM_SHARED, inode));
    access(k, one, BASE, 4, 1);
    expect(run(k, mlock(k, 0, two, BASE, 4))).toBe(0);
    access(k, one, BASE, 30, 1);
    for (const mm of [one, two]) expect(count(4, BASE).every((v) => isPresent(k, mm, v))).toBe(true);
    expect(counter(k, "pswpout")).toBeGreaterThan(0);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("not pinned ones", () => {
    const { k, mm } = tight(16, 40, 40), pfns = new Uint32Array(4);
    access(k, mm, BASE, 4, 1);
    expect(run(k, pinLongterm(k, 0, mm, BASE, 4, true, pfns))).toBe(0);
    access(k, mm, BASE, 30, 1);
    expect(count(4).map((i) => k.tables.pfn[k.tables.entry(k.root[mm], BASE + i)])).toEqual([...pfns]);
    unpin(k, 0, pfns, 4);
    access(k, mm, BASE, 30, 1);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("not locked ones: a fault waits until one is unlocked, who holds page locks gives up", () => {
    const { k, mm } = tight(16, 40, 20);
    access(k, mm, BASE, 16, 1);
    const pfns = count(16).map((i) => k.tables.pfn[k.tables.entry(k.root[mm], BASE + i)]);
    pfns.forEach((pfn) => k.pages.trylock(pfn));
    expect(run(k, allocPageSlow(k, 0))).toBe(-1);
    expect(counter(k, "pgscan_direct")).toBe(0);
    const out = new AccessResult();
    function* unlock(): Proc {
      pfns.forEach((pfn) => k.pages.unlock(pfn));
      yield 0;
    }
    const write = {
      n: 1,
      vpn: Float64Array.of(BASE + 16),
      pages: Uint32Array.of(1),
      write: Uint8Array.of(1),
      value: Uint32Array.of(5),
    };
    complete(k.sim, [{ a: 1, proc: cpuAccess(k, 1, mm, write, out) }, { a: 2, proc: unlock() }]);
    expect([out.pages, out.failed]).toEqual([1, 0]);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("pages marked by MADV_FREE without a slot, if nobody has written to them", () => {
    const { k, mm } = tight(16, 1, 20);
    access(k, mm, BASE, 16, 1);
    run(k, madvise(k, 0, mm, BASE, 8, "free"));
    access(k, mm, BASE, 2, 50); // wanted again
    expect(access(k, mm, BASE + 16, 4, 9).signals.size).toBe(0);
    expect(access(k, mm, BASE, 2, undefined).words).toEqual([50, 51]);
    expect(counter(k, "pswpout")).toBeLessThanOrEqual(1);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("pages of shared memory, which every process finds again", () => {
    const k = smallKernel({ memory: 4096 * 17, swapPages: 60 }), [one, two] = [k.newMm(), k.newMm()];
    const inode = k.inodes.make(20);
    for (const mm of [one, two]) run(k, mmap(k, 0, mm, BASE, 20, RW | VM_SHARED, inode));
    access(k, one, BASE, 10, 1);
    access(k, two, BASE, 20, 100);
    expect(access(k, one, BASE, 20, undefined).words).toEqual(count(20, 100));
    access(k, one, BASE, 20, 200);
    expect(access(k, two, BASE, 20, undefined).words).toEqual(count(20, 200));
    expect(brokenAtRest(k)).toEqual([]);
    for (const mm of [one, two]) run(k, madvise(k, 0, mm, BASE, 20, "dontneed"));
    expect(access(k, two, BASE, 20, undefined).words).toEqual(count(20, 200));
  });

  test("pages of a file, which a read or a write by descriptor brings back, if need be by reclaim", () => {
    const { k, mm } = tight(16, 60, 40), inode = k.inodes.make(0);
    for (const i of count(30)) expect(run(k, fileWrite(k, 0, inode, i, 100 + i))).toBe(0);
    access(k, mm, BASE, 16, 1);
    expect(k.inodes.isSwapped(inode, 0)).toBe(true);
    for (const i of count(30)) expect(run(k, fileRead(k, 0, inode, i))).toBe(100 + i);
    expect(access(k, mm, BASE, 16, undefined).words).toEqual(count(16, 1));
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("only those of the nodes that a policy allows", () => {
    const m = machine({ nodes: [{ memory: "1 MiB" }, { memory: "128 KiB" }], swapPages: 64 });
    const p = m.process(), heap = p.mmap("256 KiB"), far = p.mmap("64 KiB");
    expect([p.mbind(heap, "bind", [1]), p.mbind(far, "bind", [0])]).toEqual([0, 0]);
    p.write(far, 500);
    p.write(heap, 1);
    expect(p.nodes(far)).toEqual(Array(16).fill(0));
    expect(p.read(heap)).toEqual(count(64, 1));
    expect(p.nodes(heap).filter((n) => n >= 0).every((n) => n === 1)).toBe(true);
    expect(brokenAtRest(m)).toEqual([]);
  });

  test("pages of a large folio, which is split first", () => {
    const k = smallKernel({ memory: 4096 * 1024, swapPages: 2048 }), mm = k.newMm();
    run(k, mmap(k, 0, mm, 512, 512, RW | VM_HUGEPAGE));
    run(k, mmap(k, 0, mm, 2048, 1100, RW));
    access(k, mm, 512, 512, 1000);
    expect(k.tables.huge(k.root[mm], 512)).toBeGreaterThan(0);
    expect(access(k, mm, 2048, 1100, 5000).signals.size).toBe(0);
    expect(k.tables.huge(k.root[mm], 512)).toBe(-1);
    expect(access(k, mm, 512, 512, undefined).words).toEqual(count(512, 1000));
    expect(access(k, mm, 2048, 1100, undefined).words).toEqual(count(1100, 5000));
    expect(brokenAtRest(k)).toEqual([]);
  });
});

describe("after a fork", () => {
  test("shared pages are swapped for both, and come back shared until somebody writes", () => {
    const { k, mm } = tight(16, 40, 24);
    access(k, mm, BASE, 4, 1);
    const child = run(k, forkMm(k, 0, mm));
    access(k, mm, BASE + 4, 20, 100);
    const slots = count(4, BASE).map((v) => k.tables.pfn[k.tables.entry(k.root[mm], v)]);
    for (const m of [mm, child]) {
      expect(count(4, BASE).every((v) => isSwapped(k, m, v))).toBe(true);
      expect(count(4, BASE).map((v) => k.tables.pfn[k.tables.entry(k.root[m], v)])).toEqual(slots);
    }
    expect([k.rssSwap[mm] >= 4, k.rssSwap[child], slots.map((s) => k.swap.users[s])]).toEqual([true, 4, [
      2,
      2,
      2,
      2,
    ]]);
    for (const m of [mm, child]) expect(access(k, m, BASE, 4, undefined).words).toEqual(count(4, 1));
    const frame = (m: number) => k.tables.pfn[k.tables.entry(k.root[m], BASE)];
    expect([frame(mm) === frame(child), k.pages.mapcount[frame(mm)]]).toEqual([true, 2]);
    access(k, child, BASE, 4, 50);
    expect(access(k, mm, BASE, 4, undefined).words).toEqual(count(4, 1));
    expect(access(k, child, BASE, 4, undefined).words).toEqual(count(4, 50));
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("a child gets its copy of a pinned page at once, if need be by reclaim", () => {
    const { k, mm } = tight(16, 40, 24), pfns = new Uint32Array(2);
    access(k, mm, BASE, 2, 1);
    expect(run(k, pinLongterm(k, 0, mm, BASE, 2, true, pfns))).toBe(0);
    access(k, mm, BASE + 2, 14, 100);
    expect(noFrameFree(k, -1)).toBe(true);
    const child = run(k, forkMm(k, 0, mm));
    expect(child).toBeGreaterThan(0);
    expect(access(k, child, BASE, 2, undefined).words).toEqual([1, 2]);
    unpin(k, 0, pfns, 2);
    expect(brokenAtRest(k)).toEqual([]);
  });

  test("it fails, with nothing left behind, when reclaim finds nothing", () => {
    const { k, mm } = tight(16, 0, 24), pfns = new Uint32Array(2);
    access(k, mm, BASE, 16, 1);
    expect(run(k, pinLongterm(k, 0, mm, BASE, 2, true, pfns))).toBe(0);
    expect(run(k, forkMm(k, 0, mm))).toBe(-ENOMEM);
    unpin(k, 0, pfns, 2);
    expect(brokenAtRest(k)).toEqual([]);
  });
});

describe("reclaim is entered only where sleeping is allowed", () => {
  test("not under a spinlock: that is an error of the model", () => {
    const { k, mm } = tight(16, 40, 24);
    access(k, mm, BASE, 16, 1);
    k.sim.enterAtomic(0);
    expect(() => run(k, tryToFreePages(k, 0))).toThrow("would sleep where it must not: direct reclaim");
    k.sim.exitAtomic(0);
    expect(run(k, tryToFreePages(k, 0))).toBe(true);
    expect(run(k, tryToFreePages(k, 0))).toBe(false); // there are free frames now
  });

  test("not from a subscriber that reclaim has called", () => {
    const { k, mm } = tight(16, 40, 24), answers: boolean[] = [];
    access(k, mm, BASE, 16, 1);
    k.notifiers.insert(mm, BASE, BASE + 24, {
      tryInvalidate: () => true,
      waitOn: () => 0,
      *invalidate(a) {
        if (noFrameFree(k, -1)) answers.push(yield* tryToFreePages(k, a));
        return true;
      },
    });
    expect(access(k, mm, BASE + 16, 4, 1).signals.size).toBe(0);
    expect(answers).toEqual([false]);
  });
});

test("a machine hands out as many frames as it was declared with, not more", () => {
  for (const frames of [16, 31, 32, 33, 100, 1000]) {
    const k = smallKernel({ memory: 4096 * frames }), got = new Set<number>();
    for (let pfn = k.pages.take(k.ram); pfn >= 0; pfn = k.pages.take(k.ram)) got.add(pfn);
    expect([got.size, Math.max(...got), noFrameFree(k, -1)]).toEqual([frames - 1, frames - 1, true]);
  }
});
