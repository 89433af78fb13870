/**
 * Runners that need no search: to completion, step by step, and on the virtual clock.
 *
 * All drive the same generators; they differ only in the horizon that they set and in whom they pick next.
 * The explorer is the fourth user of the same contract and lives in explore/.
 * @module
 */
import type { Cores } from "./cores.ts";
import { DUE, type Proc, type Sim } from "./sim.ts";

/** An actor: its number in the {@link Sim} and what it runs. */
export interface Actor {
  /** Actor number, from 0 to maxActors - 1, unique in a run. */
  readonly a: number;
  /** What it runs. */
  readonly proc: Proc<unknown>;
}

/** Nobody can run and not everybody has ended: the message names who waits for what, since when. */
export class DeadlockError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "DeadlockError";
}

/** Actors run without ever finishing anything: the message names where each stands. */
export class LivelockError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "LivelockError";
}

/** Resumes without one finished operation after which a run counts as a livelock. */
export const LIVELOCK_BOUND = 1_000_000;

/** Virtual time after which the clock takes control back even if nobody else is due. */
const LONGEST_SLICE_NS = 2_000_000;

function deadlock(sim: Sim, actors: readonly Actor[]): DeadlockError {
  const waiting = actors.filter(({ a }) => sim.waitingOn[a] !== DUE);
  return new DeadlockError(`deadlock:\n${waiting.map(({ a }) => `  ${sim.waitText(a)}`).join("\n")}`);
}

function livelock(sim: Sim, actors: readonly Actor[], bound: number): LivelockError {
  const places = actors.map(({ a }) => `  ${sim.actorName(a)} at: ${sim.where(a).join(" > ")}`);
  return new LivelockError(`livelock: nothing was finished in ${bound} resumes:\n${places.join("\n")}`);
}

/** Resumes one actor once. Returns true when it has ended. */
export function resume(sim: Sim, actor: Actor): boolean {
  const { a } = actor;
  sim.current = a;
  const r = actor.proc.next();
  sim.current = -1;
  if (r.done) {
    sim.clearFrame(a);
    sim.progress++;
    return true;
  }
  if (r.value !== DUE) sim.park(a, r.value);
  return false;
}

/** Runs in a fixed order until all have ended: the first that can run, always. */
function drive(sim: Sim, actors: readonly Actor[], turns: boolean, bound: number): void {
  const ended = new Uint8Array(actors.length);
  let left = actors.length, next = 0, since = 0, seen = sim.progress;
  while (left > 0) {
    let i = -1;
    for (let k = 0; k < actors.length && i < 0; k++) {
      const j = (next + k) % actors.length;
      if (!ended[j] && sim.waitingOn[actors[j].a] === DUE) i = j;
    }
    if (i < 0) throw deadlock(sim, actors.filter((_, j) => !ended[j]));
    if (resume(sim, actors[i])) {
      ended[i] = 1;
      left--;
    }
    next = turns ? i + 1 : i;
    if (sim.progress !== seen) {
      seen = sim.progress;
      since = 0;
    } else if (++since > bound) throw livelock(sim, actors.filter((_, j) => !ended[j]), bound);
  }
}

/**
 * Runs actors to completion: one after the other, changing only when one sleeps.
 *
 * @throws DeadlockError when nobody can run, LivelockError when nothing is finished within `bound` resumes
 */
export function complete(sim: Sim, actors: readonly Actor[], bound: number = LIVELOCK_BOUND): void {
  const before = sim.horizonNs;
  sim.horizonNs = Infinity;
  try {
    drive(sim, actors, false, bound);
  } finally {
    sim.horizonNs = before;
    sim.current = -1;
  }
}

/**
 * Stops at every boundary and lets the next actor go: the explorer's horizon without a search.
 *
 * @throws as {@link complete}
 */
export function steps(sim: Sim, actors: readonly Actor[], bound: number = LIVELOCK_BOUND): void {
  const { horizonNs, grain } = sim;
  sim.horizonNs = -1;
  sim.grain = 1;
  try {
    drive(sim, actors, true, bound);
  } finally {
    sim.horizonNs = horizonNs;
    sim.grain = grain;
    sim.current = -1;
  }
}

/**
 * The virtual clock: always resumes the actor with the earliest time; ties go to the lower number.
 *
 * It can be driven in slices, so that a notebook stays alive during a long run.
 */
export class Clock {
  private readonly sim: Sim;
  private readonly actors: readonly Actor[];
  private readonly bound: number;
  private readonly cores: Cores | undefined;
  private readonly indexOf: Int32Array;
  /** Binary heap of actor numbers, ordered by time, then number. */
  private readonly heap: Uint32Array;
  /** Time of each place of the heap: that of an actor which does not run stands still. */
  private readonly times: Float64Array;
  private size = 0;
  private left: number;
  /** Resumes so far. */
  events = 0;

  /**
   * @param sim the machine's contract
   * @param actors who takes part; actor numbers must differ
   * @param cores the cores that threads compete for; left out, each has one of its own
   * @param bound resumes without a finished operation that count as a livelock
   */
  constructor(sim: Sim, actors: readonly Actor[], cores?: Cores, bound: number = LIVELOCK_BOUND) {
    this.sim = sim;
    this.actors = actors;
    this.bound = bound;
    this.cores = cores;
    this.heap = new Uint32Array(actors.length);
    this.times = new Float64Array(actors.length);
    this.indexOf = new Int32Array(sim.maxActors).fill(-1);
    this.left = actors.length;
    actors.forEach(({ a }, i) => {
      this.indexOf[a] = i;
      this.push(a);
    });
  }

  private push(a: number): void {
    const { heap, times } = this, t = this.sim.nowNs[a];
    let at = this.size++;
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (times[up] < t || (times[up] === t && heap[up] < a)) break;
      heap[at] = heap[up];
      times[at] = times[up];
      at = up;
    }
    heap[at] = a;
    times[at] = t;
  }

  /** Puts actor `a` at the root and lets it sink to its place. */
  private sink(a: number): void {
    const { heap, times, size } = this, t = this.sim.nowNs[a];
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      const right = child + 1;
      if (
        right < size &&
        (times[right] < times[child] || (times[right] === times[child] && heap[right] < heap[child]))
      ) child = right;
      if (t < times[child] || (t === times[child] && a < heap[child])) break;
      heap[at] = heap[child];
      times[at] = times[child];
      at = child;
    }
    heap[at] = a;
    times[at] = t;
  }

  /** Takes the actor at the root out of the heap. */
  private pop(): void {
    if (--this.size > 0) this.sink(this.heap[this.size]);
  }

  /** Takes the running actor at the root off its core; who waited for it can run. */
  private offCore(a: number): void {
    const next = this.cores === undefined ? -1 : this.cores.release(a);
    if (next >= 0) this.push(next);
  }

  /** Lets actor `a` run on while the time of `other` has not come: integer times make a tie one nanosecond. */
  private lowerHorizon(a: number, other: number): void {
    const { sim } = this, t = sim.nowNs[other] + (a < other ? 1 : 0);
    if (t < sim.horizonNs) sim.horizonNs = t;
  }

  /**
   * Runs until all actors have ended or `maxEvents` resumes have been made.
   *
   * @returns true when all have ended
   * @throws DeadlockError, LivelockError
   */
  run(maxEvents: number = Infinity): boolean {
    const { sim, heap, times, actors, indexOf, cores } = this, until = this.events + maxEvents;
    let since = 0, seen = sim.progress;
    sim.onWake = (a) => {
      if (indexOf[a] < 0) return;
      this.push(a);
      if (sim.current >= 0) this.lowerHorizon(sim.current, a);
    };
    try {
      while (this.left > 0 && this.events < until) {
        if (this.size === 0) throw deadlock(sim, actors);
        const a = heap[0];
        if (cores !== undefined && !cores.running(a)) {
          // Its time may have moved on to when the core became free: it takes its place anew.
          if (cores.acquire(a)) this.sink(a);
          else this.pop();
          continue;
        }
        // Who runs stays at the root, before everybody, so that a wake can push and one sink puts it in its place.
        times[0] = -1;
        // Alone, an actor would never stop: it comes back now and then, so that a long run can show progress and end.
        sim.horizonNs = sim.nowNs[a] + LONGEST_SLICE_NS;
        if (cores !== undefined) sim.horizonNs = Math.min(sim.horizonNs, cores.sliceEndNs(a));
        if (this.size > 1) this.lowerHorizon(a, heap[1]);
        if (this.size > 2) this.lowerHorizon(a, heap[2]);
        this.events++;
        const ended = resume(sim, actors[indexOf[a]]);
        if (ended) this.left--;
        if (ended || sim.waitingOn[a] !== DUE) {
          this.pop();
          this.offCore(a);
        } else if (cores !== undefined && sim.nowNs[a] >= cores.sliceEndNs(a)) {
          this.pop();
          this.offCore(a);
          if (cores.acquire(a)) this.push(a);
        } else this.sink(a);
        if (sim.progress !== seen) {
          seen = sim.progress;
          since = 0;
        } else if (++since > this.bound) throw livelock(sim, actors, this.bound);
      }
    } finally {
      sim.onWake = () => {};
      sim.horizonNs = Infinity;
      sim.current = -1;
    }
    return this.left === 0;
  }
}
