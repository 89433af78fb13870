/**
 * A real program's page trace, replayed on a CPU.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import type { Kernel } from "../mm/kernel.ts";
import { Process, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { type Proc, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import type { PageTrace } from "./trace_file.ts";

const BATCH = 4096;
const AT_BATCH = site("replay: in a batch");

/** Page number in the process by page of the trace. */
function layout(trace: PageTrace, regions: readonly Region[]): Float64Array {
  const vpn = new Float64Array(trace.pages);
  trace.regions.forEach((r, i) => {
    for (let p = 0; p < r.pages; p++) vpn[r.firstPage + p] = regions[i].vpn + p;
  });
  return vpn;
}

function* rows(
  k: Kernel,
  a: number,
  mm: number,
  trace: PageTrace,
  vpn: Float64Array,
  out: AccessResult,
): Proc {
  const word = new Uint32Array(trace.pages); // what the program last wrote: its own view of its memory
  const acc: Accesses & { readonly value: Uint32Array; readonly count: Uint32Array } = {
    n: 0,
    vpn: new Float64Array(BATCH),
    pages: new Uint32Array(BATCH).fill(1),
    write: new Uint8Array(BATCH),
    value: new Uint32Array(BATCH),
    count: new Uint32Array(BATCH),
  };
  for (let from = 0; from < trace.rows; from += BATCH) {
    const n = acc.n = Math.min(BATCH, trace.rows - from);
    for (let i = 0; i < n; i++) {
      const row = from + i, page = trace.page[row], write = trace.write[row];
      if (write) word[page] = row + 1;
      acc.vpn[i] = vpn[page];
      acc.write[i] = write;
      acc.value[i] = word[page];
      acc.count[i] = trace.count[row];
    }
    k.sim.call(a, AT_BATCH, from);
    yield* cpuAccess(k, a, mm, acc, out);
    k.sim.ret(a);
    k.sim.progress++;
  }
}

/**
 * A program that does what a traced one did: every run of references to a page, in order, with every word checked.
 *
 * Each write stores a word of its own; each read must find the word last written to that page, wherever the page has
 * been meanwhile (`run.mismatches` counts those that do not). A page that was never written reads as zero.
 *
 * @param process the process to run in; the trace's regions are mapped in it
 * @param trace from `readTraceFile` or `builtinTrace`
 * @returns the workload, with the regions that it mapped; a second run of it needs a fresh process, since memory then
 * is not zero any more
 * @throws {UsageError} for what is no process or no trace, or a trace whose regions cannot be mapped
 *
 * @example
 * ```ts
 * import { machine, type PageTrace, replayTrace } from "hmmlab";
 *
 * // A program of one page, written ten times and then read; `await builtinTrace("gzip-licenses")` is a real one.
 * const trace: PageTrace = {
 *   name: "ten writes, a read",
 *   rows: 2,
 *   page: Uint32Array.of(0, 0),
 *   write: Uint8Array.of(1, 0),
 *   count: Uint32Array.of(10, 1),
 *   pages: 1,
 *   regions: [{ startVpn: 256, pages: 1, firstPage: 0 }],
 *   source: {},
 * };
 * const m = machine({ memory: "64 MiB" });
 * const run = await m.run({ program: replayTrace(m.process(), trace) });
 * console.log(run.cpuFaults.count, run.mismatches); // 1 0
 * ```
 */
export function replayTrace(
  process: Process,
  trace: PageTrace,
): Workload & { readonly regions: readonly Region[] } {
  if (!(process instanceof Process)) {
    throw new UsageError(
      `Cannot replay a trace: got ${describe(process)} for the process; a process of a machine is allowed; ` +
        "write for example replayTrace(m.process(), trace)",
    );
  }
  if (!Array.isArray(trace?.regions) || !ArrayBuffer.isView(trace.page)) {
    throw new UsageError(
      `Cannot replay a trace: got ${describe(trace)} for the trace; one that was read is allowed; ` +
        `write for example replayTrace(m.process(), await builtinTrace("gzip-licenses"))`,
    );
  }
  const regions = trace.regions.map((r) => process.mmap(r.pages * PAGE_SIZE));
  const vpn = layout(trace, regions);
  return {
    name: `replay of ${trace.name}: ${trace.rows} runs of references`,
    process,
    regions,
    start(m, a) {
      const out = new AccessResult(false, true);
      return {
        proc: rows(m.kernel, a, process.mm, trace, vpn, out),
        out,
        total: trace.rows,
        done: () => out.pages,
      };
    },
  };
}
