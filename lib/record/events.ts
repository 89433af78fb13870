/**
 * Single spans as rows of typed columns: off by default, bounded, cheap.
 * @module
 */
import type { Columns } from "./columns.ts";

/** A bounded log of spans; when it is full it counts what it drops. */
export class EventLog {
  /** Whether spans are being logged. */
  on = false;
  /** How many rows there are. */
  rows = 0;
  /** How many spans came after the log was full. */
  dropped = 0;
  private startNs = new Float64Array(0);
  private durationNs = new Float64Array(0);
  private actor = new Uint16Array(0);
  private kind = new Uint8Array(0);
  private vpn = new Float64Array(0);
  private pages = new Uint32Array(0);

  /**
   * Switches logging on and forgets earlier rows.
   *
   * @param capacity most rows to keep; 35 bytes each are reserved at once
   */
  start(capacity: number): void {
    this.startNs = new Float64Array(capacity);
    this.durationNs = new Float64Array(capacity);
    this.actor = new Uint16Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.vpn = new Float64Array(capacity);
    this.pages = new Uint32Array(capacity);
    this.rows = this.dropped = 0;
    this.on = true;
  }

  /**
   * Appends one span; times in ns, `vpn` where it happened, `pages` how many pages.
   *
   * @returns its row, -1 if the log is full
   */
  add(startNs: number, durationNs: number, actor: number, kind: number, vpn: number, pages: number): number {
    const i = this.rows;
    if (i === this.startNs.length) {
      this.dropped++;
      return -1;
    }
    this.startNs[i] = startNs;
    this.durationNs[i] = durationNs;
    this.actor[i] = actor;
    this.kind[i] = kind;
    this.vpn[i] = vpn;
    this.pages[i] = pages;
    this.rows = i + 1;
    return i;
  }

  /**
   * The rows logged so far.
   *
   * @param kindNames names by kind number
   * @returns columns startNs, durationNs, actor, kind, vpn, pages
   */
  columns(kindNames: readonly string[]): Columns {
    const n = this.rows;
    return {
      title: this.dropped > 0 ? `Events (${this.dropped} more did not fit)` : "Events",
      numRows: n,
      columns: {
        startNs: this.startNs.slice(0, n),
        durationNs: this.durationNs.slice(0, n),
        actor: this.actor.slice(0, n),
        kind: Array.from(this.kind.subarray(0, n), (k) => kindNames[k]),
        vpn: this.vpn.slice(0, n),
        pages: this.pages.slice(0, n),
      },
      units: { startNs: "ns", durationNs: "ns", pages: "pages" },
    };
  }
}
