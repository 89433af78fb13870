/**
 * The contract between the model and whoever runs it: when code may stop, what it sleeps on, how time passes, how
 * chance is drawn, where locals live across a stop.
 *
 * Model code is generators over one {@link Sim}. `horizonNs` alone says which runner is at work: plus infinity runs to
 * completion, the next other event's time is the virtual clock, -1 is the explorer, which stops everywhere.
 * @module
 */
import { Counters } from "../record/counters.ts";
import { Spans } from "../record/spans.ts";
import { Arena } from "./arena.ts";
import { seedSfc32, sfc32 } from "./random.ts";

/** What a process yields: {@link DUE}, or the number of the wait queue that it sleeps on. */
export type Wait = number;
/** "Another actor may be due before me": the process goes on whenever the runner picks it. */
export const DUE: Wait = 0;
/** A kernel operation, a device's work or a program: it stops only by yielding a {@link Wait}. */
export type Proc<R = void> = Generator<Wait, R, void>;

/** Slots of a frame record: the site and four locals. */
const RECORD = 5;
const FRAME_RECORDS = 24;

/** In the first slot of a frame: the actor's program has ended. */
const ENDED = -1;

const siteNames: string[] = ["start"];
/**
 * Names a place where code can stop, for frames and for reports.
 *
 * @param name what has been done when the code stops there
 * @returns the site's number, unique within this process
 */
export function site(name: string): number {
  return siteNames.push(name) - 1;
}

/** Draws a number below `n` for actor `a`; runners differ in how. */
export type Chooser = (a: number, n: number) => number;

/** State and accounts of one simulated machine, and the contract its code keeps. */
export class Sim {
  /** Everything that decides behaviour. */
  readonly state: Arena = new Arena();
  /** Time, latencies, phases: watched, never obeyed (but for the order of events on the clock). */
  readonly spans: Spans;
  /** Event counts. */
  readonly counters: Counters = new Counters();
  /** Virtual time of each actor in ns. */
  readonly nowNs: Float64Array;
  /** An actor at or past this time must stop; see the module's text. */
  horizonNs: number = Infinity;
  /** Pages a range loop may handle between two stops: 512 on the clock, 1 in the explorer. */
  grain: number = 512;
  /** The actor that runs now; -1 between steps. */
  current: number = -1;
  /** How many actors there can be at once. */
  readonly maxActors: number;
  /** Names of the actors, for reports. */
  readonly actorNames: string[] = [];
  /** Queue each actor sleeps on; 0 when it can run. */
  readonly waitingOn: Int32Array;
  /** Called for each actor that {@link wake} makes runnable. */
  onWake: (a: number) => void = () => {};
  /** How {@link choose} draws; the explorer puts its own here. */
  chooser: Chooser;
  /** Called when all clocks are set to zero: for what keeps times of its own. */
  readonly onReset: (() => void)[] = [];
  /** Finished operations of all actors, by which runners tell work from livelock. */
  progress = 0;

  /** Told of an actor that would sleep where it must not, before that is an error; for checkers. */
  watchSleep: ((a: number, what: string) => void) | undefined = undefined;

  private readonly frames: Float64Array;
  private readonly history: Uint32Array;
  private readonly frameTop: Uint8Array;
  private readonly atomicDepth: Uint8Array;
  private readonly random: Uint32Array;
  private readonly queueNames: string[] = ["due"];
  private readonly queuePhases: number[] = [0];
  private readonly queueIdle: boolean[] = [true];
  private readonly queueHolders: (() => string)[] = [() => ""];
  /** Sleepers by queue: derivable from waitingOn, kept so that a wake without sleepers costs one comparison. */
  private readonly sleepers: number[] = [0];
  private readonly freeAtNs: number[] = [];
  private readonly resourceWait: number[] = [];
  private readonly failing = new Map<string, number>();

  /**
   * Makes the contract of one machine: no columns but its own, no queues, all clocks at 0.
   *
   * @param seed any integer; the same seed gives the same draws
   * @param maxActors how many actors there can be at once
   */
  constructor(seed: number, maxActors: number) {
    this.maxActors = maxActors;
    this.spans = new Spans(maxActors);
    this.nowNs = this.spans.nowNs;
    this.waitingOn = this.state.i32("sim.waitingOn", maxActors);
    this.frames = this.state.f64("sim.frames", maxActors * FRAME_RECORDS * RECORD);
    this.frameTop = this.state.u8("sim.frameTop", maxActors);
    this.history = this.state.u32("sim.history", maxActors);
    this.atomicDepth = this.state.u8("sim.atomicDepth", maxActors);
    this.random = this.state.u32("sim.random", 4);
    seedSfc32(this.random, seed);
    this.chooser = (_a, n) => Math.floor((sfc32(this.random) / 0x1_0000_0000) * n);
  }

  // --- stops ---------------------------------------------------------------------------------------------------------

  /** Whether actor `a` must stop here: `if (sim.due(a)) { sim.mark(a, SITE, …); yield DUE; }`. */
  due(a: number): boolean {
    return this.nowNs[a] >= this.horizonNs;
  }

  /**
   * Writes the locals that live across the stop that follows into the actor's frame, so that equal states are equal.
   *
   * @param a actor
   * @param site where it stops
   * @param x0 … the locals, as numbers
   */
  mark(a: number, site: number, x0 = 0, x1 = 0, x2 = 0, x3 = 0): void {
    const f = this.frames, i = (a * FRAME_RECORDS + this.frameTop[a]) * RECORD;
    f[i] = site;
    f[i + 1] = x0;
    f[i + 2] = x1;
    f[i + 3] = x2;
    f[i + 4] = x3;
  }

  /**
   * Keeps locals while another generator runs under this one (`call`, `yield* other()`, {@link ret}).
   *
   * @param a actor
   * @param site the place of the call
   * @param x0 … the locals that are still needed after it, as numbers
   */
  call(a: number, site: number, x0 = 0, x1 = 0, x2 = 0, x3 = 0): void {
    this.mark(a, site, x0, x1, x2, x3);
    if (++this.frameTop[a] >= FRAME_RECORDS) {
      throw new RangeError(`calls of actor ${a} nested deeper than ${FRAME_RECORDS}`);
    }
  }

  /** Ends what {@link call} began. */
  ret(a: number): void {
    const top = this.frameTop[a]--;
    if (top === 0) throw new Error(`ret of actor ${a} without call`);
    if (this.horizonNs < 0) {
      const i = (a * FRAME_RECORDS + top) * RECORD;
      for (let j = i; j < i + RECORD; j++) this.frames[j] = 0;
    }
  }

  /**
   * Empties an actor's frame when its program has ended, so that an ended actor is one state, and not an unbegun one.
   *
   * Its history stays: what it was told may have been kept by whoever asks how the race ended.
   */
  clearFrame(a: number): void {
    const first = a * FRAME_RECORDS * RECORD;
    this.frames.fill(0, first, first + FRAME_RECORDS * RECORD);
    this.frames[first] = ENDED;
    this.frameTop[a] = 0;
    this.atomicDepth[a] = 0;
  }

  /** Sets all clocks to zero and forgets all counts and latencies, for a run of its own. State stays as it is. */
  resetAccounts(): void {
    this.nowNs.fill(0);
    this.freeAtNs.fill(0);
    for (const reset of this.onReset) reset();
    this.spans.reset();
    this.counters.values.fill(0);
    this.progress = 0;
  }

  /**
   * Folds what an operation told its caller into the actor's history.
   *
   * Code that keeps no frames (a user's program, a driver in a notebook) is deterministic in what it was told, so its
   * history stands for its place and its locals.
   */
  note(a: number, told: number): void {
    let h = this.history[a] ^ Math.imul(told | 0, 0x85ebca6b) ^
      Math.imul(Math.floor(told / 0x1_0000_0000), 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
    this.history[a] = (h ^ (h >>> 12)) + 0x9e3779b9;
  }

  /** The frame of an actor, outermost call first: site names with their locals. */
  where(a: number): string[] {
    return Array.from({ length: this.frameTop[a] + 1 }, (_, k) => {
      const i = (a * FRAME_RECORDS + k) * RECORD;
      return `${siteNames[this.frames[i]] ?? "ended"} (${this.frames.subarray(i + 1, i + RECORD).join(" ")})`;
    });
  }

  // --- sleeping ------------------------------------------------------------------------------------------------------

  /**
   * Makes a wait queue.
   *
   * @param name what sleepers wait for
   * @param holder tells who can end the wait, for deadlock reports
   * @param idle who sleeps there has nothing to do, so that its time is no contention (default false)
   * @returns its number, which a process yields to sleep
   */
  queue(name: string, holder: () => string = () => "", idle = false): Wait {
    this.queueIdle.push(idle);
    this.queueNames.push(name);
    this.queuePhases.push(this.spans.phase(`wait: ${name.replace(/[ #]*\d+$/, "")}`));
    this.queueHolders.push(holder);
    this.sleepers.push(0);
    return this.queueNames.length - 1;
  }

  /** Puts actor `a` to sleep on queue `q`; only runners call it, when a process yields `q`. */
  park(a: number, q: Wait): void {
    if (this.atomicDepth[a] > 0) this.mightSleep(a, this.queueNames[q]);
    this.waitingOn[a] = q;
    this.sleepers[q]++;
  }

  /** Forgets all sleepers, as the explorer does when it restores a state in which nobody sleeps. */
  noSleepers(): void {
    this.sleepers.fill(0);
  }

  /** Makes everyone runnable who sleeps on `q`; they look at their condition again. */
  wake(q: Wait): void {
    if (this.sleepers[q] === 0) return;
    this.sleepers[q] = 0;
    const { waitingOn, nowNs } = this, waker = this.current;
    for (let a = 0; a < waitingOn.length; a++) {
      if (waitingOn[a] !== q) continue;
      waitingOn[a] = 0;
      const ns = waker < 0 ? 0 : nowNs[waker] - nowNs[a];
      if (!this.queueIdle[q]) this.waited(a, this.queuePhases[q], ns);
      else if (ns > 0) this.spans.spend(a, this.queuePhases[q], ns);
      this.onWake(a);
    }
  }

  /** What actor `a` waits for and who holds it, in words. */
  waitText(a: number): string {
    const q = this.waitingOn[a], holder = this.queueHolders[q]?.() ?? "";
    return `${this.actorName(a)} waits for ${this.queueNames[q]}${
      holder ? `, held by ${holder}` : ""
    }, since ${this.nowNs[a]} ns, at: ${this.where(a).join(" > ")}`;
  }

  /** The name of an actor in reports. */
  actorName(a: number): string {
    return this.actorNames[a] ?? `actor ${a}`;
  }

  /** Enters a context that must not sleep (a spinlock, RCU, a non-blockable notifier). */
  enterAtomic(a: number): void {
    this.atomicDepth[a]++;
  }

  /** Leaves what {@link enterAtomic} entered. */
  exitAtomic(a: number): void {
    this.atomicDepth[a]--;
  }

  /** Asserts that actor `a` may sleep here, as the kernel's might_sleep(). */
  mightSleep(a: number, what: string): void {
    if (this.atomicDepth[a] > 0) {
      this.watchSleep?.(a, what);
      throw new Error(`${this.actorName(a)} would sleep in an atomic context: ${what}`);
    }
  }

  // --- time ----------------------------------------------------------------------------------------------------------

  /** Lets `ns` pass for actor `a`, booked under `phase`. */
  spend(a: number, phase: number, ns: number): void {
    this.spans.spend(a, phase, ns);
  }

  /**
   * Lets the time pass that an actor waited for something that others had; it counts as contention.
   *
   * @param a actor
   * @param phase a phase whose name begins with "wait: "
   * @param ns how long; nothing happens if it is not above 0
   */
  waited(a: number, phase: number, ns: number): void {
    if (ns <= 0) return;
    this.spans.spend(a, phase, ns);
    this.spans.wait(phase, ns);
  }

  /**
   * Makes a short lock, a link or a DMA channel: first come, first served in virtual time, by one time stamp.
   *
   * @param name for the phase under which waiting is booked
   * @param n how many of them to make
   * @returns the number of the first, for {@link hold}
   */
  resource(name: string, n = 1): number {
    const first = this.freeAtNs.length, phase = this.spans.phase(`wait: ${name}`);
    for (let i = 0; i < n; i++) {
      this.resourceWait.push(phase);
      this.freeAtNs.push(0);
    }
    return first;
  }

  /**
   * Uses a resource for `ns`, after whoever uses it now.
   *
   * @returns when the use began, in ns
   */
  hold(a: number, resource: number, phase: number, ns: number): number {
    const free = this.freeAtNs[resource];
    if (free > this.nowNs[a]) this.waited(a, this.resourceWait[resource], free - this.nowNs[a]);
    this.spans.spend(a, phase, ns);
    this.freeAtNs[resource] = this.nowNs[a];
    return this.nowNs[a] - ns;
  }

  /** Latest time of any actor, in ns. */
  get latestNs(): number {
    return this.nowNs.reduce((t, x) => Math.max(t, x), 0);
  }

  // --- chance --------------------------------------------------------------------------------------------------------

  /** A number from 0 to n-1: drawn from the seed on the clock, every one of them in the explorer. */
  choose(a: number, n: number): number {
    return n <= 1 ? 0 : this.chooser(a, n);
  }

  /**
   * Lets an operation fail by chance (`fails` then is a choice); 0 takes it back.
   *
   * @param point name of the failure point, for example "dma map"
   * @param perMillion how often it fails on the clock; the explorer tries both as soon as it is above 0
   */
  injectFailure(point: string, perMillion: number): void {
    this.failing.set(point, perMillion);
  }

  /** Runs `body` with no injected failures: for who looks at the machine from outside. */
  withoutFailures<R>(body: () => R): R {
    const saved = [...this.failing];
    this.failing.clear();
    try {
      return body();
    } finally {
      for (const [point, perMillion] of saved) this.failing.set(point, perMillion);
    }
  }

  /** Whether the operation at this failure point fails now. Without {@link injectFailure} it never does. */
  fails(a: number, point: string): boolean {
    const perMillion = this.failing.size === 0 ? 0 : this.failing.get(point) ?? 0;
    if (perMillion === 0) return false;
    return this.horizonNs < 0 ? this.choose(a, 2) === 1 : this.choose(a, 1_000_000) < perMillion;
  }

  /**
   * Whether a deadline has passed. The explorer has no time: there it passes where failure point "timeout" is on, as a
   * choice, and never otherwise.
   */
  expired(a: number, deadlineNs: number): boolean {
    return this.horizonNs < 0 ? this.fails(a, "timeout") : this.nowNs[a] >= deadlineNs;
  }
}
