import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import { conformanceSpec, type RunnerName } from "../../lib/experiments/conformance/machine.ts";
import { REGION_A } from "../../lib/experiments/conformance/observe.ts";
import { Player } from "../../lib/experiments/conformance/player.ts";
import { type Op, parsePrograms, printProgram } from "../../lib/experiments/conformance/program.ts";
import { hugePrograms, programs } from "./programs.ts";

const RUNS = Number(process.env.HMMLAB_PROGRAMS ?? 150), SEED = Number(process.env.HMMLAB_SEED ?? 6121);
const spec = conformanceSpec(true, "all"), plainSpec = conformanceSpec(false, "all");
const VPN = REGION_A;
const head = { id: "found", thp: true, faultAroundBytes: 4096 };

/** What is broken now. */
function broken({ machine }: Player): string[] {
  return machine.checkers!.brokenAtRest().map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}

/** Plays a program, checking after every operation. */
function play(ops: readonly Op[], runner: RunnerName, check: boolean, on = spec): string[] {
  const player = new Player(on, head, runner), seen: string[] = [];
  for (const op of ops) {
    seen.push(JSON.stringify(player.step(op)));
    if (check) expect(broken(player).join("\n")).toBe("");
  }
  expect(player.end().join("\n")).toBe("");
  return seen;
}

/** Holds a property of programs; a failure is shown as the shortest program in the transcripts' own lines. */
function holds(runs: number, any: fc.Arbitrary<Op[]>, property: (ops: readonly Op[]) => void): void {
  fc.assert(fc.property(any, property), {
    numRuns: runs,
    seed: SEED,
    reporter(out) {
      if (!out.failed) return;
      const text = out.counterexample === null ? "" : printProgram({ ...head, ops: out.counterexample[0] });
      const cause = out.errorInstance instanceof Error
        ? out.errorInstance.message
        : String(out.errorInstance);
      throw new Error(`${cause}\n\nafter ${out.numRuns} programs (seed ${out.seed}):\n${text}`);
    },
  });
}

/** Room for as many programs as are asked for. */
const LIMIT_MS = 30_000 + 60 * RUNS;

test("whatever programs do, counts match what is counted, and nothing is left behind", () => {
  holds(RUNS, programs, (ops) => void play(ops, "complete", true));
}, LIMIT_MS);

test("so it is with devices that have no oddities", () => {
  holds(Math.ceil(RUNS / 4), programs, (ops) => void play(ops, "complete", true, plainSpec));
  holds(Math.ceil(RUNS / 16), hugePrograms, (ops) => void play(ops, "complete", true, plainSpec));
}, LIMIT_MS);

test("so it is with huge pages", () => {
  let huge = 0;
  holds(Math.ceil(RUNS / 4), hugePrograms, (ops) => {
    if (play(ops, "complete", true).some((seen) => /[Tt]{8}/.test(seen))) huge++;
  });
  expect(huge).toBeGreaterThan(RUNS / 20);
}, LIMIT_MS);

test.for<[size: string, part: number, any: fc.Arbitrary<Op[]>]>([
  ["small", 4, programs],
  ["huge", 16, hugePrograms],
])("the three runners see the same of %s pages", { timeout: LIMIT_MS }, ([, part, any]) => {
  holds(Math.ceil(RUNS / part), any, (ops) => {
    const complete = play(ops, "complete", false);
    expect(play(ops, "clock", false)).toEqual(complete);
    expect(play(ops, "steps", true)).toEqual(complete);
  });
});

/** A machine in which two processes and a device have pages of every kind. */
function busy(): Player {
  const text = `@ name=busy
    open 0
    mmap A ap 8 rw
    mmap B as 2 rw
    w A 0 8 1
    w B 0 2 9
    mig 0 A 0 2
    excl 0 A 2 2
    madvise A 4 1 pageout
    fork C
    mig 0 A 0 1
    excl 0 A 6 1
    dread 0 B 0 2`;
  const player = new Player(spec, head, "complete");
  for (const op of parsePrograms(text)[0].ops) player.step(op);
  expect(broken(player)).toEqual([]);
  return player;
}

test.for<[what: string, breakIt: (p: Player, mm: number, page: (i: number) => number) => void, said: RegExp]>(
  [
    ["a reference too many", (p, _mm, page) => p.machine.kernel.pages.refcount[page(5)]++, /refcount is/],
    ["a map count too few", (p, _mm, page) => p.machine.kernel.pages.mapcount[page(5)]--, /mapcount is/],
    ["RSS off by one", (p, mm) => p.machine.kernel.rssAnon[mm]++, /rss: space \d+ counts/],
    ["a swap slot's user gone", (p) => p.machine.kernel.swap.users.fill(0), /users, /],
    ["swapped pages off by one", (p, mm) => p.machine.kernel.rssSwap[mm]--, /counts -?\d+ swapped pages/],
    [
      "a frame that nobody has",
      (p) => p.machine.kernel.pages.take(p.machine.kernel.ram),
      /nothing refers to it|refcount is/,
    ],
    [
      "a stale mirror",
      (p, _mm, page) => p.machine.deviceList.map(asDummy)[0].mirrors()[0].table.set(VPN + 6, page(5), false),
      /stale/,
    ],
    [
      "a mirror that may write too much",
      (p, _mm, page) => p.machine.deviceList.map(asDummy)[0].mirrors()[0].table.set(VPN, page(0), true),
      /may write/,
    ],
    [
      "exclusive on the device only",
      (p, _mm, page) =>
        p.machine.deviceList.map(asDummy)[0].mirrors()[0].table.set(VPN, page(0), false, true),
      /may write|exclusive on one side/,
    ],
  ],
)("%s is found", ([, breakIt, said]) => {
  const player = busy(), { kernel: k } = player.machine, { mm } = player.played.get("P")!;
  breakIt(player, mm, (i) => k.tables.pfn[k.tables.entry(k.root[mm], VPN + i)]);
  expect(broken(player).join("\n")).toMatch(said);
});

test("a found program can be read back", () => {
  fc.assert(
    fc.property(programs, (ops) => {
      expect(parsePrograms(printProgram({ ...head, ops }))).toEqual([{ ...head, ops }]);
    }),
    { numRuns: 50 },
  );
});
