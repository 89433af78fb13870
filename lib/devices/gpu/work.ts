/**
 * The VA block that a GPU's driver services: its pages as bitmaps.
 * @module
 */
import type { Sim } from "../../sim/sim.ts";
import { has, next, set } from "./bitmap.ts";
import { ACCESS_ADD, ACCESS_READ } from "./launch.ts";
import { BLOCK_PAGES, BLOCK_WORDS, type PrefetchBlock } from "./policy.ts";

/** Why a block is serviced: its pages faulted. */
export const CAUSE_FAULT = 0;
/** Its pages were counted as used over the link often enough. */
export const CAUSE_COUNTER = 1;
/** A program asked for it. */
export const CAUSE_CALL = 2;

/** The bitmaps of the block that is serviced; they live across stops, so they lie in the arena. */
export class BlockWork implements PrefetchBlock {
  firstVpn = 0;
  readonly valid: Uint32Array;
  readonly resident: Uint32Array;
  readonly faulted: Uint32Array;
  readonly thrashing: Uint32Array;
  readonly wanted: Uint32Array;
  /** Pages with a write fault. */
  readonly writes: Uint32Array;
  /** Pages with an atomic access that faulted. */
  readonly atomics: Uint32Array;
  /** Pages that shall be mapped where they are, even if nobody faulted on them. */
  readonly mapped: Uint32Array;
  /** Pages that shall not move to the GPU. */
  readonly stay: Uint32Array;
  /** By page: negated errno with which its faults failed; 0 for none. */
  readonly error: Int32Array;
  /**
   * [0] pages with a fault that no migration collected: elsewhere, in swap, on their way, or locked by somebody; [1] why
   * the block is serviced
   */
  readonly missed: Uint32Array;

  /**
   * Lays the columns of one GPU.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   */
  constructor(sim: Sim, name: string) {
    const map = (what: string) => sim.state.u32(`gpu.${name}.block.${what}`, BLOCK_WORDS);
    this.valid = map("valid");
    this.resident = map("resident");
    this.faulted = map("faulted");
    this.thrashing = map("thrashing");
    this.wanted = map("wanted");
    this.writes = map("writes");
    this.atomics = map("atomics");
    this.mapped = map("mapped");
    this.stay = map("stay");
    this.error = sim.state.i32(`gpu.${name}.block.error`, BLOCK_PAGES);
    this.missed = sim.state.u32(`gpu.${name}.block.missed`, 2);
  }

  /** Why the block is serviced. */
  get cause(): number {
    return this.missed[1];
  }

  /** Empties everything: another block's turn has come. */
  begin(firstVpn: number, cause: number): void {
    this.firstVpn = firstVpn;
    this.faulted.fill(0);
    this.writes.fill(0);
    this.atomics.fill(0);
    this.error.fill(0);
    this.missed[0] = 0;
    this.missed[1] = cause;
  }

  /** A page was not collected. */
  miss(vpn: number): void {
    const i = vpn - this.firstVpn;
    if (this.cause === CAUSE_FAULT && has(this.faulted, i) && has(this.wanted, i)) this.missed[0]++;
  }

  /** A page faulted. */
  fault(i: number, access: number): void {
    set(this.faulted, i);
    if (access !== ACCESS_READ) set(this.writes, i);
    if (access === ACCESS_ADD) set(this.atomics, i);
  }

  /** Takes note that the fault of a page is dealt with. */
  served(vpn: number): void {
    const i = vpn - this.firstVpn;
    this.faulted[i >>> 5] &= ~(1 << (i & 31));
  }

  /** Fails the faults of the pages from `from` to `to`, virtual page numbers. */
  fail(from: number, to: number, rc: number): void {
    const { faulted } = this, end = to - this.firstVpn;
    for (let i = next(faulted, from - this.firstVpn, end); i < end; i = next(faulted, i + 1, end)) {
      this.error[i] = rc;
      this.faulted[i >>> 5] &= ~(1 << (i & 31));
    }
  }

  /** Whether any page from `from` to `to` faulted. */
  any(from: number, to: number): boolean {
    const end = to - this.firstVpn;
    return next(this.faulted, from - this.firstVpn, end) < end;
  }
}
