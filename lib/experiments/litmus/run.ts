/**
 * Explores a race and holds the ends that it reaches against those that a real kernel showed.
 * @module
 */
import { sample } from "../../explore/sample.ts";
import { Search, type Violation } from "../../explore/search.ts";
import type { LitmusTest, ObservedEnd } from "./file.ts";
import { ANY_WORD } from "./operations.ts";
import { type End, Race, type RaceOptions } from "./race.ts";

/** How far a race is explored. */
export interface LitmusOptions extends RaceOptions {
  /** Most states that are visited; for ends that were not reached by then, random schedules are run. */
  readonly limit?: number;
}

/** States of {@link LitmusOptions.limit}, if nothing is said. */
export const DEFAULT_LIMIT = 100_000;
/** Random schedules at most, and how many at a time. */
const SAMPLES = 40_000, SAMPLES_AT_ONCE = 2_000;

/** An end that Linux showed, and a schedule of the lab that leads there. */
export interface ReachedEnd extends ObservedEnd {
  /** Digits of actors; undefined when the end was not reached. */
  readonly schedule?: string;
}

/** An end that the lab reaches and that Linux did not show. */
export interface OtherEnd extends End {
  readonly schedule: string;
}

/** What came of one race. */
export interface LitmusReport {
  readonly id: string;
  readonly question: string;
  readonly actors: readonly string[];
  /** Whether every interleaving was explored; else the ends of the lab are some of all. */
  readonly exhaustive: boolean;
  readonly states: number;
  readonly executed: number;
  /** Every end that Linux showed. */
  readonly observed: readonly ReachedEnd[];
  /** Ends that only the lab reaches. */
  readonly beyond: readonly OtherEnd[];
  /** Every flag that an end of the lab has, with a schedule. */
  readonly flags: Readonly<Record<string, string>>;
  /** Deadlocks, livelocks, assertions of the model. */
  readonly violations: readonly Violation[];
}

const SPECIAL = /[.*+?^${}()|[\]\\]/g;

/**
 * Whether an end of the lab is an observed one. A word that the lab read from a freed page fits any.
 *
 * @param lab in canonical form, perhaps with {@link ANY_WORD}
 * @param observed in canonical form
 */
export function isSameEnd(lab: string, observed: string): boolean {
  if (!lab.includes(ANY_WORD)) return lab === observed;
  const pattern = lab.split(`"${ANY_WORD}"`).map((part) =>
    part.split(ANY_WORD).map((text) => text.replace(SPECIAL, "\\$&")).join('[^,"]+')
  ).join('(?:"[^"]*"|\\d+)');
  return new RegExp(`^${pattern}$`).test(observed);
}

/**
 * Explores one race.
 *
 * @param test from a litmus file
 * @param options limits, oddities
 * @returns what was reached and what was not
 * @throws UsageError for a race that cannot be built
 */
export function runLitmus(test: LitmusTest, options: LitmusOptions = {}): LitmusReport {
  const race = new Race(test, options), limit = options.limit ?? DEFAULT_LIMIT;
  const search = new Search(race.model, { maxStates: limit, all: true });
  const ends = new Map<string, End & { readonly schedule: string }>();
  const schedules = new Map<string, string>();
  const take = (outcomes: ReadonlyMap<string, string>): void => {
    for (const [key, schedule] of outcomes) {
      if (ends.has(key)) continue;
      const end = JSON.parse(key) as End;
      ends.set(key, { ...end, schedule });
      for (const o of test.observed) {
        if (!schedules.has(o.text) && isSameEnd(end.text, o.text)) schedules.set(o.text, schedule);
      }
    }
  };
  search.run();
  take(search.result().outcomes);
  const missing = () => test.observed.some((o) => !schedules.has(o.text));
  const broken = [...search.result().violations];
  let executed = search.result().executed;
  if (!search.result().exhaustive) {
    for (let seed = 1; seed <= SAMPLES / SAMPLES_AT_ONCE && missing(); seed++) {
      const more = sample(race.model, { schedules: SAMPLES_AT_ONCE, seed });
      take(more.outcomes);
      broken.push(...more.violations);
      executed += more.executed;
    }
  }
  const result = search.result(), flags: Record<string, string> = {}, beyond = new Map<string, OtherEnd>();
  for (const end of ends.values()) {
    for (const flag of end.flags) flags[flag] ??= end.schedule;
    if (beyond.has(end.text) || test.observed.some((o) => isSameEnd(end.text, o.text))) continue;
    beyond.set(end.text, end);
  }
  const violations = new Map<string, Violation>();
  for (const v of broken) if (!violations.has(v.rule)) violations.set(v.rule, v);
  return {
    id: test.id,
    question: test.question,
    actors: race.actors,
    exhaustive: result.exhaustive,
    states: result.states,
    executed,
    observed: test.observed.map((o) => {
      const schedule = schedules.get(o.text);
      return schedule === undefined ? o : { ...o, schedule };
    }),
    beyond: [...beyond.values()],
    flags,
    violations: [...violations.values()],
  };
}
