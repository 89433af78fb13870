/**
 * Thrashing as one GPU's driver watches it: which blocks the detector knows under which number, what it is told, what it says.
 *
 * Processor 0 is the CPU, 1 this GPU. System memory can be reached by both, the GPU's by the GPU alone. Both nap: a fault of
 * the GPU is left for a later replay, one of a CPU sleeps in its handler, with the mmap lock held, as in NVIDIA's open driver
 * (uvm_va_space_cpu_fault). That driver has detection on by default (uvm_perf_thrashing_enable); here it is off unless asked
 * for, so that what a run measures without it is the cost of faults and migrations alone.
 * @module
 */
import { DUE, type Proc, type Sim, site } from "../../sim/sim.ts";
import { set } from "./bitmap.ts";
import { BLOCK_PAGES } from "./policy.ts";
import { HINT_PIN, HINT_THROTTLE, Thrashing, type ThrashingOptions } from "./thrashing.ts";

/** Blocks that are told apart, and of those how many are watched page by page. */
const BLOCKS = 16_384, WATCHED = 256;
/** 2 MiB blocks of an address space. */
const BLOCKS_OF_MM = 2 ** 27;

const AT_NAP = site("gpu thrashing: a CPU naps in its fault");

/** The CPU, as the detector numbers processors. */
export const CPU = 0;
/** The GPU. */
export const GPU = 1;

/** The detector of one GPU. */
export class ThrashWatch {
  private readonly detector: Thrashing;
  /** Address space and block of each number, plus 1; 0 for a number that is free. */
  private readonly key: Float64Array;
  private readonly sim: Sim;
  private readonly throttled: number;
  private readonly pinned: number;
  private readonly napped: number;
  private readonly phaseNap: number;

  /**
   * Lays the columns of one GPU.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   * @param options the detector's parameters
   */
  constructor(sim: Sim, name: string, options: ThrashingOptions) {
    const prefix = `gpu.${name}.thrash`;
    this.sim = sim;
    this.key = sim.state.f64(`${prefix}.key`, BLOCKS);
    const reachableBy = Uint32Array.of((1 << CPU) | (1 << GPU), 1 << GPU);
    this.detector = new Thrashing(
      { arena: sim.state, prefix, blocks: BLOCKS, watched: WATCHED, reachableBy },
      options,
    );
    this.throttled = sim.counters.define("gpu_faults_throttled");
    this.pinned = sim.counters.define("gpu_faults_pinned");
    this.napped = sim.counters.define("cpu_faults_throttled");
    this.phaseNap = sim.spans.phase("thrashing: nap of a CPU");
  }

  /** Address space and block as one number. */
  private keyOf(mm: number, vpn: number): number {
    return mm * BLOCKS_OF_MM + Math.floor(vpn / BLOCK_PAGES) + 1;
  }

  /** The number of a block; whoever had it before is forgotten. */
  private block(mm: number, vpn: number): number {
    const key = this.keyOf(mm, vpn), b = key % BLOCKS;
    if (this.key[b] === key) return b;
    if (this.key[b] !== 0) this.detector.drop(b);
    this.key[b] = key;
    return b;
  }

  /** The time as the detector is told it: the explorer has none. */
  private now(a: number): number {
    return this.sim.horizonNs < 0 ? 0 : this.sim.nowNs[a];
  }

  /** Pages have moved to a processor because it touched them. */
  moved(a: number, mm: number, start: number, end: number, to: number): void {
    for (let v = start; v < end;) {
      const stop = Math.min(end, v - (v % BLOCK_PAGES) + BLOCK_PAGES), first = v % BLOCK_PAGES;
      this.detector.migrated(this.block(mm, v), first, first + stop - v, to, this.now(a));
      v = stop;
    }
  }

  /**
   * Asks what to do with a fault of the GPU.
   *
   * @param resident whether the page is on the GPU
   * @param preferSystem whether it should be in system memory
   * @param stay takes the page's bit if it is to be mapped where it is
   * @returns whether the fault is to be left for later
   */
  throttles(
    a: number,
    mm: number,
    vpn: number,
    resident: boolean,
    preferSystem: boolean,
    stay: Uint32Array,
  ): boolean {
    const i = vpn % BLOCK_PAGES, { values } = this.sim.counters;
    const residence = resident ? GPU : CPU, preferred = preferSystem ? CPU : -1;
    const hint = this.detector.hint(this.block(mm, vpn), i, GPU, residence, preferred, this.now(a));
    if (hint === HINT_THROTTLE) values[this.throttled]++;
    if (hint === HINT_PIN + CPU) {
      values[this.pinned]++;
      set(stay, i);
    }
    return hint === HINT_THROTTLE;
  }

  /**
   * Lets a CPU that faulted on a page of the GPU sleep until it is its turn. The explorer has no time: there it sleeps once at
   * most.
   */
  *nap(a: number, mm: number, vpn: number): Proc {
    const { sim, detector } = this, b = this.block(mm, vpn), i = vpn % BLOCK_PAGES;
    while (detector.hint(b, i, CPU, GPU, -1, this.now(a)) === HINT_THROTTLE) {
      sim.counters.values[this.napped]++;
      sim.spend(a, this.phaseNap, Math.max(1, detector.napEnd(b, i) - this.now(a)));
      if (sim.due(a)) {
        sim.mark(a, AT_NAP, mm, vpn);
        yield DUE;
      }
      if (sim.horizonNs < 0 || this.key[b] !== this.keyOf(mm, vpn)) return;
    }
  }

  /** Copies which pages of a block thrash. */
  copyTo(mm: number, firstVpn: number, out: Uint32Array): void {
    this.detector.copyTo(this.block(mm, firstVpn), out);
  }

  /**
   * Unpins the page whose pin has run out, if any.
   *
   * @returns its address space times 2^36 plus its page, or -1
   */
  expire(a: number): number {
    const at = this.detector.expired(this.now(a));
    if (at < 0) return -1;
    const b = Math.floor(at / BLOCK_PAGES), i = at % BLOCK_PAGES;
    this.detector.release(b, i, i + 1);
    return (this.key[b] - 1) * BLOCK_PAGES + i;
  }
}
