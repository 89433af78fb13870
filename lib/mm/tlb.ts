/**
 * Translation caches of the CPUs: what lets a store land in a page that its page table no longer maps.
 *
 * Each actor is a CPU. With `entries` 0 an access looks at the page table itself and a flush costs only time; models of
 * races give each CPU a few entries, and a store then goes where the cached entry points.
 * @module
 */
import type { Sim } from "../sim/sim.ts";

/** Direct-mapped translation caches, one a CPU. */
export class Tlbs {
  /** Entries of each CPU; 0 switches the caches off. */
  readonly entries: number;
  private readonly vpn: Float64Array;
  private readonly pfn: Uint32Array;
  private readonly write: Uint8Array;
  private readonly mm: Uint16Array;

  /**
   * Makes empty caches, one for each actor.
   *
   * @param sim the machine's contract
   * @param entries entries of each CPU
   */
  constructor(sim: Sim, entries: number) {
    this.entries = entries;
    const n = sim.maxActors * entries;
    this.vpn = sim.state.f64("tlb.vpn", n);
    this.pfn = sim.state.u32("tlb.pfn", n);
    this.write = sim.state.u8("tlb.write", n);
    this.mm = sim.state.u16("tlb.mm", n);
  }

  /** The row in which CPU `a` keeps a page's translation. */
  private slot(a: number, vpn: number): number {
    return a * this.entries + (vpn % this.entries);
  }

  /** The frame that CPU `a` has cached for a page of `mm`, or -1. */
  lookup(a: number, mm: number, vpn: number, write: boolean): number {
    const i = this.slot(a, vpn);
    // Rows hold vpn + 1 and mm + 1, so that an empty row is zero.
    if (this.vpn[i] !== vpn + 1 || this.mm[i] !== mm + 1 || (write && !this.write[i])) return -1;
    return this.pfn[i];
  }

  /** Caches a translation for CPU `a`. */
  fill(a: number, mm: number, vpn: number, pfn: number, write: boolean): void {
    const i = this.slot(a, vpn);
    this.vpn[i] = vpn + 1;
    this.mm[i] = mm + 1;
    this.pfn[i] = pfn;
    this.write[i] = write ? 1 : 0;
  }

  /** Every translation that some CPU has cached. */
  cached(): {
    readonly a: number;
    readonly mm: number;
    readonly vpn: number;
    readonly pfn: number;
    readonly write: boolean;
  }[] {
    const rows: ReturnType<Tlbs["cached"]> = [];
    for (let i = 0; i < this.vpn.length; i++) {
      if (this.vpn[i] === 0) continue;
      rows.push({
        a: Math.floor(i / this.entries),
        mm: this.mm[i] - 1,
        vpn: this.vpn[i] - 1,
        pfn: this.pfn[i],
        write: this.write[i] !== 0,
      });
    }
    return rows;
  }

  /** Forgets a range of `mm` on every CPU: flush_tlb_range(). */
  flush(mm: number, start: number, end: number): void {
    for (let i = 0; i < this.vpn.length; i++) {
      const v = this.vpn[i] - 1;
      if (this.mm[i] !== mm + 1 || v < start || v >= end) continue;
      this.vpn[i] =
        this.pfn[i] =
        this.write[i] =
        this.mm[i] =
          0;
    }
  }
}
