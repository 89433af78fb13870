/**
 * GPU programs as page accesses: what each thread block touches, launch by launch.
 *
 * A program says the sizes of its arrays and then its launches. A launch says for one thread block at a time which bytes
 * of which array it reads and writes, in the order of the program's text and warp by warp. Nothing is made before it is
 * asked for, so a grid of a million thread blocks takes no memory.
 * @module
 */
import { BlockRuns, type Grid } from "../../devices/gpu/launch.ts";
import { PAGE_SIZE } from "../../units.ts";

/** Bytes of one array, as the program names them. */
export interface GpuArray {
  /** Its name in the program's text. */
  readonly name: string;
  /** Its length. */
  readonly lengthBytes: number;
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
  launches(first: readonly number[]): Iterable<Grid>;
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
 * Adds the pages of a range of bytes of an array; a run that the one before covers or that follows it makes no new row.
 *
 * @param runs takes the run
 * @param first the array's first virtual page
 * @param fromByte first byte
 * @param toByte byte past the last; nothing is added if it is not above `fromByte`
 * @param write whether it is written
 */
export function addBytes(
  runs: BlockRuns,
  first: number,
  fromByte: number,
  toByte: number,
  write: boolean,
): void {
  if (toByte <= fromByte) return;
  const page = Math.floor(fromByte / PAGE_SIZE);
  addPages(runs, first + page, Math.floor((toByte - 1) / PAGE_SIZE) - page + 1, write);
}

/**
 * Adds pages, as {@link addBytes}.
 *
 * @param runs takes the run
 * @param vpn first virtual page
 * @param pages how many, 1 or more
 * @param write whether they are written
 */
export function addPages(runs: BlockRuns, vpn: number, pages: number, write: boolean): void {
  const last = runs.n - 1;
  if (last >= 0 && (runs.write[last] !== 0) === write) {
    const end = runs.vpn[last] + runs.pages[last];
    if (vpn >= runs.vpn[last] && vpn + pages <= end) return;
    if (vpn === end) {
      runs.pages[last] += pages;
      return;
    }
  }
  runs.add(vpn, pages, write);
}

/**
 * Makes a launch whose blocks are each said in one part.
 *
 * @param name the kernel's name in the program's text
 * @param blocks thread blocks of the grid
 * @param threadsPerBlock threads of each
 * @param fill says what one block touches
 * @returns the grid; the pages that it promises for progress are those of three blocks, taken for all
 */
export function gridOf(
  name: string,
  blocks: number,
  threadsPerBlock: number,
  fill: (block: number, runs: BlockRuns) => void,
): Grid {
  const sample = new BlockRuns(), looked = [0, blocks >> 1, blocks - 1];
  for (const b of looked) fill(b, sample);
  const pages = sample.pages.subarray(0, sample.n).reduce((n, x) => n + x, 0);
  return {
    name,
    blocks,
    threadsPerBlock,
    pages: Math.ceil((pages / looked.length) * blocks),
    fill(block, _part, runs) {
      fill(block, runs);
      return false;
    },
  };
}
