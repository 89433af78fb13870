/**
 * Links whose bandwidth transfers in flight share, on the machine's clock.
 *
 * The arithmetic is that of {@link Shares}. Whoever waits asks when its job would end if nothing else came, lets that
 * time pass, and asks again if others ran meanwhile: so two transfers that overlap slow each other down, whichever began
 * first. It is time alone and part of no state; where time does not decide who runs (the explorer), a transfer takes what it
 * takes alone.
 * @module
 */
import { Timeline } from "../record/timeline.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { type Descriptor, Shares } from "./shares.ts";

const AT_SUBMIT = site("shared link: before a transfer is submitted");
const AT_ROOM = site("shared link: waiting for room in a queue");
const AT_WAIT = site("shared link: waiting for the end of a transfer");

/** The descriptors that one worker gets of a job, in their order. */
export type WorkList = readonly Descriptor[];

/** Whether a lane is crossed by one of the lists alone, each of which has one descriptor. */
function only(lists: readonly WorkList[], lane: number): boolean {
  let n = 0;
  for (const [d] of lists) if (d.lanes.includes(lane)) n++;
  return n === 1;
}

/** The shared links of a machine: lanes, one a direction, and the workers (channels, threads) that move over them. */
export class SharedLinks {
  private shares: Shares;
  private workers = 0;
  private readonly names: string[] = [];
  private readonly rates: number[] = [];
  private timelines: Timeline[] = [];
  private before: Timeline[] = [];
  private readonly borrowed: number[] = [];
  private readonly phase: number;
  private readonly phaseWait: number;

  /**
   * Makes no lane and no worker.
   *
   * @param sim the machine's contract
   */
  constructor(private readonly sim: Sim) {
    this.phase = sim.spans.phase("copy over the link");
    this.phaseWait = sim.spans.phase("wait: link");
    this.shares = this.fresh();
    sim.onReset.push(() => {
      // All clocks are at zero again: what was under way is forgotten; what crossed can still be read.
      this.before = this.timelines.map((t, lane) => t.total > 0 ? t : this.before[lane]);
      this.timelines = this.names.map((name) => new Timeline(name, "bytes"));
      this.shares = this.fresh();
    });
  }

  /** Lanes and workers at time 0, nothing under way. */
  private fresh(): Shares {
    const shares = new Shares((lane, from, to, bytes) => this.timelines[lane].addSpan(from, to, bytes));
    shares.lanes.push(...this.rates);
    for (let w = 0; w < this.workers; w++) shares.worker();
    return shares;
  }

  /**
   * Makes a lane: one direction of a link.
   *
   * @param name for charts
   * @param bytesPerSecond its rate, in whole bytes per second
   * @returns its number
   */
  lane(name: string, bytesPerSecond: number): number {
    this.names.push(name);
    this.rates.push(bytesPerSecond);
    this.timelines.push(new Timeline(name, "bytes"));
    return this.shares.lanes.push(bytesPerSecond) - 1;
  }

  /** Bytes that have crossed a lane, over virtual time: in this run or, between two, in the last in which any did. */
  bytesOf(lane: number): Timeline {
    const now = this.timelines[lane];
    return now.total > 0 ? now : this.before[lane] ?? now;
  }

  /** Bytes that have crossed a lane since all clocks were last at zero. */
  bytesNow(lane: number): Timeline {
    return this.timelines[lane];
  }

  /** Makes a worker that moves one descriptor after the other: a channel. */
  worker(): number {
    this.workers++;
    return this.shares.worker();
  }

  /**
   * Lets whoever is due run before actor `a` submits something, so that transfers begin in the order of time.
   *
   * @param a actor
   */
  *arrive(a: number): Proc {
    const { sim } = this;
    if (sim.due(a)) {
      sim.mark(a, AT_SUBMIT);
      yield DUE;
    }
    this.shares.advance(sim.nowNs[a]);
  }

  /**
   * Moves a descriptor at once, if nothing is under way and nobody else is due before its end. So it is with most, and it
   * costs no generator and no look ahead.
   *
   * @param a actor
   * @param d what is to be moved
   * @returns whether it was moved; if not, nothing has happened
   */
  tryMove(a: number, d: Descriptor): boolean {
    const { sim, shares } = this, explored = sim.horizonNs < 0, now = sim.nowNs[a];
    const ns = shares.aloneNs(d);
    if (!explored) {
      if (now + ns >= sim.horizonNs) return false;
      shares.advance(now);
      if (!shares.idle || shares.nowNs + ns >= sim.horizonNs) return false;
      // Only where clocks do not order who runs can somebody have gone on past this actor's time.
      sim.waited(a, this.phaseWait, shares.nowNs - now);
      shares.pass(sim.nowNs[a], d);
    } else for (const lane of d.lanes) this.timelines[lane].addSpan(now + d.setupNs, now + ns, d.bytes);
    sim.spend(a, this.phase, ns);
    return true;
  }

  /**
   * Moves bytes by workers that are the job's own, one for each list: threads that copy side by side.
   *
   * @param a actor that waits until all has been moved
   * @param lists what each worker moves
   */
  *move(a: number, lists: readonly WorkList[]): Proc {
    const { sim } = this;
    if (sim.horizonNs < 0) return sim.spend(a, this.phase, this.aloneNs(lists));
    yield* this.arrive(a);
    const aloneNs = this.aloneNs(lists), job = this.shares.job();
    const workers = lists.map(() => this.borrowed.pop() ?? this.worker());
    lists.forEach((list, i) => list.forEach((d) => this.shares.submit(sim.nowNs[a], workers[i], job, d)));
    yield* this.wait(a, job, aloneNs);
    this.borrowed.push(...workers.reverse());
  }

  /**
   * Moves bytes by given workers, each descriptor by the one with the least to do.
   *
   * @param a actor that waits until all has been moved
   * @param descriptors what is to be moved
   * @param workers the channels
   * @param depth descriptors that a channel's queue holds; whoever has more waits for room
   */
  *spread(a: number, descriptors: WorkList, workers: readonly number[], depth: number): Proc {
    const { sim } = this;
    if (sim.horizonNs < 0) return sim.spend(a, this.phase, this.aloneSpreadNs(descriptors, workers.length));
    yield* this.arrive(a);
    const aloneNs = this.aloneSpreadNs(descriptors, workers.length);
    const job = this.shares.job(), start = sim.nowNs[a];
    for (let next = 0; next < descriptors.length;) {
      const w = this.leastBusy(workers, depth);
      if (w >= 0) {
        this.shares.submit(sim.nowNs[a], w, job, descriptors[next++]);
        continue;
      }
      // All queues are full. Whose descriptor ends first is not known beforehand, but one of a full set always does.
      const roomNs = this.roomNs(workers);
      sim.spend(a, this.phase, Math.max(0, roomNs - sim.nowNs[a]));
      if (sim.due(a)) {
        sim.mark(a, AT_ROOM, job, next);
        yield DUE;
      }
      this.shares.advance(sim.nowNs[a]);
    }
    yield* this.wait(a, job, Math.max(0, aloneNs - (sim.nowNs[a] - start)));
  }

  /** The worker with the fewest bytes to move, of those whose queue has room; -1 if none has. */
  private leastBusy(workers: readonly number[], depth: number): number {
    let best = -1, least = Infinity;
    for (const w of workers) {
      if (this.shares.queued(w) >= depth) continue;
      const bytes = this.shares.backlogBytes(w);
      if (bytes < least) [best, least] = [w, bytes];
    }
    return best;
  }

  /** When the first of some workers, all of which are busy, ends its descriptor. */
  private roomNs(workers: readonly number[]): number {
    return Math.min(...workers.map((w) => this.shares.nextEndNs(w)));
  }

  /** Waits for the end of a job; what it takes beyond `aloneNs` is booked as waiting for the link. */
  private *wait(a: number, job: number, aloneNs: number): Proc {
    const { sim } = this;
    let alone = aloneNs;
    for (;;) {
      const ns = Math.max(0, this.shares.endNs(job) - sim.nowNs[a]), own = Math.min(ns, alone);
      sim.spend(a, this.phase, own);
      sim.waited(a, this.phaseWait, ns - own);
      alone -= own;
      if (ns === 0 && this.shares.open(job) === 0) break;
      if (sim.due(a)) {
        sim.mark(a, AT_WAIT, job);
        yield DUE;
      }
      this.shares.advance(sim.nowNs[a]);
    }
    this.shares.freeJob(job);
  }

  /** What a job takes if nothing else is under way, in ns. */
  aloneNs(lists: readonly WorkList[]): number {
    if (lists.every((list) => list.length === 1 && list[0].lanes.every((l) => only(lists, l)))) {
      return lists.reduce((ns, [d]) => Math.max(ns, this.shares.aloneNs(d)), 0);
    }
    const alone = new Shares(), job = alone.job();
    alone.lanes.push(...this.rates);
    for (const list of lists) {
      const w = alone.worker();
      for (const d of list) alone.submit(0, w, job, d);
    }
    return alone.endNs(job);
  }

  /** What descriptors take that are spread over idle channels without a bound on their queues. */
  private aloneSpreadNs(descriptors: WorkList, channels: number): number {
    const lists: Descriptor[][] = Array.from({ length: Math.min(channels, descriptors.length) }, () => []);
    const bytes = lists.map(() => 0);
    for (const d of descriptors) {
      const to = bytes.indexOf(Math.min(...bytes));
      lists[to].push(d);
      bytes[to] += d.bytes;
    }
    return this.aloneNs(lists);
  }
}
