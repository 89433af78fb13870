/**
 * The explorer: every interleaving of a small model, by re-execution from a snapshot, with a table of visited states.
 *
 * A schedule is the list of decisions where more than one thing could happen: which actor goes on, what a choice gave.
 * As a string it is one character a decision ("0", "1", … for actors, "?0", "?1" for choices) and replays exactly.
 * @module
 */
import { UsageError } from "../errors.ts";
import { InvariantError } from "../check/mod.ts";
import type { Arena, Snapshot } from "../sim/arena.ts";
import { type Actor, resume } from "../sim/runners.ts";
import type { Sim } from "../sim/sim.ts";
import { fairCycle } from "./fairness.ts";

/** What is explored: one machine, and programs that can be started again and again from its present state. */
export interface Model {
  /** The machine's contract. */
  readonly sim: Sim;
  /** What checkers of the machine remember: belongs to a state as the machine's own columns do. */
  readonly memory?: Arena;
  /** Makes fresh programs; called after each return to the initial state. */
  begin(): readonly Actor[];
  /** Looks at a state that the model stopped in; names the rule that it breaks. */
  check?(): string | undefined;
  /** Looks at the end of a schedule; names the rule that it breaks. */
  checkEnd?(): string | undefined;
  /** Describes how a schedule ended, to collect what can come out. */
  outcome?(): string;
}

/** A rule that was broken, and how to see it again. */
export interface Violation {
  /** The rule's name, or "deadlock: …", "livelock: …", "error: …" (an assertion of the model). */
  readonly rule: string;
  /** The decisions that lead there. */
  readonly schedule: string;
}

/** Limits of a search. */
export interface SearchOptions {
  /** Most states to visit (default 1,000,000); a search that hits it is not exhaustive. */
  readonly maxStates?: number;
  /** Whether to go on after the first violation (default false). */
  readonly all?: boolean;
  /**
   * Steps of one schedule after which it counts as a livelock (default 5,000): a ping-pong of two devices has no end
   * when nobody is fair, and its sequence numbers never come back to a state seen before.
   */
  readonly maxSteps?: number;
  /**
   * Whether a full search also calls it a livelock when some fair schedule never ends: one in which everyone who can go
   * on does so again and again (default false). Only states that come back are found so: counters must not run.
   */
  readonly fair?: boolean;
  /** Whether states seen before are not entered again (default true). Without it every schedule is run. */
  readonly visited?: boolean;
}

/** What a search found. */
export interface SearchResult {
  /** Whether every interleaving was covered. */
  readonly exhaustive: boolean;
  /** Steps of one schedule after which it counted as a livelock. */
  readonly maxSteps: number;
  /** Different states. */
  readonly states: number;
  /** Steps into a state not seen on this path before: the work done once. */
  readonly transitions: number;
  /** Steps in all, with those repeated to come back. */
  readonly executed: number;
  /** Schedules that were run to their end or to a known state. */
  readonly schedules: number;
  /** Broken rules. */
  readonly violations: readonly Violation[];
  /** How schedules ended, with one schedule for each. */
  readonly outcomes: ReadonlyMap<string, string>;
}

/** Steps of one schedule after which it counts as a livelock, unless a user says another number. */
export const MAX_STEPS = 5000;

const DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz";

/** The rule that a fair schedule without an end breaks. */
export const FAIR_LIVELOCK = "livelock: everyone goes on for ever and nobody ends";

/** Runs that share one path of decisions. */
class Execution {
  /** Decisions so far: the alternative taken, of how many, and whether it was a choice inside a step. */
  readonly taken: number[] = [];
  readonly width: number[] = [];
  readonly isChoice: boolean[] = [];
  /** State in which each decision was first met. */
  readonly stateAt: number[] = [];
  /** Decisions used in the present run. */
  at = 0;
  /** The state in which the present step began. */
  state = 0;

  decide(n: number, choice: boolean): number {
    if (n === 1) return 0;
    if (this.at === this.taken.length) {
      this.taken.push(0);
      this.width.push(n);
      this.isChoice.push(choice);
      this.stateAt.push(this.state);
    } else if (this.width[this.at] !== n) {
      throw new Error(
        "the model does not repeat itself: a decision had another number of alternatives before",
      );
    }
    return this.taken[this.at++];
  }

  /** The decisions from number `from` on, as a schedule writes them. */
  text(from = 0): string {
    return this.taken.slice(from, this.at).map((x, i) => (this.isChoice[from + i] ? "?" : "") + DIGITS[x])
      .join("");
  }

  /** Goes to the next path in depth-first order. Returns false when there is none. */
  advance(): boolean {
    const { taken, width } = this;
    this.cut(Math.min(this.at, taken.length));
    while (taken.length > 0) {
      if (++taken[taken.length - 1] < width[width.length - 1]) return true;
      this.cut(taken.length - 1);
    }
    return false;
  }

  private cut(n: number): void {
    this.taken.length =
      this.width.length =
      this.isChoice.length =
      this.stateAt.length =
        n;
  }
}

/** The actors of a run that can go on, as indices. */
function enabled(sim: Sim, actors: readonly Actor[], ended: Uint8Array, into: number[]): number[] {
  into.length = 0;
  for (let i = 0; i < actors.length; i++) if (!ended[i] && sim.waitingOn[actors[i].a] === 0) into.push(i);
  return into;
}

/** A state of a model: the machine's, and what its checkers remember. */
export interface ModelState {
  readonly machine: Snapshot;
  readonly memory: Snapshot | undefined;
}

/** Saves the present state of a model. */
export function saveModel({ sim, memory }: Model): ModelState {
  return { machine: sim.state.snapshot(), memory: memory?.snapshot() };
}

/** Puts a model back into a state, in which nobody sleeps. */
export function restoreModel({ sim, memory }: Model, state: ModelState): void {
  // What checkers remember first: how many of its rows are in use is read from the machine's columns.
  if (state.memory !== undefined) memory?.restore(state.memory);
  sim.state.restore(state.machine);
  sim.noSleepers();
}

/** A hash of the present state of a model. */
export function hashModel({ sim, memory }: Model): number {
  const h = sim.state.hash();
  if (memory === undefined) return h;
  const g = memory.hash(), low = (h ^ Math.imul(g, 0x9e3779b1)) >>> 0;
  const high = (Math.floor(h / 2 ** 32) ^ Math.floor(g / 2 ** 32)) & 0x1f_ffff;
  return high * 2 ** 32 + low;
}

/** What an error that a step threw says of the model: a broken rule by its name, else an assertion. */
export function ruleOf(e: unknown): string {
  return e instanceof InvariantError ? e.text : `error: ${e instanceof Error ? e.message : e}`;
}

/** What a look of checkers finds: the broken rule, or undefined. */
export function brokenRule(look: () => void): string | undefined {
  try {
    look();
  } catch (e) {
    if (e instanceof InvariantError) return e.text;
    throw e;
  }
  return undefined;
}

/** Whether an error says that the model is written wrongly, not that a schedule breaks it. */
export function isWrongUse(e: unknown): boolean {
  return e instanceof UsageError || e instanceof TypeError || e instanceof ReferenceError;
}

/** Sets the horizon to "stop everywhere" while `body` runs. */
export function stoppingEverywhere<R>(sim: Sim, chooser: (a: number, n: number) => number, body: () => R): R {
  const { horizonNs, grain, chooser: before } = sim;
  sim.horizonNs = -1;
  sim.grain = 1;
  sim.chooser = chooser;
  try {
    return body();
  } finally {
    sim.horizonNs = horizonNs;
    sim.grain = grain;
    sim.chooser = before;
    sim.current = -1;
  }
}

/** A search in progress; it can be driven in slices. */
export class Search {
  private readonly model: Model;
  private readonly maxStates: number;
  private readonly maxSteps: number;
  private readonly all: boolean;
  private readonly merge: boolean;
  private readonly fair: boolean;
  private readonly initial: ModelState;
  private readonly path = new Execution();
  /** State number by hash; how each was first reached; whether a schedule can end in it. */
  private readonly seen = new Map<number, number>();
  private readonly parent: number[] = [-1];
  private readonly step: string[] = [""];
  private readonly terminal: number[] = [];
  private readonly edgeFrom: number[] = [];
  private readonly edgeTo: number[] = [];
  /** For a fair search: the actor that stepped, and its decisions. */
  private readonly edgeActor: number[] = [];
  private readonly edgeDecided: string[] = [];
  private actors = 0;
  private readonly violations: Violation[] = [];
  private readonly outcomes = new Map<string, string>();
  private transitions = 0;
  private executed = 0;
  private schedules = 0;
  private finished = false;
  private exhaustive = false;

  /**
   * @param model what to explore, in the state from which every schedule begins
   * @param options limits
   */
  constructor(model: Model, options: SearchOptions = {}) {
    this.model = model;
    this.maxStates = options.maxStates ?? 1_000_000;
    this.maxSteps = options.maxSteps ?? MAX_STEPS;
    this.all = options.all ?? false;
    this.merge = options.visited ?? true;
    this.fair = options.fair ?? false;
    this.initial = saveModel(model);
  }

  /**
   * Runs schedules until the search has ended or `maxSteps` more steps were executed.
   *
   * @returns whether the search has ended
   */
  run(maxSteps: number = Infinity): boolean {
    const { model: { sim }, path } = this, until = this.executed + maxSteps;
    stoppingEverywhere(sim, (_a, n) => path.decide(n, true), () => {
      while (!this.finished && this.executed < until) {
        const forced = path.taken.length;
        path.at = 0;
        this.schedule(forced);
        this.schedules++;
        if (!this.all && this.violations.length > 0) this.finished = true;
        else if (this.parent.length > this.maxStates) this.finished = true;
        else if (!path.advance()) this.finished = this.exhaustive = true;
      }
    });
    if (this.finished) {
      restoreModel(this.model, this.initial);
      if (this.exhaustive) this.findLivelock();
    }
    return this.finished;
  }

  private violate(rule: string): void {
    this.violations.push({ rule, schedule: this.path.text() });
  }

  /** Runs one schedule: the forced decisions, then the first alternative of each new one. */
  private schedule(forced: number): void {
    const { model, path } = this, { sim } = model;
    restoreModel(model, this.initial);
    const actors = model.begin(), ended = new Uint8Array(actors.length), can: number[] = [];
    this.actors = actors.length;
    for (const { a } of actors) sim.spans.abandon(a);
    // The state before the first step that is new: where the last forced decision was first met.
    path.state = forced > 0 ? path.stateAt[forced - 1] : 0;
    let steps = 0;
    for (let left = actors.length; left > 0;) {
      if (++steps > this.maxSteps) return this.violate(`livelock: no end within ${this.maxSteps} steps`);
      // Past the limit nothing new is entered; what the forced decisions repeat costs no state.
      if (path.at >= forced && this.parent.length > this.maxStates) return;
      enabled(sim, actors, ended, can);
      if (can.length === 0) {
        const stuck = actors.filter((_, i) => !ended[i]).map(({ a }) => sim.waitText(a));
        return this.violate(`deadlock: ${stuck.join("; ")}`);
      }
      const before = path.at, i = can[path.decide(can.length, false)];
      this.executed++;
      try {
        if (resume(sim, actors[i])) {
          ended[i] = 1;
          left--;
        }
      } catch (e) {
        if (isWrongUse(e)) throw e;
        sim.current = -1;
        return this.violate(ruleOf(e));
      }
      if (path.at < forced) continue;
      this.transitions++;
      const broken = model.check?.();
      if (broken !== undefined) return this.violate(broken);
      if (this.merge && !this.enter(path.text(before), i)) return;
      // One schedule can go on for ever where somebody tries again and again and a counter runs.
      if (this.merge && this.parent.length > this.maxStates) return;
    }
    this.terminal.push(path.state);
    // The outcome first: looking whether a rule holds may touch pages.
    const outcome = model.outcome?.();
    if (outcome !== undefined && !this.outcomes.has(outcome)) this.outcomes.set(outcome, path.text());
    const broken = model.checkEnd?.();
    if (broken !== undefined) this.violate(broken);
  }

  /** Notes the state that a step led to. Returns false when it was known: what follows from it is known too. */
  private enter(decided: string, actor: number): boolean {
    const { path, seen, parent } = this, hash = hashModel(this.model), known = seen.get(hash);
    const to = known ?? parent.length;
    this.edgeFrom.push(path.state);
    this.edgeTo.push(to);
    if (this.fair) {
      this.edgeActor.push(actor);
      this.edgeDecided.push(decided);
    }
    if (known !== undefined) return false;
    seen.set(hash, to);
    parent.push(path.state);
    this.step.push(decided);
    path.state = to;
    return true;
  }

  /** After a full search: a state from which no schedule ends is a livelock (or the way into a deadlock). */
  private findLivelock(): void {
    if (!this.merge || this.violations.length > 0) return;
    const before = new Map<number, number[]>();
    this.edgeTo.forEach((to, i) => {
      const from = before.get(to);
      if (from === undefined) before.set(to, [this.edgeFrom[i]]);
      else from.push(this.edgeFrom[i]);
    });
    const canEnd = new Uint8Array(this.parent.length), todo = [...new Set(this.terminal)];
    for (const s of todo) canEnd[s] = 1;
    for (let s = todo.pop(); s !== undefined; s = todo.pop()) {
      for (const from of before.get(s) ?? []) {
        if (canEnd[from]) continue;
        canEnd[from] = 1;
        todo.push(from);
      }
    }
    const lost = canEnd.indexOf(0);
    if (lost >= 0) {
      this.violations.push({ rule: "livelock: from here no schedule ends", schedule: this.wayTo(lost) });
      return;
    }
    if (!this.fair) return;
    const { edgeFrom: from, edgeTo: to, edgeActor: actor, edgeDecided: decided } = this;
    const cycle = fairCycle(this.parent.length, { from, to, actor, decided }, this.actors);
    if (cycle === undefined) return;
    this.violations.push({ rule: FAIR_LIVELOCK, schedule: this.wayTo(cycle.state) + cycle.around });
  }

  /** The schedule by which a state was first reached. */
  private wayTo(state: number): string {
    const steps: string[] = [];
    for (let s = state; s > 0; s = this.parent[s]) steps.push(this.step[s]);
    return steps.reverse().join("");
  }

  /** What was found so far. */
  result(): SearchResult {
    return {
      exhaustive: this.exhaustive,
      maxSteps: this.maxSteps,
      states: this.parent.length,
      transitions: this.transitions,
      executed: this.executed,
      schedules: this.schedules,
      violations: this.violations,
      outcomes: this.outcomes,
    };
  }
}
