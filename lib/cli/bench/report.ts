/** What `task bench` measures, as plain data, and how it is printed. */
import { type Columns, columnsOf } from "../../record/columns.ts";

/** Pages a second of one operation on one runner. */
export interface PageRow {
  /** What is done to each page. */
  readonly operation: string;
  /** "bare loop" for the floor, else who drives the model. */
  readonly runner: string;
  /** Actors that share the pages. */
  readonly actors: number;
  /** Pages of one repeat. */
  readonly pages: number;
  /** Median wall time of a page. */
  readonly nsPerPage: number;
  /** The same, turned round. */
  readonly pagesPerSecond: number;
  /** Time of a page over that of the bare loop in this very run; 1 for the loop itself. */
  readonly timesFloor: number;
  /** What is aimed at, in pages a second; null where nothing is. */
  readonly aimPerSecond: number | null;
}

/** How often something happens in a second. */
export interface RateRow {
  /** What happens. */
  readonly what: string;
  /** Actors that take part. */
  readonly actors: number;
  /** How many of them one repeat counts. */
  readonly count: number;
  /** Median wall time of one. */
  readonly nsEach: number;
  /** The same, turned round. */
  readonly perSecond: number;
}

/** Memory of this computer that a simulated page takes. */
export interface MemoryRow {
  /** Which pages. */
  readonly what: string;
  /** How many. */
  readonly pages: number;
  /** Bytes of state columns in use, a page. */
  readonly stateBytesPerPage: number;
  /** Growth of the process's resident memory, a page. */
  readonly residentBytesPerPage: number;
  /** What is aimed at; null where nothing is. */
  readonly aimBytesPerPage: number | null;
}

/** How long something takes that happens once. */
export interface TimeRow {
  /** What. */
  readonly what: string;
  /** Median wall time. */
  readonly seconds: number;
  /** What is aimed at; null where nothing is. */
  readonly aimSeconds: number | null;
}

/** A GPU at work. */
export interface GpuRow {
  /** What it does. */
  readonly what: string;
  /** Pages of its working set. */
  readonly pages: number;
  /** Pages that moved, both ways. */
  readonly movedPages: number;
  /** Wall time. */
  readonly seconds: number;
  /** What is aimed at. */
  readonly aimSeconds: number;
  /** Resident memory of this process afterwards. */
  readonly residentBytes: number;
}

/** One run of the bench. */
export interface Report {
  /** The JavaScript runtime, by name and version. */
  readonly runtime: string;
  /** The computer's processor and how many cores the runtime sees. */
  readonly processor: string;
  /** Whether sizes were tiny: its times say little. */
  readonly quick: boolean;
  /** Repeats of which the medians are taken. */
  readonly repeats: number;
  readonly pages: readonly PageRow[];
  readonly rates: readonly RateRow[];
  readonly memory: readonly MemoryRow[];
  readonly start: readonly TimeRow[];
  readonly gpu: readonly GpuRow[];
}

/** Sizes of a bench. */
export interface BenchSizes {
  /** Pages of the region on the clock and to completion; a multiple of 16 times 512 times 8. */
  readonly pages: number;
  /** Repeats that count; one more comes first and does not. */
  readonly repeats: number;
  /** Resumes of the clock in one repeat. */
  readonly resumes: number;
  /** Pages touched to see how much memory they take. */
  readonly touchedPages: number;
  /** Pages mapped and not touched. */
  readonly untouchedPages: number;
  /** Pages of the working set that is twice as large as a GPU's memory; a multiple of 1024. */
  readonly gpuPages: number;
}

/** The middle of some numbers, or the mean of the two in the middle. */
export function median(xs: readonly number[]): number {
  const sorted = [...xs].sort((x, y) => x - y), mid = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[mid] : (sorted[mid - 1] + sorted[mid]) / 2;
}

function digits(x: number, decimals: number): number {
  return Number(x.toFixed(decimals));
}

/** The tables that people read. */
export function tablesOf(r: Report): Columns[] {
  const aim = (x: number | null, unit: number, sign: string) => x === null ? "" : `${sign} ${x / unit}`;
  return [
    columnsOf(
      "Pages",
      r.pages.map((p) => ({
        operation: p.operation,
        runner: p.runner,
        actors: p.actors,
        nsPerPage: digits(p.nsPerPage, 1),
        millionPerSecond: digits(p.pagesPerSecond / 1e6, 3),
        timesFloor: digits(p.timesFloor, 1),
        aim: aim(p.aimPerSecond, 1e6, "≥"),
      })),
      { nsPerPage: "ns", millionPerSecond: "million pages/s" },
    ),
    columnsOf(
      "Clock and explorer",
      r.rates.map((x) => ({
        what: x.what,
        actors: x.actors,
        nsEach: digits(x.nsEach, 1),
        millionPerSecond: digits(x.perSecond / 1e6, 4),
      })),
      { nsEach: "ns", millionPerSecond: "million/s" },
    ),
    columnsOf(
      "Memory of this computer",
      r.memory.map((x) => ({
        what: x.what,
        pages: x.pages,
        state: digits(x.stateBytesPerPage, 2),
        resident: digits(x.residentBytesPerPage, 2),
        aim: aim(x.aimBytesPerPage, 1, "<"),
      })),
      { state: "bytes/page", resident: "bytes/page" },
    ),
    columnsOf(
      "GPU",
      r.gpu.map((x) => ({
        what: x.what,
        pages: x.pages,
        moved: x.movedPages,
        seconds: digits(x.seconds, 3),
        aim: `< ${digits(x.aimSeconds, 3)}`,
        nsPerMovedPage: digits((x.seconds * 1e9) / x.movedPages, 0),
        resident: digits(x.residentBytes / 2 ** 20, 0),
      })),
      { seconds: "s", nsPerMovedPage: "ns", resident: "MiB" },
    ),
    columnsOf(
      "Start",
      r.start.map((x) => ({ what: x.what, seconds: digits(x.seconds, 2), aim: aim(x.aimSeconds, 1, "<") })),
      { seconds: "s" },
    ),
  ];
}
