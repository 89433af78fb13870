/** GPU programs whose geometry was published, and a few of ours: each makes the page accesses of its thread blocks. */
export { backprop, type BackpropOptions } from "./backprop.ts";
export { bfs, type BfsOptions } from "./bfs.ts";
export { fdtd, type FdtdOptions } from "./fdtd.ts";
export { gaussSeidel, type GaussSeidelOptions } from "./gauss_seidel.ts";
export { hotspot, type HotspotOptions } from "./hotspot.ts";
export { type GpuArray, type GpuProgram, layOut, pagesOf } from "./kernel.ts";
export { multigrid, type MultigridOptions } from "./multigrid.ts";
export { pageKernel, type PageKernelOptions, type PageOrder } from "./pages.ts";
export { gridsOf, mapArrays } from "./place.ts";
export { pointerChase, type PointerChaseOptions } from "./pointer_chase.ts";
export { sgemm, type SgemmOptions } from "./sgemm.ts";
export { type StdStream, stdStream, type StdStreamOptions } from "./std_stream.ts";
export { streamTriad, type StreamTriadOptions } from "./stream_triad.ts";
