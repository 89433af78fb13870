import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Clock, complete, steps } from "../../lib/sim/runners.ts";
import { DUE, type Proc } from "../../lib/sim/sim.ts";
import { Bench, type Operation, operation, options } from "./programs.ts";
import type { MachineOptions } from "../../lib/machine/spec.ts";

const program = fc.array(operation, { maxLength: 40 });
/** A process has its window mapped to begin with. */
const mapped: Operation = { op: "mmap", p: 0, d: 0, at: 0, n: 12, flags: 3, value: 1 };

/** Runs a program beside an actor that does nothing but stop, and returns the state at the end. */
function digestOf(how: "complete" | "steps" | "clock", o: MachineOptions, ops: readonly Operation[]): string {
  const bench = new Bench(o), { sim } = bench.m.kernel, idle = sim.spans.phase("idle");
  let done = false;
  function* worker(): Proc {
    yield* bench.play(1, [mapped, ...ops]);
    done = true;
  }
  function* bystander(): Proc {
    while (!done) {
      sim.spend(2, idle, 700);
      if (sim.due(2)) yield DUE;
      else return;
    }
  }
  const actors = [{ a: 1, proc: worker() }, { a: 2, proc: bystander() }];
  if (how === "complete") complete(sim, actors);
  else if (how === "steps") steps(sim, actors);
  else expect(new Clock(sim, actors).run()).toBe(true);
  const digest = bench.m.stateDigest();
  complete(sim, [{ a: 1, proc: bench.end(1) }]);
  return digest;
}

describe("programs of processes and two devices", () => {
  test("see what a page-by-page reference sees, keep every rule, and leave nothing behind", () => {
    fc.assert(
      fc.property(options, program, (o, ops) => {
        const bench = new Bench(o), { sim } = bench.m.kernel;
        complete(sim, [{ a: 1, proc: bench.play(1, [mapped, ...ops]) }]);
        complete(sim, [{ a: 1, proc: bench.end(1) }]);
      }),
      { numRuns: 150 },
    );
  });

  test("come to the same state run to completion, stopping everywhere beside an idle actor, and on the clock", () => {
    fc.assert(
      fc.property(options, program, (o, ops) => {
        const digest = digestOf("complete", o, ops);
        expect(digestOf("steps", o, ops)).toBe(digest);
        expect(digestOf("clock", o, ops)).toBe(digest);
      }),
      { numRuns: 40 },
    );
  });

  test("lose nothing when mappings, copies and allocations fail by chance", () => {
    const points = ["dma map", "page allocation", "device page allocation"];
    fc.assert(
      fc.property(options, program, fc.subarray(points, { minLength: 1 }), fc.nat(), (o, ops, fail, seed) => {
        const bench = new Bench({ ...o, seed }, true), { sim } = bench.m.kernel;
        for (const point of fail) sim.injectFailure(point, 300_000);
        complete(sim, [{ a: 1, proc: bench.play(1, [mapped, ...ops]) }]);
        for (const point of fail) sim.injectFailure(point, 0);
        complete(sim, [{ a: 1, proc: bench.end(1) }]);
      }),
      { numRuns: 150 },
    );
  });
});
