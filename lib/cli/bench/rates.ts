/** Events of the clock a second, and what the explorer gets through. */
import { explore, litmus } from "../../explore/litmus.ts";
import { Clock } from "../../sim/runners.ts";
import { DUE, type Proc, Sim } from "../../sim/sim.ts";
import { type BenchSizes, median, type RateRow } from "./report.ts";

/** Wall nanoseconds that the clock takes for `resumes` resumes of actors that only yield. */
function timeClock(actors: number, resumes: number): number {
  const sim = new Sim(1, actors + 1), phase = sim.spans.phase("work");
  function* yielding(a: number): Proc {
    for (let i = Math.ceil(resumes / actors); i > 0; i--) {
      // Times that differ from actor to actor, so that the order of events keeps changing.
      sim.spend(a, phase, 1000 + a);
      sim.progress++;
      yield DUE;
    }
  }
  const clock = new Clock(
    sim,
    Array.from({ length: actors }, (_, i) => ({ a: i + 1, proc: yielding(i + 1) })),
  );
  const t0 = performance.now();
  clock.run();
  return ((performance.now() - t0) * 1e6) / clock.events;
}

/** A race that is explored to its end: two CPUs and a device over one untouched page. */
const RACE = litmus("two first touches against a device fault", { written: null }, ({ t, dev, A }) => ({
  P0: () => t.write(A, 1),
  P1: () => t.write(A, 2),
  DEV: () => dev.fault(A),
}));

async function timeExplorer(): Promise<{ transitions: number; executed: number; ns: number }> {
  const t0 = performance.now(), { found } = await explore(RACE);
  const ns = (performance.now() - t0) * 1e6;
  if (!found.exhaustive || found.violations.length > 0) {
    throw new Error("the race was not explored to its end");
  }
  return { transitions: found.transitions, executed: found.executed, ns };
}

/**
 * Times the clock with 1, 8 and 64 actors, and one exploration.
 *
 * @param sizes how many resumes, how often
 */
export async function benchRates(sizes: BenchSizes): Promise<RateRow[]> {
  const counts = [1, 8, 64],
    clock: number[][] = counts.map(() => []),
    fresh: number[] = [],
    steps: number[] = [];
  let transitions = 0, executed = 0;
  for (let r = 0; r <= sizes.repeats; r++) {
    const ns = counts.map((n) => timeClock(n, sizes.resumes)), explored = await timeExplorer();
    if (r === 0) continue; // compiled, not counted
    ns.forEach((x, i) => clock[i].push(x));
    ({ transitions, executed } = explored);
    fresh.push(explored.ns / transitions);
    steps.push(explored.ns / executed);
  }
  const row = (what: string, actors: number, count: number, ns: readonly number[]): RateRow => ({
    what,
    actors,
    count,
    nsEach: median(ns),
    perSecond: 1e9 / median(ns),
  });
  return [
    ...counts.map((n, i) => row("resumes on the clock", n, sizes.resumes, clock[i])),
    row("explored fresh transitions", 3, transitions, fresh),
    row("explored steps, repeated ones too", 3, executed, steps),
  ];
}
