/** hmm_mirror_register and its counterpart: errors, what update is told, what unregister waits for. */
import { expect, test } from "vitest";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { EAGAIN, EINVAL, ENOMEM } from "../../../lib/mm/errno.ts";
import { exitMm } from "../../../lib/mm/exit.ts";
import { MMU_NOTIFY_CLEAR } from "../../../lib/mm/notifier.ts";
import { complete } from "../../../lib/sim/runners.ts";
import { bench, Driver2016 } from "./driver.ts";

test("registering refuses what is missing and runs out of memory", () => {
  const { m, p } = bench(), mm = new v13.MmStruct(p), mirror = new v13.HmmMirror({ *update() {} });
  const register = (x: v13.HmmMirror | null, y: v13.MmStruct | null) =>
    p.complete(v13.hmmMirrorRegister(x, y));
  expect(register(null, mm)).toBe(-EINVAL);
  expect(register(mirror, null)).toBe(-EINVAL);
  expect(register(new v13.HmmMirror(undefined as never), mm)).toBe(-EINVAL);
  m.kernel.sim.injectFailure("page allocation", 1_000_000);
  expect(register(mirror, mm)).toBe(-ENOMEM);
  expect(mirror.mm).toBeUndefined();
  m.kernel.sim.injectFailure("page allocation", 0);
  expect(register(mirror, mm)).toBe(0);
  expect(mirror.mm).toBe(mm);
  expect(() => register(mirror, mm)).toThrow(/Cannot register a mirror: .*hmmMirrorUnregister/);
  p.complete(v13.hmmMirrorUnregister(mirror));
  expect(() => p.complete(v13.hmmMirrorUnregister(mirror))).toThrow(/not registered/);
  for (let i = 0; i < 64; i++) expect(register(new v13.HmmMirror({ *update() {} }), mm)).toBe(0);
  expect(register(mirror, mm)).toBe(-ENOMEM);
});

test("every mirror hears of every change, as long as it is registered, and a mirror needs no device memory", () => {
  const { p, r } = bench(), one = new Driver2016(p, r.vpn), two = new Driver2016(p, r.vpn);
  p.write(r, 1);
  expect(p.complete(one.mapLocked(r))).toBe(0);
  expect(one.table.text(r.vpn, 4)).toBe("wwww");
  p.complete(one.dontneed(r.slice("4 KiB", "4 KiB")));
  expect(one.table.text(r.vpn, 4)).toBe("w.ww");
  p.mprotect(r.slice("8 KiB"), "r");
  p.complete(v13.hmmMirrorUnregister(two.mirror));
  p.munmap(r.slice(0, "4 KiB"));
  expect(one.heard).toEqual(["1+1", "2+2", "0+1"]);
  expect(two.heard).toEqual(["1+1", "2+2"]);
  expect(one.table.text(r.vpn, 4)).toBe("....");
});

test("another process's changes are not heard, the end of one's own is", () => {
  const { m, p, r } = bench(), d = new Driver2016(p, 0), other = m.process(), heap = other.mmap("4 KiB");
  other.write(heap, 1);
  other.munmap(heap);
  expect(d.heard).toEqual([]);
  p.write(r, 1);
  p.complete(d.mapLocked(r));
  m.complete(exitMm(m.kernel, 0, p.mm));
  expect(d.table.text(r.vpn, 4)).toBe("....");
  expect(d.heard.length).toBeGreaterThan(0);
  p.complete(v13.hmmMirrorUnregister(d.mirror));
});

test("an invalidation that must not sleep is refused while there is a mirror, and not counted", () => {
  const { m, p, r } = bench(), d = new Driver2016(p, r.vpn), { notifiers } = m.kernel;
  const e = {
    mm: p.mm,
    start: r.vpn,
    end: r.vpn + 1,
    event: MMU_NOTIFY_CLEAR,
    owner: 0,
    blockable: false,
    seq: 0,
  };
  expect(m.complete(notifiers.start(0, e))).toBe(-EAGAIN);
  expect(d.heard).toEqual([]);
  p.complete(v13.hmmMirrorUnregister(d.mirror)); // which would wait for what is counted
});

test("unregistering ends only when no invalidation is under way", () => {
  const { m, p, r } = bench(), { sim, locks } = m.kernel, gate = locks.make("gate"), order: string[] = [];
  const mm = new v13.MmStruct(p);
  const mirror = new v13.HmmMirror({
    *update() {
      order.push("update begins");
      yield* locks.lock(sim.current, gate);
      locks.unlock(sim.current, gate);
      order.push("update ends");
    },
  });
  p.complete(v13.hmmMirrorRegister(mirror, mm));
  p.write(r, 1);
  locks.trylock(3, gate);
  complete(
    sim,
    [
      {
        a: 1,
        *proc() {
          yield* new Driver2016(p, 0, false).dontneed(r);
        },
      },
      {
        a: 2,
        *proc() {
          yield* v13.hmmMirrorUnregister(mirror);
          order.push("unregistered");
        },
      },
      {
        a: 3,
        // deno-lint-ignore require-yield
        *proc() {
          locks.unlock(3, gate);
          order.push("gate opens");
        },
      },
    ].map(({ a, proc }) => ({ a, proc: proc() })),
  );
  expect(order).toEqual(["update begins", "gate opens", "update ends", "unregistered"]);
});
