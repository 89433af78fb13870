/**
 * What each actor spent its time on inside its spans, stretch by stretch: off by default, bounded.
 * @module
 */
import type { Columns } from "./columns.ts";

const FIRST_ROWS = 4096;

/** A bounded log of stretches of one phase; when it is full it counts what it drops. */
export class SliceLog {
  /** Whether stretches are being logged. */
  on = false;
  /** How many rows there are. */
  rows = 0;
  /** How many stretches came after the log was full. */
  dropped = 0;
  private limit = 0;
  private startNs = new Float64Array(0);
  private durationNs = new Float64Array(0);
  private actor = new Uint16Array(0);
  private phase = new Uint8Array(0);
  /** Row of the event that a stretch is a part of, where events overlap; -1 for what an actor did. */
  private event = new Int32Array(0);
  /** By actor: the row that its next stretch of the same phase goes on with, -1 for none. */
  private readonly last: Int32Array;

  /**
   * Makes an empty log.
   *
   * @param actors how many actors there can be
   */
  constructor(actors: number) {
    this.last = new Int32Array(actors).fill(-1);
  }

  /**
   * Switches logging on, or off, and forgets earlier rows.
   *
   * @param limit most rows to keep, 23 bytes each; the log grows as it fills; 0 switches it off
   */
  start(limit: number): void {
    this.limit = limit;
    this.rows = this.dropped = 0;
    this.last.fill(-1);
    this.resize(Math.min(FIRST_ROWS, limit));
    this.on = limit > 0;
  }

  /** Logs that actor `a` spent `ns` from `startNs` on under `phase`; it goes on with the row before if that fits. */
  add(a: number, startNs: number, ns: number, phase: number): void {
    if (ns === 0) return;
    const last = this.last[a];
    if (last >= 0 && this.phase[last] === phase) {
      this.durationNs[last] += ns;
      return;
    }
    this.last[a] = this.append(a, startNs, ns, phase, -1);
  }

  /** Logs a part of event number `event`, which overlaps others of actor `a`; parts follow each other in time. */
  part(a: number, startNs: number, ns: number, phase: number, event: number): void {
    if (ns > 0) this.append(a, startNs, ns, phase, event);
  }

  /** Adds a row. Returns its number, -1 if the log is full. */
  private append(a: number, startNs: number, ns: number, phase: number, event: number): number {
    const i = this.rows;
    if (i === this.limit) {
      this.dropped++;
      return -1;
    }
    if (i === this.startNs.length) this.resize(Math.min(2 * i, this.limit));
    this.startNs[i] = startNs;
    this.durationNs[i] = ns;
    this.actor[i] = a;
    this.phase[i] = phase;
    this.event[i] = event;
    this.rows = i + 1;
    return i;
  }

  /** Lets the next stretch of an actor begin a row of its own: a span of it begins or ends here. */
  cut(a: number): void {
    this.last[a] = -1;
  }

  /**
   * The rows logged so far, each actor's in the order of time.
   *
   * @param phaseNames names by phase number
   * @returns columns startNs, durationNs, actor, phase, event (the row of the event that it is a part of, where events of an
   * actor overlap; -1 for what the actor itself did)
   */
  columns(phaseNames: readonly string[]): Columns {
    const n = this.rows;
    return {
      title: this.dropped > 0 ? `Phases in time (${this.dropped} more did not fit)` : "Phases in time",
      numRows: n,
      columns: {
        startNs: this.startNs.slice(0, n),
        durationNs: this.durationNs.slice(0, n),
        actor: this.actor.slice(0, n),
        phase: Array.from(this.phase.subarray(0, n), (p) => phaseNames[p]),
        event: this.event.slice(0, n),
      },
      units: { startNs: "ns", durationNs: "ns" },
    };
  }

  /** Makes room for so many rows. */
  private resize(rows: number): void {
    const startNs = new Float64Array(rows), durationNs = new Float64Array(rows);
    const actor = new Uint16Array(rows), phase = new Uint8Array(rows), event = new Int32Array(rows);
    const kept = this.rows;
    startNs.set(this.startNs.subarray(0, kept));
    durationNs.set(this.durationNs.subarray(0, kept));
    actor.set(this.actor.subarray(0, kept));
    phase.set(this.phase.subarray(0, kept));
    event.set(this.event.subarray(0, kept));
    Object.assign(this, { startNs, durationNs, actor, phase, event });
  }
}
