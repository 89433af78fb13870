/**
 * Random schedules of a model too large to search: what can come out, without a claim that this is all.
 * @module
 */
import { resume } from "../sim/runners.ts";
import {
  isWrongUse,
  type Model,
  restoreModel,
  ruleOf,
  saveModel,
  stoppingEverywhere,
  type Violation,
} from "./search.ts";

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** What random schedules found. */
export interface Sampled {
  /** Ends, with one schedule for each. */
  readonly outcomes: ReadonlyMap<string, string>;
  /** Rules that were broken, with a schedule each. */
  readonly violations: readonly Violation[];
  /** Steps in all. */
  readonly executed: number;
}

/** How many are run. */
export interface SampleOptions {
  /** Schedules (default 10,000). */
  readonly schedules?: number;
  /** Seed of the draws (default 1). */
  readonly seed?: number;
  /** Ends the sampling early: asked after each schedule with the outcomes so far. */
  readonly enough?: (outcomes: ReadonlyMap<string, string>) => boolean;
}

/** Chances, of 256, that the actor of the last step goes on: schedules of few switches and of many. */
const STAY: readonly number[] = [128, 205, 240, 251];

/**
 * Runs random schedules of a model from its present state.
 *
 * Each one draws how much it switches, and then who goes on; choices are drawn evenly.
 *
 * @param model what is run; it is back in its present state afterwards
 * @param options how many, by which seed, until when
 * @returns ends and broken rules with schedules that replay
 */
export function sample(model: Model, options: SampleOptions = {}): Sampled {
  const { sim } = model, initial = saveModel(model);
  const outcomes = new Map<string, string>(), violations: Violation[] = [];
  let executed = 0, x = ((options.seed ?? 1) * 0x9e3779b9 >>> 0) || 1;
  const draw = (n: number): number => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
  let text = "";
  const choose = (n: number): number => {
    if (n === 1) return 0;
    const taken = draw(n);
    text += `?${DIGITS[taken]}`;
    return taken;
  };
  const once = (): string | undefined => {
    const actors = model.begin(), ended = new Uint8Array(actors.length), stay = STAY[draw(STAY.length)];
    for (const { a } of actors) sim.spans.abandon(a);
    for (let last = -1;;) {
      const can = actors.map((_, i) => i).filter((i) => !ended[i] && sim.waitingOn[actors[i].a] === 0);
      if (can.length === 0) break;
      let at = can.indexOf(last);
      if (at < 0 || draw(256) >= stay) at = draw(can.length);
      if (can.length > 1) text += DIGITS[at];
      last = can[at];
      executed++;
      try {
        if (resume(sim, actors[last])) ended[last] = 1;
      } catch (e) {
        if (isWrongUse(e)) throw e;
        sim.current = -1;
        return ruleOf(e);
      }
      const broken = model.check?.();
      if (broken !== undefined) return broken;
    }
    const stuck = actors.filter((_, i) => !ended[i]);
    if (stuck.length > 0) return `deadlock: ${stuck.map(({ a }) => sim.waitText(a)).join("; ")}`;
    const outcome = model.outcome?.();
    if (outcome !== undefined && !outcomes.has(outcome)) outcomes.set(outcome, text);
    return model.checkEnd?.();
  };
  stoppingEverywhere(sim, (_a, n) => choose(n), () => {
    for (let i = 0; i < (options.schedules ?? 10_000) && options.enough?.(outcomes) !== true; i++) {
      text = "";
      restoreModel(model, initial);
      const broken = once();
      if (broken !== undefined) violations.push({ rule: broken, schedule: text });
    }
  });
  restoreModel(model, initial);
  return { outcomes, violations, executed };
}
