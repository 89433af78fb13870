/** Facts 9, 12, 13 and 14: what holds between invalidate_range_start() and _end(), and what a driver may skip. */
import { expect, test } from "vitest";
import { dummyRelease } from "../../lib/devices/dummy/ioctl.ts";
import { litmus } from "../../lib/explore/litmus.ts";
import { HMM_PFN_REQ_FAULT } from "../../lib/hmm/range.ts";
import {
  driver,
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from "../../lib/machine/driver.ts";
import type { Machine } from "../../lib/machine/machine.ts";
import type { Region } from "../../lib/machine/process.ts";
import { EAGAIN, EBUSY } from "../../lib/mm/errno.ts";
import { mmput } from "../../lib/mm/exit.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR, MMU_NOTIFY_PROTECTION_VMA } from "../../lib/mm/notifier.ts";
import { PTE_DEVICE } from "../../lib/mm/pagetable.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { breaks, entryOf, holds, needs } from "./facts.ts";
import { type Forgets, SkippingDriver } from "./own_migration.ts";

/** A driver that may leave out a part of its duties. */
const dutiful = (name: string, lax: { readonly event?: number; readonly sleeps?: boolean } = {}) =>
  driver(name, {
    state: (k) => ({ lock: k.mutex("lock"), pt: k.deviceTable() }),
    *invalidate(s, sub, range, seq) {
      if (range.blockable || lax.sleeps) yield* s.lock.lock();
      else if (!s.lock.trylock()) return false;
      mmuIntervalSetSeq(sub, seq);
      if (range.event !== lax.event) yield* s.pt.zapAndFlush(range);
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
        yield* s.lock.lock();
        if (!mmuIntervalReadRetry(sub, range.seq)) break;
        s.lock.unlock();
      }
      s.pt.map(range);
      s.lock.unlock();
      return 0;
    },
  });

/** Lets every end of an invalidation look whether the device's table still names a page of its range. */
function watched(m: Machine, A: Region, table: () => string): void {
  m.kernel.notifiers.watch = (_a, e, start) => {
    if (start || e.end <= A.vpn || e.start >= A.vpn + A.pages || /^\.*$/.test(table())) return;
    throw new Error(`the device's table has ${table()} when invalidate_range_end() is called`);
  };
}
const STANDS = /^error: the device's table has \w+ when invalidate_range_end\(\) is called/;

test("12: no device entry of the range stands when its invalidation ends", async () => {
  const race = litmus("device fault against mprotect", {}, ({ m, t, dev, A }) => {
    watched(m, A, () => dev.text(A));
    return { P0: () => dev.fault(A), P1: () => t.mprotect(A, "r") };
  });
  await needs(race, "sequence check", STANDS);
});

test("12: nor with a driver of one's own, but for one that keeps what is only protected", async () => {
  const own = (event?: number) =>
    litmus(`mprotect and a driver that ignores event ${event}`, { drv: dutiful("own", { event }) }, (
      { m, t, dev, A },
    ) => {
      watched(m, A, () => dev.text(A));
      return { P0: () => dev.fault(A), P1: () => t.mprotect(A, "r") };
    });
  await needs(own(), "read retry", STANDS);
  await breaks(own(MMU_NOTIFY_PROTECTION_VMA), STANDS);
});

/** What a caller that must not sleep does, as the reaper of memory: on refusal it goes on to something else. */
function* reap(m: Machine, A: Region, said: { rc: number }): Proc {
  const { kernel: { notifiers, sim } } = m, a = sim.current;
  const e: Invalidation = {
    mm: A.process.mm,
    start: A.vpn,
    end: A.vpn + A.pages,
    event: MMU_NOTIFY_CLEAR,
    owner: 0,
    blockable: false,
    seq: 0,
  };
  said.rc = yield* notifiers.start(a, e);
  sim.note(a, said.rc);
  if (said.rc === 0) notifiers.end(a, e);
}

test("13: a notifier that must not sleep refuses where it would, and starts and ends balance", async () => {
  const said = { rc: 1 };
  const race = litmus("non-blockable invalidation against a device fault", {}, ({ m, dev, A }) => ({
    P0: () => dev.fault(A),
    *P1() {
      yield* reap(m, A, said);
    },
    finally: {
      balanced: () =>
        m.kernel.notifiers.active[A.process.mm] === 0 && m.kernel.notifiers.seq[A.process.mm] % 2 === 0,
      inStep: () => !dev.stale(A),
    },
    outcome: () => String(said.rc),
  }));
  await holds(race, { all: true });
  // Here the driver's lock can be held: mprotect() stops in the middle of the callback.
  const own = (sleeps: boolean) =>
    litmus(
      `non-blockable invalidation against mprotect, with a driver that ${sleeps ? "sleeps" : "tries"}`,
      { drv: dutiful("own", { sleeps }) },
      ({ m, t, dev, A }) => {
        m.complete(dev.fault(A));
        return {
          P0: () => t.mprotect(A, "r"),
          *P1() {
            yield* reap(m, A, said);
          },
          finally: {
            balanced: () => m.kernel.notifiers.active[A.process.mm] === 0,
            inStep: () => !dev.stale(A),
          },
          outcome: () => String(said.rc),
        };
      },
    );
  const r = await holds(own(false), { all: true });
  expect([...r.found.outcomes.keys()].sort()).toEqual([String(-EAGAIN), "0"]);
  await breaks(own(true), /^error: P1 would sleep in an atomic context: lock/);
});

/** The driver's own migration of page 0 while its neighbour, which the driver does not map, is protected. */
const selfMigration = (forgets: Forgets) =>
  litmus(`own migration, forgetting ${Object.keys(forgets)}`, { pages: 2, written: 5 }, ({ t, dev, A }) => {
    const own = new SkippingDriver(A.slice(0, "4 KiB"), dev.device.batches, forgets);
    own.mirror();
    return {
      *P0() {
        yield* own.migrate();
      },
      P1: () => t.mprotect(A.slice("4 KiB"), "r"),
      finally: { noSourcePage: () => !own.stale },
    };
  });

test("14: who lets its own MIGRATE event pass maps no source page once its migration is over", async () => {
  await holds(selfMigration({}));
  await breaks(selfMigration({ table: true }), "noSourcePage");
});

test("9: a driver that does not look again what went maps a page that lost against a CPU fault", async () => {
  const race = (forgets: Forgets) =>
    litmus(
      `migration of a hole, forgetting ${Object.keys(forgets)}`,
      { written: null },
      ({ m, t, dev, A }) => {
        const own = new SkippingDriver(A, dev.device.batches, forgets);
        const onDevice = () => entryOf(m.kernel, t.process.mm, A.vpn).kind === PTE_DEVICE;
        return {
          *P0() {
            yield* own.migrate();
          },
          P1: () => t.write(A, 9),
          finally: { loserNotMapped: () => onDevice() || own.table.translate(A.vpn, false) < 0 },
          outcome: () => onDevice() ? "device" : "system",
        };
      },
    );
  await holds(race({}));
  await breaks(race({ source: true }), "loserNotMapped");
});

test("19 (a29e067bd389): no callback drops the last reference to its address space", async () => {
  const race = litmus(
    "emptying a device against the end of a process",
    { written: 5 },
    ({ m, t, dev, A }) => {
      const k = m.kernel, { mm } = t.process;
      m.complete(dev.migrate(A));
      return {
        *P0() {
          yield* dummyRelease(dev.device, k.sim.current);
        },
        *P1() {
          yield* mmput(k, k.sim.current, mm);
        },
        finally: { gone: () => k.mmUsers[mm] === 0 && k.rssAnon[mm] === 0 && dev.device.memory!.used === 0 },
      };
    },
  );
  await holds(race);
  await breaks(race, /^last mm reference: a notifier callback drops the last reference/, {
    checkers: ["last mm reference"],
    revert: ["no mm reference in a callback"],
  });
});
