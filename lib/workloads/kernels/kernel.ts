/**
 * GPU programs as page accesses: what each thread block touches, launch by launch.
 *
 * A program says the sizes of its arrays and then its launches. A launch says for one thread block at a time which bytes
 * of which array it reads and writes, in the order of the program's text and warp by warp. Nothing is made before it is
 * asked for, so a grid of a million thread blocks costs nothing.
 * @module
 */
import { PAGE_SIZE } from "../../units.ts";

/** Bytes of one array, as the program names them. */
export interface GpuArray {
  /** Its name in the program's text. */
  readonly name: string;
  /** Its length. */
  readonly lengthBytes: number;
}

/** Takes what a thread block touches, in the order in which it touches it. */
export interface PageRuns {
  /**
   * Takes one run of pages.
   *
   * @param vpn first virtual page
   * @param pages how many, 1 or more
   * @param write whether it is written
   */
  add(vpn: number, pages: number, write: boolean): void;
}

/** One launch of a kernel: a grid of thread blocks. */
export interface GpuKernel {
  /** The kernel's name in the program's text. */
  readonly name: string;
  /** Thread blocks of the grid; block `b` begins no later than block `b + 1`. */
  readonly blocks: number;
  /** Threads of each. */
  readonly threadsPerBlock: number;
  /**
   * Says what one thread block touches.
   *
   * @param b its number, from 0
   * @param out takes the runs
   */
  block(b: number, out: PageRuns): void;
}

/** A program that runs on a GPU. */
export interface GpuProgram {
  /** What it is called where it was published. */
  readonly name: string;
  /** Which published program it stands for, and from where its geometry comes. */
  readonly source: string;
  /** Its arrays, in the order in which it allocates them. */
  readonly arrays: readonly GpuArray[];
  /**
   * Its launches in their order, each made when it is asked for.
   *
   * @param first the first virtual page of each array, in the order of {@link arrays}
   */
  launches(first: readonly number[]): Iterable<GpuKernel>;
}

/**
 * Pages that an array takes: it begins at a page.
 *
 * @param array the array
 * @returns how many
 */
export function pagesOf(array: GpuArray): number {
  return Math.ceil(array.lengthBytes / PAGE_SIZE);
}

/**
 * Where the arrays of a program lie one after the other, each at a multiple of 2 MiB as cudaMallocManaged gives them.
 *
 * @param program the program
 * @param vpn first virtual page, a multiple of 512
 * @returns the first page of each array, and past the last one's end
 */
export function layOut(
  program: GpuProgram,
  vpn = 0,
): { readonly first: readonly number[]; readonly end: number } {
  const first: number[] = [];
  let at = vpn;
  for (const array of program.arrays) {
    first.push(at);
    at += 512 * Math.ceil(pagesOf(array) / 512);
  }
  return { first, end: at };
}

/**
 * Adds the pages of a range of bytes of an array.
 *
 * @param out takes the run
 * @param first the array's first virtual page
 * @param fromByte first byte
 * @param toByte byte past the last; nothing is added if it is not above `fromByte`
 * @param write whether it is written
 */
export function addBytes(
  out: PageRuns,
  first: number,
  fromByte: number,
  toByte: number,
  write: boolean,
): void {
  if (toByte <= fromByte) return;
  const page = Math.floor(fromByte / PAGE_SIZE);
  out.add(first + page, Math.floor((toByte - 1) / PAGE_SIZE) - page + 1, write);
}

/** Collects the runs of a thread block as columns; a run that the one before covers is left out. */
export class RunList implements PageRuns {
  /** Runs so far. */
  n = 0;
  /** First page by run. */
  vpn: Float64Array = new Float64Array(64);
  /** Pages by run. */
  pages: Uint32Array = new Uint32Array(64);
  /** 1 where a run is written. */
  write: Uint8Array = new Uint8Array(64);

  /** Forgets all runs. */
  clear(): void {
    this.n = 0;
  }

  /** Takes a run; see {@link PageRuns.add}. */
  add(vpn: number, pages: number, write: boolean): void {
    const last = this.n - 1, w = write ? 1 : 0;
    if (last >= 0 && this.write[last] === w) {
      const end = this.vpn[last] + this.pages[last];
      if (vpn >= this.vpn[last] && vpn + pages <= end) return;
      if (vpn === end) {
        this.pages[last] += pages;
        return;
      }
    }
    if (this.n === this.vpn.length) this.grow();
    this.vpn[this.n] = vpn;
    this.pages[this.n] = pages;
    this.write[this.n++] = w;
  }

  private grow(): void {
    const size = 2 * this.n;
    const wider = <T extends Float64Array | Uint32Array | Uint8Array>(
      to: T,
      from: T,
    ): T => (to.set(from), to);
    this.vpn = wider(new Float64Array(size), this.vpn);
    this.pages = wider(new Uint32Array(size), this.pages);
    this.write = wider(new Uint8Array(size), this.write);
  }
}
