/** Runs actors in an order that a test decides, stopping at every boundary. */
import { type Actor, resume } from "../lib/sim/runners.ts";
import type { Sim } from "../lib/sim/sim.ts";

/** A small generator of its own (xorshift32), so that a schedule does not depend on the machine's draws. */
export function draws(seed: number): (n: number) => number {
  let x = (Math.imul(seed + 1, 0x9e3779b1) | 1) >>> 0;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return Math.floor((x / 0x1_0000_0000) * n);
  };
}

/** Resumes runnable actors in the order that `pick` says until all have ended. */
export function interleave(
  sim: Sim,
  actors: readonly Actor[],
  pick: (n: number) => number,
  bound = 100_000,
): void {
  const { horizonNs, grain, chooser } = sim, left = [...actors];
  sim.horizonNs = -1;
  sim.grain = 1;
  sim.chooser = (_a, n) => pick(n);
  try {
    for (let steps = 0; left.length > 0; steps++) {
      const ready = left.filter(({ a }) => sim.waitingOn[a] === 0);
      const places = () => left.map(({ a }) => `\n  ${sim.waitText(a)}`).join("");
      if (ready.length === 0) throw new Error(`deadlock:${places()}`);
      if (steps > bound) throw new Error(`no end after ${bound} steps:${places()}`);
      const actor = ready[pick(ready.length)];
      if (resume(sim, actor)) left.splice(left.indexOf(actor), 1);
    }
  } finally {
    Object.assign(sim, { horizonNs, grain, chooser, current: -1 });
  }
}
