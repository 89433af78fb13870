/** The face that notebooks and scripts see. */
export { kernel, type KernelName } from "./kernel.ts";
export { parameters, type ParameterValue, type Widened } from "./parameters.ts";
export { type Advance, progress } from "./progress.ts";
export { show } from "./show.ts";
