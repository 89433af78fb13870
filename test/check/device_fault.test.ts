/** The rules of device faults fire on drivers that ask for ever, in every runner, and on no other. */
import { describe, expect, test } from "vitest";
import { InvariantError } from "../../lib/check/mod.ts";
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
import { Thread } from "../../lib/machine/thread.ts";
import { EBUSY, EPERM } from "../../lib/mm/errno.ts";
import type { Watch } from "../../lib/mm/watch.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { breaks, holds } from "../facts/facts.ts";

/** What a driver does wrong. */
interface Wrong {
  /** It takes this errno for something that passes, so many times. */
  readonly asksAgain?: { readonly rc: number; readonly times: number };
  /** It does not mind that its deadline has passed. */
  readonly ignoresDeadline?: boolean;
  /** Its deadline (default "1 s"). */
  readonly timeout?: string;
}

/** A driver by the book, but for what it does wrong. */
const faulting = (name: string, { asksAgain, ignoresDeadline = false, timeout = "1 s" }: Wrong = {}) =>
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
      const range = hmmRange(sub, r, { defaultFlags: flags }), end = k.deadline(timeout);
      for (let again = 0;;) {
        if ((yield* end.expired()) && !ignoresDeadline) return -EBUSY;
        range.seq = yield* mmuIntervalReadBegin(sub);
        yield* sub.mm.mmapLock.read();
        const rc = yield* hmmRangeFault(range);
        sub.mm.mmapLock.readUnlock();
        if (rc === -EBUSY) continue;
        if (rc === asksAgain?.rc && again++ < asksAgain.times) continue;
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
const byTheBook = faulting("by the book");
const stubborn = faulting("stubborn", { asksAgain: { rc: -EPERM, times: Infinity } });
const patient = faulting("patient", { asksAgain: { rc: -EPERM, times: 7 } });
const deaf = faulting("deaf", { ignoresDeadline: true });
/** What is faulted in takes longer than this deadline, and more rounds are asked for. */
const LATE: Wrong = { asksAgain: { rc: 0, times: 20 }, timeout: "1 ns" };

describe("explored", () => {
  const readOnly = (drv: typeof byTheBook) =>
    litmus(`write to read-only memory, driver ${drv.name}`, { drv }, ({ m, t, dev, A }) => {
      m.complete(t.mprotect(A, "r"));
      return { P0: () => dev.fault(A, true) };
    });

  test("F5: a driver that asks again after -EPERM, and one that gives up in the end", async () => {
    await holds(readOnly(byTheBook));
    await holds(readOnly(patient));
    await breaks(readOnly(stubborn), /^refused device fault: .* -1 for the 9th time/, {
      checkers: ["refused device fault"],
      maxSteps: 300,
    });
  });

  test("F5: an invalidation in between begins the count anew, and what is no device fault is not counted", async () => {
    // Told by hand: refusals one after the other, with or without an invalidation after the sixth.
    const refusals = (isInside: boolean, isChanged: boolean) =>
      litmus(`twelve refusals, ${isInside} ${isChanged}`, { drv: byTheBook }, ({ m, t, A }) => ({
        *P0() {
          const { kernel: { watch, sim } } = m, a = sim.current, { mm } = A.process;
          const r = { mm, start: A.vpn, end: A.vpn + 1, pfns: new Uint32Array(1), pfnFlagsMask: 0 };
          if (isInside) watch?.deviceFaultStarts(a);
          for (let i = 0; i < 12; i++) {
            if (i === 6 && isChanged) yield* t.madvise(A, "dontneed");
            watch?.rangeFaultEnds(a, r, -EPERM);
          }
          watch?.deviceFaultEnds(a);
        },
      }));
    await holds(refusals(true, true));
    await holds(refusals(false, false));
    await breaks(refusals(true, false), /^refused device fault: /, { checkers: ["refused device fault"] });
  });

  const dropped = (drv: typeof byTheBook) =>
    litmus(`device fault that may time out, driver ${drv.name}`, { drv, failures: ["timeout"] }, (
      { t, dev, A },
    ) => ({ P0: () => dev.fault(A), P1: () => t.madvise(A, "dontneed") }));

  test("F7: a driver that ignores its deadline", async () => {
    await holds(dropped(byTheBook));
    await breaks(dropped(deaf), /^device fault deadline: a device fault begins another round/, {
      checkers: ["device fault deadline"],
    });
  });
});

describe.each(["clock", "complete", "steps"] as const)("run (%s)", (runner) => {
  /** A device's write to memory that may only be read, or that nobody has touched: the rules that it broke. */
  async function written(drv: typeof byTheBook, checkers: "all" | readonly string[], isReadOnly = true) {
    const m = machine({ memory: "1 MiB", checkers }), p = m.process(), heap = p.mmap("16 KiB");
    if (isReadOnly) {
      p.write(heap, 1);
      m.complete(new Thread(p).mprotect(heap, "r"));
    } else if (runner === "steps") {
      // Step by step there is no time: as in the explorer a deadline passes by chance.
      m.kernel.sim.injectFailure("timeout", 500_000);
    }
    const dev = drv.bind(p);
    const broken: unknown = await m.run({ dev: dev.stream(heap, { write: true }) }, { runner }).then(
      () => undefined,
      (e) => e,
    );
    return { broken: broken instanceof InvariantError ? broken.broken : [], state: m.stateDigest() };
  }

  test("F5: a driver that asks again after -EPERM", async () => {
    const { broken } = await written(stubborn, "all");
    expect(broken).toMatchObject([{ rule: "refused device fault", fact: "F5", actor: "dev" }]);
    expect((await written(patient, "all")).broken).toEqual([]);
  });

  test("F7: a driver that ignores its deadline", async () => {
    const { broken } = await written(faulting("late", { ...LATE, ignoresDeadline: true }), "all", false);
    expect(broken).toMatchObject([{ rule: "device fault deadline", fact: "F7", actor: "dev" }]);
    const looks = faulting("late, but looks", LATE);
    expect((await written(looks, "all", false)).broken).toEqual([]);
    const m = machine({ memory: "1 MiB", checkers: "all" }), p = m.process(), heap = p.mmap("16 KiB");
    expect(m.complete(looks.bind(p).fault(heap))).toBe(-EBUSY);
  });

  test("looking changes nothing", async () => {
    for (const drv of [byTheBook, patient]) {
      expect((await written(drv, "all")).state).toBe((await written(drv, [])).state);
    }
  });
});

test.each(["dev", "gpu"] as const)("F5, F7: the faults of %s are told, round by round", async (name) => {
  const devices = { dev: { onFault: "map", memory: 0 }, gpu: "titan-v" } as const;
  const m = machine({ memory: "64 MiB", devices }), seen: string[] = [];
  m.kernel.watchWith(
    new Proxy({}, {
      get: (_target, point) => () => {
        const told = /^(device|range)Fault(.*)$/.exec(String(point));
        if (told !== null) seen.push(`${told[1][0]}${told[2]}`);
      },
    }) as Watch,
  );
  m.kernel.sim.injectFailure("timeout", 500_000);
  const heap = m.process().mmap("256 KiB"), write = { write: true };
  await m.run({ it: stream(m[name], heap, write) }, { runner: "steps" }).catch(() => {});
  const fault = /(dStarts dDeadline (rStarts rEnds )*(dExpired )?dEnds )/.source;
  expect(`${seen.join(" ")} `).toMatch(new RegExp(`^${fault}+$`));
  expect(seen).toEqual(expect.arrayContaining(["rEnds", "dExpired"]));
});
