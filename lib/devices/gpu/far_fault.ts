/**
 * The latency of every far fault, from the access that faults to the replay that finds its page mapped, split into phases
 * that add up.
 *
 * Far faults overlap, so they are no spans of an actor. Their times are accounts: nothing depends on them.
 * @module
 */
import type { Sim } from "../../sim/sim.ts";

/** Times of the outstanding accesses, by their row in the uTLBs. */
export class FarFaults {
  private readonly sim: Sim;
  private readonly issuedNs: Float64Array;
  /** When the batch that serves it was fetched, when its block's turn came, when its block was done; 0 for not yet. */
  private readonly fetchedNs: Float64Array;
  private readonly turnNs: Float64Array;
  private readonly servedNs: Float64Array;
  /** When the last replay began. */
  private replayNs = 0;
  private readonly kind: number;
  private readonly phase: Readonly<Record<"buffer" | "batch" | "block" | "rest" | "replay", number>>;

  /**
   * Makes the accounts of one GPU.
   *
   * @param sim the machine's contract
   * @param rows outstanding accesses, at most
   */
  constructor(sim: Sim, rows: number) {
    const { spans } = sim;
    this.sim = sim;
    this.issuedNs = new Float64Array(rows);
    this.fetchedNs = new Float64Array(rows);
    this.turnNs = new Float64Array(rows);
    this.servedNs = new Float64Array(rows);
    this.kind = spans.kind("far fault");
    this.phase = {
      buffer: spans.phase("far fault: in the fault buffer"),
      batch: spans.phase("far fault: batch, before its block"),
      block: spans.phase("far fault: service of its block"),
      rest: spans.phase("far fault: batch, after its block"),
      replay: spans.phase("far fault: replay"),
    };
  }

  /** An access faults. */
  begin(a: number, r: number): void {
    this.issuedNs[r] = this.sim.nowNs[a];
    this.fetchedNs[r] = this.turnNs[r] = this.servedNs[r] = 0;
  }

  /** An access faults again after a replay: what was done for it so far counts as waiting in the buffer. */
  again(r: number): void {
    this.fetchedNs[r] = this.turnNs[r] = this.servedNs[r] = 0;
  }

  /** The driver has fetched its fault. */
  fetched(a: number, r: number): void {
    this.fetchedNs[r] = this.sim.nowNs[a];
  }

  /** The turn of its block has come. */
  turn(a: number, r: number): void {
    this.turnNs[r] = this.sim.nowNs[a];
  }

  /** Its block is done. */
  served(a: number, r: number): void {
    this.servedNs[r] = this.sim.nowNs[a];
  }

  /** The driver begins to replay. */
  replays(a: number): void {
    this.replayNs = this.sim.nowNs[a];
  }

  /** An access has succeeded. */
  end(a: number, r: number, vpn: number): void {
    const { spans } = this.sim, { kind, phase } = this, from = this.issuedNs[r];
    const now = Math.max(this.sim.nowNs[a], from);
    let at = from;
    const upTo = (ns: number, p: number): void => {
      const t = Math.min(now, Math.max(at, ns));
      spans.book(kind, p, t - at);
      at = t;
    };
    if (this.servedNs[r] > 0) {
      upTo(this.fetchedNs[r], phase.buffer);
      upTo(this.turnNs[r], phase.batch);
      upTo(this.servedNs[r], phase.block);
      upTo(this.replayNs, phase.rest);
    } else upTo(this.replayNs, phase.buffer); // another's service brought its page
    upTo(now, phase.replay);
    spans.overlapping(a, kind, from, now - from, vpn);
  }
}
