/**
 * What a GPU is given to run: a grid of thread blocks, each with its accesses to memory in order.
 *
 * A grid says what its blocks access when a block becomes resident, and in parts if that is much: a launch over millions of
 * pages never lies in memory as a whole. Write one as an object with `fill`; `streamGrid` of workloads/launch.ts is a small
 * example, `launch` of the same file runs grids one after another.
 * @module
 */

/** How a run is accessed: read. */
export const ACCESS_READ = 0;
/** Written. */
export const ACCESS_WRITE = 1;
/** Added to by atomic operations that are atomic for the CPU too. */
export const ACCESS_ADD = 2;

/** Accesses of one thread block, one row a run of consecutive pages. */
export class BlockRuns {
  /** Rows in use. */
  n = 0;
  /** First page of each run. */
  vpn: Float64Array = new Float64Array(8);
  /** Pages of each run. */
  pages: Uint32Array = new Uint32Array(8);
  /** Whether the run is read (0), written (1), or added to atomically (2). */
  write: Uint8Array = new Uint8Array(8);
  /** Word written to (or expected of) the first page of each run, the next page's is one more; or what is added to every page. */
  value: Uint32Array = new Uint32Array(8);
  /** Whether the run waits until all accesses before it are done (1): it depends on what they read. */
  after: Uint8Array = new Uint8Array(8);

  /** Takes all rows away. */
  clear(): void {
    this.n = 0;
  }

  /**
   * Appends a run.
   *
   * @param vpn first virtual page number
   * @param pages how many pages, 1 or more
   * @param write whether they are written
   * @param value word written to (or expected of) the first page
   * @param after whether it waits until all accesses of the block before it are done, as a load through a pointer does
   */
  add(vpn: number, pages: number, write: boolean, value = 0, after = false): void {
    this.put(vpn, pages, write ? ACCESS_WRITE : ACCESS_READ, value, after);
  }

  /**
   * Appends a run to which the block adds with system atomics, so that no addition of another block or of a CPU is lost.
   *
   * @param vpn first virtual page number
   * @param pages how many pages, 1 or more
   * @param value what is added to the word of each
   * @param after whether it waits until all accesses of the block before it are done
   */
  increment(vpn: number, pages = 1, value = 1, after = false): void {
    this.put(vpn, pages, ACCESS_ADD, value, after);
  }

  /** Appends a row. */
  private put(vpn: number, pages: number, access: number, value: number, after: boolean): void {
    if (this.n === this.vpn.length) this.grow();
    const i = this.n++;
    this.vpn[i] = vpn;
    this.pages[i] = pages;
    this.write[i] = access;
    this.value[i] = value;
    this.after[i] = after ? 1 : 0;
  }

  /** Makes room for twice as many rows. */
  private grow(): void {
    const twice = <T extends Float64Array | Uint32Array | Uint8Array>(old: T, made: T): T => {
      made.set(old);
      return made;
    };
    const n = 2 * this.vpn.length;
    this.vpn = twice(this.vpn, new Float64Array(n));
    this.pages = twice(this.pages, new Uint32Array(n));
    this.write = twice(this.write, new Uint8Array(n));
    this.value = twice(this.value, new Uint32Array(n));
    this.after = twice(this.after, new Uint8Array(n));
  }
}

/** A kernel launch: thread blocks and what they access. It keeps no state: the same block and part give the same runs. */
export interface Grid {
  /** What it computes, for tables. */
  readonly name: string;
  /** Thread blocks; they become resident in order, block 0 first. */
  readonly blocks: number;
  /** Threads of a block: how many blocks fit a multiprocessor (default: as many as it has slots for). */
  readonly threadsPerBlock?: number;
  /** Page accesses of all blocks, for progress. */
  readonly pages: number;
  /** Faults that one block can have outstanding (default: as many as its uTLB); 1 for one that waits for each access. */
  readonly faultsPerBlock?: number;
  /**
   * Says what a part of a block accesses.
   *
   * @param block number of the block, from 0
   * @param part number of the part, from 0; parts are asked for in order, and again if need be
   * @param runs takes the runs, empty before
   * @returns whether the block has another part
   */
  fill(block: number, part: number, runs: BlockRuns): boolean;
}
