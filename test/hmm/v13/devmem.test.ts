/** hmm_devmem: adding and removing, faults that fail, driver data, hmm_device. */
// deno-lint-ignore-file require-yield -- callbacks of a driver are generators, whether or not they stop
import { expect, test } from "vitest";
import { hmmPfnToPage } from "../../../lib/hmm/v13/flags.ts";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { ENOMEM, ERANGE, VM_FAULT_SIGBUS } from "../../../lib/mm/errno.ts";
import { exitMm } from "../../../lib/mm/exit.ts";
import { SECTION_PAGES } from "../../../lib/mm/pages.ts";
import { machine } from "../../../lib/machine/machine.ts";
import { bench, migrate } from "./driver.ts";

const SECTION = SECTION_PAGES * 4096;
const OPS: v13.HmmDevmemOps = {
  free() {},
  *fault() {
    return VM_FAULT_SIGBUS;
  },
};

test("memory is added by section, from the top down, as far as there is room", () => {
  const { m, p } = bench(), mm = new v13.MmStruct(p), devmem = new v13.HmmDevmem(), { pages, sim } = m.kernel;
  expect(v13.hmmDevmemAdd(devmem, OPS, mm, 0)).toBe(-ERANGE);
  expect(v13.hmmDevmemAdd(devmem, OPS, mm, NaN)).toBe(-ERANGE);
  expect(v13.hmmDevmemAdd(devmem, OPS, mm, 2 ** 50)).toBe(-ERANGE);
  expect(() => devmem.pfnFirst).toThrow(/never added/);
  sim.injectFailure("page allocation", 1_000_000);
  expect(v13.hmmDevmemAdd(devmem, OPS, mm, 8)).toBe(-ENOMEM);
  sim.injectFailure("page allocation", 0);
  const top = pages.freeRegion(SECTION_PAGES);
  expect(v13.hmmDevmemAdd(devmem, OPS, mm, 8)).toBe(0);
  expect([devmem.pfnFirst, devmem.pfnLast]).toEqual([top, top + SECTION_PAGES]);
  expect(pages.isDevicePrivate(devmem.pfnFirst)).toBe(true);
  expect(() => v13.hmmDevmemAdd(devmem, OPS, mm, 8)).toThrow(/added already/);
});

test("a removed range is free for the next memory, and a removed one has no frames", () => {
  const m = machine({ memory: "1 MiB", hotplug: "384 MiB" }), mm = new v13.MmStruct(m.process());
  const [one, two, three] = [0, 1, 2].map(() => new v13.HmmDevmem());
  expect(v13.hmmDevmemAdd(one, OPS, mm, SECTION)).toBe(0);
  const first = one.pfnFirst, page = one.alloc(0);
  expect(v13.hmmDevmemAdd(two, OPS, mm, SECTION + 1)).toBe(0);
  expect(two.pfnFirst).toBe(first - 2 * SECTION_PAGES);
  expect(v13.hmmDevmemAdd(three, OPS, mm, 1)).toBe(-ERANGE);
  expect(v13.hmmDevmemRemove(one)).toBe(false);
  m.kernel.pages.unlock(page);
  m.kernel.pages.put(0, page);
  expect([v13.hmmDevmemRemove(one), v13.hmmDevmemRemove(one)]).toEqual([true, true]);
  expect([one.pfnFirst, one.pfnLast, one.alloc(0)]).toEqual([0, 0, -1]);
  expect(v13.hmmDevmemAdd(three, OPS, mm, 1)).toBe(0);
  expect(three.pfnFirst).toBe(first);
});

test("free comes once for each page, and the driver's data stays with the frame", () => {
  const { m, p, r } = bench(3), mm = new v13.MmStruct(p), devmem = new v13.HmmDevmem(), freed: number[] = [];
  v13.hmmDevmemAdd(
    devmem,
    {
      ...OPS,
      free: (d, page) => freed.push(v13.hmmDevmemPageGetDrvdata(d, page)),
    },
    mm,
    2,
  );
  p.write(r, 1);
  const done = p.complete(migrate(mm, r, (_vma, vpn) => {
    const page = vpn - r.vpn < 2 ? devmem.alloc() : -1;
    if (page >= 0) v13.hmmDevmemPageSetDrvdata(devmem, page, 100 + vpn - r.vpn);
    return page;
  }));
  expect(done.moved).toEqual([0, 1]);
  p.munmap(r);
  expect(freed).toEqual([100, 101]);
  expect(() => v13.hmmDevmemPageGetDrvdata(devmem, devmem.pfnLast)).toThrow(
    /Cannot find a page's driver data/,
  );
  expect(() => v13.hmmDevmemPageSetDrvdata(devmem, 0, 1)).toThrow(/frame 0/);
  expect(m.kernel.pages.used(m.kernel.pages.zones.at(-1)!)).toBe(0);
});

test("memory is removed when no page of it is in use; from the first attempt on none is handed out", () => {
  const { m, p, r } = bench(2), mm = new v13.MmStruct(p), devmem = new v13.HmmDevmem();
  v13.hmmDevmemAdd(devmem, OPS, mm, 4);
  p.write(r, 1);
  p.complete(migrate(mm, r, () => devmem.alloc()));
  expect([devmem.live, v13.hmmDevmemRemove(devmem), devmem.live, devmem.alloc(0)]).toEqual([
    true,
    false,
    false,
    -1,
  ]);
  p.complete(migrate(mm, r.slice(0, "4 KiB"), v13.hmmVmaAllocLockedPage));
  expect(v13.hmmDevmemRemove(devmem)).toBe(false);
  m.complete(exitMm(m.kernel, 0, p.mm));
  expect(v13.hmmDevmemRemove(devmem)).toBe(true);
});

test("a page that cannot come back is a SIGBUS, and nothing is lost", () => {
  const { m, p, r } = bench(3), mm = new v13.MmStruct(p), devmem = new v13.HmmDevmem(), { pages } = m.kernel;
  const ops: v13.HmmMigrateOps<null> = {
    *allocAndCopy(vma, start, _end, pfns) {
      for (let i = 0; i < pfns.length; i++) {
        const from = hmmPfnToPage(pfns[i]), to = from < 0 ? -1 : v13.hmmVmaAllocLockedPage(vma, start + i);
        if (to >= 0) {
          pages.copy(to, from);
          pfns[i] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
        } else if (from >= 0) pfns[i] = v13.HMM_PFN_ERROR;
      }
    },
    *finalizeAndMap() {},
  };
  v13.hmmDevmemAdd(
    devmem,
    {
      free() {},
      // All of the area at once: a fault of one page brings its neighbours back too.
      fault: (devmem, vma, vpn, page) =>
        v13.hmmDevmemFaultRange(
          devmem,
          vma,
          ops,
          vma.vmStart,
          vpn,
          vma.vmEnd,
          new BigUint64Array(vma.vmEnd - vma.vmStart),
          null,
          page,
        ),
    },
    mm,
    4,
  );
  p.write(r, 1);
  p.complete(migrate(mm, r, () => devmem.alloc()));
  m.kernel.sim.injectFailure("page allocation", 1_000_000);
  expect(p.read(r.slice("4 KiB", "4 KiB"))).toEqual(["SIGBUS"]);
  expect([devmem.inuse, p.residentPages]).toEqual([true, 3]);
  m.kernel.sim.injectFailure("page allocation", 0);
  expect(p.read(r.slice("4 KiB", "4 KiB"))).toEqual([2]);
  expect(devmem.inuse).toBe(false);
  expect(p.read(r)).toEqual([1, 2, 3]);
  const vma = v13.findVma(mm, r.vpn)!, pfns = new BigUint64Array(1);
  const outside = v13.hmmDevmemFaultRange(
    devmem,
    vma,
    ops,
    r.vpn,
    r.vpn + 1,
    r.vpn + 1,
    pfns,
    null,
    devmem.pfnFirst,
  );
  expect(p.complete(outside)).toBe(VM_FAULT_SIGBUS);
});

test("a locked page is taken for an address of the area, or none", () => {
  const { m, p, r } = bench(), mm = new v13.MmStruct(p), vma = v13.findVma(mm, r.vpn)!, { pages } = m.kernel;
  const page = v13.hmmVmaAllocLockedPage(vma, r.vpn);
  expect([pages.trylock(page), pages.refcount[page], pages.isFree(page)]).toEqual([false, 1, false]);
  expect(v13.hmmVmaAllocLockedPage(vma, r.vpn + 4)).toBe(-1);
  m.kernel.sim.injectFailure("page allocation", 1_000_000);
  expect(v13.hmmVmaAllocLockedPage(vma, r.vpn)).toBe(-1);
});

test("there are 256 devices that are only a name", () => {
  const { p } = bench(),
    mm = new v13.MmStruct(p),
    all = Array.from({ length: 256 }, () => v13.hmmDeviceNew(mm)!);
  expect(all.map((d) => d.minor)).toEqual(all.map((_, i) => i));
  expect(v13.hmmDeviceNew(mm)).toBeNull();
  v13.hmmDevicePut(all[100]);
  const again = v13.hmmDeviceNew(mm)!, devmem = new v13.HmmDevmem();
  expect(again.minor).toBe(100);
  expect(v13.hmmDevmemAdd(devmem, OPS, again, 4)).toBe(0);
});
