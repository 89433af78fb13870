/** Checkers in runs: nothing fires in a sound one, a broken rule ends one, and whether they look changes nothing. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkerNames, InvariantError } from "../../lib/check/mod.ts";
import { pinLongterm } from "../../lib/hmm/pin.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { RunOptions } from "../../lib/machine/run_options.ts";
import type { Workload } from "../../lib/machine/workload.ts";
import { repeat } from "../../lib/workloads/repeat.ts";
import { replayTrace } from "../../lib/workloads/replay.ts";
import { scatter } from "../../lib/workloads/scatter.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { builtinTrace, traceNames } from "../../lib/workloads/trace_file.ts";
import { inTurns } from "../../lib/workloads/turns.ts";
import { plug, unplug } from "../../lib/workloads/hotplug.ts";
import { type Case, refuses, wrong } from "../refusal.ts";

const RUNNERS = ["clock", "complete", "steps"] as const;

/** A machine with a device that migrates and one that maps. */
function two(checkers: "all" | readonly string[], seed = 1, tlbEntries = 0) {
  return machine({
    memory: "64 MiB",
    devices: {
      gpu: { memory: "8 MiB", granule: "64 KiB", onFault: "migrate", faultBackPages: 4 },
      nic: { memory: 0, granule: "16 KiB" },
    },
    seed,
    tlbEntries,
    checkers,
  });
}
type Two = ReturnType<typeof two>;

/** Every bundled workload, on a heap of 1 MiB. */
const WORKLOADS: Readonly<Record<string, (m: Two) => Readonly<Record<string, Workload>>>> = {
  "touch and stream": (m) => {
    const heap = m.process().mmap("1 MiB");
    return { cpu: touch(heap), gpu: stream(m.gpu, heap), nic: stream(m.nic, heap, { write: true }) };
  },
  "repeat and scatter": (m) => {
    const heap = m.process().mmap("1 MiB");
    return {
      cpu: repeat(touch(heap), 2, { pause: "1 us" }),
      other: scatter(heap, 400, { write: true }),
      gpu: repeat(stream(m.gpu, heap, { write: true }), 2),
    };
  },
  "in turns": (m) =>
    inTurns(m.process().mmap("1 MiB"), "256 KiB", {
      fill: (piece) => touch(piece),
      gpu: (piece) => stream(m.gpu, piece, { write: true, value: 1000 }),
      back: (piece) => touch(piece, { write: false, value: 1000, check: true }),
    }),
  "unplug and plug": (m) => {
    const heap = m.process().mmap("256 KiB");
    return { cpu: touch(heap), gpu: stream(m.gpu, heap), out: unplug(m.gpu), back: plug(m.gpu) };
  },
};

describe.each(RUNNERS)("a sound run breaks no rule (%s)", (runner) => {
  test.each(Object.entries(WORKLOADS))("%s", async (_name, make) => {
    for (const tlbEntries of [0, 4]) {
      const m = two("all", 1, tlbEntries), run = await m.run(make(m), { runner });
      expect([run.end, run.violations.numRows]).toEqual(["done", 0]);
    }
  });
});

test("nor does a replayed trace", async () => {
  const trace = await builtinTrace((await traceNames())[0]);
  for (const runner of RUNNERS) {
    const m = machine({ memory: "256 MiB", devices: { gpu: "titan-v" }, checkers: "all" });
    const run = await m.run({ cpu: replayTrace(m.process(), trace) }, { runner });
    expect([run.end, run.violations.numRows]).toEqual(["done", 0]);
  }
});

test("whether checkers look changes neither state nor time nor counts", async () => {
  const names = Object.keys(WORKLOADS), checkers = Object.keys(checkerNames());
  const looked = async (
    asked: "all" | readonly string[],
    what: string,
    runner: RunOptions["runner"],
    seed: number,
  ) => {
    const m = two(asked, seed), run = await m.run(WORKLOADS[what](m), { runner });
    return { digest: run.digest, state: m.stateDigest(), virtualNs: run.virtualNs, actors: run.actors };
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...names),
      fc.constantFrom(...RUNNERS),
      fc.nat(1000),
      fc.option(fc.subarray(checkers, { minLength: 1 }), { nil: "all" as const }),
      async (what, runner, seed, asked) => {
        expect(await looked(asked, what, runner, seed)).toEqual(await looked([], what, runner, seed));
      },
    ),
    { numRuns: 40 },
  );
}, 60_000);

describe("a broken rule", () => {
  /** What a run throws. */
  async function thrown(m: Machine, work: Readonly<Record<string, Workload>>, options: RunOptions = {}) {
    const e: unknown = await m.run(work, options).then(() => undefined, (e) => e);
    expect(e).toBeInstanceOf(InvariantError);
    return e as InvariantError;
  }

  test.each(RUNNERS)(
    "ends a run where it is broken, says all there is, and leaves what was computed (%s)",
    async (runner) => {
      const m = machine({
        memory: "64 MiB",
        devices: { gpu: { memory: "8 MiB", granule: "64 KiB", onFault: "migrate" } },
        seed: 7,
        revert: ["pinned page refusal"],
        checkers: "all",
      });
      const p = m.process(), heap = p.mmap("256 KiB"), pfns = new Uint32Array(1);
      p.write(heap, 1);
      m.complete(pinLongterm(m.kernel, 0, p.mm, heap.vpn + 20, 1, true, pfns));
      const e = await thrown(m, { gpu: stream(m.gpu, heap), cpu: touch(heap, { write: false }) }, { runner });
      const [first] = e.broken;
      expect(first).toMatchObject({ rule: "pinned page", fact: "F10", actor: "gpu", seed: 7 });
      expect(first.what).toBe("a pinned page was collected for migration");
      expect(first.page).toBe(`frame ${pfns[0]}`);
      expect(first.atNs).toBeGreaterThan(0);
      expect(e.message).toBe(
        `rule "pinned page" (F10) is broken: a pinned page was collected for migration, frame ${
          pfns[0]
        }; found as gpu ` +
          `ran, at ${first.atNs} ns, seed 7`,
      );
      const run = m.lastRun!;
      expect(run.end).toBe("violation");
      expect(run.violations.columns).toMatchObject({ rule: ["pinned page"], actor: ["gpu"] });
      expect(run.deviceFaults.count + run.pagesToDevice).toBeGreaterThan(0);
      await expect(m.run({ cpu: touch(heap) })).rejects.toThrow(
        /Cannot go on with this machine: its last run failed/,
      );
    },
  );

  test("is found at rest too, all of them, each by its name", async () => {
    const m = two("all"), p = m.process(), heap = p.mmap("64 KiB");
    p.write(heap, 1);
    m.kernel.rssAnon[p.mm]++;
    m.kernel.pages.take(m.kernel.ram);
    const e = await thrown(m, { cpu: touch(heap, { write: false }) });
    expect(e.broken.map((b) => b.rule).sort()).toEqual(["page counts", "page counts", "rss"]);
    expect(e.violations().columns.actor).toEqual(["nobody", "nobody", "nobody"]);
    expect(m.lastRun!.actors[0].pages).toBe(16);
  });

  test("is not found by a checker that was not asked for", async () => {
    const m = two(["zone"]), p = m.process(), heap = p.mmap("64 KiB");
    p.write(heap, 1);
    m.kernel.rssAnon[p.mm]++;
    expect((await m.run({ cpu: touch(heap, { write: false }) })).end).toBe("done");
    expect(m.checkers!.names).toEqual(["zone"]);
  });
});

const bad: Case[] = [
  ["a checker that nobody knows", () => machine({ checkers: ["pined page"] }), "pined page", "pinned page"],
  ["checkers that are no list", () => machine({ checkers: wrong("rss") }), '"rss"', '"all"'],
];
describe("wrong use", () => refuses(bad));

test("every rule has a name of its own and says what must hold", () => {
  const rules = Object.entries(checkerNames());
  expect(rules.length).toBeGreaterThanOrEqual(23);
  for (const [name, says] of rules) {
    expect(`${name}: ${says}`).toMatch(/^[a-z][a-z0-9 -]+: [A-Z].*\. \[.+\]$/);
  }
});
