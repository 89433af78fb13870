/**
 * What a machine is made of, as a user says it, checked and completed.
 * @module
 */
import { totalmem } from "node:os";
import { checkDummy, type DummyOptions, type DummySpec } from "../devices/dummy/spec.ts";
import { UsageError } from "../errors.ts";
import type { KernelSpec } from "../mm/kernel.ts";
import { SECTION_PAGES } from "../mm/pages.ts";
import { compileHost, type Overrides } from "../profiles/costs.ts";
import type { HostCosts } from "../profiles/parameters.ts";
import type { Profile } from "../profiles/profile.ts";
import { formatBytes, pages } from "../units.ts";
import { reverts } from "../sim/revert.ts";

/** What a user says of a machine; everything has a default. */
export interface MachineOptions<D extends string = string> {
  /** Host profile by name (default "epyc-7551p") or as an object. */
  readonly host?: string | Profile;
  /** Parameters of the host that differ from the profile's, by key. */
  readonly hostParameters?: Overrides;
  /** Devices by the name under which the machine shows them: a profile's name, or options of the dummy device. */
  readonly devices?: Readonly<Record<D, string | DummyOptions>>;
  /** Seed of every random draw (default 1). */
  readonly seed?: number;
  /** Ordinary memory, for example "64 GiB" (default: the host profile's). */
  readonly memory?: string | number;
  /** Fixes and checks to switch off, by name. */
  readonly revert?: readonly string[];
  /** Translation cache entries of each CPU (default 0: each access looks at the page table). */
  readonly tlbEntries?: number;
  /** Most processes (default 16). */
  readonly processes?: number;
  /** Most actors at once (default 64). */
  readonly actors?: number;
  /** Most memory areas of all processes (default 4096). */
  readonly vmas?: number;
  /** Most page-table pages (default: enough to map all memory twice). */
  readonly pageTables?: number;
  /** Pages that one migration handles at a time (default 512). */
  readonly batchPages?: number;
  /** Modelled words of each page (default 1). */
  readonly wordsPerPage?: number;
}

/** A checked machine: plain data, all of it in a run's provenance. */
export interface MachineSpec {
  readonly kernel: KernelSpec;
  readonly hostName: string;
  readonly cost: HostCosts;
  readonly devices: Readonly<Record<string, DummySpec>>;
  readonly revert: readonly string[];
  readonly batchPages: number;
}

const OPTIONS = [
  "host",
  "hostParameters",
  "devices",
  "seed",
  "memory",
  "revert",
  "tlbEntries",
  "processes",
  "actors",
  "vmas",
  "pageTables",
  "batchPages",
  "wordsPerPage",
];

function count(what: string, x: number | undefined, byDefault: number, least: number, most: number): number {
  const n = x ?? byDefault;
  if (Number.isInteger(n) && n >= least && n <= most) return n;
  throw new UsageError(
    `Cannot build the machine: ${what} is ${n}; allowed are whole numbers from ${least} to ${most}.`,
  );
}

/** Columns that one frame of memory takes beside its words: flags, counts, mapping, index. */
const FRAME_BYTES = 22;
/** A page-table entry's kind and frame. */
const ENTRY_BYTES = 5;

/**
 * Host memory that `n` pages in use take at most: their frame and an entry in the process's and in a device's table.
 *
 * @param n pages
 * @param wordsPerPage modelled words of each
 * @returns bytes
 */
export function hostBytesOfPages(n: number, wordsPerPage: number): number {
  return n * (FRAME_BYTES + 4 * wordsPerPage + 2 * ENTRY_BYTES);
}

/**
 * Refuses what cannot fit into this computer's memory, before anything is built.
 *
 * @param what what was asked for
 * @param needBytes host memory that it takes
 * @throws UsageError with the figures
 */
export function checkHostMemory(what: string, needBytes: number): void {
  const have = totalmem();
  if (needBytes <= 0.9 * have) return;
  throw new UsageError(
    `Cannot ${what}: it can take ${formatBytes(needBytes)} of this computer's memory, which has ${
      formatBytes(have)
    }; ask for less.`,
  );
}

/**
 * Checks and completes what a user said of a machine.
 *
 * @throws UsageError naming the option, what was given and what is allowed
 */
export function checkMachine(o: MachineOptions): MachineSpec {
  for (const key of Object.keys(o)) {
    if (!OPTIONS.includes(key)) {
      throw new UsageError(
        `Cannot build the machine: unknown option "${key}"; allowed are ${OPTIONS.join(", ")}.`,
      );
    }
  }
  const host = o.host ?? "epyc-7551p", cost = compileHost(host, o.hostParameters);
  const devices: Record<string, DummySpec> = {};
  let devicePages = 0;
  for (const [name, options] of Object.entries(o.devices ?? {})) {
    if (!/^[a-z][A-Za-z0-9_]*$/.test(name)) {
      throw new UsageError(
        `Cannot name a device "${name}": a name begins with a small letter, then letters and digits.`,
      );
    }
    devices[name] = checkDummy(options as string | DummyOptions);
    devicePages += devices[name].memoryPages;
  }
  const ramPages = o.memory === undefined ? Math.floor(cost.memoryBytes / 4096) : pages(o.memory);
  if (ramPages < 16) {
    throw new UsageError(`Cannot build the machine: memory of ${ramPages} pages; give it 64 KiB or more.`);
  }
  const seed = o.seed ?? 1;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new UsageError(
      `Cannot build the machine: seed is ${seed}; allowed are whole numbers from 0 to 2^53 - 1.`,
    );
  }
  const tables = Math.max(256, Math.ceil((2.2 * (ramPages + devicePages)) / 512));
  const kernel: KernelSpec = {
    seed,
    ramPages,
    devicePages,
    devices: Object.keys(devices).length,
    actors: count("actors", o.actors, 64, 2, 1024),
    pageTables: count("pageTables", o.pageTables, tables, 8, 4_000_000),
    processes: count("processes", o.processes, 16, 1, 1000),
    vmas: count("vmas", o.vmas, 4096, 4, 1_000_000),
    tlbEntries: count("tlbEntries", o.tlbEntries, 0, 0, 4096),
    wordsPerPage: count("wordsPerPage", o.wordsPerPage, 1, 1, 512),
  };
  const frames = Math.ceil((ramPages + devicePages) / SECTION_PAGES) * SECTION_PAGES;
  checkHostMemory(
    `build a machine with ${formatBytes(4096 * ramPages)} of memory and ${
      formatBytes(4096 * devicePages)
    } on devices`,
    hostBytesOfPages(frames, kernel.wordsPerPage),
  );
  reverts(o.revert ?? []);
  return {
    kernel,
    hostName: typeof host === "string" ? host : host.name,
    cost,
    devices,
    revert: [...(o.revert ?? [])],
    batchPages: count("batchPages", o.batchPages, 512, 1, 512),
  };
}
