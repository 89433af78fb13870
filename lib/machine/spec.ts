/**
 * What a machine is made of, as a user says it, checked and completed.
 * @module
 */
import os from "node:os";
import { checkOptions, describe, during, wholeNumber } from "../arguments.ts";
import type { LinkSpec } from "../bus/topology.ts";
import { type AnyDeviceSpec, checkDevice, type DeviceChoice } from "../devices/kinds.ts";
import { UsageError } from "../errors.ts";
import type { KernelSpec } from "../mm/kernel.ts";
import { FRAME_BYTES, MAX_PAGES, ramSections, SECTION_PAGES } from "../mm/pages.ts";
import { compileHost, type Overrides } from "../profiles/costs.ts";
import { refuseMisplaced } from "../profiles/misplaced.ts";
import type { HostCosts } from "../profiles/parameters.ts";
import type { Profile } from "../profiles/profile.ts";
import { formatBytes, PAGE_SIZE, pages } from "../units.ts";
import { reverts } from "../sim/revert.ts";
import { checkLinks, type LinkOptions } from "./links.ts";
import { checkNodes, type NodeOptions, type NodeSpec } from "./nodes.ts";
import { checkCheckers } from "../check/mod.ts";

/** What a user says of a machine; everything has a default. */
export interface MachineOptions<
  D extends Readonly<Record<string, DeviceChoice>> = Readonly<Record<string, DeviceChoice>>,
> {
  /** Host profile by name (default "epyc-7551p") or as an object. */
  readonly host?: string | Profile;
  /** Parameters of the host that differ from the profile's, by key. */
  readonly hostParameters?: Overrides;
  /**
   * Devices, up to 15, by the name under which the machine shows them (`m.gpu`): a profile, its name, or the options of
   * a kind of device.
   */
  readonly devices?: D;
  /**
   * Links that GPUs share on their way to the host (default none: each has the rate of its own link): a switch, a root
   * complex. GPUs that are attached later are on none of them.
   */
  readonly links?: readonly LinkOptions[];
  /** Room for memory of devices that are attached later, for example "16 GiB" (default 0); each takes whole 128 MiB of it. */
  readonly hotplug?: string | number;
  /** Seed of every random draw (default 1). */
  readonly seed?: number;
  /** Ordinary memory, for example "64 GiB" (default: the host profile's). */
  readonly memory?: string | number;
  /** NUMA nodes, up to 8 (default 1): how many share the memory evenly, or the memory, cores and distances of each. */
  readonly nodes?: number | readonly NodeOptions[];
  /** Fixes and checks to switch off, by name. */
  readonly revert?: readonly string[];
  /**
   * Rules to look after while it runs: "all", or names of `checkerNames()` (default: none). A broken one ends a run with
   * an {@linkcode InvariantError}.
   */
  readonly checkers?: "all" | readonly string[];
  /** Translation cache entries of each CPU (default 0: each access looks at the page table). */
  readonly tlbEntries?: number;
  /** Most processes (default 16). */
  readonly processes?: number;
  /** Most actors at once (default 64). */
  readonly actors?: number;
  /** Most memory areas of all processes (default 4096). */
  readonly vmas?: number;
  /** Pages of a file that one read fault maps if they are in memory: a power of two to 512 (default 16, the kernel's). */
  readonly faultAroundPages?: number;
  /** Pages of swap (default 1024; 0 for none). */
  readonly swapPages?: number;
  /** Most page-table pages (default: enough to map all memory twice). */
  readonly pageTables?: number;
  /** Pages that one migration handles at a time (default 512). */
  readonly batchPages?: number;
  /** Modelled words of each page (default 1). */
  readonly wordsPerPage?: number;
}

/** A checked machine: plain data, all of it in a run's provenance. */
export interface MachineSpec {
  /** Sizes and seed of its memory management. */
  readonly kernel: KernelSpec;
  /** Name of the host's profile. */
  readonly hostName: string;
  /** The host's compiled costs, with what {@linkcode MachineOptions.hostParameters} changed. */
  readonly cost: HostCosts;
  /** Its NUMA nodes. */
  readonly nodes: readonly NodeSpec[];
  /** Its devices by name, in their order. */
  readonly devices: Readonly<Record<string, AnyDeviceSpec>>;
  /** Links that devices share. */
  readonly links: readonly LinkSpec[];
  /** What is switched off. */
  readonly revert: readonly string[];
  /** Rules that are looked after. */
  readonly checkers: readonly string[];
  /** Pages that one migration handles at a time. */
  readonly batchPages: number;
}

const OPTIONS: Readonly<Record<keyof MachineOptions, true>> = {
  host: true,
  hostParameters: true,
  devices: true,
  links: true,
  hotplug: true,
  seed: true,
  memory: true,
  nodes: true,
  revert: true,
  checkers: true,
  tlbEntries: true,
  processes: true,
  actors: true,
  vmas: true,
  swapPages: true,
  faultAroundPages: true,
  pageTables: true,
  batchPages: true,
  wordsPerPage: true,
};

const BUILD = "build the machine";
/** Zones but those of ordinary memory; see MAX_ZONES of the pages. */
const MOST_DEVICES = 15;

/** A page-table entry's kind and frame. */
const ENTRY_BYTES = 5;
/** Longest typed column that every runtime gives. */
const MOST_COLUMN_BYTES = 2 ** 32;
/** Share of this computer's memory that a machine may take. */
const HOST_SHARE = 0.9;

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
 * @param needBytes host memory that it takes once all of it is in use
 * @param remedy what to write instead
 * @throws {UsageError} with the figures
 */
export function checkHostMemory(what: string, needBytes: number, remedy: string): void {
  const allowedBytes = Math.floor(HOST_SHARE * os.totalmem());
  if (needBytes <= allowedBytes) return;
  throw new UsageError(
    `Cannot ${what}: it can take ${formatBytes(needBytes)} of this computer's memory; ${
      formatBytes(allowedBytes)
    } ` +
      `are allowed, ${100 * HOST_SHARE} % of what it has; ${remedy}`,
  );
}

/**
 * Checks and completes devices, each under a name that can be written after a dot.
 *
 * @param given what a user said, by name
 * @returns the full descriptions by name
 * @throws {UsageError} naming the device, what was given and what is allowed
 */
export function checkDevices(given: unknown): Record<string, AnyDeviceSpec> {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${
        describe(given)
      } for devices; an object with a name for each device is allowed; ` +
        'write for example devices: { gpu: "titan-v" }',
    );
  }
  const entries = Object.entries(given);
  if (entries.length > MOST_DEVICES) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${entries.length} devices; up to ${MOST_DEVICES} are allowed; name fewer`,
    );
  }
  return Object.fromEntries(entries.map(([name, options]) => {
    if (!/^[a-z][A-Za-z0-9_]*$/.test(name)) {
      throw new UsageError(
        `Cannot ${BUILD}: got ${
          JSON.stringify(name)
        } as a device's name; a small letter, then letters, digits and _ ` +
          "are allowed; write for example gpu, and reach the device as m.gpu",
      );
    }
    return [name, checkDevice(options, name)];
  }));
}

function checkReverts(given: unknown): readonly string[] {
  if (!Array.isArray(given)) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${describe(given)} for revert; an array of names is allowed; ` +
        `write for example revert: ["sequence check"]`,
    );
  }
  reverts(given);
  return [...given];
}

/** Refuses memory that no frame number reaches, and what this computer could not hold once it is all in use. */
function checkMemory(
  nodes: readonly NodeSpec[],
  devicePages: number,
  devices: number,
  wordsPerPage: number,
): void {
  const ramPages = nodes.reduce((n, node) => n + node.pages, 0);
  const memory = `${formatBytes(PAGE_SIZE * ramPages)} of memory` +
    (devicePages > 0 ? ` and ${formatBytes(PAGE_SIZE * devicePages)} on devices` : "");
  const sections = ramSections(nodes.map((n) => n.pages)) + Math.ceil(devicePages / SECTION_PAGES) + devices;
  if (sections * SECTION_PAGES > MAX_PAGES) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${memory}; ${
        formatBytes(PAGE_SIZE * MAX_PAGES)
      } in all are allowed (each device's memory ` +
        `begins at a multiple of ${
          formatBytes(PAGE_SIZE * SECTION_PAGES)
        }); write for example memory: "64 GiB"`,
    );
  }
  const wordBytes = 4 * wordsPerPage * sections * SECTION_PAGES;
  if (wordBytes > MOST_COLUMN_BYTES) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${wordsPerPage} for wordsPerPage with ${memory}; the words of all pages may take ` +
        `${formatBytes(MOST_COLUMN_BYTES)}, these would take ${
          formatBytes(wordBytes)
        }; give fewer words or less memory`,
    );
  }
  checkHostMemory(
    `build a machine with ${memory}`,
    hostBytesOfPages(ramPages + devicePages, wordsPerPage),
    "give it less memory, or fewer wordsPerPage",
  );
}

/** The fault-around window: 1 (off) to 512 pages. */
function checkFaultAround(x: number | undefined): number {
  const n = wholeNumber(BUILD, "faultAroundPages", x ?? 16, 1, 512);
  if ((n & (n - 1)) === 0) return n;
  throw new UsageError(
    `Cannot ${BUILD}: got ${n} for faultAroundPages; 1, 2, 4, … 512 are allowed; write for example 16`,
  );
}

/**
 * Checks and completes what a user said of a machine.
 *
 * @param o the options
 * @returns the full description
 * @throws {UsageError} naming the option, what was given, what is allowed and what to write instead
 */
export function checkMachine(o: MachineOptions): MachineSpec {
  refuseMisplaced(BUILD, o, OPTIONS, "host", "hostParameters");
  checkOptions(BUILD, o, OPTIONS, '{ devices: { gpu: "titan-v" }, seed: 1 }');
  const { hostParameters = {} } = o;
  if (typeof hostParameters !== "object" || Array.isArray(hostParameters)) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${describe(hostParameters)} for hostParameters; an object is allowed; ` +
        `write for example hostParameters: { ipiBase: "4 us" }`,
    );
  }
  const host = o.host ?? "epyc-7551p",
    cost = during(`${BUILD}: host`, () => compileHost(host, hostParameters));
  const devices = checkDevices(o.devices ?? {});
  const size = (name: keyof MachineOptions, byDefault: number, least: number, most: number) =>
    wholeNumber(BUILD, name, o[name] ?? byDefault, least, most);
  const { memory } = o;
  const memoryPages = memory === undefined
    ? Math.floor(cost.memoryBytes / PAGE_SIZE)
    : during(`${BUILD}: memory`, () => pages(memory));
  if (memoryPages < 16) {
    throw new UsageError(
      `Cannot ${BUILD}: got ${formatBytes(PAGE_SIZE * memoryPages)} of memory; 64 KiB or more is allowed; ` +
        `write for example memory: "1 GiB"`,
    );
  }
  const nodes = checkNodes(o.nodes, memoryPages, memory !== undefined, cost.cores);
  const ramPages = nodes.reduce((n, node) => n + node.pages, 0);
  const batchPages = size("batchPages", 512, 1, 512);
  const { hotplug = 0 } = o, room = during(`${BUILD}: hotplug`, () => pages(hotplug));
  const hotplugPages = Math.ceil(room / SECTION_PAGES) * SECTION_PAGES;
  let devicePages = hotplugPages;
  for (const [name, { memoryPages, migratePages }] of Object.entries(devices)) {
    devicePages += memoryPages;
    if (migratePages <= batchPages) continue;
    throw new UsageError(
      `Cannot ${BUILD}: a fault of device "${name}" moves ${migratePages} pages; ` +
        `the machine migrates ${batchPages} at a time (batchPages); give the device a smaller granule or faultBackPages`,
    );
  }
  const wordsPerPage = size("wordsPerPage", 1, 1, 512);
  checkMemory(nodes, devicePages, Object.keys(devices).length, wordsPerPage);
  const tables = Math.max(256, Math.ceil((2.2 * (ramPages + devicePages)) / 512));
  return {
    kernel: {
      seed: wholeNumber(BUILD, "seed", o.seed ?? 1, 0, Number.MAX_SAFE_INTEGER),
      ramPages,
      nodes: nodes.map(({ pages, distances }) => ({ pages, distances })),
      devicePages,
      devices: Object.keys(devices).length,
      actors: size("actors", 64, 2, 1024),
      pageTables: size("pageTables", tables, 8, 1_000_000),
      processes: size("processes", 16, 1, 1000),
      vmas: size("vmas", 4096, 4, 1_000_000),
      inodes: 64,
      faultAroundPages: checkFaultAround(o.faultAroundPages),
      swapPages: size("swapPages", 1024, 0, 1 << 22),
      tlbEntries: size("tlbEntries", 0, 0, 4096),
      wordsPerPage,
    },
    hostName: typeof host === "string" ? host : host.name,
    cost,
    nodes,
    devices,
    links: checkLinks(o.links ?? [], devices),
    revert: checkReverts(o.revert ?? []),
    checkers: checkCheckers(BUILD, o.checkers ?? []),
    batchPages,
  };
}
