/**
 * The figures of UVM Smart (Ganguly et al., "Interplay between hardware prefetcher and page eviction policy in CPU-GPU
 * unified virtual memory", ISCA 2019) from its own logs: the PCIe curve, hotspot to the fault, and the table of four
 * benchmarks with and without enough memory.
 * @module
 */
import published from "../../../datasets/published/uvm-smart.json" with { type: "json" };
import { has } from "../../devices/gpu/bitmap.ts";
import { playPolicies } from "../../devices/gpu/play.ts";
import type { PlayOptions } from "../../devices/gpu/play_layout.ts";
import { BLOCK_PAGES, type PrefetchBlock } from "../../devices/gpu/policy.ts";
import type { PageReferences } from "../../devices/gpu/references.ts";
import { type UvmSmartCurve, uvmSmartCurve } from "../../profiles/curve.ts";
import { PAGE_SIZE } from "../../units.ts";
import { profile } from "../../profiles/profile.ts";
import { type FigureParameter, figuresOf, linesOf, type PublishedFigure } from "./published.ts";
import type { FigureRow } from "./row.ts";
import { type AccessOrder, backpropOrder, bfsOrder, fdtdOrder, hotspotOrder } from "./uvm_smart_orders.ts";

const WORK = "Ganguly et al., ISCA 2019 (UVM Smart)";
/** What their printer adds to the kernels' time for each far fault. */
const FAULT_US = 45;

/** KiB of the transfers that the tree makes. */
const TREE_KIB = [4, 60, 64, 124, 252, 508, 1020];
const pcieFigure = (kib: number) => `PCIe 3, transfer of ${kib} KiB, cycles at 1,481 MHz`;
const SAME_CYCLES = "logged transfers that take the same cycles";
const nameOf = (policies: string, what: string) => `hotspot, ${policies}: ${what}`;
const tableFigure = (benchmark: string, memory: string, policies: string, what: string) =>
  `${benchmark}, memory ${memory}, ${policies}: ${what}`;
const CONSTANTS = figuresOf(published.constants);

/** A cell of their table: far faults and printed runtime. */
type Cell = Readonly<Partial<Record<Benchmark, readonly number[]>>>;

/** What they logged and printed. */
function listFigures(): readonly PublishedFigure[] {
  const { transfers: { rows }, table, hotspot } = published, figures: PublishedFigure[] = [...CONSTANTS];
  for (const kib of TREE_KIB) {
    figures.push({
      figure: pcieFigure(kib),
      value: rows.find(([lengthBytes]) => lengthBytes === kib * 1024)![1],
    });
  }
  figures.push({ figure: SAME_CYCLES, value: rows.reduce((n, [, , count]) => n + count, 0) });
  for (const row of table.rows) {
    const { memory, policies } = row, cells: Cell = row;
    const inOrder = memory === "fits" ? hotspot.runs[policies as keyof typeof hotspot.runs] : undefined;
    for (const benchmark of ["backprop", "bfs", "fdtd", "hotspot"] as const) {
      const cell = cells[benchmark];
      if (cell === undefined) continue;
      figures.push({ figure: tableFigure(benchmark, memory, policies, "far faults"), value: cell[0] });
      if (benchmark !== "hotspot" || inOrder === undefined) {
        figures.push({
          figure: tableFigure(benchmark, memory, policies, "printed runtime, us"),
          value: cell[1],
        });
      } else {
        figures.push({ figure: nameOf(policies, "far faults"), value: cell[0] });
        figures.push({ figure: nameOf(policies, "host to device, us"), value: inOrder.copyUs });
        figures.push({ figure: nameOf(policies, "printed runtime, us"), value: cell[1] });
      }
    }
  }
  return figures;
}

/** What they logged and printed. */
export const UVM_SMART_FIGURES = listFigures();

const line = linesOf(WORK, UVM_SMART_FIGURES);

/** The PCIe curve is their formula, its parameters and constants theirs: nothing was fitted. */
export const UVM_SMART_PARAMETERS: readonly FigureParameter[] = [];

/**
 * The simulated GPU's constants, as the profile has them.
 *
 * @returns a line for each
 */
export function uvmSmartConstants(): FigureRow[] {
  const { fault, pageWalk } = profile("gtx-1080-ti").parameters, nsOf = { ns: 1, us: 1000 };
  const cycles = [fault, pageWalk].map(({ value, unit }) =>
    Math.round(value * nsOf[unit as keyof typeof nsOf] * 1.481)
  );
  return CONSTANTS.map(({ figure }, i) =>
    line(figure, cycles[i], "profile gtx-1080-ti", { verdict: "reproduces" })
  );
}

/**
 * The PCIe curve against every length of transfer in the copied logs.
 *
 * @returns a line for each of seven lengths that the tree makes, and one for all transfers together
 */
export function uvmSmartPcie(): FigureRow[] {
  const curve = uvmSmartCurve(16), { rows } = published.transfers;
  const same = rows.reduce(
    (n, [lengthBytes, c, count]) => curve.cycles(lengthBytes) === c ? n + count : n,
    0,
  );
  return [
    ...TREE_KIB.map((kib) => line(pcieFigure(kib), curve.cycles(kib * 1024), "", { verdict: "reproduces" })),
    line(SAME_CYCLES, same, `${rows.length} lengths`, { verdict: "reproduces" }),
  ];
}

/** Cycles of what one fault moves: UVM Smart ends a transfer with the page that faulted, and at gaps. */
function faultCycles(curve: UvmSmartCurve, b: PrefetchBlock): number {
  let cycles = 0, pages = 0;
  for (let i = 0; i <= BLOCK_PAGES; i++) {
    const wanted = i < BLOCK_PAGES && has(b.wanted, i);
    if (wanted) pages++;
    if (pages > 0 && (!wanted || has(b.faulted, i))) {
      cycles += curve.cycles(pages * PAGE_SIZE);
      pages = 0;
    }
  }
  return cycles;
}

/** References to pages of one region, all reads. */
function reads(page: readonly number[], pages: number): PageReferences {
  const regions = [{ startVpn: 0, pages, firstPage: 0 }];
  return {
    rows: page.length,
    page: Uint32Array.from(page),
    write: new Uint8Array(page.length),
    pages,
    regions,
  };
}

/** Far faults and cycles of transfers when some pages are touched and everything fits. */
function fits(page: readonly number[], pages: number, prefetch: string): { faults: number; cycles: number } {
  const curve = uvmSmartCurve(16);
  let cycles = 0;
  const watch = (b: PrefetchBlock) => cycles += faultCycles(curve, b);
  return { faults: playPolicies(reads(page, pages), { memory: "1 GiB", prefetch, watch }).farFaults, cycles };
}

/**
 * hotspot with enough memory: far faults of its three arrays touched in order, and the time of its transfers.
 *
 * The time depends on which page of a leaf faults first; those pages are read off their logs. The runtime is their
 * accounting rule, kernel time plus 45 us for each far fault, with their kernel time and our faults.
 *
 * @returns three lines for each of on demand, 64 KiB and tree
 *
 * @example
 * ```ts
 * console.log(uvmSmartHotspot().every((row) => row.verdict === "reproduces")); // true
 * ```
 */
export function uvmSmartHotspot(): FigureRow[] {
  const { runs, faultPages } = published.hotspot, pages = 3 * 1024;
  const inOrder = Array.from({ length: pages }, (_, i) => i);
  const logged: Readonly<Record<string, readonly number[]>> = faultPages;
  return (Object.keys(runs) as (keyof typeof runs)[]).flatMap((policies) => {
    const prefetch = policies === "on demand" ? "none" : policies, { kernelCycles } = runs[policies];
    const { faults } = fits(inOrder, pages, prefetch);
    const asLogged = fits(logged[prefetch] ?? inOrder, pages, prefetch);
    const row = (figure: string, ours: number, decimals: number, note: string) =>
      line(nameOf(policies, figure), ours, note, { verdict: "reproduces", decimals });
    return [
      row("far faults", faults, 0, "three arrays of 4 MiB touched in order"),
      row(
        "host to device, us",
        asLogged.cycles / 1481,
        prefetch === "none" ? 3 : 2,
        prefetch === "none" ? "" : `the ${asLogged.faults} pages that fault are read off the log`,
      ),
      row(
        "printed runtime, us",
        kernelCycles / 1481 + FAULT_US * faults,
        2,
        "accounting rule: their kernel time plus 45 us for each far fault of ours",
      ),
    ];
  });
}

type Benchmark = "backprop" | "bfs" | "fdtd" | "hotspot";
const ORDERS: Readonly<Record<Benchmark, () => AccessOrder>> = {
  backprop: backpropOrder,
  bfs: bfsOrder,
  fdtd: fdtdOrder,
  hotspot: hotspotOrder,
};
/** Memory of the runs "110 %", in pages: option -gddr_size in their logs. */
const FULL_PAGES: Readonly<Record<Benchmark, number>> = {
  backprop: 4087,
  bfs: 2269,
  fdtd: 4203,
  hotspot: 2792,
};

/** Their options as ours. Over-subscribed runs prefetch by the tree until memory is full. */
const OPTIONS: Readonly<Record<string, Readonly<Record<string, Omit<PlayOptions, "memory">>>>> = {
  fits: {
    "on demand": { prefetch: "none" },
    "64 KiB": { prefetch: "64 KiB" },
    tree50: { prefetch: "tree50" },
  },
  "110 %": {
    "on demand": { prefetch: "tree50", prefetchWhenFull: "none", unit: "4 KiB" },
    "64 KiB": { prefetch: "tree50", prefetchWhenFull: "64 KiB", unit: "64 KiB" },
    tree50: { prefetch: "tree50", unit: "64 KiB", preEviction: "tree50" },
  },
};

/**
 * The table of far faults of four benchmarks, with enough memory and over-subscribed, on access orders that are ours.
 *
 * @returns a line for each figure; those of a benchmark and memory are ranked together
 */
export function uvmSmartTable(): FigureRow[] {
  const lines: FigureRow[] = [];
  for (const benchmark of ["backprop", "bfs", "fdtd", "hotspot"] as const) {
    const { parts, inFlight } = ORDERS[benchmark]();
    for (const memory of ["fits", "110 %"]) {
      const cells = published.table.rows.filter((r) => r.memory === memory && r[benchmark] !== undefined);
      const ours = cells.map(({ policies }) => {
        const options: PlayOptions = {
          ...OPTIONS[memory][policies],
          memory: memory === "fits" ? "1 GiB" : FULL_PAGES[benchmark] * PAGE_SIZE,
          // On demand they evict pages one by one, else from the 2 MiB accessed longest ago.
          eviction: policies === "on demand" ? "lru-access" : "lru-block",
          frames: "page",
          inFlight,
        };
        return parts.reduce((n, part) => n + playPolicies(part, options).farFaults, 0);
      });
      // Published from most faults to least, and from the longest runtime to the shortest.
      const runtimes = cells.map((cell, i) =>
        cell[benchmark]![1] + FAULT_US * (ours[i] - cell[benchmark]![0])
      );
      const falls = (xs: readonly number[]) => xs.every((n, i) => i === 0 || n <= xs[i - 1]);
      cells.forEach(({ policies }, i) => {
        const add = (what: string, values: readonly number[], more: string) => {
          const ranked = falls(values);
          lines.push(line(
            tableFigure(benchmark, memory, policies, what),
            values[i],
            `access order assumed (uvm_smart_orders.ts), 28 x 2048 threads in flight${more}${
              ranked ? "" : "; ranking differs"
            }`,
            { verdict: "trend", factor: 2, ranked },
          ));
        };
        add("far faults", ours, "");
        // With enough memory hotspot's runtime has a line of its own.
        if (benchmark === "hotspot" && memory === "fits") return;
        add("printed runtime, us", runtimes, "; their kernel time, 45 us for each far fault of ours");
      });
    }
  }
  return lines;
}
