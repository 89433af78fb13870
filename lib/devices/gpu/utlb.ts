/**
 * The uTLBs of a GPU: the translations that each keeps, and the accesses that wait there for a replay.
 *
 * An access that faults occupies a row until a replay finds its page mapped, so a uTLB has at most 56 (or as many as the
 * profile says) far faults outstanding; an access that would fault beyond that stalls its thread block.
 * @module
 */
import type { Sim } from "../../sim/sim.ts";

/** Translations of 2 MiB that one uTLB keeps: assumed, no source found. */
const REACH = 16;

/** All uTLBs of one GPU. Row `g * rows + i` is outstanding access `i` of uTLB `g`. */
export class Utlbs {
  /** How many uTLBs. */
  readonly n: number;
  /** Outstanding accesses of each, at most. */
  readonly rows: number;
  /** Page of an outstanding access. */
  readonly vpn: Float64Array;
  /** Whether it reads (0), writes (1), or adds (2). */
  readonly write: Uint8Array;
  /** Word that it writes, expects, or adds. */
  readonly value: Uint32Array;
  /** Slot of its thread block + 1; 0 for a free row. */
  readonly slot: Uint16Array;
  /** Negated errno with which the driver gave it up; 0 for none. */
  readonly error: Int32Array;
  /** Outstanding accesses by uTLB. */
  readonly count: Uint16Array;
  /** Where the ring of rows goes on, by uTLB. */
  private readonly next: Uint16Array;
  /** 2 MiB of address space + 1 by entry; 0 for none. */
  private readonly tag: Float64Array;

  /**
   * Makes empty uTLBs.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   * @param n how many
   * @param rows outstanding accesses of each
   */
  constructor(sim: Sim, name: string, n: number, rows: number) {
    const { state } = sim;
    this.n = n;
    this.rows = rows;
    this.vpn = state.f64(`gpu.${name}.waitVpn`, n * rows);
    this.write = state.u8(`gpu.${name}.waitWrite`, n * rows);
    this.value = state.u32(`gpu.${name}.waitValue`, n * rows);
    this.slot = state.u16(`gpu.${name}.waitSlot`, n * rows);
    this.error = state.i32(`gpu.${name}.waitError`, n * rows);
    this.count = state.u16(`gpu.${name}.waiting`, n);
    this.next = state.u16(`gpu.${name}.waitNext`, n);
    this.tag = state.f64(`gpu.${name}.utlbTag`, n * REACH);
  }

  /** Whether uTLB `g` waits already for a page, with the same access. */
  waits(g: number, vpn: number, access: number): boolean {
    for (let r = g * this.rows, end = r + this.rows, left = this.count[g]; r < end && left > 0; r++) {
      if (this.slot[r] === 0) continue;
      if (this.vpn[r] === vpn && this.write[r] === access) return true;
      left--;
    }
    return false;
  }

  /** Row of uTLB `g` that has place `i` in its turn: rows are given out in a ring, so the oldest access comes first. */
  rowAt(g: number, i: number): number {
    return g * this.rows + (this.next[g] + i) % this.rows;
  }

  /** Takes the next free row of a uTLB for an access, or -1. */
  wait(g: number, vpn: number, access: number, value: number, slot: number): number {
    if (this.count[g] === this.rows) return -1;
    let i = 0;
    while (this.slot[this.rowAt(g, i)] !== 0) i++;
    const r = this.rowAt(g, i);
    this.next[g] = (this.next[g] + i + 1) % this.rows;
    this.vpn[r] = vpn;
    this.write[r] = access;
    this.value[r] = value;
    this.slot[r] = slot + 1;
    this.error[r] = 0;
    this.count[g]++;
    return r;
  }

  /** Frees a row. */
  done(g: number, r: number): void {
    this.vpn[r] =
      this.write[r] =
      this.value[r] =
      this.slot[r] =
      this.error[r] =
        0;
    this.count[g]--;
  }

  /** Whether uTLB `g` has a translation around a page; it has one from now on. */
  lookup(g: number, vpn: number): boolean {
    const block = Math.floor(vpn / 512), e = g * REACH + (block % REACH);
    if (this.tag[e] === block + 1) return true;
    this.tag[e] = block + 1;
    return false;
  }

  /** Drops the translations of a range from all uTLBs. */
  flush(start: number, end: number): void {
    const { tag } = this, first = Math.floor(start / 512), last = Math.floor((end - 1) / 512);
    for (let e = 0; e < tag.length; e++) if (tag[e] > first && tag[e] <= last + 1) tag[e] = 0;
  }
}
