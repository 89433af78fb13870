/**
 * Races as a user writes them: a small machine, a few actors, what must never be.
 * @module
 */
import type { DummyOptions } from "../devices/dummy/spec.ts";
import { UsageError } from "../errors.ts";
import type { Driver, DriverHandle } from "../machine/driver.ts";
import { type Machine, machine } from "../machine/machine.ts";
import type { Region } from "../machine/process.ts";
import { DeviceThread, Thread } from "../machine/thread.ts";
import type { Columns } from "../record/columns.ts";
import { columnsOf } from "../record/columns.ts";
import { DISPLAY, type Display, type Displayable } from "../record/display.ts";
import { breathe, InterruptedError, watchInterrupts } from "../sim/interrupt.ts";
import type { Proc } from "../sim/sim.ts";
import { formatCount } from "../units.ts";
import { type Replayed, replayModel } from "./replay.ts";
import { type Model, Search, type SearchOptions, type SearchResult } from "./search.ts";

/** How large a litmus test's machine is. */
export interface LitmusSpec {
  /** Pages of region A (default 1, at most 8). */
  readonly pages?: number;
  /** Word that the process has written to A's first page before the race (the next page's is one more); null for untouched. */
  readonly written?: number | null;
  /** Options of the device (default: memory of 16 pages, faults map without migrating). */
  readonly device?: DummyOptions;
  /** Options of a second device, `dev2`, if there shall be one. */
  readonly device2?: DummyOptions;
  /** Translation cache entries of each CPU (default 0). */
  readonly tlbEntries?: number;
  /** A driver to race in place of the dummy device; `dev` is then its handle. */
  readonly drv?: Driver;
  /** Failure points that are tried both ways: "dma map", "page allocation", "device page allocation", "timeout". */
  readonly failures?: readonly string[];
}

/** What a litmus test is given to build its actors from. */
export interface LitmusContext<D = DeviceThread> {
  /** The machine. */
  readonly m: Machine;
  /** A thread of the process. */
  readonly t: Thread;
  /** The device, over that process: the dummy device's operations, or the handle of `drv`. */
  readonly dev: D;
  /** The second device; undefined unless the spec has one. */
  readonly dev2: DeviceThread | undefined;
  /** The region. */
  readonly A: Region;
}

/** An actor of a litmus test: called anew for each schedule. */
export type LitmusActor = () => Proc<unknown>;

/** The reserved names beside the actors of a litmus test. */
export interface LitmusRules {
  /** Conditions that must hold in no state; the key names the rule. */
  readonly never?: Readonly<Record<string, () => boolean>>;
  /** Conditions that must hold whenever all actors have ended. */
  readonly finally?: Readonly<Record<string, () => boolean>>;
  /** Describes an end, to collect what can come out. */
  readonly outcome?: () => string;
}

/** Actors by name, and the rules. */
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
  /** Called now and then with the number of states so far. */
  readonly progress?: (states: number) => void;
  /** Ends the search when aborted, with what it has. */
  readonly signal?: AbortSignal;
}

/**
 * Declares a race.
 *
 * @param name what is asked
 * @param spec sizes; see {@link LitmusSpec}
 * @param build makes the actors and the rules (`never`, `finally`, `outcome`) for a machine
 * @returns the race, for {@link explore} and {@link replay}
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
  const pages = spec.pages ?? 1;
  if (!Number.isInteger(pages) || pages < 1 || pages > 8) {
    throw new UsageError(`Cannot declare litmus test "${name}": pages is ${pages}; allowed are 1 to 8.`);
  }
  return { name, spec, build: build as Litmus["build"] };
}

const RESERVED = ["never", "finally", "outcome"];

interface Built {
  readonly model: Model;
  readonly actors: readonly string[];
}

function buildModel(race: Litmus, revert: readonly string[]): Built {
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
  });
  const process = m.process(), A = process.mmap(pages * 4096), t = new Thread(process);
  const dev = spec.drv === undefined ? new DeviceThread(m.devices.dev, process) : spec.drv.bind(process);
  const dev2 = spec.device2 === undefined ? undefined : new DeviceThread(m.devices.dev2, process);
  if (spec.written !== null) process.write(A, spec.written ?? 1);
  const { sim } = m.kernel;
  for (const point of spec.failures ?? []) sim.injectFailure(point, 500_000);
  const parts = race.build({ m, t, dev: dev as never, dev2, A });
  const actors = Object.entries(parts).filter(([name]) => !RESERVED.includes(name)) as [
    string,
    LitmusActor,
  ][];
  if (actors.length === 0 || actors.length > 8 || actors.some(([, f]) => typeof f !== "function")) {
    throw new UsageError(
      `Cannot explore "${race.name}": give 1 to 8 actors as functions that return an operation, as in P0: () => dev.fault(A).`,
    );
  }
  actors.forEach(([name], i) => sim.actorNames[i + 1] = name);
  m.kernel.cpus.fill(0);
  m.kernel.cpus[process.mm] = actors.length;
  const begin = () =>
    actors.map(([name, make], i) => {
      const proc = make();
      if (typeof proc?.next !== "function") {
        throw new UsageError(
          `Cannot explore "${race.name}": actor ${name} returned no operation; write ${name}: () => t.munmap(A).`,
        );
      }
      return { a: i + 1, proc };
    });
  const broken = (
    rules: Readonly<Record<string, () => boolean>> | undefined,
    when: boolean,
  ): string | undefined => {
    for (const rule in rules) if (rules[rule]() === when) return rule;
    return undefined;
  };
  const never = parts.never as LitmusRules["never"], atEnd = parts.finally as LitmusRules["finally"];
  return {
    actors: actors.map(([name]) => name),
    model: {
      sim,
      begin,
      check: () => broken(never, true),
      checkEnd: () => broken(atEnd, false),
      outcome: parts.outcome as LitmusRules["outcome"],
    },
  };
}

/** What an exploration found, in the words that may be claimed of it. */
export class Exploration implements Displayable {
  /**
   * @param race what was explored
   * @param revert what was switched off
   * @param actors names of the actors
   * @param found what the search found
   */
  constructor(
    readonly race: Litmus,
    readonly revert: readonly string[],
    readonly actors: readonly string[],
    readonly found: SearchResult,
  ) {}

  /** The first schedule that breaks a rule; "" if none does. */
  get schedule(): string {
    return this.found.violations[0]?.schedule ?? "";
  }

  /** The first broken rule; undefined if none is. */
  get violated(): string | undefined {
    return this.found.violations[0]?.rule;
  }

  /** The ends that were reached, one a row, with a schedule for each. */
  outcomes(): Columns {
    return columnsOf(
      "Outcomes",
      [...this.found.outcomes].map(([outcome, schedule]) => ({ outcome, schedule })),
    );
  }

  /** @inheritdoc */
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
}

/**
 * Explores every interleaving of a race.
 *
 * @param race from {@link litmus}
 * @param options what to switch off, limits
 * @returns states, broken rules with their schedules, outcomes
 * @throws UsageError for an unknown switch or a race without actors; InterruptedError when a notebook's user stops the
 * cell
 */
export async function explore(race: Litmus, options: ExploreOptions = {}): Promise<Exploration> {
  const revert = options.revert ?? [], { model, actors } = buildModel(race, revert);
  const search = new Search(model, options), interrupts = watchInterrupts();
  try {
    while (!search.run(20_000) && !options.signal?.aborted) {
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
  return new Exploration(race, revert, actors, search.result());
}

/** A replayed schedule. */
export class Replay implements Displayable {
  /**
   * @param race what was replayed
   * @param replayed what it did
   */
  constructor(readonly race: Litmus, readonly replayed: Replayed) {}

  /** The rule that the schedule breaks; undefined if it breaks none. */
  get violated(): string | undefined {
    return this.replayed.rule;
  }

  /** @inheritdoc */
  [DISPLAY](): Display {
    const { replayed, race } = this;
    return {
      text: `${race.name}: ${replayed.rule === undefined ? "no rule is broken" : `broken: ${replayed.rule}`}`,
      tables: [replayed.steps],
    };
  }
}

/**
 * Runs one schedule of a race again and shows each step.
 *
 * @param race the race that the schedule is of
 * @param schedule as {@link explore} gave it
 * @param options the same `revert` as in the exploration
 * @throws UsageError when the schedule is of another race
 */
export function replay(race: Litmus, schedule: string, options: { revert?: readonly string[] } = {}): Replay {
  return new Replay(race, replayModel(buildModel(race, options.revert ?? []).model, schedule));
}
