/** Hotspot of Rodinia: a two-dimensional stencil over temperature and power. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { BlockRuns, Grid } from "../../devices/gpu/launch.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

/** Threads along a side of a thread block: BLOCK_SIZE. */
const SIDE = 16;
/** Rows of a thread block that a warp of 32 threads covers. */
const WARP_ROWS = 2;

/** How large hotspot runs. */
export interface HotspotOptions {
  /** Rows and columns of the grid (default 1024). */
  readonly size?: number;
  /** Time steps that one launch computes: the pyramid's height (default 2, at most 7). */
  readonly stepsPerLaunch?: number;
  /** Time steps in all (default 8). */
  readonly steps?: number;
}

const OPTIONS: Readonly<Record<keyof HotspotOptions, true>> = {
  size: true,
  stepsPerLaunch: true,
  steps: true,
};

/**
 * Hotspot, a thermal simulation: each launch reads temperature and power with a rim and writes the temperature.
 *
 * It stands for Rodinia's hotspot as UVM Smart runs it (`hotspot 1024 2 8`; Ganguly et al., ISCA'19). The geometry (16 by
 * 16 threads, a rim of one cell for each step, two temperature arrays in turns) is that of the program's source in
 * github.com/DebashisGanguly/gpgpu-sim_UVMSmart, benchmarks/Managed/hotspot.
 *
 * @param options sizes
 * @returns the program; with the defaults three arrays of 4 MiB, 3,072 pages
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log([...hotspot().launches([0, 1024, 2048])].length); // 4
 * ```
 */
export function hotspot(options: HotspotOptions = {}): GpuProgram {
  const { size = 1024, stepsPerLaunch = 2, steps = 8 } = options, act = "make hotspot";
  checkOptions(act, options, OPTIONS, "{ size: 1024 }");
  wholeNumber(act, "size", size, SIDE, 1 << 15);
  wholeNumber(act, "stepsPerLaunch", stepsPerLaunch, 1, SIDE / 2 - 1);
  wholeNumber(act, "steps", steps, 1, 1_000_000);
  const rowBytes = 4 * size, arrayBytes = rowBytes * size, inner = SIDE - 2 * stepsPerLaunch;
  const across = Math.ceil(size / inner);
  return {
    name: "hotspot",
    source: "Rodinia hotspot as UVM Smart runs it, benchmarks/Managed/hotspot",
    arrays: ["MatrixTemp[0]", "MatrixTemp[1]", "MatrixPower"].map((name) => ({
      name,
      lengthBytes: arrayBytes,
    })),
    *launches(first) {
      for (let step = 0, source = 0; step < steps; step += stepsPerLaunch, source ^= 1) {
        yield kernel(first[source], first[source ^ 1], first[2]);
      }
    },
  };

  function kernel(from: number, to: number, power: number): Grid {
    const rows = (
      out: BlockRuns,
      array: number,
      y0: number,
      y1: number,
      x0: number,
      x1: number,
      write: boolean,
    ) => {
      for (let y = Math.max(0, y0); y < Math.min(size, y1); y++) {
        addBytes(
          out,
          array,
          y * rowBytes + 4 * Math.max(0, x0),
          y * rowBytes + 4 * Math.min(size, x1),
          write,
        );
      }
    };
    return gridOf("calculate_temp", across * across, SIDE * SIDE, (b, out) => {
      const y = inner * Math.floor(b / across) - stepsPerLaunch, x = inner * (b % across) - stepsPerLaunch;
      for (let w = 0; w < SIDE; w += WARP_ROWS) {
        rows(out, from, y + w, y + w + WARP_ROWS, x, x + SIDE, false);
        rows(out, power, y + w, y + w + WARP_ROWS, x, x + SIDE, false);
      }
      const top = y + stepsPerLaunch, left = x + stepsPerLaunch;
      rows(out, to, top, top + inner, left, left + inner, true);
    });
  }
}
