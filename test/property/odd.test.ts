/** No program, however odd, makes the lab throw from inside, hang, or lose pages. */
import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { conformanceSpec, type RunnerName } from "../../lib/experiments/conformance/machine.ts";
import { NotModelled, Player } from "../../lib/experiments/conformance/player.ts";
import {
  LineError,
  type Op,
  parseOp,
  parsePrograms,
  printProgram,
} from "../../lib/experiments/conformance/program.ts";
import { parseTranscript } from "../../lib/experiments/conformance/transcript.ts";
import { UsageError } from "../../lib/errors.ts";
import { FAILURE_POINTS } from "../../lib/explore/check.ts";
import type { MachineOptions, MachineSpec } from "../../lib/machine/spec.ts";
import { checkMachine } from "../../lib/machine/spec.ts";
import { oddPrograms } from "./odd.ts";

const RUNS = Number(process.env.HMMLAB_PROGRAMS ?? 150), SEED = Number(process.env.HMMLAB_SEED ?? 6121);
const head = { id: "odd", thp: true, faultAroundBytes: 4096 };

/** A machine of 16 pages, whose devices have one page or eight. */
function tiny(more: MachineOptions = {}, quirks = false): MachineSpec {
  const device = (memory: string, coherent: boolean) => ({
    memory,
    coherent,
    onFault: "map" as const,
    granule: "4 KiB",
    ...(quirks ? { quirks: "test_hmm-6.12" as const } : {}),
  });
  return checkMachine({
    memory: "64 KiB",
    swapPages: 8,
    devices: {
      d0: device("4 KiB", false),
      d1: device("32 KiB", false),
      d2: device("4 KiB", true),
      d3: device("32 KiB", true),
    },
    actors: 4,
    processes: 6,
    vmas: 40,
    pageTables: 48,
    batchPages: 64,
    checkers: "all",
    ...more,
  });
}

const SPECS: Readonly<Record<string, MachineSpec>> = {
  "with plenty": conformanceSpec(false, "all"),
  "with 16 pages": tiny(),
  "with 16 pages and the test driver's oddities": tiny({}, true),
  "without swap": tiny({ swapPages: 0 }),
  "with few tables and vmas": tiny({ pageTables: 36, vmas: 10, processes: 4 }),
  "with TLBs, four words a page, batches of one": tiny({
    memory: "128 KiB",
    tlbEntries: 2,
    wordsPerPage: 4,
    batchPages: 1,
  }),
};

/** Plays a program to its end, with failures injected if asked; what it cannot have is an errno or not modelled. */
function play(ops: readonly Op[], spec: MachineSpec, runner: RunnerName, perMillion: number): void {
  const player = new Player(spec, head, runner), { sim } = player.machine.kernel;
  const failing = (rate: number) => FAILURE_POINTS.forEach((point) => sim.injectFailure(point, rate));
  failing(perMillion);
  try {
    for (const op of ops) {
      try {
        player.step(op);
      } catch (e) {
        if (!(e instanceof NotModelled)) throw e;
      }
      const broken = player.machine.checkers!.brokenAtRest();
      expect(broken.map(({ rule, what, page }) => `${rule}: ${what}, ${page}`).join("\n")).toBe("");
    }
  } finally {
    failing(0);
  }
  expect(player.end().join("\n")).toBe("");
}

const CASES = Object.keys(SPECS).flatMap((name) =>
  [
    [name, "complete", 0, 1],
    [name, "steps", 150_000, 3],
    [name, "clock", 20_000, 3],
  ] as const
);

test.each(CASES)("odd programs %s, runner %s, %i failures of a million", (name, runner, rate, part) => {
  fc.assert(
    fc.property(oddPrograms, (ops) => play(ops, SPECS[name], runner, rate)),
    {
      numRuns: Math.ceil(RUNS / part),
      seed: SEED,
      reporter(out) {
        if (!out.failed) return;
        const cause = out.errorInstance instanceof Error
          ? out.errorInstance.stack ?? out.errorInstance.message
          : String(out.errorInstance);
        const text = out.counterexample === null ? "" : printProgram({ ...head, ops: out.counterexample[0] });
        throw new Error(`${cause}\n\nafter ${out.numRuns} programs (seed ${out.seed}):\n${text}`);
      },
    },
  );
}, 60_000 + 200 * RUNS);

/** The errors of each line of a program on the machine with plenty, whose rules are checked at the end. */
function errors(lines: readonly string[]): string[] {
  const spec = SPECS["with plenty"];
  const player = new Player(spec, head, "complete");
  const seen = parsePrograms(`@ name=x\n${lines.join("\n")}`)[0].ops.map((op) => player.step(op).err);
  expect(player.machine.checkers!.brokenAtRest()).toEqual([]);
  expect(player.end()).toEqual([]);
  return seen;
}

/** `n` vmas of one page each from page 0 of region B, all written. */
function pieces(n: number): string[] {
  return [
    ...Array.from({ length: n }, (_, i) => `mmap A ap 1 ${i % 2 ? "rw" : "w"} at=B+${i}`),
    `w B 0 ${n} 1`,
  ];
}

test("a fork has no room for another reverse map: -ENOMEM, and the parent goes on", () => {
  // Ended parents leave their anon_vmas to the child, whose own memory then needs more than there are vmas.
  const more = Array.from({ length: 500 }, (_, i) => `C> mmap A ap 1 rw at=D+${2 * i}`);
  const seen = errors([
    ...pieces(500),
    "fork C",
    "exit",
    ...more,
    "C> w D 0 1000 1",
    "C> fork D",
    "C> r B 0 9",
  ]);
  expect(seen.slice(-2)).toEqual(["ENOMEM", ""]);
  expect(new Set(seen.slice(0, -2))).toEqual(new Set([""]));
  // A chain of forks: each generation is linked to every one before it.
  const names = [..."PCDEFGHIJKLMNO"], chain: string[] = [];
  for (let i = 1; i < names.length; i++) chain.push(`${names[i - 1]}> fork ${names[i]}`);
  const player = new Player(SPECS["with plenty"], head, "complete");
  const forks: string[] = [];
  for (const op of parsePrograms(`@ name=x\n${[...pieces(60), ...chain].join("\n")}`)[0].ops) {
    if (!player.played.has(op.process)) break;
    const { err } = player.step(op);
    if (op.name === "fork") forks.push(err);
  }
  expect(forks.at(-1)).toBe("ENOMEM");
  expect(forks.length).toBeGreaterThan(5);
  expect(player.machine.checkers!.brokenAtRest()).toEqual([]);
  expect(player.end()).toEqual([]);
});

test("what there is no room for is -ENOMEM: open files of a device, inodes", () => {
  const slots = Array.from({ length: 70 }, (_, i) => `open ${i} 0`);
  const files = Array.from({ length: 70 }, (_, i) => `mmap A as 1 rw at=B+${2 * i}`);
  expect(errors(slots).indexOf("ENOMEM")).toBe(64);
  expect(errors(files).indexOf("ENOMEM")).toBe(64);
});

test("huge pages of a pool are whole: lengths are rounded up, places must be aligned, what would cut one is refused", () => {
  const seen = errors([
    "mmap A hp 2 rw",
    "w A 500 12 1",
    "mmap A hp 512 rw at=B+1",
    "mmap A ap 5 rw at=A+9",
    "mlock A 8 3",
    "madvise A 3 4 dofork",
    "madvise A 3 4 dontfork",
    "mremap A 0 512 B 3",
    "mremap A 0 512 B 512",
    "r B 1012 12",
    "r A 0 1",
  ]);
  expect(seen).toEqual(["", "", "EINVAL", "EINVAL", "", "", "EINVAL", "EINVAL", "", "", ""]);
});

test("a pin of a shared huge page of a pool makes it the process's own; a fork copies a pinned one", () => {
  expect(errors(["mmap A hp 512 rw", "w A 0 4 1", "fork C", "C> pin A 3 1 r", "C> w A 0 1 7", "r A 0 1"]))
    .toEqual(Array(6).fill(""));
  const player = new Player(SPECS["with plenty"], head, "complete");
  const last = ["mmap A hp 512 rw", "w A 0 4 1", "pin A 1 1 w", "fork C", "w A 0 4 50", "C> r A 0 4"]
    .map((line) => player.step(parseOp(line))).at(-1)!;
  expect([last.err, last.data]).toEqual(["", [1, 2, 3, 4]]);
  expect(player.machine.checkers!.brokenAtRest()).toEqual([]);
  expect(player.end()).toEqual([]);
});

test("a driver's pages in a PROT_NONE mapping are not accessible", () => {
  const player = new Player(SPECS["with plenty"], head, "complete");
  const seen = ["open 0", "mmap A dp 6 n", "r A 0 1"].map((line) => player.step(parseOp(line)));
  expect(seen[2].sig).toEqual([[0, "SEGV", 2]]);
  expect(player.machine.checkers!.brokenAtRest()).toEqual([]);
});

test("the name of a child is its own", () => {
  const player = new Player(SPECS["with plenty"], head, "complete");
  player.step(parseOp("fork C"));
  for (const line of ["fork C", "fork P", "C> fork C"]) {
    expect(() => player.step(parseOp(line))).toThrow(/not modelled: fork of process ., whose name is taken/);
  }
  expect(player.end()).toEqual([]);
});

test("lengths without end are refused where they are read", () => {
  expect(() => parseOp("w A 0 1048577 1")).toThrow(LineError);
  const line = (pm: unknown) =>
    JSON.stringify({ id: "x", ops: [{ op: "mmap A ap 4 rw", err: "", ev: [], pm: { P: { A: pm } } }] });
  for (const runs of [[["x", 1e12]], Array(4).fill(["x", 5e8]), [["x".repeat(2000), 2000]]]) {
    expect(() => parseTranscript(line(runs))).toThrow(UsageError);
  }
  expect(parseTranscript(line([["x", 4], ["y", 1]])).observed[0].pm.P.A).toBe("xxxxy");
});
