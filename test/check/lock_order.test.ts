/** The order of locks: what is recorded, what turns it round, and what is no inversion. */
import { beforeEach, expect, test } from "vitest";
import { forgetLockOrder, lockOrder } from "../../lib/check/mod.ts";
import { explore, litmus, replay } from "../../lib/explore/litmus.ts";
import { HMM_PFN_REQ_FAULT } from "../../lib/hmm/range.ts";
import {
  driver,
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from "../../lib/machine/driver.ts";
import { machine } from "../../lib/machine/machine.ts";
import { allocPage } from "../../lib/mm/alloc.ts";
import { EBUSY } from "../../lib/mm/errno.ts";
import { DUE } from "../../lib/sim/sim.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";

beforeEach(forgetLockOrder);

/** Rows of the table as "held > wanted". */
function rows(kind: string): string[] {
  const { held, wanted, kind: kinds } = lockOrder().columns as Record<string, readonly string[]>;
  return held.map((h, i) => `${h} > ${wanted[i]}`).filter((_, i) => kinds[i] === kind);
}

/** A driver whose callback takes a lock and then a second one, and whose fault takes them in the order given. */
const twoLocks = (opposite: boolean) =>
  driver("two", {
    state: (k) => ({ lock: k.mutex("first"), second: k.mutex("second"), pt: k.deviceTable() }),
    *invalidate(s, sub, range, seq) {
      yield* s.lock.lock();
      yield* s.second.lock();
      mmuIntervalSetSeq(sub, seq);
      yield* s.pt.zapAndFlush(range);
      s.second.unlock();
      s.lock.unlock();
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
        if (rc !== 0) return rc;
        const [a, b] = opposite ? [s.second, s.lock] : [s.lock, s.second];
        yield* a.lock();
        yield* b.lock();
        const retry = mmuIntervalReadRetry(sub, range.seq);
        if (!retry) s.pt.map(range);
        b.unlock();
        a.unlock();
        if (!retry) return 0;
      }
    },
  });
const race = (opposite: boolean) =>
  litmus("two locks of a driver", { drv: twoLocks(opposite) }, ({ t, dev, A }) => ({
    P0: () => dev.fault(A),
    P1: () => t.mprotect(A, "r"),
  }));

test("two locks in opposite orders are an inversion, with both chains, before any run deadlocks", async () => {
  const found = await explore(race(true), { checkers: ["lock order"] });
  expect(found.violated).toMatch(
    /^lock order: two: (first|second) is wanted under two: (first|second), and elsewhere/,
  );
  expect(found.violated).toMatch(
    /now: {3}P[01] holds .*two: (first|second) and wants two: (first|second), at /,
  );
  expect(found.violated).toMatch(
    /first: P[01] holds .*two: (first|second) and wants two: (first|second), at /,
  );
  expect(rows("inversion")).toHaveLength(1);
  expect(replay(race(true), found).violated).toMatch(/^lock order: /);
  // A driver that was mended since takes them in another order than the one that is remembered.
  forgetLockOrder();
  const mended = await explore(race(false), { checkers: ["lock order"] });
  expect([mended.found.violations, mended.found.exhaustive]).toEqual([[], true]);
  expect(rows("taken")).toContain("two: first > two: second");
});

test("one run of the two orders, one after the other, is enough: no deadlock has to happen", async () => {
  const m = machine({ memory: "16 MiB", checkers: ["lock order"] }), p = m.process(), heap = p.mmap("16 KiB");
  const dev = twoLocks(true).bind(p);
  p.write(heap, 1);
  await m.run({ dev: dev.stream(heap) });
  // The callback of munmap() takes them the other way round.
  expect(() => p.munmap(heap)).toThrow(/rule "lock order"/);
});

test("what an allocation may lead to counts: the lock that a callback takes is not held over one", async () => {
  const under = litmus("an allocation under a driver's lock", {}, ({ m, t, dev, A }) => {
    const { kernel: k } = m, { lock } = dev.device;
    return {
      P0: () => t.mprotect(A, "r"),
      *P1() {
        yield* k.locks.lock(2, lock);
        const pfn = allocPage(k, 2);
        k.pages.put(2, pfn);
        k.locks.unlock(2, lock);
      },
    };
  });
  const found = await explore(under, { checkers: ["lock order"] });
  expect(found.violated).toMatch(
    /fs_reclaim is wanted under driver lock of dev, and elsewhere the other way round/,
  );
  expect(found.violated).toMatch(/reclaim unmaps pages, and so calls notifiers/);
});

test("a driver that faults a range under its own lock is found without the deadlock", async () => {
  const own = litmus("a device fault that brings an own page back", { pages: 2 }, ({ m, t, dev, A }) => {
    m.complete(t.madvise(A.slice("4 KiB"), "dontneed"));
    m.complete(dev.migrate(A.slice(0, "4 KiB")));
    return { P0: () => dev.fault(A), P1: () => t.read(A.slice(0, "4 KiB")) };
  });
  const options = { revert: ["lock after range fault"], checkers: ["lock order"] };
  expect((await explore(own, options)).violated).toMatch(
    /wanted under driver lock of dev|wants a second driver lock/,
  );
  expect((await explore(own, { checkers: ["lock order"] })).found.violations).toEqual([]);
});

test("waiting for a page lock with a page locked is reported", async () => {
  const nested = litmus("two page locks", { pages: 2 }, ({ m, A }) => {
    const { pages, tables, root } = m.kernel;
    const pfn = (i: number) => tables.pfn[tables.entry(root[A.process.mm], A.vpn + i)];
    return {
      *P0() {
        pages.trylock(pfn(0));
        pages.trylock(pfn(1));
        pages.unlock(pfn(1));
        yield* pages.waitUnlocked(1, pfn(0));
        yield DUE;
      },
    };
  });
  expect((await explore(nested, { checkers: ["lock order"] })).violated).toMatch(/wants a second page lock/);
});

test("the table says what was taken under what, by whom first, and what is given", async () => {
  expect(rows("given")).toEqual(["fs_reclaim > mmu_notifier_invalidate_range_start"]);
  const m = machine({ devices: { gpu: "titan-v" }, memory: "64 MiB", checkers: "all" });
  const heap = m.process().mmap("256 KiB");
  await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap), again: touch(heap, { write: false }) });
  const taken = rows("taken");
  expect(taken).toContain("mmap lock > page lock");
  expect(taken).toContain("mmu_notifier_invalidate_range_start > driver lock of gpu");
  expect(taken).toContain("page lock > page-table lock");
  expect(rows("inversion")).toEqual([]);
  for (const chain of lockOrder().columns.firstSeen as readonly string[]) expect(chain).not.toBe("");
});
