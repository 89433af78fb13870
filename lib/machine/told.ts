/**
 * What an operation tells its caller, as the explorer keeps it.
 * @module
 */
import type { AccessResult } from "../mm/access.ts";
import type { Proc, Sim } from "../sim/sim.ts";

/** Runs an operation and folds its result into the history of whoever runs it. */
export function* told<R>(sim: Sim, proc: Proc<R>, asNumber: (r: R) => number = Number): Proc<R> {
  const result = yield* proc;
  sim.note(sim.current, asNumber(result));
  return result;
}

/** A word, or the cause of the first signal in its place: numbers that differ where what was told differs. */
export function wordNumber(out: AccessResult): number {
  return out.signals.length > 0 ? -1 - out.signals[0].cause : out.words[0] ?? 0;
}
