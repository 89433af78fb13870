/** Gauss-Seidel smoothing over a grid, in two colours. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { BlockRuns } from "../../devices/gpu/launch.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

/** How large the sweeps are. */
export interface GaussSeidelOptions {
  /** Rows and columns of the grid (default 8192). */
  readonly size?: number;
  /** Sweeps, each of two launches: red, then black (default 4). */
  readonly sweeps?: number;
}

const OPTIONS: Readonly<Record<keyof GaussSeidelOptions, true>> = { size: true, sweeps: true };

const ELEMENT_BYTES = 8;
const SIDE = 32;

/**
 * Red-black Gauss-Seidel on a five-point stencil of doubles: each launch updates the cells of one colour in place.
 *
 * It stands for the Gauss-Seidel program of Allen and Ge (SC'21, Table 4), which solves with Kokkos kernels
 * (gauss-seidel/ in github.com/tallendev/uvm-eval) on a sparse matrix; the grid, the two colours and the tiles of 32 by
 * 32 cells are our assumption, so only its sweeps over one large working set are comparable.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log([...gaussSeidel({ size: 64, sweeps: 3 }).launches([0, 512])].length); // 6
 * ```
 */
export function gaussSeidel(options: GaussSeidelOptions = {}): GpuProgram {
  const { size: n = 8192, sweeps = 4 } = options;
  checkOptions("make Gauss-Seidel", options, OPTIONS, "{ size: 8192 }");
  wholeNumber("make Gauss-Seidel", "size", n, 1, 1 << 16);
  wholeNumber("make Gauss-Seidel", "sweeps", sweeps, 1, 1_000_000);
  const across = Math.ceil(n / SIDE), lengthBytes = ELEMENT_BYTES * n * n;
  const row = (out: BlockRuns, array: number, y: number, x: number, write: boolean) => {
    if (y < 0 || y >= n) return;
    const from = Math.max(0, x - 1), end = Math.min(n, x + SIDE + 1);
    addBytes(out, array, ELEMENT_BYTES * (y * n + from), ELEMENT_BYTES * (y * n + end), write);
  };
  return {
    name: "gauss-seidel",
    source: "after Allen and Ge, SC'21, Table 4; grid and tiles assumed",
    arrays: [{ name: "x", lengthBytes }, { name: "b", lengthBytes }],
    *launches([x, b]) {
      for (let launch = 0; launch < 2 * sweeps; launch++) {
        yield gridOf(launch % 2 === 0 ? "red" : "black", across * across, SIDE * SIDE, (block, out) => {
          const left = SIDE * (block % across), top = SIDE * Math.floor(block / across);
          for (let y = top; y < Math.min(n, top + SIDE); y++) {
            row(out, b, y, left, false);
            for (const near of [y - 1, y, y + 1]) row(out, x, near, left, false);
            row(out, x, y, left, true);
          }
        });
      }
    },
  };
}
