/**
 * Any workload, again and again.
 * @module
 */
import { checkOptions, describe, during, wholeNumber } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Started, Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { type Proc, site } from "../sim/sim.ts";
import { nanoseconds } from "../units.ts";

const AT_ROUND = site("repeat: in a round");

/** How {@link repeat} spaces its rounds. */
export interface RepeatOptions {
  /** Virtual time between two rounds, for example "20 ms" (default none). */
  readonly pause?: string | number;
}

/**
 * A workload that runs another several times over.
 *
 * @param workload what to repeat
 * @param times how often, 1 or more
 * @param options time between the rounds
 * @returns the workload; its counts are those of all rounds
 * @throws {UsageError} for what is no workload, a count that is no whole number, or a pause that is no time
 *
 * @example
 * ```ts
 * import { machine, repeat, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const heap = m.process().mmap("1 MiB");
 * const run = await m.run({ cpu: repeat(touch(heap), 3, { pause: "1 ms" }) });
 * console.log(run.actors[0].pages); // 768
 * ```
 */
export function repeat(workload: Workload, times: number, options: RepeatOptions = {}): Workload {
  if (typeof workload?.start !== "function" || workload.together !== undefined) {
    throw new UsageError(
      `Cannot repeat: got ${
        workload?.together === undefined ? describe(workload) : "a workload that takes turns"
      }; ` +
        "a workload that can run alone is allowed; write for example repeat(touch(heap), 3)",
    );
  }
  checkOptions("repeat", options, { pause: true }, '{ pause: "1 ms" }');
  const rounds = wholeNumber("repeat", "times", times, 1, 1_000_000),
    pauseNs = during("repeat: pause", () => nanoseconds(options.pause ?? 0));
  return {
    name: `${rounds} times: ${workload.name}`,
    process: workload.process,
    node: workload.node,
    start(m, a) {
      const { sim } = m.kernel, out = new AccessResult(), idle = sim.spans.phase("idle");
      let running: Started | undefined, before = 0;
      function* proc(): Proc {
        for (let i = 0; i < rounds; i++) {
          if (i > 0) sim.spend(a, idle, pauseNs);
          running = workload.start(m, a);
          sim.call(a, AT_ROUND, i);
          yield* running.proc;
          sim.ret(a);
          out.add(running.out);
          before = out.pages;
          running = undefined;
          sim.progress++;
        }
      }
      const total = workload.start(m, a).total * rounds;
      return { proc: proc(), out, total, done: () => before + (running?.done() ?? 0) };
    },
  };
}
