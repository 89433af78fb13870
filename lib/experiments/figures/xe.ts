/**
 * A fault of 2 MiB on a discrete Intel Xe without transparent huge pages, in its parts, by the driver's own counters (F. Dugast,
 * dri-devel, December 2025).
 *
 * It is a calibration. The host is not named, so what its kernel does for each page is one fitted parameter; the others were
 * derived from the same mail for the profile "xe-discrete". Without huge pages the copy is 512 descriptors, one a page.
 * What nothing was fitted on, and misses, is the time of get_pages: hmm_range_fault() over pages that are there is free here.
 * @module
 */
import published from "../../../datasets/published/xe-svm.json" with { type: "json" };
import { dmaEngine, interconnect } from "../../machine/engines.ts";
import { machine } from "../../machine/machine.ts";
import type { Run } from "../../machine/run.ts";
import { PAGE_SIZE } from "../../units.ts";
import { launch } from "../../workloads/launch.ts";
import { touch } from "../../workloads/touch.ts";
import { type FigureParameter, figuresOf, fittedIn, linesOf, namesOf } from "./published.ts";
import type { FigureRow } from "./row.ts";

const WORK = "F. Dugast, dri-devel, December 2025 (Intel Xe, discrete)";
const PAGES = 512;

/** What its counters showed. */
export const XE_FIGURES = figuresOf(published);

/** Each of collecting, unmapping and finalizing a page, on the host of the mail. */
const KERNEL_WORK = "337 ns";
const KERNEL: FigureParameter = {
  name: "host: collectPage = unmapPage = finalizePage",
  value: KERNEL_WORK,
  certainty: "calibrated",
  source: 'chosen so that svm_2M_migrate_us 942 comes out beside its copy; of "epyc-7551p" these are 668 ns',
};
const COPY = fittedIn("xe-discrete", "dmaSetup");
const LINK = fittedIn("xe-discrete", "link");
const BIND = fittedIn("xe-discrete", "pteUpdate");
const FAULT = fittedIn("xe-discrete", "batchService", "blockService", "faultService", "replay");

/** What was fitted on it. */
export const XE_PARAMETERS = [KERNEL, COPY, LINK, BIND, FAULT];

/** Times of one fault, in us. */
interface Parts {
  readonly fault: number;
  readonly migrate: number;
  readonly copy: number;
  readonly bind: number;
  readonly getPages: number;
}

function nsOf({ phases: { columns: c, numRows } }: Run, kind: string, phase: string): number {
  const kinds = c.kind as readonly string[], phases = c.phase as readonly string[];
  for (let i = 0; i < numRows; i++) {
    if (kinds[i] === kind && phases[i] === phase) return (c.ns as Float64Array)[i];
  }
  return 0;
}

function meanNs({ latencies: { columns: c, numRows } }: Run, kind: string): number {
  const kinds = c.kind as readonly string[];
  for (let i = 0; i < numRows; i++) if (kinds[i] === kind) return (c.meanNs as Float64Array)[i];
  return 0;
}

/** One fault on 2 MiB that the CPU has written in pages of 4 KiB. */
async function oneFault(hostParameters: Readonly<Record<string, string>>): Promise<Parts> {
  const m = machine({
    host: "epyc-7551p",
    hostParameters,
    memory: "64 MiB",
    devices: {
      gpu: { kind: "gpu", profile: "xe-discrete", memory: "16 MiB", granule: "2 MiB", prefetch: "none" },
    },
  });
  const { cost } = m.gpu.spec;
  m.gpu.engine = dmaEngine(interconnect(m, { rate: cost.linkBytesPerSecond }), {
    setup: cost.dmaSetupNs,
    mapPage: cost.dmaMapPageNs + cost.dmaUnmapPageNs,
  });
  const p = m.process(), whole = p.mmap(2 * PAGES * PAGE_SIZE);
  const block = whole.slice(((PAGES - whole.vpn % PAGES) % PAGES) * PAGE_SIZE, PAGES * PAGE_SIZE);
  await m.run({ cpu: touch(block) });
  const touchOne = {
    name: "touch one page",
    blocks: 1,
    pages: 1,
    fill: (
      _block: number,
      _part: number,
      runs: { add(vpn: number, pages: number, write: boolean): void },
    ) => {
      runs.add(block.vpn, 1, false);
      return false;
    },
  };
  const run = await m.run({ gpu: launch(m.gpu, p, [touchOne]) });
  if (run.pagesToDevice !== PAGES) throw new Error(`${run.pagesToDevice} pages went; ${PAGES} were to go`);
  const migrate = meanNs(run, "migration to device"), bind = nsOf(run, "fault batch", "device page table");
  const service = ["fetch", "parse", "block", "replay"].reduce(
    (n, what) => n + nsOf(run, "fault batch", `fault batch: ${what}`),
    0,
  );
  const fault = meanNs(run, "far fault");
  const inMigration = (phase: string) => nsOf(run, "migration to device", phase);
  const copy = ["copy over the link", "wait: link"].reduce((n, x) => n + inMigration(x), 0);
  return {
    fault: fault / 1000,
    migrate: migrate / 1000,
    copy: copy / 1000,
    bind: bind / 1000,
    getPages: (fault - migrate - bind - service) / 1000,
  };
}

/**
 * Serves one fault and takes it apart.
 *
 * @returns a line for each counter, in us
 *
 * @example
 * ```ts
 * console.log((await xeFault()).find((row) => row.figure === "svm_2M_migrate_us")?.verdict); // calibrated
 * ```
 */
export async function xeFault(): Promise<FigureRow[]> {
  const line = linesOf(WORK, XE_FIGURES), at = (us: number) => Math.round(us * 10) / 10;
  const work = { collectPage: KERNEL_WORK, unmapPage: KERNEL_WORK, finalizePage: KERNEL_WORK };
  const fitted = await oneFault(work), unfitted = await oneFault({});
  const row = (figure: string, us: number, note: string, ...parameters: readonly FigureParameter[]) =>
    line(
      figure,
      at(us),
      note,
      parameters.length === 0
        ? { verdict: "predicted", within: 0.25 }
        : { verdict: "calibrated", within: 0.05, fittedOn: namesOf(...parameters) },
    );
  return [
    row(
      "svm_2M_pagefault_us",
      fitted.fault,
      `with the page costs of epyc-7551p, not fitted: ${at(unfitted.fault)} us`,
      KERNEL,
      FAULT,
    ),
    row("svm_2M_migrate_us", fitted.migrate, `not fitted: ${at(unfitted.migrate)} us`, KERNEL),
    row("svm_2M_device_copy_us", fitted.copy, "512 descriptors of a page", COPY, LINK),
    row("svm_2M_get_pages_us", fitted.getPages, "hmm_range_fault() takes no time over pages that are there"),
    row("svm_2M_bind_us", fitted.bind, "", BIND),
  ];
}
