/**
 * A GPU's memory in chunks: which part of which address space each holds, and how many of its pages are in use.
 *
 * A chunk serves the naturally aligned range of its own size, and page `i` of the range lies in frame `i` of the chunk. So
 * who is resident can be read off the frames in use, and evicting a chunk empties consecutive frames.
 * @module
 */
import type { DeviceMemory } from "../../hmm/devmem.ts";
import { VPN_END } from "../../mm/pagetable.ts";
import type { Sim } from "../../sim/sim.ts";
import type { Evictor } from "./policy.ts";
import type { GpuSpec } from "./spec.ts";

/** All chunks of one GPU. */
export class Chunks {
  /** Pages of a chunk. */
  readonly pages: number;
  /** How many there are. */
  readonly n: number;
  /** Pages in use, by chunk. */
  readonly used: Uint16Array;
  /** 1 while the driver fills or empties a chunk: it is neither evicted nor given back. */
  readonly busy: Uint8Array;
  /** The order of eviction. */
  readonly evictor: Evictor;
  /** What a chunk holds: address space and range as one number, plus 1; 0 for a free chunk. */
  private readonly key: Float64Array;
  /** Chunk + 1 by hash of its key, with linear probing. */
  private readonly table: Uint32Array;
  /** [0] a chunk below which all are in use; [1] chunks in use */
  private readonly count: Uint32Array;
  private readonly memory: DeviceMemory;
  /** Hash bits to drop. */
  private readonly shift: number;

  /**
   * Makes free chunks of all of a GPU's memory.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   * @param spec its description
   * @param memory its memory
   */
  constructor(sim: Sim, name: string, spec: GpuSpec, memory: DeviceMemory) {
    const { state } = sim, n = spec.memoryPages / spec.chunkPages;
    const bits = 32 - Math.clz32(2 * n - 1);
    this.memory = memory;
    this.pages = spec.chunkPages;
    this.n = n;
    this.shift = 32 - bits;
    this.key = state.f64(`gpu.${name}.chunkKey`, n);
    this.used = state.u16(`gpu.${name}.chunkUsed`, n);
    this.busy = state.u8(`gpu.${name}.chunkBusy`, n);
    this.table = state.u32(`gpu.${name}.chunkTable`, 2 ** bits);
    this.count = state.u32(`gpu.${name}.chunkCount`, 2);
    this.evictor = spec.eviction.make({
      arena: state,
      prefix: `gpu.${name}.eviction`,
      chunks: n,
      busy: this.busy,
    });
  }

  /** Chunks in use. */
  get inUse(): number {
    return this.count[1];
  }

  /** The number of the range around a page, never 0. */
  private keyOf(mm: number, vpn: number): number {
    return mm * VPN_END + Math.floor(vpn / this.pages) + 1;
  }

  /** Where a key's search begins. */
  private slot(key: number): number {
    const low = key % 0x1_0000_0000, high = (key - low) / 0x1_0000_0000;
    return Math.imul((low | 0) ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1) >>> this.shift;
  }

  /** The chunk that serves a page of an address space, or -1. */
  find(mm: number, vpn: number): number {
    const { table, key } = this, k = this.keyOf(mm, vpn), mask = table.length - 1;
    for (let i = this.slot(k); table[i] !== 0; i = (i + 1) & mask) {
      if (key[table[i] - 1] === k) return table[i] - 1;
    }
    return -1;
  }

  /** The first frame of a chunk. */
  frame(chunk: number): number {
    return this.memory.zone.start + chunk * this.pages;
  }

  /** The chunk of a frame. */
  of(pfn: number): number {
    return Math.floor((pfn - this.memory.zone.start) / this.pages);
  }

  /** The first page of the range that a chunk in use serves. */
  firstVpn(chunk: number): number {
    return ((this.key[chunk] - 1) % VPN_END) * this.pages;
  }

  /** The address space that a chunk in use serves. */
  mm(chunk: number): number {
    return Math.floor((this.key[chunk] - 1) / VPN_END);
  }

  /** Gives a free chunk to the range around a page, busy. Returns it, or -1 when none is free. */
  take(mm: number, vpn: number): number {
    const { key, count, table, n } = this;
    let c = count[0];
    while (c < n && key[c] !== 0) c++;
    count[0] = c;
    if (c === n) return -1;
    const k = key[c] = this.keyOf(mm, vpn), mask = table.length - 1;
    let i = this.slot(k);
    while (table[i] !== 0) i = (i + 1) & mask;
    table[i] = c + 1;
    this.busy[c] = 1;
    count[1]++;
    this.evictor.allocated(c);
    return c;
  }

  /** Gives an empty chunk back. */
  private release(c: number): void {
    const { key, table, count } = this, mask = table.length - 1;
    let i = this.slot(key[c]);
    while (table[i] !== c + 1) i = (i + 1) & mask;
    // What stands behind in the same run moves up, so that no search ends too early.
    for (let j = (i + 1) & mask; table[j] !== 0; j = (j + 1) & mask) {
      const home = this.slot(key[table[j] - 1]);
      if (((j - home) & mask) < ((j - i) & mask)) continue;
      table[i] = table[j];
      i = j;
    }
    table[i] = 0;
    key[c] = 0;
    count[1]--;
    if (c < count[0]) count[0] = c;
    this.evictor.freed(c);
  }

  /** Ends what made a chunk busy; one that has nothing in it is free. */
  done(c: number): void {
    this.busy[c] = 0;
    if (this.used[c] === 0 && this.key[c] !== 0) this.release(c);
  }

  /** Counts a page that was freed: page_free(). The last one frees the chunk. */
  pageFreed(pfn: number): void {
    const c = this.of(pfn);
    if (--this.used[c] === 0 && this.busy[c] === 0) this.release(c);
  }
}
