/** A chain of dependent loads. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import { permutation } from "../../sim/random.ts";
import { PAGE_SIZE } from "../../units.ts";
import type { GpuProgram } from "./kernel.ts";

/** Elements that are said at a time. */
const PART = 1024;

/** How large a chase is. */
export interface PointerChaseOptions {
  /** Pages of the list, one element in each (default 65,536: 256 MiB). */
  readonly pages?: number;
  /** Chains that are followed side by side, each by one thread block of one thread (default 1). */
  readonly chains?: number;
  /** Seed of the list's order (default 1). */
  readonly seed?: number;
}

const OPTIONS: Readonly<Record<keyof PointerChaseOptions, true>> = { pages: true, chains: true, seed: true };

/**
 * Each element says where the next one is, so a chain has one fault under way at a time: the worst case for batching.
 *
 * The pattern is the one by which memory latency is usually measured; it stands for no single published program. A chain
 * is the part `i`, `i + chains`, … of one random permutation of the pages.
 *
 * @param options sizes
 * @returns the program: one launch, whose blocks wait for each of their accesses
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log(pointerChase({ pages: 16 }).arrays[0].lengthBytes); // 65536
 * ```
 */
export function pointerChase(options: PointerChaseOptions = {}): GpuProgram {
  const { pages = 65_536, chains = 1, seed = 1 } = options, act = "make a pointer chase";
  checkOptions(act, options, OPTIONS, "{ pages: 65536 }");
  wholeNumber(act, "pages", pages, 1, 1 << 26);
  wholeNumber(act, "chains", chains, 1, pages);
  wholeNumber(act, "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const order = permutation(pages, seed);
  return {
    name: "pointer chase",
    source: "ours",
    arrays: [{ name: "list", lengthBytes: pages * PAGE_SIZE }],
    *launches([list]) {
      yield {
        name: "chase",
        blocks: chains,
        threadsPerBlock: 1,
        faultsPerBlock: 1,
        pages,
        fill(b, part, runs) {
          const from = part * PART, to = Math.min(from + PART, Math.ceil((pages - b) / chains));
          for (let i = from; i < to; i++) runs.add(list + order(b + i * chains), 1, false, 0, true);
          return b + to * chains < pages;
        },
      };
    },
  };
}
