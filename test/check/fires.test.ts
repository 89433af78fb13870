/** Each rule that watches events is broken on purpose, by a fix that is switched off or a wrong driver, and is seen to fire. */
import { describe, expect, test } from "vitest";
import { checkerNames } from "../../lib/check/mod.ts";
import { explore, type ExploreOptions, type Litmus, litmus, replay } from "../../lib/explore/litmus.ts";
import { pinLongterm } from "../../lib/hmm/pin.ts";
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
import { EBUSY } from "../../lib/mm/errno.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "../../lib/mm/notifier.ts";
import { PG_DIRTY } from "../../lib/mm/pages.ts";
import { PTE_DIRTY, PTE_WRITE, VPN_END } from "../../lib/mm/pagetable.ts";
import { DUE, type Proc, site } from "../../lib/sim/sim.ts";
import { type Forgets, SkippingDriver } from "../facts/own_migration.ts";

/** Explores with every rule and finds nothing. */
async function clean(race: Litmus): Promise<void> {
  const { found } = await explore(race, { checkers: "all" });
  expect(found.violations).toEqual([]);
  expect(found.exhaustive).toBe(true);
}

/** Explores with one rule, sees it broken, and sees it again in the replay of the schedule. */
async function fires(race: Litmus, rule: string, what: RegExp, options: ExploreOptions = {}): Promise<void> {
  expect(checkerNames()).toHaveProperty([rule]);
  const found = await explore(race, { checkers: [rule], ...options });
  expect(found.violated).toMatch(new RegExp(`^${rule}: `));
  expect(found.violated).toMatch(what);
  expect(replay(race, found).violated).toBe(found.violated);
  // Without the checker the replay of the same decisions breaks nothing that it would name so.
  expect(replay(race, found.schedule, options).violated ?? "").not.toMatch(new RegExp(`^${rule}: `));
}

describe("device memory", () => {
  const race = litmus("CPU fault on a device page against MADV_DONTNEED", {}, ({ m, t, dev, A }) => {
    m.complete(dev.migrate(A));
    return { P0: () => t.read(A), P1: () => t.madvise(A, "dontneed") };
  });

  test("a page that is freed during its own fault", async () => {
    await clean(race);
    await fires(race, "free and reuse", /is freed during its own fault|reference to its page is gone/, {
      revert: ["fault page reference"],
    });
  });

  test("a free page with a reference", async () => {
    await fires(race, "device page free", /free and has 1 references/, {
      revert: ["free device page count"],
    });
  });

  test("a page that is handed out twice, and one freed that was not handed out", async () => {
    const by = (what: "take" | "put") =>
      litmus("a device page by hand", {}, ({ m, dev, A }) => {
        m.complete(dev.migrate(A));
        const { pages } = m.kernel, zone = dev.device.memory!.zone;
        return {
          *P0() {
            yield* [];
            if (what === "put") pages.put(1, pages.take(zone));
            else m.kernel.watch?.devicePageTaken(1, zone.start);
          },
        };
      });
    await fires(by("take"), "device page free", /handed out twice/);
    await fires(by("put"), "device page free", /was not handed out/);
  });
});

describe("migration", () => {
  test("a CPU store into a page whose copy has begun, through a translation that nobody flushed", async () => {
    const race = litmus("migration against a store", { tlbEntries: 2 }, ({ m, t, dev, A }) => {
      m.complete(t.write(A, 7));
      return {
        P0: () => dev.migrate(A),
        *P1() {
          yield* t.write(A, 8);
          yield* t.madvise(A, "dontneed");
          yield* t.write(A, 9);
        },
      };
    });
    await clean(race);
    await fires(
      race,
      "copy after flush",
      /copy may have begun|free frame|a translation that was to be flushed/,
      {
        revert: ["collect flush under lock"],
      },
    );
    await fires(
      race,
      "copy after flush",
      /copy may have begun|free frame|a translation that was to be flushed/,
      { revert: ["tlb flush"] },
    );
  });

  test("a written page that is clean after its migration", async () => {
    const race = litmus("MADV_FREE, a write, a migration", { failures: ["dma map"] }, ({ m, t, dev, A }) => {
      m.complete(t.madvise(A, "free"));
      m.complete(t.write(A, 8));
      return { P0: () => dev.migrate(A), P1: () => t.read(A) };
    });
    await clean(race);
    await fires(race, "dirty bit", /is clean after its migration/, { revert: ["dirty bit"] });
  });

  const hole = (forgets: Forgets) =>
    litmus("migration of a hole against a store", { written: null }, ({ t, dev, A }) => {
      const own = new SkippingDriver(A, dev.device.batches, forgets);
      return { P0: () => own.migrate(), P1: () => t.write(A, 9) };
    });

  test("two pages in one hole, and a device that maps the one that lost", async () => {
    await clean(hole({}));
    await fires(hole({}), "page counts", /mapcount is 1, 0 entries/, { revert: ["second look at a hole"] });
    await fires(hole({ source: true }), "hole race", /maps a page that was not inserted/);
  });

  test("a pinned page that was collected", async () => {
    const race = litmus("migration of a pinned page", {}, ({ m, t, dev, A }) => {
      m.complete(pinLongterm(m.kernel, 0, t.process.mm, A.vpn, 1, true, new Uint32Array(1)));
      return { P0: () => dev.migrate(A) };
    });
    await clean(race);
    await fires(race, "pinned page", /a pinned page was collected/, { revert: ["pinned page refusal"] });
    // What is given back: told by hand, since nothing in the lab takes it away.
    const back = (what: "read-only" | "clean" | "cpages") =>
      litmus(`a pinned page: ${what}`, { written: 5 }, ({ m, t, A }) => {
        const { kernel: k } = m, { mm } = t.process;
        m.complete(pinLongterm(k, 0, mm, A.vpn, 1, true, new Uint32Array(1)));
        return {
          *P0() {
            yield* [];
            const e = k.tables.entry(k.root[mm], A.vpn), was = k.tables.kind[e], src = new Uint32Array(1);
            const dst = new Uint32Array(1), rows = { mm, start: A.vpn, end: A.vpn + 1, src, dst };
            k.watch?.migrationStarts(1, { ...rows, cpages: 0 });
            if (what === "read-only") k.tables.kind[e] &= ~PTE_WRITE;
            if (what === "clean") {
              k.tables.kind[e] &= ~PTE_DIRTY;
              k.pages.flags[k.tables.pfn[e]] &= ~PG_DIRTY;
            }
            k.watch?.migrationCollected(1, { ...rows, cpages: what === "cpages" ? 1 : 0 });
            k.tables.kind[e] = was;
          },
        };
      });
    await fires(back("read-only"), "pinned page", /a pinned page came back read-only/);
    await fires(back("clean"), "pinned page", /a pinned page came back clean/);
    await fires(back("cpages"), "pinned page", /cpages is 1, 0 pages were collected/);
  });

  test("a device that still maps what it has migrated itself", async () => {
    const race = (forgets: Forgets) =>
      litmus("own migration", { written: 5 }, ({ t, dev, A }) => {
        const own = new SkippingDriver(A, dev.device.batches, forgets);
        own.mirror();
        return { P0: () => own.migrate(), P1: () => t.read(A) };
      });
    await fires(race({ table: true }), "owner skip", /still maps the page that migrated away/);
    await clean(
      litmus("own migration, by the book", { written: 5 }, ({ dev, A }) => ({ P0: () => dev.migrate(A) })),
    );
  });
});

/** A driver that may leave out a part of its duties. */
const dutiful = (
  lax: {
    sets?: boolean;
    zaps?: boolean;
    sleeps?: boolean;
    refuses?: boolean;
    order?: boolean;
    faultsLocked?: boolean;
  },
) =>
  driver(`driver ${Object.keys(lax)}`, {
    state: (k) => ({ lock: k.mutex("lock"), second: k.mutex("second lock"), pt: k.deviceTable() }),
    *invalidate(s, sub, range, seq) {
      if (lax.refuses) return false;
      if (range.blockable || lax.sleeps) yield* s.lock.lock();
      else if (!s.lock.trylock()) return false;
      if (lax.order) yield* s.second.lock();
      if (lax.sets !== false) mmuIntervalSetSeq(sub, seq);
      if (lax.zaps !== false) yield* s.pt.zapAndFlush(range);
      if (lax.order) s.second.unlock();
      s.lock.unlock();
      return true;
    },
    *fault(s, _k, sub, r) {
      const range = hmmRange(sub, r, { defaultFlags: HMM_PFN_REQ_FAULT });
      for (;;) {
        range.seq = yield* mmuIntervalReadBegin(sub);
        if (lax.faultsLocked) yield* s.lock.lock();
        yield* sub.mm.mmapLock.read();
        const rc = yield* hmmRangeFault(range);
        sub.mm.mmapLock.readUnlock();
        if (lax.faultsLocked) s.lock.unlock();
        if (rc === -EBUSY) continue;
        if (rc !== 0) return rc;
        if (lax.order) yield* s.second.lock();
        yield* s.lock.lock();
        const retry = mmuIntervalReadRetry(sub, range.seq);
        if (!retry) s.pt.map(range);
        s.lock.unlock();
        if (lax.order) s.second.unlock();
        if (!retry) return 0;
      }
    },
  });

/** A device fault against mprotect(), with a driver. */
const protect = (lax: Parameters<typeof dutiful>[0]) =>
  litmus("device fault against mprotect", { drv: dutiful(lax) }, ({ t, dev, A }) => ({
    P0: () => dev.fault(A),
    P1: () => t.mprotect(A, "r"),
  }));

/** An invalidation that must not sleep, as the reaper of memory makes it. */
function* reap(m: Machine, A: Region, ends = false): Proc {
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
  const rc = yield* notifiers.start(a, e);
  sim.note(a, rc);
  if (rc === 0 || ends) notifiers.end(a, e);
}

describe("notifiers", () => {
  test("an entry that stands when its callback has returned, or comes back before the invalidation ends", async () => {
    await clean(protect({}));
    await fires(
      protect({ zaps: false }),
      "sequence protocol",
      /still has an entry when its callback for PROT_VMA/,
    );
    await fires(
      protect({}),
      "sequence protocol",
      /maps a page between the return of its callback and the end/,
      {
        revert: ["read retry"],
      },
    );
    const dummy = litmus("the dummy device's fault against mprotect", {}, ({ t, dev, A }) => ({
      P0: () => dev.fault(A),
      P1: () => t.mprotect(A, "r"),
    }));
    await clean(dummy);
    await fires(dummy, "sequence protocol", /maps a page between/, { revert: ["sequence check"] });
  });

  test("a request that still holds what an earlier round answered", async () => {
    const race = litmus("device read against mprotect", {}, ({ t, dev, A }) => ({
      P0: () => dev.fault(A),
      P1: () => t.mprotect(A, "r"),
    }));
    await clean(race);
    await fires(race, "request flags", /still holds what an earlier round answered/, {
      revert: ["request flags"],
    });
  });

  test("a callback that does not store the sequence", async () => {
    await fires(protect({ sets: false }), "sequence protocol", /without mmu_interval_set_seq/);
  });

  const reaped = (lax: Parameters<typeof dutiful>[0], ends = false) =>
    litmus("non-blockable invalidation against mprotect", { drv: dutiful(lax) }, ({ m, t, dev, A }) => {
      m.complete(dev.fault(A));
      return { P0: () => t.mprotect(A, "r"), P1: () => reap(m, A, ends) };
    });

  test("a callback that sleeps where it must not", async () => {
    await clean(reaped({}));
    await fires(reaped({ sleeps: true }), "non-blockable", /would sleep where it must not: lock/);
  });

  test("a callback that refuses where it may sleep", async () => {
    await fires(protect({ refuses: true }), "non-blockable", /refuses a range that lets it sleep/);
  });

  test("an end after a refusal, and a start without an end", async () => {
    await fires(reaped({}, true), "non-blockable", /ends that has not begun, or was refused/);
    const open = litmus("a start without an end", {}, ({ m, A }) => ({
      *P0() {
        const e = {
          mm: A.process.mm,
          start: A.vpn,
          end: A.vpn + 1,
          event: MMU_NOTIFY_CLEAR,
          owner: 0,
          blockable: true,
          seq: 0,
        };
        yield* m.kernel.notifiers.start(1, e);
      },
    }));
    await fires(open, "non-blockable", /1 invalidations of P0 have no end/);
  });

  test("a callback that drops the last reference to an address space", async () => {
    const race = litmus("an exit inside a callback", {}, ({ m, t, A }) => {
      const { kernel: k } = m, other = m.process();
      k.notifiers.insert(A.process.mm, 0, VPN_END, {
        tryInvalidate: () => false,
        waitOn: () => DUE,
        *invalidate(a, e) {
          k.notifiers.setSeq(0, e.seq);
          yield* exitMm(k, a, other.mm);
          return true;
        },
      });
      return { P0: () => t.mprotect(A, "r") };
    });
    await fires(race, "last mm reference", /drops the last reference to an address space/);
    const outside = litmus("an exit outside of one", {}, ({ m }) => {
      const other = m.process();
      return { P0: () => exitMm(m.kernel, 1, other.mm) };
    });
    await clean(outside);
  });
});

const AT_LOCKED = site("test: with a page locked");

test("a page that somebody else unlocks", async () => {
  const race = (by: number) =>
    litmus("two and a page lock", {}, ({ m, A }) => {
      const { pages, sim, tables, root } = m.kernel;
      const pfn = tables.pfn[tables.entry(root[A.process.mm], A.vpn)];
      return {
        *P0() {
          if (!pages.trylock(pfn)) return;
          sim.mark(1, AT_LOCKED, pfn);
          yield DUE;
          if (by === 1) pages.unlock(pfn);
        },
        *P1() {
          if (by === 2) pages.unlock(pfn);
          sim.mark(2, AT_LOCKED, pfn);
          yield DUE;
        },
      };
    });
  await clean(race(1));
  const found = await explore(race(2), { checkers: ["page lock owner"], all: true });
  expect(found.found.violations.map((v) => v.rule)).toContain(
    "page lock owner: a page is unlocked that P0 has locked",
  );
});

test("a mapped page with fewer references than mappings, in mid-run", async () => {
  const race = litmus("a reference too few", {}, ({ m, t, A }) => {
    const { pages, tables, root } = m.kernel, pfn = tables.pfn[tables.entry(root[A.process.mm], A.vpn)];
    return {
      *P0() {
        pages.refcount[pfn]--;
        yield DUE;
        pages.refcount[pfn]++;
      },
      P1: () => t.read(A),
    };
  });
  await fires(race, "page references", /0 references to a frame that is mapped 1 times/);
});
