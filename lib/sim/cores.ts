/**
 * CPU cores that threads compete for, on the virtual clock.
 *
 * A thread holds a core while it can run, and gives it up when it sleeps, ends, or has used its time slice while others
 * wait. Who waits is served first come, first served: equal weights, no priorities, no migration cost. Cores are time,
 * not state: the explorer, which tries every order anyway, does not know them.
 * @module
 */
import type { Sim } from "./sim.ts";

const NONE = -1;

/** The cores of a machine during one run. */
export class Cores {
  /** Longest time on a core while others wait, in ns. */
  readonly sliceNs: number;
  private readonly sim: Sim;
  private readonly phase: number;
  /** By actor: it needs a core to run. */
  private readonly needs: Uint8Array;
  /** By actor: the core it holds, or -1. */
  private readonly held: Int32Array;
  /** By actor: when it got its core. */
  private readonly sinceNs: Float64Array;
  /** By core: when it was given up; Infinity while somebody has it. */
  private readonly freeAtNs: Float64Array;
  /** Actors that wait for a core, first come first. */
  private readonly waiting: number[] = [];

  /**
   * Makes idle cores.
   *
   * @param sim the machine's contract
   * @param cores how many
   * @param sliceNs longest time on a core while others wait: base_slice_ns
   * @param threads the actors that need a core to run
   */
  constructor(sim: Sim, cores: number, sliceNs: number, threads: readonly number[]) {
    this.sim = sim;
    this.sliceNs = sliceNs;
    this.phase = sim.spans.phase("wait: cpu core");
    this.needs = new Uint8Array(sim.maxActors);
    for (const a of threads) this.needs[a] = 1;
    this.held = new Int32Array(sim.maxActors).fill(NONE);
    this.sinceNs = new Float64Array(sim.maxActors);
    this.freeAtNs = new Float64Array(cores);
  }

  /** Whether actor `a` may run now: it needs no core, or has one. */
  running(a: number): boolean {
    return this.needs[a] === 0 || this.held[a] !== NONE;
  }

  /**
   * Gives an actor that can run a core, or queues it.
   *
   * @returns whether it has one; its time may have moved on to when the core became free
   */
  acquire(a: number): boolean {
    const { freeAtNs } = this;
    let best = 0;
    for (let c = 1; c < freeAtNs.length; c++) if (freeAtNs[c] < freeAtNs[best]) best = c;
    if (freeAtNs[best] === Infinity) {
      this.waiting.push(a);
      return false;
    }
    this.give(a, best);
    return true;
  }

  /** Puts an actor on a free core. */
  private give(a: number, core: number): void {
    const { sim } = this;
    sim.waited(a, this.phase, this.freeAtNs[core] - sim.nowNs[a]);
    this.freeAtNs[core] = Infinity;
    this.held[a] = core;
    this.sinceNs[a] = sim.nowNs[a];
  }

  /** When the time slice of an actor ends: Infinity while nobody waits for a core. */
  sliceEndNs(a: number): number {
    return this.waiting.length === 0 || this.needs[a] === 0 ? Infinity : this.sinceNs[a] + this.sliceNs;
  }

  /**
   * Takes an actor off its core, at its time.
   *
   * @returns the actor that has the core now, or -1 when nobody waited
   */
  release(a: number): number {
    const core = this.held[a];
    if (core === NONE) return NONE;
    this.held[a] = NONE;
    this.freeAtNs[core] = this.sim.nowNs[a];
    const next = this.waiting.shift();
    if (next === undefined) return NONE;
    this.give(next, core);
    return next;
  }
}
