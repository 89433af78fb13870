/** Random programs on a machine that has less memory than they use: reclaim must lose nothing. */
import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { conformanceSpec, type RunnerName } from "../../lib/experiments/conformance/machine.ts";
import { Player } from "../../lib/experiments/conformance/player.ts";
import { type Op, printProgram } from "../../lib/experiments/conformance/program.ts";
import type { MachineSpec } from "../../lib/machine/spec.ts";
import { programs } from "./programs.ts";

const RUNS = Number(process.env.HMMLAB_PROGRAMS ?? 150), SEED = Number(process.env.HMMLAB_SEED ?? 6121);
const head = { id: "found", thp: true, faultAroundBytes: 4096 };
/** A device fault of more pages than there are frames evicts its own first ones, again and again, until it times out. */
const DEVICE_TIMEOUT_NS = 2_000_000, DEVICE_TRIES = 50;
const plenty = impatient(conformanceSpec(false, "all"));

/** What every program begins with: more pages than there are frames, of which it goes on to use some. */
const BIG: readonly Op[] = [
  { process: "P", name: "mmap", region: "D", kind: "ap", pages: 70, protection: "rw" },
  { process: "P", name: "w", region: "D", at: 0, pages: 70, value: 5 },
];

/** A machine whose devices give up before the default second, which costs seconds of ours. */
function impatient(spec: MachineSpec): MachineSpec {
  const devices = Object.entries(spec.devices).map((
    [name, d],
  ) => [name, { ...d, timeoutNs: DEVICE_TIMEOUT_NS }]);
  return { ...spec, devices: Object.fromEntries(devices) };
}

/** The same machine with so many frames. */
function withFrames(frames: number): MachineSpec {
  const { kernel } = plenty;
  return {
    ...plenty,
    kernel: { ...kernel, ramPages: frames, nodes: [{ ...kernel.nodes[0], pages: frames }] },
  };
}

/** Plays a program on a machine; what each operation found in memory, and whether anything failed for want of it. */
function play(ops: readonly Op[], spec: MachineSpec, runner: RunnerName) {
  const player = new Player(spec, head, runner), data: string[] = [], { sim } = player.machine.kernel;
  if (runner === "steps") {
    // Without a clock a device never gives up. Here it does at every fiftieth question whether its time is up.
    let asked = 0;
    sim.injectFailure("timeout", 1);
    sim.chooser = () => ++asked % DEVICE_TRIES === 0 ? 1 : 0;
  }
  let short = false;
  for (const op of ops) {
    const seen = player.step(op);
    const timedOut = seen.err === "EBUSY" && /^d(read|write)$/.test(op.name);
    if (seen.err === "ENOMEM" || timedOut || seen.sig?.some((s) => s[1] !== "SEGV")) short = true;
    data.push(
      ["r", "dread", "fread"].includes(op.name) ? JSON.stringify([seen.err, seen.data, seen.sig]) : "",
    );
    const broken = player.machine.checkers!.brokenAtRest();
    expect(broken.map(({ rule, what, page }) => `${rule}: ${what}, ${page}`).join("\n")).toBe("");
  }
  expect(player.end().join("\n")).toBe("");
  return { data, short, stalls: sim.counters.get("allocstall") };
}

test.each<[runner: RunnerName, part: number]>([["complete", 1], ["clock", 4], ["steps", 4]])(
  "programs read the same as where there is plenty (%s)",
  { timeout: 30_000 + 120 * RUNS },
  (runner, part) => {
    let stalled = 0, compared = 0;
    fc.assert(
      fc.property(programs, fc.integer({ min: 14, max: 64 }), (rest, frames) => {
        const ops = [...BIG, ...rest];
        const tight = play(ops, withFrames(frames), runner);
        if (tight.stalls > 0) stalled++;
        // A page that was freed by MADV_FREE may read as zero, and out of memory is out of memory.
        if (tight.short || tight.stalls === 0 || ops.some((op) => op.advice === "free")) return;
        expect(tight.data).toEqual(play(ops, plenty, "complete").data);
        compared++;
      }),
      {
        numRuns: Math.ceil(RUNS / part),
        seed: SEED,
        reporter(out) {
          if (!out.failed) return;
          const [ops, frames] = out.counterexample ?? [[], 0];
          const cause = out.errorInstance instanceof Error
            ? out.errorInstance.message
            : String(out.errorInstance);
          const text =
            `${cause}\n\nafter ${out.numRuns} programs (seed ${out.seed}), with ${frames} frames:\n`;
          throw new Error(text + printProgram({ ...head, ops: [...BIG, ...ops] }));
        },
      },
    );
    expect(stalled).toBeGreaterThan(RUNS / part / 20);
    expect(compared).toBeGreaterThan(RUNS / part / 50);
  },
);
