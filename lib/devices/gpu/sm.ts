/**
 * The thread blocks on a GPU's multiprocessors: which are resident, how far each is in its accesses.
 *
 * The multiprocessors of one uTLB share its slots. Blocks become resident in the order of their numbers, as slots become
 * free; among the blocks of a uTLB the oldest goes first.
 * @module
 */
import type { Sim } from "../../sim/sim.ts";
import { BlockRuns, type Grid } from "./launch.ts";

/** What a slot's block accesses: made anew from the grid, so it is no state. */
interface Cached {
  block: number;
  part: number;
  more: boolean;
  readonly runs: BlockRuns;
}

/** The resident thread blocks of one GPU. */
export class Residents {
  /** Slots of each uTLB. */
  readonly slots: number;
  /** Row of the block's present part. */
  readonly row: Uint32Array;
  /** Pages of that row that are done or wait. */
  readonly page: Uint32Array;
  /** Accesses that wait for a replay. */
  readonly waiting: Uint16Array;
  /** Slots in the order of their blocks' age, by uTLB. */
  readonly order: Uint16Array;
  /** Resident blocks by uTLB. */
  readonly resident: Uint16Array;
  /** Place of the block whose turn it is, by uTLB. */
  readonly turn: Uint16Array;
  private readonly block: Uint32Array;
  private readonly part: Uint32Array;
  /** [0] the block that becomes resident next; [1] resident blocks */
  private readonly count: Uint32Array;
  private readonly cache: Cached[] = [];
  private grid: Grid | undefined;

  /**
   * Makes empty multiprocessors.
   *
   * @param sim the machine's contract
   * @param name the GPU's name
   * @param utlbs how many uTLBs
   * @param slots thread blocks that the multiprocessors of one uTLB hold
   */
  constructor(sim: Sim, name: string, utlbs: number, slots: number) {
    const { state } = sim, n = utlbs * slots;
    this.slots = slots;
    this.block = state.u32(`gpu.${name}.slotBlock`, n);
    this.part = state.u32(`gpu.${name}.slotPart`, n);
    this.row = state.u32(`gpu.${name}.slotRow`, n);
    this.page = state.u32(`gpu.${name}.slotPage`, n);
    this.waiting = state.u16(`gpu.${name}.slotWaiting`, n);
    this.order = state.u16(`gpu.${name}.slotOrder`, n);
    this.resident = state.u16(`gpu.${name}.resident`, utlbs);
    this.turn = state.u16(`gpu.${name}.turn`, utlbs);
    this.count = state.u32(`gpu.${name}.blocks`, 2);
  }

  /** Whether all blocks of the grid have ended. */
  get ended(): boolean {
    return this.count[1] === 0 && this.count[0] >= (this.grid?.blocks ?? 0);
  }

  /**
   * Begins a grid: its first blocks become resident, one on each uTLB in turn.
   *
   * @param grid what they do
   * @param slots blocks that a uTLB's multiprocessors hold of it, at most as many as there are slots
   */
  launch(grid: Grid, slots: number): void {
    this.grid = grid;
    this.count.fill(0);
    this.turn.fill(0);
    const utlbs = this.resident.length;
    for (let k = 0; k < utlbs * slots && this.count[0] < grid.blocks; k++) {
      const g = k % utlbs;
      this.enter(g, g * this.slots + Math.floor(k / utlbs));
    }
  }

  /** Puts the next block into a slot, if there is another. */
  private enter(g: number, slot: number): void {
    if (this.count[0] >= this.grid!.blocks) return;
    this.block[slot] = this.count[0]++;
    this.part[slot] = this.row[slot] = this.page[slot] = 0;
    this.order[g * this.slots + this.resident[g]++] = slot;
    this.count[1]++;
  }

  /** What a slot's block accesses in its present part. */
  runs(slot: number): BlockRuns {
    const block = this.block[slot], part = this.part[slot];
    const c = this.cache[slot] ??= { block: -1, part: -1, more: false, runs: new BlockRuns() };
    if (c.block !== block || c.part !== part) {
      c.runs.clear();
      c.more = this.grid!.fill(block, part, c.runs);
      c.block = block;
      c.part = part;
    }
    return c.runs;
  }

  /** Goes on to the next part of a slot's block. Returns false when that was the last. */
  nextPart(slot: number): boolean {
    this.runs(slot);
    if (!this.cache[slot].more) return false;
    this.part[slot]++;
    this.row[slot] = this.page[slot] = 0;
    return true;
  }

  /** Ends the block at place `at` of a uTLB's order; the next block of the grid takes its slot. */
  retire(g: number, at: number): void {
    const first = g * this.slots, slot = this.order[first + at], n = --this.resident[g];
    this.order.copyWithin(first + at, first + at + 1, first + n + 1);
    this.order[first + n] = 0;
    this.block[slot] =
      this.part[slot] =
      this.row[slot] =
      this.page[slot] =
        0;
    this.count[1]--;
    this.enter(g, slot);
  }

  /** Forgets what blocks access: another grid comes. */
  forget(): void {
    for (const c of this.cache) if (c !== undefined) c.block = -1;
  }
}
