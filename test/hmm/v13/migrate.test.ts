/** hmm_vma_migrate: what it collects, its two callbacks, outcomes by page, and the posted restore loops as switches. */
// deno-lint-ignore-file require-yield -- callbacks of a driver are generators, whether or not they stop
import { expect, test } from "vitest";
import { pinLongterm, unpin } from "../../../lib/hmm/pin.ts";
import { explore, litmus } from "../../../lib/explore/litmus.ts";
import { hmmPfnToPage } from "../../../lib/hmm/v13/flags.ts";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { type Process, Region } from "../../../lib/machine/process.ts";
import type { Thread } from "../../../lib/machine/thread.ts";
import { EINVAL } from "../../../lib/mm/errno.ts";
import { forkMm } from "../../../lib/mm/fork.ts";
import { mmap } from "../../../lib/mm/mmap.ts";
import { PG_LOCKED } from "../../../lib/mm/pages.ts";
import { PTE_KIND, PTE_MIGRATION, PTE_PRESENT } from "../../../lib/mm/pagetable.ts";
import { VM_READ, VM_SHARED, VM_WRITE } from "../../../lib/mm/vma.ts";
import { DeadlockError } from "../../../lib/sim/runners.ts";
import type { Proc } from "../../../lib/sim/sim.ts";
import { bench, migrate } from "./driver.ts";

/** Device memory whose faults bring one page back. */
function memory(p: Process, pages = 16): v13.HmmDevmem {
  const devmem = new v13.HmmDevmem(), { kernel: { pages: all } } = p.machine;
  const rc = v13.hmmDevmemAdd(
    devmem,
    {
      free() {},
      *fault(devmem, vma, vpn, page) {
        const ops: v13.HmmMigrateOps<null> = {
          *allocAndCopy(vma, start, _end, pfns) {
            const to = v13.hmmVmaAllocLockedPage(vma, start);
            if (to < 0) {
              pfns[0] = v13.HMM_PFN_ERROR;
              return;
            }
            all.copy(to, hmmPfnToPage(pfns[0]));
            pfns[0] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
          },
          *finalizeAndMap() {},
        };
        return yield* v13.hmmDevmemFaultRange(
          devmem,
          vma,
          ops,
          vpn,
          vpn,
          vpn + 1,
          new BigUint64Array(1),
          null,
          page,
        );
      },
    },
    new v13.MmStruct(p),
    pages,
  );
  expect(rc).toBe(0);
  return devmem;
}

const EMPTY_OPS: v13.HmmMigrateOps<null> = { *allocAndCopy() {}, *finalizeAndMap() {} };

test("migration refuses what cannot be asked for, and nothing else", () => {
  const { p, r } = bench(4), vma = v13.findVma(new v13.MmStruct(p), r.vpn)!, pfns = new BigUint64Array(8);
  const call = (
    ops: v13.HmmMigrateOps<null> | null,
    from: number,
    to: number,
    array: BigUint64Array | null = pfns,
  ) => p.complete(v13.hmmVmaMigrate(ops, vma, r.vpn + from, r.vpn + to, array, null));
  expect([call(null, 0, 1), call(EMPTY_OPS, 0, 1, null)]).toEqual([-EINVAL, -EINVAL]);
  expect([call(EMPTY_OPS, 2, 2), call(EMPTY_OPS, 3, 1), call(EMPTY_OPS, -1, 1), call(EMPTY_OPS, 0, 5)])
    .toEqual(
      [-EINVAL, -EINVAL, -EINVAL, -EINVAL],
    );
  expect(call(EMPTY_OPS, 0, 4)).toBe(0);
});

test("pages go to the device and come back by a touch, without a mirror; empty entries stay empty", () => {
  const { p, r } = bench(4), devmem = memory(p), mm = new v13.MmStruct(p);
  p.write(r.slice("4 KiB", "8 KiB"), 1);
  p.read(r.slice(0, "4 KiB")); // the zero page is no page
  const done = p.complete(migrate(mm, r, () => devmem.alloc()));
  expect(done).toEqual({ rc: 0, moved: [1, 2], offered: [1, 2] });
  expect([devmem.inuse, p.residentPages]).toEqual([true, 2]);
  expect(p.read(r)).toEqual([0, 1, 2, 0]);
  expect(devmem.inuse).toBe(false);
  expect(p.complete(migrate(mm, p.mmap("8 KiB"), () => devmem.alloc()))).toEqual({
    rc: 0,
    moved: [],
    offered: [],
  });
});

test("the array holds sources, then destinations, then nothing", () => {
  const { m, p, r } = bench(2),
    devmem = memory(p),
    seen: string[] = [],
    pfns = new BigUint64Array(2).fill(~0n);
  p.write(r, 1);
  m.complete(forkMm(m.kernel, 0, p.mm));
  p.write(r.slice("4 KiB"), 2); // its own again
  const flags = (pfn: bigint) => (pfn & ((1n << v13.HMM_PFN_SHIFT) - 1n)).toString(2);
  const vma = v13.findVma(new v13.MmStruct(p), r.vpn)!;
  p.complete(v13.hmmVmaMigrate(
    {
      *allocAndCopy(_vma, _start, _end, pfns) {
        seen.push(...Array.from(pfns, flags));
        const to = devmem.alloc();
        m.kernel.pages.copy(to, hmmPfnToPage(pfns[0]));
        pfns[0] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED | v13.HMM_PFN_DEVICE;
        pfns[1] &= ~v13.HMM_PFN_MIGRATE;
      },
      *finalizeAndMap(_vma, _start, _end, pfns) {
        seen.push(...Array.from(pfns, flags));
      },
    },
    vma,
    r.vpn,
    r.vpn + 2,
    pfns,
    null,
  ));
  const { HMM_PFN_VALID: V, HMM_PFN_WRITE: W, HMM_PFN_LOCKED: L, HMM_PFN_MIGRATE: M, HMM_PFN_DEVICE: D } =
    v13;
  expect(seen).toEqual([V | L | M, V | L | M | W, V | L | M | D, V | L | W].map((x) => x.toString(2)));
  expect(pfns).toEqual(new BigUint64Array(2));
  expect(p.read(r)).toEqual([1, 2]);
});

test("what the callback does not replace stays; a destination it names for nothing is given back", () => {
  const { m, p, r } = bench(3), devmem = memory(p), { pages } = m.kernel, before = pages.used(m.kernel.ram);
  p.write(r.slice(0, "8 KiB"), 1);
  const done = p.complete(
    migrate(new v13.MmStruct(p), r, (_vma, vpn) => vpn === r.vpn ? -1 : devmem.alloc()),
  );
  expect([done.moved, p.residentPages]).toEqual([[1], 2]);
  const vma = v13.findVma(new v13.MmStruct(p), r.vpn)!;
  p.complete(v13.hmmVmaMigrate(
    {
      *allocAndCopy(_vma, _start, _end, pfns) {
        pfns[2] = v13.hmmPfnFromPage(devmem.alloc()) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
      },
      *finalizeAndMap(_vma, _start, _end, pfns) {
        expect(pfns.every((pfn) => !(pfn & v13.HMM_PFN_MIGRATE))).toBe(true);
      },
    },
    vma,
    r.vpn,
    r.vpn + 3,
    new BigUint64Array(3),
    null,
  ));
  expect(p.read(r)).toEqual([1, 2, 0]);
  expect(devmem.inuse).toBe(false);
  p.munmap(r);
  expect(pages.used(m.kernel.ram)).toBe(before);
});

test("one call moves pages of several devices and of ordinary memory", () => {
  const { m, p, r } = bench(3), one = memory(p), two = memory(p, 8), mm = new v13.MmStruct(p);
  p.write(r, 1);
  p.complete(migrate(mm, r.slice(0, "4 KiB"), () => one.alloc()));
  p.complete(migrate(mm, r.slice("4 KiB", "4 KiB"), () => two.alloc()));
  const back = p.complete(migrate(mm, r, v13.hmmVmaAllocLockedPage));
  expect(back.moved).toEqual([0, 1, 2]);
  expect([one.inuse, two.inuse, m.kernel.rssAnon[p.mm]]).toEqual([false, false, 3]);
  expect(p.read(r)).toEqual([1, 2, 3]);
});

test("a file's page does not go where the CPU does not reach, and is as it was", () => {
  const { m, p } = bench(),
    { kernel: k } = m,
    devmem = memory(p),
    mm = new v13.MmStruct(p),
    inode = k.inodes.make(2);
  const vpn = p.complete(mmap(k, 0, p.mm, -1, 2, VM_READ | VM_WRITE | VM_SHARED, inode));
  const shared = new Region(p, vpn, 2);
  p.write(shared, 7);
  const out = p.complete(migrate(mm, shared, () => devmem.alloc()));
  expect([out.rc, out.offered, out.moved, devmem.inuse]).toEqual([0, [0, 1], [], false]);
  expect(p.read(shared)).toEqual([7, 8]);
});

/** A region over the border of two page tables, all written, with a page pinned in each. */
function pinned(revert: readonly string[]) {
  const { m, p } = bench(1, revert), { kernel: k } = m;
  const vpn = p.complete(mmap(k, 0, p.mm, 0x2_0000 - 2, 4, VM_READ | VM_WRITE));
  const r = new Region(p, vpn, 4);
  p.write(r, 1);
  const pins = new Uint32Array(2);
  for (const [i, at] of [1, 3].entries()) {
    expect(p.complete(pinLongterm(k, 0, p.mm, vpn + at, 1, true, pins.subarray(i, i + 1)))).toBe(0);
  }
  const kind = (i: number) => k.tables.kind[k.tables.entry(k.root[p.mm], vpn + i)] & PTE_KIND;
  return { m, p, r, k, pins, kind };
}

test("pinned pages are refused and restored, in both of two page tables; in posted code the second is lost", () => {
  for (const revert of [[], ["v13 isolate restore"]]) {
    const { p, r, k, pins, kind } = pinned(revert), devmem = memory(p);
    const done = p.complete(migrate(new v13.MmStruct(p), r, () => devmem.alloc()));
    expect([done.rc, done.moved]).toEqual([0, [0, 2]]);
    expect(kind(1)).toBe(PTE_PRESENT);
    // Its migration entry stands for ever, though nobody has the page locked: a touch would look again and again.
    expect(kind(3)).toBe(revert.length === 0 ? PTE_PRESENT : PTE_MIGRATION);
    expect(k.pages.flags[pins[1]] & PG_LOCKED).toBe(0);
    if (revert.length > 0) continue;
    expect(p.read(r)).toEqual([1, 2, 3, 4]);
    unpin(k, 0, pins, 2);
  }
});

test("a pinned page that two processes map is refused and restored in both; in posted code it stays locked", () => {
  const run = (revert: readonly string[]) => {
    const { m, p, r } = bench(1, revert), { kernel: k } = m, devmem = memory(p);
    p.write(r, 9);
    const child = m.complete(forkMm(k, 0, p.mm)), page = k.tables.pfn[k.tables.entry(k.root[p.mm], r.vpn)];
    k.pages.get(page); // a reference that is no mapping
    const done = p.complete(migrate(new v13.MmStruct(p), r, () => devmem.alloc()));
    expect([done.rc, done.offered, devmem.inuse]).toEqual([0, [], false]);
    const kinds = [p.mm, child].map((mm) => k.tables.kind[k.tables.entry(k.root[mm], r.vpn)] & PTE_KIND);
    return { p, r, kinds };
  };
  const good = run([]);
  expect(good.kinds).toEqual([PTE_PRESENT, PTE_PRESENT]);
  expect(good.p.read(good.r)).toEqual([9]);
  const posted = run(["v13 unmap restore"]);
  expect(posted.kinds).toEqual([PTE_MIGRATION, PTE_MIGRATION]);
  expect(() => posted.p.read(posted.r)).toThrow(DeadlockError);
});

for (const where of ["ordinary", "device"] as const) {
  test(`a migration to ${where} memory loses no store of the CPU, and leaves nothing behind an munmap`, async () => {
    const race = (name: string, p1: (t: Thread, A: Region) => Proc<unknown>, value: unknown) =>
      litmus(name, { pages: 1, device: { memory: 0, onFault: "map" } }, ({ m, t, A }) => {
        const p = A.process, mm = new v13.MmStruct(p), { pages, ram } = m.kernel;
        const devmem = where === "device" ? memory(p, 4) : undefined, before = pages.used(ram);
        const take = devmem === undefined ? v13.hmmVmaAllocLockedPage : () => devmem.alloc();
        return {
          P0: () => migrate(mm, A, take),
          P1: () => p1(t, A),
          finally: {
            value: () => p.read(A)[0] === value,
            noLeak: () => pages.used(ram) <= before && (value !== "SEGV_MAPERR" || !devmem?.inuse),
          },
        };
      });
    for (
      const r of [
        race("v13 migration against a store", (t, A) => t.write(A, 9), 9),
        race("v13 migration against munmap", (t, A) => t.munmap(A), "SEGV_MAPERR"),
      ]
    ) {
      const { found, violated } = await explore(r);
      expect([r.name, found.exhaustive, violated]).toEqual([r.name, true, undefined]);
    }
  });
}
