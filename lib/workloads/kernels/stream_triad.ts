/** The triad of STREAM. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

const ELEMENT_BYTES = 8;

/** How large the triad is. */
export interface StreamTriadOptions {
  /** Elements of each array, a multiple of 1,024 (default 125,000,704: 1 GB). */
  readonly elements?: number;
  /** How often it runs (default 1). */
  readonly passes?: number;
}

const OPTIONS: Readonly<Record<keyof StreamTriadOptions, true>> = { elements: true, passes: true };

/**
 * Three arrays of doubles: a = b + scalar · c, one element a thread.
 *
 * It stands for the triad of BabelStream as Allen and Ge ran it (SC'21, "stream"); the geometry (1,024 threads a block,
 * 125,000,704 elements) is that of stream/CUDAStream.cu and its scripts in github.com/tallendev/uvm-eval.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log(streamTriad({ elements: 4096 }).arrays.length); // 3
 * ```
 */
export function streamTriad(options: StreamTriadOptions = {}): GpuProgram {
  const { elements = 125_000_704, passes = 1 } = options, threads = 1024;
  checkOptions("make a triad", options, OPTIONS, "{ elements: 131072 }");
  wholeNumber("make a triad", "elements", elements, 1, 2 ** 33);
  wholeNumber("make a triad", "passes", passes, 1, 1_000_000);
  const lengthBytes = ELEMENT_BYTES * elements;
  return {
    name: "stream",
    source: "BabelStream triad as in Allen and Ge, SC'21: github.com/tallendev/uvm-eval, stream",
    arrays: ["a", "b", "c"].map((name) => ({ name, lengthBytes })),
    *launches([a, b, c]) {
      for (let pass = 0; pass < passes; pass++) {
        yield gridOf("triad_kernel", Math.ceil(elements / threads), threads, (block, out) => {
          const from = ELEMENT_BYTES * threads * block;
          const to = Math.min(lengthBytes, from + ELEMENT_BYTES * threads);
          // The 32 warps load side by side, and no word can be stored before its two are there.
          addBytes(out, b, from, to, false);
          addBytes(out, c, from, to, false);
          addBytes(out, a, from, to, true);
          out.after[out.n - 1] = 1;
        });
      }
    },
  };
}
