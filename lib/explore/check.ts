/**
 * What a race, its actors and an exploration must be, before anything runs.
 * @module
 */
import { checkOptions, checkWord, describe, didYouMean, wholeNumber } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { ExploreOptions, Litmus, LitmusActor, LitmusParts, LitmusRules, LitmusSpec } from "./litmus.ts";

/** Most actors of a race. */
export const MOST_ACTORS = 8;
/** Most pages of a race. */
export const MOST_PAGES = 8;

/** Operations that can be made to fail, as `sim.fails` and `sim.expired` name them. */
export const FAILURE_POINTS: readonly string[] = [
  "dma map",
  "copy",
  "device lost",
  "page allocation",
  "page table allocation",
  "device page allocation",
  "timeout",
];

const SPEC: Readonly<Record<keyof LitmusSpec, true>> = {
  pages: true,
  written: true,
  device: true,
  device2: true,
  tlbEntries: true,
  drv: true,
  failures: true,
};

const OPTIONS: Readonly<Record<keyof ExploreOptions, true>> = {
  revert: true,
  checkers: true,
  maxStates: true,
  maxSteps: true,
  all: true,
  fair: true,
  visited: true,
  progress: true,
  signal: true,
};

const ACTOR = "a function that returns an operation is allowed; write for example";

/** Refuses what cannot be declared as a race. */
export function checkLitmus(name: unknown, spec: unknown, build: unknown): void {
  if (typeof name !== "string" || name === "") {
    throw new UsageError(
      `Cannot declare a race: got ${
        describe(name)
      } for its name; a text that says what is asked is allowed; ` +
        'write for example litmus("fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({ … }))',
    );
  }
  const act = `declare race "${name}"`;
  // Null is a value here: nothing is written before the race.
  const { written, ...rest } = (spec ?? {}) as LitmusSpec;
  checkOptions(act, spec === null || typeof spec !== "object" ? spec : rest, SPEC, "{ pages: 1 }");
  const { pages = 1, tlbEntries = 0, failures = [], drv } = rest;
  wholeNumber(act, "pages", pages, 1, MOST_PAGES);
  wholeNumber(act, "tlbEntries", tlbEntries, 0, 4096);
  if (written !== null) checkWord(act, "written", written ?? 1);
  if (!Array.isArray(failures)) {
    throw new UsageError(
      `Cannot ${act}: got ${describe(failures)} for failures; an array of failure points is allowed; ` +
        'write for example failures: ["dma map"]',
    );
  }
  for (const point of failures) {
    if (FAILURE_POINTS.includes(point)) continue;
    throw new UsageError(
      `Cannot ${act}: got failure point ${describe(point)}; allowed are ${
        FAILURE_POINTS.map((p) => JSON.stringify(p)).join(", ")
      }${didYouMean(String(point), FAILURE_POINTS)}`,
    );
  }
  if (drv !== undefined && typeof drv.bind !== "function") {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(drv)
      } for drv; a driver is allowed; write for example drv: driver("mydrv", { … })`,
    );
  }
  if (typeof build !== "function") {
    throw new UsageError(
      `Cannot ${act}: got ${describe(build)} for its actors; a function that makes them is allowed; ` +
        "write for example ({ t, dev, A }) => ({ P0: () => dev.fault(A), P1: () => t.munmap(A) })",
    );
  }
}

/** Refuses what did not come from `litmus`. */
export function checkRace(act: string, race: unknown): asserts race is Litmus {
  if (typeof (race as Litmus | undefined)?.build === "function") return;
  throw new UsageError(
    `Cannot ${act}: got ${describe(race)}; a race is allowed; ` +
      `write for example ${act}(litmus("fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({ … })))`,
  );
}

/** Refuses options of an exploration that nobody reads or that cannot be meant. */
export function checkExplore(options: ExploreOptions): void {
  checkOptions("explore", options, OPTIONS, '{ revert: ["sequence check"] }');
  const { maxStates = 1, maxSteps = 1, all = false, fair = false, visited = true, progress, signal } =
    options;
  wholeNumber("explore", "maxStates", maxStates, 1, Number.MAX_SAFE_INTEGER);
  wholeNumber("explore", "maxSteps", maxSteps, 1, Number.MAX_SAFE_INTEGER);
  for (const [key, value] of Object.entries({ all, fair, visited })) {
    if (typeof value === "boolean") continue;
    throw new UsageError(`Cannot explore: got ${describe(value)} for ${key}; true and false are allowed`);
  }
  if (progress !== undefined && typeof progress !== "function") {
    throw new UsageError(
      `Cannot explore: got ${describe(progress)} for progress; a function is allowed; ` +
        "write for example progress: (states) => console.log(states)",
    );
  }
  if (signal !== undefined && typeof signal?.aborted !== "boolean") {
    throw new UsageError(
      `Cannot explore: got ${describe(signal)} for signal; an AbortSignal is allowed; ` +
        "write for example signal: AbortSignal.timeout(1000)",
    );
  }
}

/** A race's actors by name, and its rules. */
export interface Parts {
  /** The actors in the order given. */
  readonly actors: readonly (readonly [string, LitmusActor])[];
  /** What must be. */
  readonly rules: LitmusRules;
}

/** Tells the actors from the rules, and refuses what is neither. */
export function checkParts(act: string, parts: LitmusParts): Parts {
  const example = "({ t, dev, A }) => ({ P0: () => dev.fault(A), P1: () => t.munmap(A) })";
  if (typeof parts !== "object" || parts === null || Array.isArray(parts)) {
    throw new UsageError(
      `Cannot ${act}: its function made ${describe(parts)}; an object of actors by name is allowed; ` +
        `write for example ${example}`,
    );
  }
  const { never, finally: atEnd, outcome, ...rest } = parts as LitmusRules & Record<string, unknown>;
  const actors = Object.entries(rest);
  if (actors.length === 0) {
    throw new UsageError(
      `Cannot ${act}: got no actors; 1 to ${MOST_ACTORS} are allowed, beside never, finally and outcome; ` +
        `write for example ${example}`,
    );
  }
  if (actors.length > MOST_ACTORS) {
    throw new UsageError(
      `Cannot ${act}: got ${actors.length} actors; 1 to ${MOST_ACTORS} are allowed; leave out some`,
    );
  }
  for (const [name, make] of actors) {
    if (typeof make === "function") continue;
    throw new UsageError(
      `Cannot ${act}: got ${describe(make)} for actor ${name}; ${ACTOR} ${name}: () => t.munmap(A)`,
    );
  }
  for (const [key, rules] of Object.entries({ never, finally: atEnd })) {
    if (rules === undefined) continue;
    if (
      typeof rules !== "object" || rules === null || Object.values(rules).some((f) => typeof f !== "function")
    ) {
      throw new UsageError(
        `Cannot ${act}: got ${
          describe(rules)
        } for ${key}; an object with a function for each rule is allowed; ` +
          `write for example ${key}: { staleEntry: () => dev.stale(A) }`,
      );
    }
  }
  if (outcome !== undefined && typeof outcome !== "function") {
    throw new UsageError(
      `Cannot ${act}: got ${describe(outcome)} for outcome; a function that returns a text is allowed; ` +
        "write for example outcome: () => dev.text(A)",
    );
  }
  return { actors: actors as unknown as Parts["actors"], rules: { never, finally: atEnd, outcome } };
}

/** Makes the operation of an actor, and refuses what is none. */
export function operationOf(act: string, name: string, make: LitmusActor): ReturnType<LitmusActor> {
  const proc: unknown = make();
  if (typeof (proc as Iterator<unknown> | undefined)?.next === "function") {
    return proc as ReturnType<LitmusActor>;
  }
  throw new UsageError(
    `Cannot ${act}: actor ${name} returned ${describe(proc)}; an operation is needed; ` +
      `write for example ${name}: () => t.munmap(A), without braces, or *${name}() { yield* t.munmap(A); }`,
  );
}
