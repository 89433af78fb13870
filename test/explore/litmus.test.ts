import { expect, test } from "vitest";
import { explore, type Litmus, litmus, replay } from "../../lib/explore/litmus.ts";
import {
  driver,
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from "../../lib/machine/driver.ts";
import { machine } from "../../lib/machine/machine.ts";
import { HMM_PFN_REQ_FAULT } from "../../lib/hmm/range.ts";
import type { Region } from "../../lib/machine/process.ts";
import { EBUSY, ENODEV } from "../../lib/mm/errno.ts";

const munmapRace = litmus("device fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({
  P0: () => dev.fault(A, true),
  P1: () => t.munmap(A),
  HW: () => dev.walkAndStore(A, 7),
  never: { staleStore: () => dev.storedToFreed() },
  finally: { mirrorInStep: () => !dev.stale(A), nothingMapped: () => dev.text(A) === "." },
}));

/** The word of a page wherever it is, without an access: the observer has a stale TLB too. */
function wordAt({ process: { machine: { kernel: k }, mm }, vpn }: Region): number {
  return k.pages.word[k.tables.pfn[k.tables.entry(k.root[mm], vpn)]];
}

/** Explores a race that must hold, then without a check that must break it, and replays what was found. */
async function needs(race: Litmus, revert: string, rule: string): Promise<void> {
  const held = await explore(race);
  expect(held.found.violations).toEqual([]);
  expect(held.found.exhaustive).toBe(true);
  const broken = await explore(race, { revert: [revert] });
  expect(broken.violated).toBe(rule);
  expect(replay(race, broken.schedule, { revert: [revert] }).violated).toBe(rule);
  // The same schedule breaks nothing once the check is back, as far as it still applies.
  expect(() => replay(race, "zz", { revert: [revert] })).toThrow(/Cannot replay/);
}

test("a device fault against munmap leaves no stale entry, and does without the sequence check", async () => {
  await needs(munmapRace, "sequence check", "staleStore");
});

test("a CPU store against migration is never lost, and is without the TLB flush", async () => {
  const race = litmus("store against migration", { pages: 1, tlbEntries: 2 }, ({ t, dev, A }) => ({
    P0: () => dev.migrate(A),
    P1: function* () {
      yield* t.write(A, 7);
      yield* t.write(A, 8);
    },
    finally: { kept: () => wordAt(A) === 8, mirrorInStep: () => !dev.stale(A) },
  }));
  await needs(race, "tlb flush", "kept");
});

test("two CPU threads that touch one device page both get its word", async () => {
  const words: unknown[] = [];
  const race = litmus("two CPU faults on a device page", {
    pages: 1,
    written: 5,
    device: { onFault: "migrate" },
  }, ({ t, dev, A }) => ({
    P0: function* () {
      yield* dev.migrate(A);
      words[0] = yield* t.read(A);
    },
    P1: function* () {
      words[1] = yield* t.read(A);
    },
    finally: { bothRead: () => words[0] === 5 && words[1] === 5, mirrorInStep: () => !dev.stale(A) },
  }));
  const r = await explore(race);
  expect(r.found.violations).toEqual([]);
  expect(r.found.exhaustive).toBe(true);
});

test("a migration whose DMA mapping fails or succeeds loses nothing", async () => {
  const spec = { pages: 2, written: 5, failures: ["dma map", "device page allocation"] };
  const race = litmus("failing migration against a read", spec, ({ m, t, dev, A }) => ({
    P0: () => dev.migrate(A),
    P1: () => t.read(A),
    finally: {
      kept: () => t.process.read(A).join() === "5,6",
      nothingLeaked: () => m.kernel.rssAnon[t.process.mm] === 2,
    },
    outcome: () => dev.text(A),
  }));
  const r = await explore(race);
  expect(r.found.violations).toEqual([]);
  expect([...r.found.outcomes.keys()].length).toBeGreaterThan(1);
});

/** Small enough to run every schedule to its end. */
const races: Record<string, Litmus> = {
  "device fault, munmap": litmus("df, munmap", { pages: 1 }, ({ t, dev, A }) => ({
    P0: () => dev.fault(A, true),
    P1: () => t.munmap(A),
    outcome: () => dev.text(A),
  })),
  "mprotect, device write": litmus("mprotect, dw", { pages: 1 }, ({ t, dev, A }) => ({
    P0: () => t.mprotect(A, "r"),
    P1: () => dev.write(A, 3),
    outcome: () => `${dev.text(A)} ${t.process.read(A)}`,
  })),
  "two first touches": litmus("two first touches", { pages: 1, written: null }, ({ t, dev, A }) => ({
    P0: () => t.write(A, 3),
    P1: () => t.write(A, 4),
    outcome: () => `${dev.text(A)} ${t.process.read(A)}`,
  })),
};
test.each(Object.keys(races))("visited states change no outcome of: %s", async (name) => {
  const merged = await explore(races[name], { all: true });
  const full = await explore(races[name], { all: true, visited: false });
  expect(merged.found.exhaustive && full.found.exhaustive).toBe(true);
  expect([...merged.found.outcomes.keys()].sort()).toEqual([...full.found.outcomes.keys()].sort());
  expect(merged.found.states).toBeLessThan(full.found.transitions);
});

const own = driver("own", {
  state: (k) => ({ lock: k.mutex("own lock"), pt: k.deviceTable() }),
  *invalidate(s, sub, range, seq) {
    if (range.blockable) yield* s.lock.lock();
    else if (!s.lock.trylock()) return false;
    mmuIntervalSetSeq(sub, seq);
    yield* s.pt.zapAndFlush(range);
    s.lock.unlock();
    return true;
  },
  *fault(s, k, sub, r) {
    const range = hmmRange(sub, r, { defaultFlags: HMM_PFN_REQ_FAULT });
    for (const end = k.deadline("1000 ms");;) {
      if (yield* end.expired()) return -EBUSY;
      range.seq = yield* mmuIntervalReadBegin(sub);
      yield* sub.mm.mmapLock.read();
      const rc = yield* hmmRangeFault(range);
      sub.mm.mmapLock.readUnlock();
      if (rc === -EBUSY) continue;
      if (rc) return rc;
      yield* s.lock.lock();
      if (!mmuIntervalReadRetry(sub, range.seq)) break;
      s.lock.unlock();
    }
    s.pt.map(range);
    s.lock.unlock();
    return 0;
  },
});

test("a user's own driver holds against munmap, and does not without its retry", async () => {
  const race = litmus("own driver against munmap", { pages: 1, drv: own }, ({ t, dev, A }) => ({
    P0: () => dev.fault(A),
    P1: () => t.munmap(A),
    HW: () => dev.walkAndStore(A, 1),
    never: { staleStore: () => dev.storedToFreed() },
  }));
  await needs(race, "read retry", "staleStore");
  await needs(race, "sequence check", "staleStore");
});

test("a user's own driver can be taken from its process while it faults; nothing is mapped afterwards", async () => {
  const race = litmus("own driver is unplugged", { pages: 1, drv: own }, ({ m, t, dev, A }) => ({
    P0: () => dev.fault(A),
    P1: () => dev.unplug(),
    P2: () => t.munmap(A),
    HW: () => dev.walkAndStore(A, 1),
    never: { staleStore: () => dev.storedToFreed() },
    finally: {
      nothing: () => dev.text(A) === ".",
      gone: () => m.complete(dev.fault(A)) === -ENODEV && m.complete(dev.unplug()) === -ENODEV,
    },
  }));
  const found = await explore(race, { maxStates: 100_000 });
  expect([found.violated, found.found.exhaustive]).toEqual([undefined, true]);
  const m = machine({ memory: "1 MiB" }), p = m.process(), heap = p.mmap("8 KiB"), dev = own.bind(p);
  await m.run({ dev: dev.stream(heap) });
  expect([dev.text(heap), p.complete(dev.unplug()), dev.text(heap)]).toEqual(["rr", 0, ".."]);
  expect((await m.run({ dev: dev.stream(heap) })).actors[0].signals).toBe(2);
});

/** A driver that keeps its lock on one side only, or on none. */
function careless(inFault: boolean, inInvalidate: boolean) {
  return driver("careless", {
    state: (k) => ({ lock: k.mutex("lock"), pt: k.deviceTable() }),
    *invalidate(s, sub, range, seq) {
      if (inInvalidate) yield* s.lock.lock();
      mmuIntervalSetSeq(sub, seq);
      yield* s.pt.zapAndFlush(range);
      if (inInvalidate) s.lock.unlock();
      return true;
    },
    *fault(s, _k, sub, r) {
      const range = hmmRange(sub, r, { defaultFlags: HMM_PFN_REQ_FAULT });
      for (;;) {
        range.seq = yield* mmuIntervalReadBegin(sub);
        yield* sub.mm.mmapLock.read();
        const rc = yield* hmmRangeFault(range);
        sub.mm.mmapLock.readUnlock();
        if (rc === -EBUSY) continue;
        if (rc) return rc;
        if (inFault) yield* s.lock.lock();
        if (!mmuIntervalReadRetry(sub, range.seq)) break;
        if (inFault) s.lock.unlock();
      }
      s.pt.map(range);
      if (inFault) s.lock.unlock();
      return 0;
    },
  });
}

test.each([[false, false], [true, false], [false, true], [true, true]])(
  "a driver with its lock in fault: %s, in invalidate: %s",
  async (inFault, inInvalidate) => {
    const race = litmus(
      "careless driver",
      { pages: 1, drv: careless(inFault, inInvalidate) },
      ({ t, dev, A }) => ({
        P0: () => dev.fault(A),
        P1: () => t.munmap(A),
      }),
    );
    const r = await explore(race);
    if (inFault && inInvalidate) expect(r.found).toMatchObject({ exhaustive: true, violations: [] });
    else {
      expect(r.violated).toMatch(/maps and zaps its table without a lock in common/);
      expect(replay(race, r.schedule).violated).toBe(r.violated);
    }
  },
);

test("two devices that take one page from each other for ever are called a livelock", async () => {
  const device = { onFault: "migrate" } as const;
  const race = litmus("ping-pong", { pages: 1, device, device2: device }, ({ dev, dev2, A }) => ({
    P0: () => dev.write(A, 1),
    P1: () => dev2!.write(A, 2),
  }));
  const r = await explore(race, { maxSteps: 400 });
  expect(r.violated).toBe("livelock: no end within 400 steps");
  const again = replay(race, r);
  expect(again.violated).toBe(r.violated);
  expect(again.replayed.steps.numRows).toBe(400);
});

test("a driver that never asks for writing is told so, instead of faulting for ever", async () => {
  const m = machine({ memory: "1 MiB" }), p = m.process(), heap = p.mmap("4 KiB");
  const stream = own.bind(p).stream(heap, { write: true });
  await expect(m.run({ dev: stream })).rejects.toThrow(
    /fault returned 0 .* must have entered the page: .* ask for HMM_PFN_REQ_FAULT \| HMM_PFN_REQ_WRITE/,
  );
});
