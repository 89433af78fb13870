/**
 * The defaults of NVIDIA's open UVM driver (595.45.04) against those of a GPU here, read from its spec and its policies or seen
 * in what they do.
 * @module
 */
import published from "../../../datasets/published/nvidia-uvm.json" with { type: "json" };
import { popcount, set } from "../../devices/gpu/bitmap.ts";
import { BLOCK_PAGES, BLOCK_WORDS } from "../../devices/gpu/policy.ts";
import type { PrefetchPolicy } from "../../devices/gpu/policy.ts";
import { checkGpu, type GpuSpec } from "../../devices/gpu/spec.ts";
import { THRASHING_DEFAULTS } from "../../devices/gpu/thrashing.ts";
import { Sim } from "../../sim/sim.ts";
import { figuresOf, linesOf } from "./published.ts";
import type { FigureRow } from "./row.ts";

const WORK = "NVIDIA open-gpu-kernel-modules 595.45.04";

/** The driver's defaults. */
export const NVIDIA_UVM_FIGURES = figuresOf(published);

/** Pages that are on the GPU after one fault on the last page of a block whose first `present` pages are there. */
function pagesAfterFault(policy: PrefetchPolicy, present: number): number {
  const map = () => new Uint32Array(BLOCK_WORDS);
  const block = {
    firstVpn: 0,
    valid: map().fill(0xffff_ffff),
    resident: map(),
    faulted: map(),
    thrashing: map(),
    wanted: map(),
  };
  for (let i = 0; i < present; i++) set(block.resident, i);
  set(block.faulted, BLOCK_PAGES - 1);
  set(block.wanted, BLOCK_PAGES - 1);
  policy.grow(block, () => 0);
  return present + block.wanted.reduce((n, word) => n + popcount(word), 0);
}

/** The share of a block, in whole percent, that must be there or on its way before one fault brings the rest. */
function thresholdPercent(policy: PrefetchPolicy): number {
  const alone = pagesAfterFault(policy, 0);
  let present = 0;
  while (pagesAfterFault(policy, present) < BLOCK_PAGES) present++;
  return Math.floor((100 * (present + alone)) / BLOCK_PAGES);
}

/** Whether the chunk that was allocated first goes, though it was accessed last. */
function evictsByAllocation({ eviction }: GpuSpec): boolean {
  const chunks = 3, { state } = new Sim(1, 1);
  const evictor = eviction.make({ arena: state, prefix: "probe", chunks, busy: new Uint8Array(chunks) });
  for (let c = 0; c < chunks; c++) evictor.allocated(c);
  evictor.accessed(0);
  return evictor.victim(() => 0) === 0;
}

/**
 * Compares the defaults.
 *
 * @returns a line for each
 *
 * @example
 * ```ts
 * console.log(nvidiaUvm().filter((row) => row.verdict === "missed").map((row) => row.figure));
 * // [ "batches of one service, at most" ]
 * ```
 */
export function nvidiaUvm(): FigureRow[] {
  const spec = checkGpu({ kind: "gpu" }), line = linesOf(WORK, NVIDIA_UVM_FIGURES);
  const row = (figure: string, ours: number, note: string) =>
    line(figure, ours, note, { verdict: "reproduces" });
  const { threshold, lapseNs, pinThreshold } = THRASHING_DEFAULTS;
  const detector = "default of the detector, which a spec asks for by thrashing: true";
  const seen = `seen of prefetch "${spec.prefetch.name}", the default`;
  return [
    row("faults of a batch, at most", spec.cost.faultBatch, "profile titan-v, the default"),
    row(
      "batches of one service, at most",
      0,
      "0: the driver's thread has no such bound, it goes on while there are faults",
    ),
    row(
      "replays by batch with the buffer flushed (1: yes)",
      spec.replay === "batch-flush" ? 1 : 0,
      `default replay "${spec.replay}"`,
    ),
    row("prefetch threshold, %", thresholdPercent(spec.prefetch), seen),
    row("pages that one fault brings into an empty block", pagesAfterFault(spec.prefetch, 0), seen),
    row("pages of a block, the largest region", pagesAfterFault(spec.prefetch, BLOCK_PAGES - 1), seen),
    row("thrashing: events that make a page thrash", threshold, detector),
    row("thrashing: lapse, us", lapseNs / 1000, detector),
    row("thrashing: naps before a page is pinned", pinThreshold, detector),
    row(
      "eviction: the chunk allocated first goes, accesses or not (1: yes)",
      evictsByAllocation(spec) ? 1 : 0,
      `seen of eviction "${spec.eviction.name}", the default`,
    ),
  ];
}
