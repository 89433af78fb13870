/** One page a thread: the regular and the random access pattern of SC'21, and a stride. */
import { checkOptions, describe, wholeNumber } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { permutation } from "../../sim/random.ts";
import { PAGE_SIZE } from "../../units.ts";
import { type GpuProgram, gridOf } from "./kernel.ts";

/** In which order threads take the pages. */
export type PageOrder = "regular" | "random" | "stride";

/** How large a page pattern is. */
export interface PageKernelOptions {
  /** Pages of the array (default 1,048,576: 4 GiB). */
  readonly pages?: number;
  /** Threads of a block, a multiple of 32 (default 64). */
  readonly threadsPerBlock?: number;
  /** Whether the pages are written (default false). */
  readonly write?: boolean;
  /** Seed of the random order (default 1). */
  readonly seed?: number;
  /** Pages from one thread's to the next one's, for order "stride" (default 16: 64 KiB). */
  readonly stridePages?: number;
}

const OPTIONS: Readonly<Record<keyof PageKernelOptions, true>> = {
  pages: true,
  threadsPerBlock: true,
  write: true,
  seed: true,
  stridePages: true,
};

/**
 * Threads that each touch one page of an array: thread `i` page `i`, or page `p(i)` of a random permutation.
 *
 * Orders "regular" and "random" stand for the programs of these names in Allen and Ge, SC'21; their geometry (one load a
 * thread, 64 threads a block, 1,048,576 pages) is that of linear/page.cu and random/page.cu in
 * github.com/tallendev/uvm-eval. The list of the permutation lies in memory of the GPU and is not touched here. Order
 * "stride" is ours: neighbouring threads are `stridePages` apart, until all pages are touched.
 *
 * @param order in which order threads take the pages
 * @param options sizes
 * @returns the program: one array, one launch
 * @throws {UsageError} for an order or sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * const [launch] = pageKernel("regular", { pages: 128 }).launches([0]);
 * console.log(launch.blocks); // 2
 * ```
 */
export function pageKernel(order: PageOrder, options: PageKernelOptions = {}): GpuProgram {
  const act = "make a page kernel";
  if (!["regular", "random", "stride"].includes(order)) {
    throw new UsageError(
      `Cannot ${act}: got ${describe(order)} for the order; "regular", "random" and "stride" are allowed; ` +
        'write for example pageKernel("random")',
    );
  }
  const { pages = 1_048_576, threadsPerBlock = 64, write = false, seed = 1, stridePages = 16 } = options;
  checkOptions(act, options, OPTIONS, "{ pages: 65536 }");
  wholeNumber(act, "pages", pages, 1, 1 << 26);
  wholeNumber(act, "threadsPerBlock", threadsPerBlock, 1, 1024);
  wholeNumber(act, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  wholeNumber(act, "stridePages", stridePages, 1, pages);
  const shuffled = permutation(pages, seed), rows = Math.ceil(pages / stridePages);
  const pageOf = order === "random"
    ? shuffled
    : order === "regular"
    ? (i: number) => i
    : (i: number) => (i % rows) * stridePages + Math.floor(i / rows);
  // A stride that does not divide the array passes its end in the last row: those threads do nothing.
  const threads = order === "stride" ? rows * stridePages : pages;
  return {
    name: order,
    source: order === "stride" ? "ours" : `Allen and Ge, SC'21: github.com/tallendev/uvm-eval, ${order}`,
    arrays: [{ name: "a", lengthBytes: pages * PAGE_SIZE }],
    *launches([a]) {
      yield gridOf("uvmer2", Math.ceil(threads / threadsPerBlock), threadsPerBlock, (b, out) => {
        for (let i = b * threadsPerBlock; i < Math.min(threads, (b + 1) * threadsPerBlock); i++) {
          const page = pageOf(i);
          if (page < pages) out.add(a + page, 1, write);
        }
      });
    },
  };
}
