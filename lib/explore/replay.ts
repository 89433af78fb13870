/**
 * One schedule again, step by step.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Columns, columnsOf } from "../record/columns.ts";
import { type Actor, resume } from "../sim/runners.ts";
import {
  FAIR_LIVELOCK,
  hashModel,
  isWrongUse,
  MAX_STEPS,
  type Model,
  restoreModel,
  ruleOf,
  saveModel,
  stoppingEverywhere,
} from "./search.ts";

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** What a schedule did. */
export interface Replayed {
  /** The rule that was broken at its end, if one was. */
  readonly rule: string | undefined;
  /** Every step: number, actor, where it stopped, what it waits for. */
  readonly steps: Columns;
  /** Whether every program ended. */
  readonly ended: boolean;
}

/** A state that a replay has passed: its hash, who could go on, who did. */
interface Passed {
  readonly hash: number;
  readonly can: readonly number[];
  readonly stepped: number;
}

/** Whether the present state was passed before, and since then everyone has gone on who has not ended, or has slept. */
function goesRound(
  seen: readonly Passed[],
  hash: number,
  actors: readonly Actor[],
  done: Uint8Array,
): boolean {
  const since = seen.slice(Math.max(0, seen.findIndex((s) => s.hash === hash)));
  return since.length > 0 && since[0].hash === hash &&
    actors.every(({ a }, i) => done[i] || since.some((s) => s.stepped === a || !s.can.includes(a)));
}

/**
 * Runs one schedule of a model and watches every step.
 *
 * @param model the model that the schedule is of, in the same initial state
 * @param schedule decisions as a {@link Model}'s search wrote them; "" lets the first always go on
 * @param maxSteps steps after which it counts as a livelock, as in the search
 * @returns the steps and what was broken; the machine is back in its initial state afterwards
 * @throws {UsageError} when the schedule is of another model
 */
export function replayModel(model: Model, schedule: string, maxSteps: number = MAX_STEPS): Replayed {
  const { sim } = model, initial = saveModel(model);
  let at = 0;
  const wrong = (where: string): UsageError =>
    new UsageError(
      `Cannot replay ${describe(schedule)}: got ${JSON.stringify(schedule.slice(at, at + 2))} at character ` +
        `${at + 1}, where ${where}; it is of another model or another revert list; ` +
        "write a schedule that explore gave for this very race, with the same revert",
    );
  const decide = (n: number, choice: boolean): number => {
    if (n === 1) return 0;
    if (at >= schedule.length) return 0;
    const where = choice
      ? `a choice of ${n} ("?0" to "?${DIGITS[n - 1]}") is made`
      : `${n} actors ("0" to "${DIGITS[n - 1]}") can go on`;
    if ((schedule[at] === "?") !== choice) throw wrong(where);
    const x = DIGITS.indexOf(schedule[choice ? at + 1 : at] ?? " ");
    if (x < 0 || x >= n) throw wrong(where);
    at += choice ? 2 : 1;
    return x;
  };
  const rows: Record<string, number | string>[] = [];
  const seen: Passed[] = [];
  let rule: string | undefined, ended = false;
  stoppingEverywhere(sim, (_a, n) => decide(n, true), () => {
    const actors = model.begin(), done = new Uint8Array(actors.length);
    while (rule === undefined) {
      const can = actors.map((_, i) => i).filter((i) => !done[i] && sim.waitingOn[actors[i].a] === 0);
      if (can.length === 0) {
        ended = done.every((d) => d === 1);
        rule = ended ? model.checkEnd?.() : "deadlock";
        break;
      }
      const now = { hash: hashModel(model), can: can.map((i) => actors[i].a) };
      if (schedule !== "" && at === schedule.length && goesRound(seen, now.hash, actors, done)) {
        rule = FAIR_LIVELOCK;
        break;
      }
      if (rows.length === maxSteps) {
        rule = `livelock: no end within ${maxSteps} steps`;
        break;
      }
      // A schedule names its decisions up to what it shows: a violation in mid-way ends it there.
      const i = can[decide(can.length, false)], { a } = actors[i];
      seen.push({ ...now, stepped: a });
      try {
        if (resume(sim, actors[i])) done[i] = 1;
        rule = model.check?.();
      } catch (e) {
        if (isWrongUse(e)) throw e;
        sim.current = -1;
        rule = ruleOf(e);
      }
      const where = done[i]
        ? "ended"
        : sim.waitingOn[a] !== 0
        ? `sleeps: ${sim.where(a).at(-1)}`
        : sim.where(a).at(-1) ?? "";
      rows.push({ step: rows.length + 1, actor: sim.actorName(a), stopsAt: where, broken: rule ?? "" });
    }
  });
  restoreModel(model, initial);
  if (at < schedule.length && rule === undefined) {
    throw wrong("it goes on after everything has ended");
  }
  return { rule, steps: columnsOf(`Schedule ${schedule || "(none)"}`, rows), ended };
}
