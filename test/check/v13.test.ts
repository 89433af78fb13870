/** The rules of patchset v13 fire with the defects of the posted code switched on, and not without. */
import { expect, test } from "vitest";
import { litmus, type LitmusSpec } from "../../lib/explore/litmus.ts";
import * as v13 from "../../lib/hmm/v13/mod.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Clock, complete } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { breaks, holds } from "../facts/facts.ts";
import { Driver2016 } from "../hmm/v13/driver.ts";

const SMALL: LitmusSpec = { pages: 1, device: { memory: 0, onFault: "map" } };

test("F29: an invalidation that waited on a range lock and reaches no mirror", async () => {
  const race = litmus("v13 range lock and two mirrors against MADV_DONTNEED", SMALL, ({ A }) => {
    const d = new Driver2016(A.process), other = new Driver2016(A.process);
    return { P0: () => d.mapLocked(A), P1: () => other.dontneed(A) };
  });
  await holds(race);
  await breaks(race, /^v13 mirror: an invalidation goes on without a call of mirror 0/, {
    checkers: ["v13 mirror"],
    revert: ["v13 waited invalidation"],
  });
});

test("F29: nobody has to call a mirror that is unregistered meanwhile", async () => {
  const race = litmus("v13 mirror unregistered during MADV_DONTNEED", SMALL, ({ A }) => {
    const d = new Driver2016(A.process), other = new Driver2016(A.process);
    return { P0: () => d.dontneed(A), P1: () => v13.hmmMirrorUnregister(other.mirror) };
  });
  await holds(race);
});

test("F29: a monitor that hears of nothing", async () => {
  const race = litmus("v13 fault under a monitor against MADV_DONTNEED", SMALL, ({ A }) => {
    const d = new Driver2016(A.process);
    return { P0: () => d.faultMonitored(A, true), P1: () => d.dontneed(A) };
  });
  await holds(race);
  await breaks(race, /^v13 monitor: a range monitor does not report an invalidation that met its range/, {
    checkers: ["v13 monitor"],
    revert: ["v13 monitor range"],
  });
});

test("F29: a monitor that reports what did not meet its range", async () => {
  // Told by hand, since nothing in the lab reports too much.
  const race = litmus("v13 monitor by hand", SMALL, ({ m, A }) => {
    const d = new Driver2016(A.process), { mm } = A.process, { kernel: k } = m;
    return {
      *P0() {
        k.watch?.monitorStarts13(7, mm, A.vpn + 1, A.vpn + 2);
        yield* d.dontneed(A);
        k.watch?.monitorEnds13(7, false);
      },
    };
  });
  await breaks(race, /^v13 monitor: a range monitor reports what did not meet its range/, {
    checkers: ["v13 monitor"],
  });
});

test.each(["complete", "clock"])(
  "F29: the rules fire elsewhere too, and looking changes nothing (%s)",
  (runner) => {
    const watched = (checkers: "all" | readonly string[], revert: readonly string[] = []) => {
      const m = machine({ memory: "8 MiB", devices: { board: { memory: 0 } }, revert, checkers });
      const p = m.process(), r = p.mmap("16 KiB"), d = new Driver2016(p), vma = v13.findVma(d.mm, r.vpn)!;
      p.write(r, 1);
      function* work(): Proc {
        const range = new v13.HmmRange();
        for (const page of [0, 1]) {
          yield* v13.hmmVmaRangeMonitorStart(range, vma, r.vpn, r.vpn + 1, true);
          yield* d.dontneed(r.slice(page * 4096, "4 KiB"));
          yield* v13.hmmVmaRangeMonitorEnd(range);
        }
      }
      const actors = [{ a: 1, proc: work() }], { sim } = m.kernel;
      if (runner === "clock") new Clock(sim, actors).run();
      else complete(sim, actors);
      return m.stateDigest();
    };
    expect(watched("all")).toBe(watched([]));
    expect(() => watched("all", ["v13 monitor range"])).toThrow(/rule "v13 monitor" \(F29\) is broken/);
  },
);
