/** hmm_range_fault(): request flags of the whole range and of single entries, and whose device pages are reported. */
import { expect, test } from "vitest";
import {
  HMM_PFN_ERROR,
  HMM_PFN_MASK,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmRangeFault,
} from "../../lib/hmm/range.ts";
import { machine } from "../../lib/machine/machine.ts";
import type { Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { EBUSY, EFAULT, EPERM } from "../../lib/mm/errno.ts";
import { entryOf } from "../facts/facts.ts";
import { PTE_NONE } from "../../lib/mm/pagetable.ts";

const device = { memory: "64 KiB", granule: "4 KiB", onFault: "map" } as const;
const READ = HMM_PFN_REQ_FAULT, WRITE = (HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE) >>> 0, EACH = WRITE;

/** A process with a region of `pages` and two devices with private memory. */
function scene(pages: number) {
  const m = machine({ memory: "512 KiB", devices: { one: device, two: device }, checkers: "all" });
  const p = m.process(), r = p.mmap(pages * 4096), k = m.kernel, { notifiers } = k;
  const one = new DeviceThread(m.one, p), two = new DeviceThread(m.two, p);
  /** Looks at the region for device one, as often as it takes: by flags for all, or by those of each entry. */
  const look = (flags: number | readonly number[], owner = 0, region: Region = r, seq = 0) => {
    const { sub } = m.one.mirror(p.mm), each = typeof flags !== "number";
    const pfns = new Uint32Array(region.pages);
    let rc = 1;
    function* proc() {
      do {
        if (each) pfns.set(flags);
        const range = {
          sub,
          seq: seq !== 0 ? seq : yield* notifiers.readBegin(0, sub),
          mm: p.mm,
          start: region.vpn,
          end: region.vpn + region.pages,
          pfns,
          defaultFlags: each ? 0 : flags,
          pfnFlagsMask: each ? EACH : 0,
          owner,
        };
        yield* k.locks.read(0, k.mmapLock(p.mm));
        rc = yield* hmmRangeFault(k, 0, range);
        k.locks.readUnlock(0, k.mmapLock(p.mm));
      } while (rc === -EBUSY && seq === 0);
    }
    m.complete(proc());
    return { rc, pfns: [...pfns] };
  };
  const kinds = (pfns: readonly number[]) =>
    pfns.map((e) => e & HMM_PFN_ERROR ? "E" : !(e & HMM_PFN_VALID) ? "." : e & HMM_PFN_WRITE ? "w" : "r")
      .join("");
  return { m, p, r, k, one, two, look, kinds };
}

test("without request flags nothing is faulted in: what is there is told", () => {
  const { p, r, k, look, kinds } = scene(3);
  p.write(r.slice(0, "4 KiB"), 5);
  p.read(r.slice("4 KiB", "4 KiB"));
  const { rc, pfns } = look(0);
  expect([rc, kinds(pfns)]).toEqual([0, "wr."]);
  expect(pfns[0] & HMM_PFN_MASK).toBe(entryOf(k, p.mm, r.vpn).pfn);
  expect(entryOf(k, p.mm, r.vpn + 2).kind).toBe(PTE_NONE);
});

test("flags for all fault all in, for reading or for writing", () => {
  const { look, kinds } = scene(3);
  expect(kinds(look(READ).pfns)).toBe("rrr");
  expect(kinds(look(WRITE).pfns)).toBe("www");
});

test("an entry's own flags count only where the mask says so, and only for that entry", () => {
  const { p, r, k, look, kinds } = scene(4),
    there = (i: number) => entryOf(k, p.mm, r.vpn + i).kind !== PTE_NONE;
  // From the first page that has to be faulted on, all pages of the same table are faulted (6.12): the last one alone is asked.
  const last = look([0, 0, 0, WRITE]);
  expect([last.rc, kinds(last.pfns), [0, 1, 2, 3].map(there)]).toEqual([0, "...w", [
    false,
    false,
    false,
    true,
  ]]);
  const mixed = look([READ, 0, 0, READ], 0);
  expect([mixed.rc, kinds(mixed.pfns).slice(0, 1)]).toEqual([0, "r"]);
});

test("a mask of 0 lets no entry ask: what it holds is not looked at", () => {
  const { m, p, r, k } = scene(1), { sub } = m.one.mirror(p.mm), pfns = Uint32Array.of(WRITE);
  let rc = 1;
  function* proc() {
    const seq = yield* k.notifiers.readBegin(0, sub);
    const range = {
      sub,
      seq,
      mm: p.mm,
      start: r.vpn,
      end: r.vpn + 1,
      pfns,
      defaultFlags: 0,
      pfnFlagsMask: 0,
      owner: 0,
    };
    rc = yield* hmmRangeFault(k, 0, range);
  }
  m.complete(proc());
  expect([rc, pfns[0]]).toEqual([0, 0]);
});

test("own device pages are told as they are, those of another come back, and without a request they are not told", () => {
  const { m, p, r, one, two, look, kinds } = scene(2), { owner } = m.one;
  p.write(r, 5);
  m.complete(one.migrate(r.slice(0, "4 KiB")));
  m.complete(two.migrate(r.slice("4 KiB")));
  const seen = look(0, owner);
  expect([kinds(seen.pfns), m.kernel.pages.zoneOf(seen.pfns[0] & HMM_PFN_MASK).name]).toEqual(["w.", "one"]);
  expect(kinds(look(0).pfns)).toBe("..");
  const asked = look(READ, owner);
  expect([asked.rc, kinds(asked.pfns)]).toEqual([0, "ww"]);
  expect(asked.pfns.map((e) => m.kernel.pages.zoneOf(e & HMM_PFN_MASK).name)).toEqual(["one", "RAM"]);
  // For nobody both come back.
  expect(look(READ, 0).pfns.map((e) => m.kernel.pages.zoneOf(e & HMM_PFN_MASK).name)).toEqual(["RAM", "RAM"]);
  expect(p.read(r)).toEqual([5, 6]);
});

test("an own page that may only be read is told so even if writing was asked for (6.12)", () => {
  const { m, p, r, one, look, kinds } = scene(1);
  p.write(r, 5);
  m.complete(one.migrate(r));
  m.complete(new Thread(p).mprotect(r, "r"));
  m.complete(new Thread(p).mprotect(r, "rw"));
  expect(kinds(look(WRITE, m.one.owner).pfns)).toBe("r");
});

test("what cannot be had is an error if it was asked for, and an error entry if not", () => {
  const { m, p, r, look, kinds } = scene(3);
  m.complete(new Thread(p).mprotect(r.slice(0, "4 KiB"), "none"));
  m.complete(new Thread(p).munmap(r.slice("4 KiB", "4 KiB")));
  expect(kinds(look(0).pfns)).toBe("EE.");
  expect(look(READ).rc).toBe(-EFAULT);
  expect(look(READ, 0, r.slice("4 KiB", "4 KiB")).rc).toBe(-EFAULT);
  m.complete(new Thread(p).mprotect(r.slice("8 KiB"), "r"));
  const denied = look(WRITE, 0, r.slice("8 KiB"));
  // The entry of the failure still holds what was put in.
  expect([denied.rc, denied.pfns]).toEqual([-EPERM, [0]]);
  expect(look([WRITE], 0, r.slice("8 KiB"))).toEqual({ rc: -EPERM, pfns: [WRITE] });
  expect(look(READ, 0, r.slice("8 KiB")).rc).toBe(0);
});

test("a stale sequence is -EBUSY before anything is looked at", () => {
  const { p, r, look } = scene(1);
  p.write(r, 5);
  expect(look(READ, 0, r, 2)).toEqual({ rc: -EBUSY, pfns: [0] });
});
