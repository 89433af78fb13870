/** Where this code runs: in a cell of a Jupyter kernel, or in a script. */
import { jupyterKernel } from "../sim/interrupt.ts";

/** The Deno kernel, tslab's TypeScript kernel, or no notebook at all. */
export type KernelName = "deno" | "tslab" | "script";

/**
 * Tells where this code runs.
 *
 * @returns "deno" or "tslab" in a notebook's cell, "script" anywhere else
 *
 * @example
 * ```ts
 * console.log(kernel()); // script
 * ```
 */
export function kernel(): KernelName {
  return jupyterKernel() ?? "script";
}
