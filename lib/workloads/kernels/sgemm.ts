/** Multiplication of two square matrices in tiles. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import { PAGE_SIZE } from "../../units.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

/** How large the product is. */
export interface SgemmOptions {
  /** Rows and columns of each matrix (default 4096). */
  readonly size?: number;
  /** Rows and columns of the tile of the product that one thread block computes (default 128). */
  readonly tile?: number;
  /** Columns of A, and rows of B, that a thread block takes at a time (default 8). */
  readonly depth?: number;
}

const OPTIONS: Readonly<Record<keyof SgemmOptions, true>> = { size: true, tile: true, depth: true };

/**
 * C = A · B in single precision: each thread block computes one tile, walking along a band of A and one of B.
 *
 * It stands for cuBLAS sgemm as Allen and Ge ran it (SC'21, "sgemm", sizes from 4,096 in github.com/tallendev/uvm-eval,
 * cublas). The library's kernel is not public: tiles of 128 by 128 with depth 8, column-major as BLAS has it, are our
 * assumption, and so is that neighbouring thread blocks go down the rows of C.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * const [launch] = sgemm({ size: 512 }).launches([0, 256, 512]);
 * console.log(launch.blocks); // 16
 * ```
 */
export function sgemm(options: SgemmOptions = {}): GpuProgram {
  const { size: n = 4096, tile = 128, depth = 8 } = options, act = "make sgemm";
  checkOptions(act, options, OPTIONS, "{ size: 4096 }");
  wholeNumber(act, "size", n, 1, 1 << 16);
  wholeNumber(act, "tile", tile, 1, n);
  wholeNumber(act, "depth", depth, 1, n);
  const pageOf = (x: number, k: number) => Math.floor((4 * (x * n + k)) / PAGE_SIZE);
  const tiles = Math.ceil(n / tile), lengthBytes = 4 * n * n;
  return {
    name: "sgemm",
    source: "cuBLAS sgemm as in Allen and Ge, SC'21: github.com/tallendev/uvm-eval, cublas; tiles assumed",
    arrays: ["A", "B", "C"].map((name) => ({ name, lengthBytes })),
    *launches([a, b, c]) {
      yield gridOf("sgemm", tiles * tiles, 256, (block, out) => {
        const row = tile * (block % tiles), column = tile * Math.floor(block / tiles);
        const lastRow = Math.min(n, row + tile), lastColumn = Math.min(n, column + tile);
        for (let k = 0; k < n; k += depth) {
          const end = Math.min(n, k + depth);
          for (let x = k; x < end; x++) addBytes(out, a, 4 * (x * n + row), 4 * (x * n + lastRow), false);
          // Down a column of B a thread block stays in a page for many steps: a page is said when it is entered.
          for (let x = column; x < lastColumn; x++) {
            if (k > 0 && pageOf(x, end - 1) === pageOf(x, k - 1)) continue;
            addBytes(out, b, 4 * (x * n + k), 4 * (x * n + end), false);
          }
        }
        for (let x = column; x < lastColumn; x++) {
          addBytes(out, c, 4 * (x * n + row), 4 * (x * n + lastRow), true);
        }
      });
    },
  };
}
