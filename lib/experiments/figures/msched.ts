/**
 * Faults one by one against migration in batches on an RTX 5080 (MSched, arXiv 2512.24637).
 *
 * The profile takes a fault, its transfer and the link's rate from there, so that only what comes of them together says
 * anything: the kernel's work on pages of 4 KiB, which is paid for each of them in a batch as well.
 * @module
 */
import published from "../../../datasets/published/msched.json" with { type: "json" };
import type { Grid } from "../../devices/gpu/launch.ts";
import { machine } from "../../machine/machine.ts";
import type { Region } from "../../machine/process.ts";
import type { Run } from "../../machine/run.ts";
import { PAGE_SIZE } from "../../units.ts";
import { type GpuStep, launch, prefetchStep } from "../../workloads/launch.ts";
import { touch } from "../../workloads/touch.ts";
import { figuresOf, fittedIn, linesOf, namesOf } from "./published.ts";
import type { FigureRow } from "./row.ts";

const WORK = "MSched, arXiv 2512.24637 (RTX 5080)";
const PAGES = 4096;

/** What it printed. */
export const MSCHED_FIGURES = figuresOf(published);

const FAULT = fittedIn("rtx-5080", "batchService", "blockService", "faultService", "replay");
const TRANSFER = fittedIn("rtx-5080", "linkLatency");
const LINK = fittedIn("rtx-5080", "link");

/** What was taken from it. */
export const MSCHED_PARAMETERS = [FAULT, TRANSFER, LINK];

/** Time of a phase in one kind of span. */
function nsOf({ phases: { columns: c, numRows } }: Run, kind: string, phase: string): number {
  const kinds = c.kind as readonly string[], phases = c.phase as readonly string[];
  for (let i = 0; i < numRows; i++) {
    if (kinds[i] === kind && phases[i] === phase) return (c.ns as Float64Array)[i];
  }
  return 0;
}

const linkNs = (run: Run) => nsOf(run, "migration to device", "copy over the link");

/** Runs something over pages that the CPU has written. */
async function over(step: (heap: Region) => GpuStep): Promise<Run> {
  const m = machine({
    host: "epyc-7551p",
    memory: "256 MiB",
    devices: { gpu: { kind: "gpu", profile: "rtx-5080", memory: "64 MiB", prefetch: "none" } },
  });
  const p = m.process(), heap = p.mmap(PAGES * PAGE_SIZE);
  await m.run({ cpu: touch(heap) });
  return m.run({ gpu: launch(m.gpu, p, [step(heap)]) });
}

/**
 * Moves 16 MiB fault by fault, and in one request to the driver.
 *
 * @returns a line for each figure
 *
 * @example
 * ```ts
 * console.log((await msched()).length); // 4
 * ```
 */
export async function msched(): Promise<FigureRow[]> {
  const line = linesOf(WORK, MSCHED_FIGURES);
  const oneByOne = ({ vpn }: Region): Grid => ({
    name: "touch page after page",
    blocks: 1,
    pages: PAGES,
    faultsPerBlock: 1,
    fill(_block, _part, runs) {
      for (let i = 0; i < PAGES; i++) runs.add(vpn + i, 1, false, 0, true);
      return false;
    },
  });
  const faults = await over(oneByOne);
  const { kind, meanNs, count } = faults.latencies.columns as Readonly<
    Record<string, readonly (string | number)[]>
  >;
  const far = kind.indexOf("far fault"), moves = kind.indexOf("migration to device");
  const tableNs = nsOf(faults, "fault batch", "device page table");
  if (count[far] !== PAGES) throw new Error(`${count[far]} far faults; ${PAGES} were to be`);
  const batched = await over(prefetchStep);
  const bytes = PAGES * PAGE_SIZE, kernelNs = batched.virtualNs - linkNs(batched);
  const digits = (x: number, n: number) => Number(x.toFixed(n));
  return [
    line(
      "a fault, us",
      digits(Number(meanNs[far]) / 1000, 2),
      `the printed time holds the kernel's work, which is counted here beside it: ${
        digits(tableNs / PAGES / 1000, 1)
      } us of the GPU's page table, ${digits(Number(meanNs[moves]) / 1000, 1)} us of migration`,
      { verdict: "calibrated", within: 0.1, fittedOn: namesOf(FAULT) },
    ),
    line("of it transfer, us", digits(linkNs(faults) / PAGES / 1000, 2), "", {
      verdict: "calibrated",
      within: 0.02,
      fittedOn: namesOf(TRANSFER, LINK),
    }),
    line(
      "migration fault by fault, GB/s",
      digits(bytes / faults.virtualNs, 3),
      "a page over the time of a fault",
      {
        verdict: "calibrated",
        within: 0.1,
        fittedOn: namesOf(FAULT),
      },
    ),
    line(
      "migration in batches, GB/s",
      digits(bytes / batched.virtualNs, 2),
      `the link alone moves ${
        (bytes / linkNs(batched)).toFixed(1)
      } GB/s; the kernel's work on pages of 4 KiB takes ${
        Math.round(100 * kernelNs / batched.virtualNs)
      } % of the time, and theirs moved larger pages or did it ahead`,
      { verdict: "calibrated", within: 0.1, fittedOn: namesOf(LINK) },
    ),
  ];
}
