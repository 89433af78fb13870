/**
 * Races as a user writes them: a small machine, a few actors, what must never be.
 * @module
 */
import { asDummy } from "../devices/dummy/device.ts";
import type { DummyOptions } from "../devices/dummy/spec.ts";
import { checkOptions, describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Driver, DriverHandle } from "../machine/driver.ts";
import { type Machine, machine } from "../machine/machine.ts";
import type { Region } from "../machine/process.ts";
import { DeviceThread } from "../machine/device_thread.ts";
import { Thread } from "../machine/thread.ts";
import type { Columns } from "../record/columns.ts";
import { columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import { breathe, InterruptedError, watchInterrupts } from "../sim/interrupt.ts";
import type { Proc } from "../sim/sim.ts";
import { formatCount } from "../units.ts";
import { checkExplore, checkLitmus, checkParts, checkRace, operationOf } from "./check.ts";
import { type Replayed, replayModel } from "./replay.ts";
import { brokenRule, type Model, Search, type SearchOptions, type SearchResult } from "./search.ts";
import { INSPECT } from "../record/inspect.ts";

/** How large the machine of a race is, and what stands in it. */
export interface LitmusSpec {
  /** Pages of region A (default 1, at most 8). */
  readonly pages?: number;
  /** Word that the process has written to A's first page before the race (the next page's is one more); null for untouched. */
  readonly written?: number | null;
  /** Options of the device, `dev` (default: memory of 16 pages, faults of one page that map without migrating). */
  readonly device?: DummyOptions;
  /** Options of a second device, `dev2`, if there shall be one. */
  readonly device2?: DummyOptions;
  /** Translation cache entries of each CPU (default 0). */
  readonly tlbEntries?: number;
  /** A driver of one's own to race in place of the dummy device; `dev` is then its handle. */
  readonly drv?: Driver;
  /**
   * Operations that may fail, tried both ways: "dma map", "copy" (the engine reports an error after some of the pages),
   * "device lost" (the device vanishes at a copy), "page allocation", "page table allocation", "device page allocation",
   * "timeout".
   */
  readonly failures?: readonly string[];
}

/** What a race is given to build its actors from: made anew for each exploration and replay. */
export interface LitmusContext<D = DeviceThread> {
  /** The machine, with 32 pages of memory. */
  readonly m: Machine;
  /** A thread of the one process. */
  readonly t: Thread;
  /** The device, over that process: the dummy device's operations, or the handle of `drv`. */
  readonly dev: D;
  /** The second device; undefined unless the spec has one. */
  readonly dev2: DeviceThread | undefined;
  /** A region of the process, of as many pages as the race has. */
  readonly A: Region;
}

/**
 * An actor of a race: makes its operation, anew for each schedule. It is `() => t.munmap(A)`, or a generator method
 * `*P0() { yield* t.munmap(A); yield* t.read(A); }`.
 */
export type LitmusActor = () => Proc<unknown>;

/** The reserved names beside the actors of a race. */
export interface LitmusRules {
  /** Conditions that must be true in no state; the key names the rule. */
  readonly never?: Readonly<Record<string, () => boolean>>;
  /** Conditions that must be true whenever all actors have ended; the key names the rule. */
  readonly finally?: Readonly<Record<string, () => boolean>>;
  /** Describes an end in a short text, to collect what can come out. */
  readonly outcome?: () => string;
}

/** Actors by name, up to 8, and the rules. */
export type LitmusParts = LitmusRules & {
  readonly [actor: string]: LitmusActor | LitmusRules[keyof LitmusRules];
};

/** A race, ready to be explored or replayed. */
export interface Litmus {
  /** What is asked. */
  readonly name: string;
  /** Sizes. */
  readonly spec: LitmusSpec;
  /** Builds the actors. */
  readonly build: (context: LitmusContext<never>) => LitmusParts;
}

/** How a race is explored. */
export interface ExploreOptions extends SearchOptions {
  /** Fixes and checks to switch off, by name. */
  readonly revert?: readonly string[];
  /** Rules to look after in every state and at every end: "all", or names of `checkerNames()` (default: none). */
  readonly checkers?: "all" | readonly string[];
  /** Called now and then with the number of states so far. */
  readonly progress?: (states: number) => void;
  /** Ends the search when aborted, with what it has. */
  readonly signal?: AbortSignal;
}

/**
 * Declares a race.
 *
 * @param name what is asked
 * @param spec sizes; see {@linkcode LitmusSpec}
 * @param build makes the actors and the rules (`never`, `finally`, `outcome`) for a machine
 * @returns the race, for {@linkcode explore} and {@linkcode replay}
 * @throws {UsageError} for sizes and failure points that cannot be
 *
 * @example
 * ```ts
 * import { explore, litmus, show } from "hmmlab";
 *
 * const race = litmus("fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({
 *   P0: () => dev.fault(A),
 *   P1: () => t.munmap(A),
 *   HW: () => dev.walkAndStore(A, 1),
 *   never: { staleStore: () => dev.storedToFreed() },
 * }));
 * await show(await explore(race));
 * ```
 */
export function litmus<S extends LitmusSpec>(
  name: string,
  spec: S,
  build: (
    context: LitmusContext<S extends { readonly drv: Driver } ? DriverHandle : DeviceThread>,
  ) => LitmusParts,
): Litmus {
  checkLitmus(name, spec, build);
  return { name, spec, build: build as Litmus["build"] };
}

/** Rules to look after, as a user names them. */
type Checked = "all" | readonly string[];

interface Built {
  readonly model: Model;
  readonly actors: readonly string[];
}

function buildModel(act: string, race: Litmus, revert: readonly string[], checkers: Checked): Built {
  const { spec } = race, pages = spec.pages ?? 1;
  const small: DummyOptions = { memory: "64 KiB", onFault: "map", granule: "4 KiB" };
  const devices: Record<string, DummyOptions> = { dev: { ...small, ...spec.device } };
  if (spec.device2 !== undefined) devices.dev2 = { ...small, ...spec.device2 };
  const m: Machine = machine({
    devices,
    memory: "128 KiB",
    processes: 2,
    actors: 9,
    vmas: 16,
    pageTables: 24,
    batchPages: 8,
    tlbEntries: spec.tlbEntries ?? 0,
    revert,
    checkers,
  });
  const process = m.process(), A = process.mmap(pages * 4096), t = new Thread(process);
  const dev = spec.drv === undefined
    ? new DeviceThread(asDummy(m.devices.dev), process)
    : spec.drv.bind(process);
  const dev2 = spec.device2 === undefined ? undefined : new DeviceThread(asDummy(m.devices.dev2), process);
  if (spec.written !== null) process.write(A, spec.written ?? 1);
  const { sim } = m.kernel;
  for (const point of spec.failures ?? []) sim.injectFailure(point, 500_000);
  const parts = race.build({ m, t, dev: dev as never, dev2, A });
  const { actors, rules } = checkParts(act, parts);
  actors.forEach(([name], i) => sim.actorNames[i + 1] = name);
  m.kernel.cpus.fill(0);
  m.kernel.cpus[process.mm] = actors.length;
  const begin = () => actors.map(([name, make], i) => ({ a: i + 1, proc: operationOf(act, name, make) }));
  const broken = (
    given: Readonly<Record<string, () => boolean>> | undefined,
    when: boolean,
  ): string | undefined => {
    for (const rule in given) if (given[rule]() === when) return rule;
    return undefined;
  };
  const { outcome } = rules;
  return {
    actors: actors.map(([name]) => name),
    model: {
      sim,
      memory: m.checkers?.memory,
      begin,
      check: () => broken(rules.never, true) ?? brokenRule(() => m.checkers?.atStop()),
      // Whoever looks at the end must not meet the failures that the race is about.
      checkEnd: () =>
        sim.withoutFailures(() => brokenRule(() => m.checkers?.atRest()) ?? broken(rules.finally, false)),
      outcome: outcome && (() => sim.withoutFailures(outcome)),
    },
  };
}

/** What an exploration found, in the words that may be claimed of it. */
export class Exploration implements Displayable {
  /**
   * Holds what a search found; {@linkcode explore} makes it.
   *
   * @param race what was explored
   * @param revert what was switched off
   * @param actors names of the actors
   * @param found what the search found
   * @param checkers the rules that were looked after
   */
  constructor(
    readonly race: Litmus,
    readonly revert: readonly string[],
    readonly actors: readonly string[],
    readonly found: SearchResult,
    readonly checkers: "all" | readonly string[] = [],
  ) {}

  /** The first schedule that breaks a rule; "" if none does. */
  get schedule(): string {
    return this.found.violations[0]?.schedule ?? "";
  }

  /** The first broken rule; undefined if none is. */
  get violated(): string | undefined {
    return this.found.violations[0]?.rule;
  }

  /**
   * The ends that were reached, for races that describe them.
   *
   * @returns columns outcome, schedule (one that leads there)
   */
  outcomes(): Columns {
    return columnsOf(
      "Outcomes",
      [...this.found.outcomes].map(([outcome, schedule]) => ({ outcome, schedule })),
    );
  }

  /** What `show` says of it: how far it is exhaustive, what was broken by which schedule, the outcomes. */
  [DISPLAY](): Display {
    const { found, race, actors, revert } = this, n = race.spec.pages ?? 1;
    const scope = `${actors.length} actors, ${n} page${n === 1 ? "" : "s"}, grain 1, sequential consistency`;
    const how = found.exhaustive ? `exhaustive for ${scope}` : `not exhaustive (${scope})`;
    const text = [
      `${race.name}${revert.length > 0 ? `, without: ${revert.join(", ")}` : ""}`,
      `${how}: ${formatCount(found.states)} states, ${formatCount(found.transitions)} transitions`,
      ...(found.violations.length === 0
        ? ["no rule was broken"]
        : found.violations.map((v) => `broken: ${v.rule}, by schedule ${v.schedule}`)),
    ];
    return { text: text.join("\n"), tables: found.outcomes.size > 0 ? [this.outcomes()] : [] };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return this[DISPLAY]().text.replaceAll("\n", "; ");
  }
}

/** Wall time between two looks at progress, signal and interrupts. */
const SLICE_MS = 50;

/**
 * Explores every interleaving of a race: it stops before every access to what others reach, and tries who goes on.
 *
 * @param race from {@linkcode litmus}
 * @param options what to switch off, limits
 * @returns states, broken rules with their schedules, outcomes; "exhaustive" for the race's actors and pages, page by
 * page, under sequential consistency
 * @throws {UsageError} for an unknown switch or a race without actors; {@linkcode InterruptedError} when a notebook's
 * user stops the cell
 *
 * @example
 * ```ts
 * import { explore, litmus } from "hmmlab";
 *
 * const race = litmus("fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({
 *   P0: () => dev.fault(A),
 *   P1: () => t.munmap(A),
 *   finally: { noStaleEntry: () => !dev.stale(A) },
 * }));
 * const safe = await explore(race);
 * console.log(safe.found.exhaustive, safe.violated); // true undefined
 * const broken = await explore(race, { revert: ["sequence check"] });
 * console.log(broken.violated); // noStaleEntry
 * ```
 */
export async function explore(race: Litmus, options: ExploreOptions = {}): Promise<Exploration> {
  checkRace("explore", race);
  checkExplore(options);
  const { revert = [], checkers = [] } = options;
  const { model, actors } = buildModel(`explore "${race.name}"`, race, revert, checkers);
  const search = new Search(model, options), interrupts = watchInterrupts();
  let steps = 500;
  try {
    for (
      let from = performance.now();
      !search.run(steps) && !options.signal?.aborted;
      from = performance.now()
    ) {
      const ms = performance.now() - from;
      steps = Math.max(100, Math.floor(steps * Math.min(2, SLICE_MS / Math.max(1, ms))));
      options.progress?.(search.result().states);
      await breathe();
      if (interrupts.raised) {
        throw new InterruptedError(
          `The exploration was interrupted after ${formatCount(search.result().states)} states. ` +
            "To keep what it has by some number of states, give explore(…, { maxStates }).",
        );
      }
    }
  } finally {
    interrupts.release();
  }
  return new Exploration(race, revert, actors, search.result(), checkers);
}

/** A replayed schedule. */
export class Replay implements Displayable {
  /**
   * Holds what a schedule did; {@linkcode replay} makes it.
   *
   * @param race what was replayed
   * @param replayed what it did
   */
  constructor(readonly race: Litmus, readonly replayed: Replayed) {}

  /** The rule that the schedule breaks; undefined if it breaks none. */
  get violated(): string | undefined {
    return this.replayed.rule;
  }

  /** What `show` says of it: the broken rule, and every step with its actor and where it stopped. */
  [DISPLAY](): Display {
    const { replayed, race } = this;
    return {
      text: `${race.name}: ${replayed.rule === undefined ? "no rule is broken" : `broken: ${replayed.rule}`}`,
      tables: [replayed.steps],
    };
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return this[DISPLAY]().text;
  }
}

/**
 * Runs one schedule of a race again and shows each step.
 *
 * @param race the race that the schedule is of
 * @param schedule as {@linkcode explore} gave it, or the exploration itself, for the first schedule that breaks a rule
 * @param options `revert` and `checkers`: what to switch off and to look after, as in the exploration; an exploration
 * says both itself
 * @returns the steps, and what was broken
 * @throws {UsageError} when the schedule is of another race, or of this one with something else switched off
 *
 * @example
 * ```ts
 * import { explore, litmus, replay } from "hmmlab";
 *
 * const race = litmus("fault against munmap", { pages: 1 }, ({ t, dev, A }) => ({
 *   P0: () => dev.fault(A),
 *   P1: () => t.munmap(A),
 *   finally: { noStaleEntry: () => !dev.stale(A) },
 * }));
 * const found = await explore(race, { revert: ["sequence check"] });
 * console.log(replay(race, found).violated); // noStaleEntry
 * console.log(replay(race, found.schedule, { revert: ["sequence check"] }).violated); // noStaleEntry
 * ```
 */
export function replay(
  race: Litmus,
  schedule: string | Exploration,
  options: { readonly revert?: readonly string[]; readonly checkers?: "all" | readonly string[] } = {},
): Replay {
  checkRace("replay", race);
  checkOptions("replay", options, { revert: true, checkers: true }, '{ revert: ["sequence check"] }');
  if (schedule instanceof Exploration) {
    if (schedule.violated === undefined) {
      throw new UsageError(
        "Cannot replay: the exploration broke no rule, so it has no schedule to show; one that did, or a schedule, is " +
          "allowed; write for example replay(race, found.outcomes().columns.schedule[0])",
      );
    }
    const { revert = schedule.revert, checkers = schedule.checkers } = options;
    return replaySchedule(race, schedule.schedule, revert, checkers, schedule.found.maxSteps);
  }
  if (typeof schedule !== "string") {
    throw new UsageError(
      `Cannot replay: got ${
        describe(schedule)
      } for the schedule; a text that explore gave, or what explore returned, ` +
        "is allowed; write for example replay(race, await explore(race))",
    );
  }
  const { revert = [], checkers = [] } = options;
  return replaySchedule(race, schedule, revert, checkers);
}

function replaySchedule(
  race: Litmus,
  schedule: string,
  revert: readonly string[],
  checkers: Checked,
  maxSteps?: number,
): Replay {
  const { model } = buildModel(`replay "${race.name}"`, race, revert, checkers);
  return new Replay(race, replayModel(model, schedule, maxSteps));
}
