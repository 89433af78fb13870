/** FDTD-2D of PolyBench: three sweeps over the fields of a wave, time step by time step. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { BlockRuns } from "../../devices/gpu/launch.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

const ACROSS = 32, DOWN = 8;

/** How large fdtd runs. */
export interface FdtdOptions {
  /** Rows and columns of the fields (default 1200). */
  readonly size?: number;
  /** Time steps (default 5). */
  readonly steps?: number;
}

const OPTIONS: Readonly<Record<keyof FdtdOptions, true>> = { size: true, steps: true };

/**
 * FDTD-2D, electromagnetic waves in two dimensions: three launches a time step, each over the whole grid.
 *
 * It stands for PolyBench's fdtd-2d as UVM Smart runs it (1200 by 1200, 5 steps; Ganguly et al., ISCA'19). The geometry
 * (32 by 8 threads, a field that is one column wider, one that is one row longer) is that of the program's source in
 * github.com/DebashisGanguly/gpgpu-sim_UVMSmart, benchmarks/Managed/FDTD-2D.
 *
 * @param options sizes
 * @returns the program; with the defaults it touches 4,224 pages
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log([...fdtd({ steps: 2 }).launches([0, 512, 2048, 4096])].length); // 6
 * ```
 */
export function fdtd(options: FdtdOptions = {}): GpuProgram {
  const { size: n = 1200, steps = 5 } = options;
  checkOptions("make fdtd", options, OPTIONS, "{ size: 1200 }");
  wholeNumber("make fdtd", "size", n, 2, 1 << 15);
  wholeNumber("make fdtd", "steps", steps, 1, 1_000_000);
  const columns = Math.ceil(n / ACROSS), blocks = columns * Math.ceil(n / DOWN);
  return {
    name: "fdtd",
    source: "PolyBench fdtd-2d as UVM Smart runs it, benchmarks/Managed/FDTD-2D",
    arrays: [
      { name: "_fict_", lengthBytes: 4 * steps },
      { name: "ex", lengthBytes: 4 * n * (n + 1) },
      { name: "ey", lengthBytes: 4 * n * (n + 1) },
      { name: "hz", lengthBytes: 4 * n * n },
    ],
    *launches([fict, ex, ey, hz]) {
      // A warp is one row of 32 threads: i is its row, from j to end its columns.
      type Row = (out: BlockRuns, i: number, j: number, end: number) => void;
      const cells = (
        out: BlockRuns,
        array: number,
        width: number,
        i: number,
        j: number,
        end: number,
        write: boolean,
      ) => addBytes(out, array, 4 * (i * width + j), 4 * (i * width + end), write);
      const kernel = (name: string, row: Row) =>
        gridOf(name, blocks, ACROSS * DOWN, (b, out) => {
          const j = ACROSS * (b % columns), top = DOWN * Math.floor(b / columns);
          for (let i = top; i < Math.min(n, top + DOWN); i++) row(out, i, j, Math.min(n, j + ACROSS));
        });
      for (let t = 0; t < steps; t++) {
        yield kernel("fdtd_step1_kernel", (out, i, j, end) => {
          if (i === 0) addBytes(out, fict, 4 * t, 4 * t + 4, false);
          else {
            cells(out, ey, n, i, j, end, false);
            cells(out, hz, n, i, j, end, false);
            cells(out, hz, n, i - 1, j, end, false);
          }
          cells(out, ey, n, i, j, end, true);
        });
        yield kernel("fdtd_step2_kernel", (out, i, j, end) => {
          const from = Math.max(1, j);
          cells(out, ex, n + 1, i, from, end, false);
          cells(out, hz, n, i, from - 1, end, false);
          cells(out, ex, n + 1, i, from, end, true);
        });
        yield kernel("fdtd_step3_kernel", (out, i, j, end) => {
          cells(out, hz, n, i, j, end, false);
          cells(out, ex, n + 1, i, j, end + 1, false);
          cells(out, ey, n, i + 1, j, end, false);
          cells(out, ey, n, i, j, end, false);
          cells(out, hz, n, i, j, end, true);
        });
      }
    },
  };
}
