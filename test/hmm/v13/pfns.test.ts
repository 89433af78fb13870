/** hmm_vma_get_pfns and hmm_vma_fault: each kind of entry, each request, the errors. */
import { expect, test } from "vitest";
import { asDummy } from "../../../lib/devices/dummy/device.ts";
import { makeDeviceExclusiveRange } from "../../../lib/hmm/exclusive.ts";
import { hmmPfnToPage } from "../../../lib/hmm/v13/flags.ts";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { machine } from "../../../lib/machine/machine.ts";
import { type Process, Region } from "../../../lib/machine/process.ts";
import { DeviceThread } from "../../../lib/machine/device_thread.ts";
import { EINVAL } from "../../../lib/mm/errno.ts";
import { forkMm } from "../../../lib/mm/fork.ts";
import { madvise } from "../../../lib/mm/madvise.ts";
import { mmap } from "../../../lib/mm/mmap.ts";
import { VM_HUGETLB, VM_MIXEDMAP, VM_READ, VM_SHARED, VM_WRITE } from "../../../lib/mm/vma.ts";
import { DUE, type Proc, site } from "../../../lib/sim/sim.ts";
import { complete, steps } from "../../../lib/sim/runners.ts";
import { bench, migrate } from "./driver.ts";

const NAMES = {
  V: v13.HMM_PFN_VALID,
  R: v13.HMM_PFN_READ,
  W: v13.HMM_PFN_WRITE,
  X: v13.HMM_PFN_ERROR,
  E: v13.HMM_PFN_EMPTY,
  F: v13.HMM_PFN_FAULT,
  D: v13.HMM_PFN_DEVICE,
  L: v13.HMM_PFN_LOCKED,
  S: v13.HMM_PFN_SPECIAL,
  M: v13.HMM_PFN_MIGRATE,
  U: v13.HMM_PFN_UNADDRESSABLE,
};

/** The flags of entries by their letters. */
function text(pfns: BigUint64Array): string {
  const of = (pfn: bigint) =>
    Object.entries(NAMES).filter(([, bit]) => pfn & bit).map(([c]) => c).join("") || "0";
  return Array.from(pfns, of).join(" ");
}

function snapshot(p: Process, vpn: number, pages: number, from = vpn): { rc: number; pfns: BigUint64Array } {
  const pfns = new BigUint64Array(pages), vma = v13.findVma(new v13.MmStruct(p), vpn)!;
  return { rc: p.complete(v13.hmmVmaGetPfns(vma, from, from + pages, pfns)), pfns };
}
const look = (p: Process, r: Region) => text(snapshot(p, r.vpn, r.pages).pfns);

/** Faults a region; `ask` gives each entry's request. */
function fault(p: Process, r: Region, ask: bigint[]): string {
  const mm = new v13.MmStruct(p), pfns = BigUint64Array.from(ask);
  function* run() {
    yield* mm.downRead();
    const held = yield* v13.hmmVmaFault(v13.findVma(mm, r.vpn)!, r.vpn, r.vpn + r.pages, pfns);
    if (held) mm.upRead();
    return held;
  }
  expect(p.complete(run())).toBe(true);
  return text(pfns);
}

const { HMM_PFN_FAULT: F, HMM_PFN_WRITE: W } = v13;

test("the bits are those after patch 16, and an entry holds any frame", () => {
  const bits = Object.values(NAMES).map((b) => b.toString(2).length - 1);
  expect(bits).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(v13.HMM_PFN_SHIFT).toBe(11n);
  for (const page of [0, 1, 2 ** 21, 2 ** 26 - 1]) {
    expect(hmmPfnToPage(v13.hmmPfnFromPage(page))).toBe(page);
    expect(text(BigUint64Array.of(v13.hmmPfnFromPage(page)))).toBe("V");
  }
  expect(hmmPfnToPage(v13.hmmPfnFromPage(3) & ~v13.HMM_PFN_VALID)).toBe(-1);
  expect(() => v13.hmmPfnFromPage(-1)).toThrow(/Cannot make an entry of a page: .*-1/);
});

test("a snapshot names every kind of entry", () => {
  const device = { memory: "64 KiB", onFault: "map" } as const;
  const m = machine({
    memory: "8 MiB",
    devices: { a: device, b: { ...device, coherent: true } },
    pageTables: 64,
  });
  const p = m.process(), r = p.mmap(7 * 4096), page = (i: number) => r.slice(i * 4096, "4 KiB");
  p.read(page(1));
  for (const i of [2, 3, 4, 5, 6]) p.write(page(i), i);
  p.complete(new DeviceThread(asDummy(m.devices.a), p).migrate(page(3)));
  p.complete(new DeviceThread(asDummy(m.devices.b), p).migrate(page(4)));
  p.complete(madvise(m.kernel, 0, p.mm, r.vpn + 5, 1, "pageout"));
  const pfns = new Uint32Array(1);
  function* exclusive() {
    yield* m.kernel.locks.read(0, m.kernel.mmapLock(p.mm));
    yield* makeDeviceExclusiveRange(m.kernel, 0, p.mm, r.vpn + 6, r.vpn + 7, 0, pfns);
    m.kernel.locks.readUnlock(0, m.kernel.mmapLock(p.mm));
  }
  p.complete(exclusive());
  expect(look(p, r)).toBe("E VR VRW VRWDU VRWD 0 X");
  const { rc, pfns: found } = snapshot(p, r.vpn, 7);
  expect(rc).toBe(0);
  expect(hmmPfnToPage(found[1])).toBe(0);
  expect(hmmPfnToPage(found[3])).toBe(asDummy(m.devices.a).memory!.zone.start);
  // Looking changes nothing: the pages are where they were.
  expect([asDummy(m.devices.a).memory!.used, asDummy(m.devices.b).memory!.used]).toEqual([1, 1]);
});

test("a snapshot shows what fork and mprotect left of the permissions", () => {
  const { m, p, r } = bench(2);
  p.write(r, 1);
  m.complete(forkMm(m.kernel, 0, p.mm));
  expect(look(p, r)).toBe("VR VR");
  p.mprotect(r, "none");
  expect(look(p, r)).toBe("V V");
});

test("a range that is not within the area is -EINVAL; hugetlb and inserted pages are SPECIAL", () => {
  const { m, p, r } = bench(4);
  p.write(r, 1);
  for (const [from, pages] of [[-1, 2], [3, 2], [4, 1]]) {
    const { rc, pfns } = snapshot(p, r.vpn, pages, r.vpn + from);
    expect([rc, text(pfns)]).toEqual([-EINVAL, Array(pages).fill("0").join(" ")]);
  }
  expect(snapshot(p, r.vpn, 0).rc).toBe(0);
  for (const flag of [VM_HUGETLB, VM_MIXEDMAP]) {
    const vpn = p.complete(mmap(m.kernel, 0, p.mm, 512, 512, VM_READ | VM_WRITE));
    expect(vpn).toBe(512);
    const { vmas } = m.kernel, row = vmas.lookup(p.mm, vpn), before = vmas.flags[row];
    vmas.flags[row] |= flag;
    const { rc, pfns } = snapshot(p, vpn, 2);
    expect([rc, text(pfns)]).toEqual([-EINVAL, "S S"]);
    const mm = new v13.MmStruct(p), asked = BigUint64Array.of(F, F);
    expect(p.complete(v13.hmmVmaFault(v13.findVma(mm, vpn)!, vpn, vpn + 2, asked))).toBe(true);
    expect(text(asked)).toBe("S S");
    expect(p.complete(v13.hmmVmaMigrate(null, v13.findVma(mm, vpn)!, vpn, vpn + 2, asked, null))).toBe(
      -EINVAL,
    );
    vmas.flags[row] = before;
  }
});

test("only entries that carry FAULT are faulted, for writing those with WRITE", () => {
  const { p, r } = bench(4);
  expect(fault(p, r, [0n, F, F | W, W])).toBe("E VR VRW E");
  expect(p.residentPages).toBe(1);
  // A second time: what is there is reported, the zero page is written where that is asked for.
  expect(fault(p, r, [0n, F | W, F, F])).toBe("E VRW VRW VR");
});

test("a fault of what cannot be read or written ends, and says so by what is missing", () => {
  const { p, r } = bench(2);
  p.write(r.slice(0, "4 KiB"), 1);
  p.mprotect(r, "r");
  expect(fault(p, r, [F | W, F | W])).toBe("VR VR");
  p.mprotect(r, "none");
  expect(fault(p, r, [F, F | W])).toBe("V V");
  const none = p.mmap(4096, "none");
  expect(fault(p, none, [F])).toBe("E");
});

test("a fault that fails is ERROR, and the others are done", () => {
  const { m, p, r } = bench(2);
  m.kernel.sim.injectFailure("page allocation", 1_000_000);
  expect(fault(p, r, [F | W, F])).toBe("X VR");
});

test.each(["swap", "a file"])(
  "a page of %s that is locked is waited for without mmap_sem, and the caller tries again",
  (what) => {
    const { m, p, r: anonymous } = bench(2), { kernel: k } = m, { pages, locks, sim } = k;
    const shared = (): Region => {
      const inode = k.inodes.make(2), flags = VM_READ | VM_WRITE | VM_SHARED;
      const vpn = m.complete(mmap(k, 0, p.mm, 512, 2, flags, inode));
      return new Region(p, vpn, 2);
    };
    const r = what === "swap" ? anonymous : shared();
    p.write(r, 1);
    let page: number;
    if (what === "swap") {
      // The page is in the swap cache for the sake of a child, locked by whoever reads or writes it.
      m.complete(madvise(k, 0, p.mm, r.vpn, 1, "pageout"));
      p.fork();
      const slot = k.tables.pfn[k.tables.entry(k.root[p.mm], r.vpn)];
      page = pages.take(k.ram);
      k.swap.read(k, 0, slot, page, true);
      pages.put(0, page);
    } else {
      page = k.tables.pfn[k.tables.entry(k.root[p.mm], r.vpn)];
      m.complete(madvise(k, 0, p.mm, r.vpn, 1, "dontneed"));
    }
    pages.trylock(page);
    const mm = new v13.MmStruct(p), lock = k.mmapLock(p.mm), said: string[] = [];
    function* device(): Proc {
      for (let held = false; !held;) {
        const pfns = BigUint64Array.of(F | W, F);
        yield* mm.downRead();
        held = yield* v13.hmmVmaFault(v13.findVma(mm, r.vpn)!, r.vpn, r.vpn + 2, pfns);
        said.push(`${held}: ${text(pfns)}`);
        if (held) mm.upRead();
      }
    }
    function* holder(): Proc {
      // It would wait for ever for a device that keeps mmap_sem.
      yield* locks.lock(2, lock);
      locks.unlock(2, lock);
      pages.unlock(page);
    }
    complete(sim, [{ a: 1, proc: device() }, { a: 2, proc: holder() }]);
    expect(said).toEqual(["false: 0 0", what === "swap" ? "true: VRW VR" : "true: VRW VRW"]);
    expect(p.read(r)).toEqual([1, 2]);
  },
);

test("a fault swaps in, and brings nothing back from a device", () => {
  const { m, p, r } = bench(3), devmem = new v13.HmmDevmem(), mm = new v13.MmStruct(p);
  let back = 0;
  v13.hmmDevmemAdd(
    devmem,
    {
      free() {},
      // deno-lint-ignore require-yield
      *fault() {
        back++;
        return 4;
      },
    },
    mm,
    8,
  );
  p.write(r, 1);
  expect(p.complete(migrate(mm, r.slice(0, "4 KiB"), () => devmem.alloc())).moved).toEqual([0]);
  p.complete(madvise(m.kernel, 0, p.mm, r.vpn + 1, 1, "pageout"));
  expect(look(p, r)).toBe("VRWDU 0 VRW");
  expect(fault(p, r, [F | W, F | W, F | W])).toBe("VRWDU VRW VRW");
  expect(back).toBe(0);
  // After a fork the device's entry may only be read: a write is not granted, and still nothing comes back.
  m.complete(forkMm(m.kernel, 0, p.mm));
  expect(fault(p, r, [F | W, F, F])).toBe("VRDU VR VR");
  expect(back).toBe(0);
});

test("a fault waits for a migration that is under way", () => {
  const { m, p, r } = bench(1), mm = new v13.MmStruct(p), { sim } = m.kernel, at = site("test: copying");
  p.write(r, 5);
  const from = hmmPfnToPage(snapshot(p, r.vpn, 1).pfns[0]), pfns = BigUint64Array.of(F), seen: string[] = [];
  function* move() {
    yield* mm.downRead();
    const vma = v13.findVma(mm, r.vpn)!;
    yield* v13.hmmVmaMigrate(
      {
        *allocAndCopy(vma, start, _end, pfns) {
          for (let i = 0; i < 20; i++) {
            sim.mark(sim.current, at, i);
            yield DUE;
          }
          seen.push(text(snapshotOf(vma)));
          const to = v13.hmmVmaAllocLockedPage(vma, start);
          m.kernel.pages.copy(to, hmmPfnToPage(pfns[0]));
          pfns[0] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
        },
        *finalizeAndMap() {},
      },
      vma,
      r.vpn,
      r.vpn + 1,
      new BigUint64Array(1),
      null,
    );
    mm.upRead();
  }
  /** A snapshot without a stop: what stands there now. */
  function snapshotOf(vma: v13.VmArea): BigUint64Array {
    const out = new BigUint64Array(1), { horizonNs } = sim;
    sim.horizonNs = Infinity;
    for (const _ of v13.hmmVmaGetPfns(vma, r.vpn, r.vpn + 1, out));
    sim.horizonNs = horizonNs;
    return out;
  }
  function* wait() {
    yield* mm.downRead();
    for (let i = 0; i < 10; i++) {
      sim.mark(sim.current, at, i, 1);
      yield DUE;
    }
    yield* v13.hmmVmaFault(v13.findVma(mm, r.vpn)!, r.vpn, r.vpn + 1, pfns);
    mm.upRead();
  }
  steps(sim, [{ a: 1, proc: move() }, { a: 2, proc: wait() }]);
  expect(seen).toEqual(["0"]);
  expect(text(pfns)).toBe("VRW");
  expect(hmmPfnToPage(pfns[0])).not.toBe(from);
  expect(p.read(r)).toEqual([5]);
});
