/** Back propagation of Rodinia: two passes over the weights of a layer. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { BlockRuns } from "../../devices/gpu/launch.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

const SIDE = 16;
const WARP_ROWS = 2;

/** How large backprop runs. */
export interface BackpropOptions {
  /** Input units, a multiple of 16 (default 131,056). */
  readonly inputs?: number;
}

const OPTIONS: Readonly<Record<keyof BackpropOptions, true>> = { inputs: true };

/**
 * Back propagation: a forward pass over the weights of the input layer, then their adjustment.
 *
 * It stands for Rodinia's backprop as UVM Smart runs it (`backprop 131056`; Ganguly et al., ISCA'19). The geometry (16 by
 * 16 threads, 16 hidden units, the weights of the second pass in an array of their own) is that of the program's source
 * in github.com/DebashisGanguly/gpgpu-sim_UVMSmart, benchmarks/Managed/backprop. The weights of the output layer and the
 * threshold row, which the CPU handles, are left out.
 *
 * @param options sizes
 * @returns the program; with the default it touches 6,785 pages
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log(backprop().arrays.length); // 6
 * ```
 */
export function backprop(options: BackpropOptions = {}): GpuProgram {
  const { inputs = 131_056 } = options;
  checkOptions("make backprop", options, OPTIONS, "{ inputs: 131056 }");
  wholeNumber("make backprop", "inputs", inputs, SIDE, 1 << 26);
  const units = inputs + 1, width = SIDE + 1, blocks = Math.floor(inputs / SIDE);
  const weights = (name: string) => ({ name, lengthBytes: 4 * units * width });
  return {
    name: "backprop",
    source: "Rodinia backprop as UVM Smart runs it, benchmarks/Managed/backprop",
    arrays: [
      { name: "input_units", lengthBytes: 4 * units },
      weights("input_weights"),
      weights("input_weights2"),
      weights("input_prev_weights"),
      { name: "hidden_partial_sum", lengthBytes: 4 * blocks * SIDE },
      { name: "hidden_delta", lengthBytes: 4 * width },
    ],
    *launches([input, forward, adjusted, previous, sum, delta]) {
      // Rows of a block's part of the weights: one for each of its 16 inputs, without the threshold's column.
      const row = (out: BlockRuns, array: number, b: number, y: number, write: boolean) => {
        const from = width * (SIDE * b + y + 1) + 1;
        addBytes(out, array, 4 * from, 4 * (from + SIDE), write);
      };
      const inputsOf = (out: BlockRuns, b: number) =>
        addBytes(out, input, 4 * (SIDE * b + 1), 4 * (SIDE * b + SIDE + 1), false);
      yield gridOf("bpnn_layerforward_CUDA", blocks, SIDE * SIDE, (b, out) => {
        inputsOf(out, b);
        for (let y = 0; y < SIDE; y++) row(out, forward, b, y, false);
        for (let y = 0; y < SIDE; y++) row(out, forward, b, y, true);
        addBytes(out, sum, 4 * SIDE * b, 4 * SIDE * (b + 1), true);
      });
      yield gridOf("bpnn_adjust_weights_cuda", blocks, SIDE * SIDE, (b, out) => {
        for (let w = 0; w < SIDE; w += WARP_ROWS) {
          addBytes(out, delta, 4, 4 * width, false);
          inputsOf(out, b);
          for (let y = w; y < w + WARP_ROWS; y++) row(out, previous, b, y, false);
          for (let y = w; y < w + WARP_ROWS; y++) row(out, adjusted, b, y, true);
          for (let y = w; y < w + WARP_ROWS; y++) row(out, previous, b, y, true);
        }
        if (b === 0) {
          addBytes(out, adjusted, 4, 4 * width, true);
          addBytes(out, previous, 4, 4 * width, true);
        }
      });
    },
  };
}
