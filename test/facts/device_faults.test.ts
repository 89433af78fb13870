/** Facts 5, 7, 11 and 18: how a device fault ends, however often it has to begin again. */
import { expect, test } from "vitest";
import { litmus } from "../../lib/explore/litmus.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE } from "../../lib/hmm/range.ts";
import {
  driver,
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from "../../lib/machine/driver.ts";
import { machine } from "../../lib/machine/machine.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { EBUSY, EPERM } from "../../lib/mm/errno.ts";
import { Clock } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { breaks, holds, needs } from "./facts.ts";
import { brokenAtRest } from "../rest.ts";

/** A driver by the book, or one that takes the answer to a write that may not be for something that passes. */
const faulting = (name: string, asksAgain: (rc: number) => boolean) =>
  driver(name, {
    state: (k) => ({ lock: k.mutex("lock"), pt: k.deviceTable() }),
    *invalidate(s, sub, range, seq) {
      if (range.blockable) yield* s.lock.lock();
      else if (!s.lock.trylock()) return false;
      mmuIntervalSetSeq(sub, seq);
      yield* s.pt.zapAndFlush(range);
      s.lock.unlock();
      return true;
    },
    *fault(s, k, sub, r) {
      const flags = HMM_PFN_REQ_FAULT | (r.write ? HMM_PFN_REQ_WRITE : 0);
      const range = hmmRange(sub, r, { defaultFlags: flags });
      for (const end = k.deadline("1000 ms");;) {
        if (yield* end.expired()) return -EBUSY;
        range.seq = yield* mmuIntervalReadBegin(sub);
        yield* sub.mm.mmapLock.read();
        const rc = yield* hmmRangeFault(range);
        sub.mm.mmapLock.readUnlock();
        if (asksAgain(rc)) continue;
        if (rc !== 0) return rc;
        yield* s.lock.lock();
        if (!mmuIntervalReadRetry(sub, range.seq)) break;
        s.lock.unlock();
      }
      s.pt.map(range);
      s.lock.unlock();
      return 0;
    },
  });
const byTheBook = faulting("by the book", (rc) => rc === -EBUSY);
const stubborn = faulting("stubborn", (rc) => rc === -EBUSY || rc === -EPERM);

/** What the device was told, in the outcome. */
const told: { rc: number } = { rc: 1 };

test("5: a device's write to what became read-only ends, with success before or -EPERM after", async () => {
  const race = litmus("device write against mprotect", {}, ({ t, dev, A }) => ({
    *P0() {
      told.rc = yield* dev.fault(A, true);
    },
    P1: () => t.mprotect(A, "r"),
    finally: { inStep: () => !dev.stale(A) },
    outcome: () => String(told.rc),
  }));
  const own = litmus("the same by a driver of one's own", { drv: byTheBook }, ({ t, dev, A }) => ({
    *P0() {
      told.rc = yield* dev.fault(A, true);
    },
    P1: () => t.mprotect(A, "r"),
    finally: { inStep: () => !dev.stale(A) },
    outcome: () => String(told.rc),
  }));
  for (const r of [await holds(race, { all: true }), await holds(own, { all: true })]) {
    expect([...r.found.outcomes.keys()].sort()).toEqual([String(-EPERM), "0"]);
  }
});

test("5: a driver that asks again after -EPERM asks for ever", async () => {
  const race = litmus("stubborn write to read-only memory", { drv: stubborn }, ({ m, t, dev, A }) => {
    m.complete(t.mprotect(A, "r"));
    return { P0: () => dev.fault(A, true) };
  });
  await breaks(race, /^livelock: /, { maxSteps: 300 });
});

/** A device fault of 16 pages to write, whose memory is dropped `rounds` times, as fast as the kernel can, meanwhile. */
function besieged(timeout: string, rounds: number) {
  const devices = { dev: { onFault: "map" as const, memory: 0, timeout } };
  const m = machine({ memory: "1 MiB", devices, checkers: "all" });
  const p = m.process(), heap = p.mmap("64 KiB"), t = new Thread(p), dev = new DeviceThread(m.dev, p);
  const { sim } = m.kernel, result = { rc: 1, ns: 0, rounds: 0 };
  p.write(heap, 5);
  sim.resetAccounts();
  // One invalidation after the other, each shorter than a round of the fault. (Two at a time could overlap for ever, and
  // mmu_interval_read_begin() would wait as long: the sequence stays odd.)
  function* besiege(): Proc {
    for (; result.rc === 1 && result.rounds < rounds; result.rounds++) yield* t.madvise(heap, "dontneed");
  }
  function* fault(): Proc {
    const fromNs = sim.nowNs[1];
    result.rc = yield* dev.fault(heap, true);
    result.ns = sim.nowNs[1] - fromNs;
  }
  new Clock(sim, [{ a: 1, proc: fault() }, { a: 2, proc: besiege() }]).run();
  const retries = () => sim.counters.get("device_fault_retries");
  return { m, heap, dev, result, retries };
}

test("7: under continuous invalidation a device fault ends at its timeout; then one more round succeeds", () => {
  const { m, heap, dev, result, retries } = besieged("3 ms", 1_000_000);
  expect(result.rc).toBe(-EBUSY);
  expect(result.ns).toBeGreaterThanOrEqual(3_000_000);
  expect(result.ns).toBeLessThan(3_100_000);
  const before = retries();
  expect(before).toBeGreaterThan(100);
  expect(m.complete(dev.fault(heap, true))).toBe(0);
  expect(retries()).toBe(before);
});

test("7: a device fault succeeds in the round after the last invalidation", () => {
  const { result, retries } = besieged("1 s", 1000);
  expect(result).toMatchObject({ rc: 0, rounds: 1000 });
  expect(retries()).toBeGreaterThan(10);
});

test("7: in every interleaving a fault that times out leaves nothing, and one without an invalidation succeeds", async () => {
  const race = litmus("device fault that may time out", { failures: ["timeout"] }, ({ m, t, dev, A }) => ({
    *P0() {
      told.rc = yield* dev.fault(A);
    },
    P1: () => t.madvise(A, "dontneed"),
    finally: {
      ended: () => told.rc === 0 || told.rc === -EBUSY && dev.text(A) === ".",
      oneMoreRound: () => told.rc === 0 || m.complete(dev.fault(A)) === 0,
      atRest: () => brokenAtRest(m).length === 0,
    },
    outcome: () => String(told.rc),
  }));
  const r = await holds(race, { all: true });
  expect([...r.found.outcomes.keys()].sort()).toEqual([String(-EBUSY), "0"]);
});

test("11 (0cafc62e4daf): a read that begins again asks for reading again, not for what it was answered", async () => {
  const race = litmus("device read against mprotect", {}, ({ t, dev, A }) => ({
    *P0() {
      told.rc = yield* dev.fault(A);
    },
    P1: () => t.mprotect(A, "r"),
    finally: { readable: () => told.rc === 0, inStep: () => !dev.stale(A) },
  }));
  await needs(race, "request flags", "readable");
});

test("18 (a6283010e290): hmm_range_fault() may call the driver that calls it", async () => {
  // Page 0 has to be faulted in, and with it page 1, which is in this very device's memory.
  const race = litmus(
    "device fault that brings an own page back",
    { pages: 2, written: 5 },
    ({ m, t, dev, A }) => {
      m.complete(t.madvise(A.slice(0, "4 KiB"), "dontneed"));
      m.complete(dev.migrate(A.slice("4 KiB")));
      return {
        *P0() {
          told.rc = yield* dev.fault(A);
        },
        P1: () => t.read(A.slice("4 KiB")),
        finally: {
          faulted: () => told.rc === 0,
          inStep: () => !dev.stale(A),
          kept: () => t.process.read(A).join() === "0,6",
        },
      };
    },
  );
  await holds(race);
  await breaks(race, /^deadlock: P0 waits for driver lock of dev, held by P0/, {
    revert: ["lock after range fault"],
  });
});
