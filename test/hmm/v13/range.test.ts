/** Range locks and monitors: errors, what they hold back or tell, and the defects of the posted code as switches. */
import { expect, test } from "vitest";
import { explore, litmus, type LitmusSpec } from "../../../lib/explore/litmus.ts";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { EINVAL, ENOMEM } from "../../../lib/mm/errno.ts";
import { complete, DeadlockError } from "../../../lib/sim/runners.ts";
import type { Proc } from "../../../lib/sim/sim.ts";
import { bench, Driver2016 } from "./driver.ts";

const SMALL: LitmusSpec = { pages: 1, device: { memory: 0, onFault: "map" } };

test("a range lock refuses a range that is not within the area, and runs out of memory", () => {
  const { m, p, r } = bench(), mm = new v13.MmStruct(p), vma = v13.findVma(mm, r.vpn)!;
  const lock = (from: number, to: number) =>
    p.complete(v13.hmmVmaRangeLock(new v13.HmmRange(), vma, r.vpn + from, r.vpn + to));
  m.kernel.sim.injectFailure("page allocation", 1_000_000);
  // mm->hmm is made before the range is looked at.
  expect(lock(0, 5)).toBe(-ENOMEM);
  expect(p.complete(v13.hmmVmaRangeMonitorStart(new v13.HmmRange(), vma, r.vpn, r.vpn + 1, true))).toBe(
    false,
  );
  m.kernel.sim.injectFailure("page allocation", 0);
  expect([lock(0, 5), lock(-1, 2), lock(4, 4), lock(1, -1)]).toEqual([-EINVAL, -EINVAL, -EINVAL, -EINVAL]);
  expect([lock(0, 4), lock(3, 4)]).toEqual([0, 0]);
  expect(() => v13.hmmVmaRangeUnlock(new v13.HmmRange())).toThrow(/Cannot unlock a range/);
});

test("a monitor reports overlap only", () => {
  const { p, r } = bench(), d = new Driver2016(p), vma = v13.findVma(d.mm, r.vpn)!;
  const watch = (from: number, to: number, change: () => void) => {
    const range = new v13.HmmRange();
    expect(p.complete(v13.hmmVmaRangeMonitorStart(range, vma, r.vpn + from, r.vpn + to, false))).toBe(true);
    change();
    const valid = p.complete(v13.hmmVmaRangeMonitorEnd(range));
    expect(p.complete(v13.hmmVmaRangeMonitorEnd(range))).toBe(false);
    return valid;
  };
  p.write(r, 1);
  const drop = (page: number) => () => p.complete(d.dontneed(r.slice(page * 4096, "4 KiB")));
  expect(watch(1, 3, drop(0))).toBe(true);
  expect(watch(1, 3, drop(3))).toBe(true);
  expect(watch(1, 3, drop(1))).toBe(false);
  expect(watch(1, 3, drop(2))).toBe(false);
  expect(watch(0, 4, () => {})).toBe(true);
});

test("a monitor of the posted code hears of nothing", () => {
  const { p, r } = bench(4, ["v13 monitor range"]), d = new Driver2016(p), vma = v13.findVma(d.mm, r.vpn)!;
  const range = new v13.HmmRange();
  p.complete(v13.hmmVmaRangeMonitorStart(range, vma, r.vpn, r.vpn + 4, true));
  p.complete(d.dontneed(r));
  expect(p.complete(v13.hmmVmaRangeMonitorEnd(range))).toBe(true);
});

test("monitor_start without wait is false while an invalidation is under way, and with wait comes after it", () => {
  const { m, p, r } = bench(), { sim, locks } = m.kernel, gate = locks.make("gate"), mm = new v13.MmStruct(p);
  p.complete(v13.hmmMirrorRegister(
    new v13.HmmMirror({
      *update() {
        yield* locks.lock(sim.current, gate);
        locks.unlock(sim.current, gate);
      },
    }),
    mm,
  ));
  p.write(r, 1);
  locks.trylock(4, gate);
  const vma = v13.findVma(mm, r.vpn)!, seen: unknown[] = [];
  const start = (wait: boolean) =>
    v13.hmmVmaRangeMonitorStart(new v13.HmmRange(), vma, r.vpn, r.vpn + 1, wait);
  function* drop(): Proc {
    yield* new Driver2016(p, 0, false).dontneed(r);
    seen.push("dropped");
  }
  function* watch(wait: boolean): Proc {
    seen.push([wait, yield* start(wait)]);
  }
  // deno-lint-ignore require-yield
  function* open(): Proc {
    locks.unlock(4, gate);
  }
  complete(sim, [drop(), watch(false), watch(true), open()].map((proc, i) => ({ a: i + 1, proc })));
  expect(seen).toEqual([[false, false], "dropped", [true, true]]);
});

/** A snapshot under a range lock against MADV_DONTNEED. */
const locked = litmus("v13 range lock against MADV_DONTNEED", SMALL, ({ A }) => {
  const d = new Driver2016(A.process);
  return {
    P0: () => d.mapLocked(A),
    P1: () => d.dontneed(A),
    finally: { noStaleEntry: () => !d.stale(A) },
  };
});

test("a range lock holds an invalidation back, and it then reaches every mirror", async () => {
  const found = await explore(locked);
  expect([found.found.exhaustive, found.violated]).toEqual([true, undefined]);
});

test("posted: an invalidation that waited on a range lock reaches no mirror", async () => {
  const found = await explore(locked, { revert: ["v13 waited invalidation"] });
  expect(found.violated).toBe("noStaleEntry");
});

test("posted: what such an invalidation leaves on the list holds the next one back for ever", () => {
  const run = (revert: readonly string[]) => {
    const { m, p, r } = bench(1, revert), d = new Driver2016(p), { sim, locks } = m.kernel;
    const gate = locks.make("gate");
    p.write(r, 1);
    locks.trylock(3, gate);
    function* wait(): Proc {
      yield* locks.lock(sim.current, gate);
      locks.unlock(sim.current, gate);
    }
    // deno-lint-ignore require-yield
    function* open(): Proc {
      locks.unlock(3, gate);
    }
    const actors = [d.mapLocked(r, wait), d.dontneed(r), open()];
    complete(sim, actors.map((proc, i) => ({ a: i + 1, proc })));
    const stale = d.stale(r);
    p.munmap(r);
    return stale;
  };
  expect(run([])).toBe(false);
  expect(() => run(["v13 waited invalidation"])).toThrow(DeadlockError);
});

/** Two range locks over one page, the second given up first, against MADV_DONTNEED. */
const twice = litmus("v13 two range locks against MADV_DONTNEED", SMALL, ({ A }) => {
  const d = new Driver2016(A.process), { mm } = d;
  function* both(): Proc {
    yield* mm.downRead();
    const vma = v13.findVma(mm, A.vpn)!, first = new v13.HmmRange(), second = new v13.HmmRange();
    const pfns = new BigUint64Array(1);
    yield* v13.hmmVmaRangeLock(first, vma, A.vpn, A.vpn + 1);
    // Taken while nothing waits: no invalidation stands between the two.
    yield* v13.hmmVmaRangeLock(second, vma, A.vpn, A.vpn + 1);
    yield* v13.hmmVmaGetPfns(vma, A.vpn, A.vpn + 1, pfns);
    v13.hmmVmaRangeUnlock(second);
    yield* d.commitNow(A.vpn, pfns);
    v13.hmmVmaRangeUnlock(first);
    mm.upRead();
  }
  return { P0: both, P1: () => d.dontneed(A), finally: { noStaleEntry: () => !d.stale(A) } };
});

test("posted: of two range locks over a page the older one holds nothing back", async () => {
  const found = await explore(twice, { revert: ["v13 overlapping range locks"], all: true });
  expect(found.found.violations.map((v) => v.rule)).toContain("noStaleEntry");
});

/** Two drivers with a range lock each over one page, against MADV_DONTNEED. */
const drivers = litmus("v13 range locks of two drivers against MADV_DONTNEED", SMALL, ({ A }) => {
  const one = new Driver2016(A.process), two = new Driver2016(A.process);
  return {
    P0: () => one.mapLocked(A),
    P1: () => two.mapLocked(A),
    P2: () => one.dontneed(A),
    finally: { noStaleEntry: () => !one.stale(A) && !two.stale(A) },
  };
});

test("an invalidation waits for every range lock that came before it, and later ones for it", async () => {
  const found = await explore(drivers);
  expect([found.found.exhaustive, found.violated]).toEqual([true, undefined]);
  const posted = await explore(drivers, { revert: ["v13 overlapping range locks"] });
  expect(posted.violated).toBe("noStaleEntry");
});

/** A fault under a monitor against MADV_DONTNEED. */
const monitored = litmus("v13 fault under a monitor against MADV_DONTNEED", SMALL, ({ A }) => {
  const d = new Driver2016(A.process);
  return {
    P0: () => d.faultMonitored(A, true),
    P1: () => d.dontneed(A),
    finally: { noStaleEntry: () => !d.stale(A) },
  };
});

test("a monitor lets no stale entry through; that of the posted code does", async () => {
  const found = await explore(monitored);
  expect([found.found.exhaustive, found.violated]).toEqual([true, undefined]);
  const posted = await explore(monitored, { revert: ["v13 monitor range"] });
  expect(posted.violated).toBe("noStaleEntry");
});

test("hmm_vma_fault under a range lock waits for ever once the fault has to invalidate", () => {
  const { p, r } = bench(1),
    { mm } = new Driver2016(p),
    pfns = BigUint64Array.of(v13.HMM_PFN_FAULT | v13.HMM_PFN_WRITE);
  p.read(r); // the zero page: writing it invalidates it
  function* fault(): Proc {
    yield* mm.downRead();
    const vma = v13.findVma(mm, r.vpn)!;
    yield* v13.hmmVmaRangeLock(new v13.HmmRange(), vma, r.vpn, r.vpn + 1);
    yield* v13.hmmVmaFault(vma, r.vpn, r.vpn + 1, pfns);
  }
  expect(() => p.complete(fault())).toThrow(/hmm of address space/);
});
