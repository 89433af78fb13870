/**
 * What a hardware profile holds: the costs of each kind of hardware, and for each parameter the units and range that
 * make sense.
 *
 * A parameter called `fault` in a profile becomes the field `faultNs` of the compiled costs: the field's name says the
 * unit, the profile says its own. A new kind of hardware is one more table here.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { bytes, bytesPerSecond, nanoseconds, PAGE_SIZE } from "../units.ts";

/**
 * What a piece of hardware is: the machine that runs the kernel, a device with memory of its own, a GPU (a device that
 * runs thread blocks and reports its faults in batches), or a network adapter that faults on demand.
 */
export type ProfileKind = "host" | "device" | "gpu" | "nic";

/**
 * How far a value can be trusted, best first: measured by us, published by others, derived by arithmetic from what is
 * published, calibrated so that a published figure comes out, or assumed.
 */
export type Certainty = "measured" | "published" | "derived" | "calibrated" | "assumed";

/** Every {@linkcode Certainty}, best first. */
export const CERTAINTIES: readonly Certainty[] = [
  "measured",
  "published",
  "derived",
  "calibrated",
  "assumed",
];

/** What the kernel's and the CPU's work costs on a host, in whole nanoseconds, bytes and bytes per second. */
export interface HostCosts {
  /** CPU cores. */
  readonly cores: number;
  /** Longest time of a thread on a core while others wait for one. */
  readonly timeSliceNs: number;
  /** System memory. */
  readonly memoryBytes: number;
  /** A page fault without what the fields below count: exception entry, vma lookup, accounting, exit. */
  readonly faultEntryNs: number;
  /** Entry and exit of a system call. */
  readonly syscallNs: number;
  /** Taking one 4 KiB page from the allocator. */
  readonly pageAllocNs: number;
  /** Zeroing one 4 KiB page. */
  readonly pageClearNs: number;
  /** Setting one page-table entry under the page-table lock. */
  readonly pteInstallNs: number;
  /** One CPU access to a mapped page. */
  readonly accessNs: number;
  /** One CPU access to a mapped page of another NUMA node at distance 20. */
  readonly remoteAccessNs: number;
  /** Calling one notifier subscription, without what the callback itself does. */
  readonly notifierNs: number;
  /** A TLB shootdown, without its receivers. */
  readonly ipiBaseNs: number;
  /** Each CPU that a TLB shootdown interrupts. */
  readonly ipiPerCpuNs: number;
  /** Migration, per page: page-table lock, reference, trylock, migration entry. */
  readonly collectPageNs: number;
  /** Migration, per page: isolation from the LRU and check for pins. */
  readonly unmapPageNs: number;
  /** Migration, per page: migration entry replaced, page unlocked, reference dropped. */
  readonly finalizePageNs: number;
  /** Clearing one page-table entry and dropping its page. */
  readonly zapPageNs: number;
  /** Changing the permission of one page-table entry. */
  readonly protectPageNs: number;
  /** One CPU thread that copies pages. */
  readonly copyBytesPerSecond: number;
}

/** What work on and by a device costs, in whole nanoseconds, bytes and bytes per second. */
export interface DeviceCosts {
  /** Memory on the device. */
  readonly memoryBytes: number;
  /** The fixed part of a transfer over the link to the host. */
  readonly linkLatencyNs: number;
  /** The rate of a transfer over the link, each way. */
  readonly linkBytesPerSecond: number;
  /** The fixed part of servicing one batch of device faults: interrupt, fetch, service, replay. */
  readonly faultNs: number;
  /** The most faults that one batch holds. */
  readonly faultBatch: number;
  /** What one device fault migrates, aligned to its own size. */
  readonly granuleBytes: number;
  /** One device access to a mapped 4 KiB page. */
  readonly accessNs: number;
  /** Writing one entry of the device's page table. */
  readonly pteUpdateNs: number;
  /** Invalidating the device's TLB once. */
  readonly tlbInvalidateNs: number;
  /** Mapping one 4 KiB page for DMA. */
  readonly dmaMapPageNs: number;
  /** Taking the mapping of one 4 KiB page for DMA back. */
  readonly dmaUnmapPageNs: number;
  /** Submitting one transfer to the DMA engine. */
  readonly dmaSetupNs: number;
}

/** What a GPU is made of and what its faults cost, beside what any device has. */
export interface GpuCosts extends DeviceCosts {
  /** Streaming multiprocessors. */
  readonly sms: number;
  /** Thread blocks that are resident on one multiprocessor. */
  readonly blocksPerSm: number;
  /** Threads that are resident on one multiprocessor. */
  readonly threadsPerSm: number;
  /** The oldest thread blocks of a multiprocessor whose accesses come mixed; younger ones wait for these. */
  readonly mixedBlocks: number;
  /** Multiprocessors that share one uTLB. */
  readonly smsPerUtlb: number;
  /** The most faults of one uTLB that wait for a replay. */
  readonly outstandingFaults: number;
  /** The most faults that the fault buffer holds; what comes after is dropped and faults again at the replay. */
  readonly faultBufferEntries: number;
  /** What memory is given out and evicted in. */
  readonly chunkBytes: number;
  /** Copies that the GPU's DMA engine has under way at a time, whichever way they go. */
  readonly dmaChannels: number;
  /** A walk of the GPU's page table after a miss in its TLBs. */
  readonly pageWalkNs: number;
  /** One access that goes over the link to a page that stays in system memory. */
  readonly remoteAccessNs: number;
  /** Each batch of faults: interrupt, fetch of the buffer, sorting; without migration and replay. */
  readonly batchServiceNs: number;
  /** Each 2 MiB block with faults in a batch: its lock and its state. */
  readonly blockServiceNs: number;
  /** Each fault of a batch: parsing it, looking up its address. */
  readonly faultServiceNs: number;
  /** Telling the GPU to replay what faulted. */
  readonly replayNs: number;
}

/** What the work of a network adapter with on-demand paging costs. */
export interface NicCosts {
  /** The fixed part of a transfer over the link to the host. */
  readonly linkLatencyNs: number;
  /** The rate of a transfer over the link to the host, each way. */
  readonly linkBytesPerSecond: number;
  /** The rate of the network port, each way. */
  readonly portBytesPerSecond: number;
  /** The fixed part of a network fault: detected by the adapter, reported, served, the sender resumed. */
  readonly faultNs: number;
  /** The most pages that one fault brings in. */
  readonly faultPages: number;
  /** Page faults that the adapter and the driver work on at a time. */
  readonly outstandingFaults: number;
  /** Writing one entry of the adapter's translation table, as part of an update. */
  readonly pteUpdateNs: number;
  /** An invalidation: zeroing entries of the translation table and waiting for the adapter to finish with them. */
  readonly tlbInvalidateNs: number;
  /** Mapping one 4 KiB page for DMA. */
  readonly dmaMapPageNs: number;
  /** Taking the mapping of one 4 KiB page for DMA back. */
  readonly dmaUnmapPageNs: number;
  /** The entries of the adapter's translation cache. */
  readonly translationEntries: number;
  /** A miss of the translation cache: reading an entry over the link. */
  readonly translationMissNs: number;
  /** The adapter's own work on one 4 KiB page that it sends or receives, beside the time on the port. */
  readonly accessNs: number;
}

/** What one parameter may be: its units, its range once compiled, and what its field's name ends in. */
export interface ParameterSpec<Suffix extends string = string> {
  /** What the name of the compiled field ends in: "Ns", "Bytes", "BytesPerSecond", or nothing for a count. */
  readonly suffix: Suffix;
  /** The units that a profile may use, the one that is compiled to first. */
  readonly units: readonly string[];
  /** The least compiled value. */
  readonly least: number;
  /** The greatest compiled value. */
  readonly most: number;
  /** The compiled value is a multiple of this. */
  readonly multipleOf: number;
  /** Reads an amount as the user writes it ("20 us", or a number in the first unit); throws a UsageError. */
  read(x: number | string): number;
}

/** Parameters by name. */
export type Specs = Readonly<Record<string, ParameterSpec>>;

/** What the name of a field of compiled costs ends in. */
export type SuffixOf<Field> = Field extends `${string}BytesPerSecond` ? "BytesPerSecond"
  : Field extends `${string}Bytes` ? "Bytes"
  : Field extends `${string}Ns` ? "Ns"
  : "";

/** The parameters that compile to the fields of `Costs`: one for each, no other, with the suffix of its field. */
export type SpecsOf<Costs> = {
  readonly [F in keyof Costs & string as F extends `${infer Name}${SuffixOf<F>}` ? Name : F]: ParameterSpec<
    SuffixOf<F>
  >;
};

function time(least = 0): ParameterSpec<"Ns"> {
  // A cost of more than a second is a slip of the unit.
  return { suffix: "Ns", units: ["ns", "us", "ms"], least, most: 1e9, multipleOf: 1, read: nanoseconds };
}

function length(most: number): ParameterSpec<"Bytes"> {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "MB", "GB", "TB"];
  return { suffix: "Bytes", units, least: PAGE_SIZE, most, multipleOf: PAGE_SIZE, read: bytes };
}

function rate(): ParameterSpec<"BytesPerSecond"> {
  const units = ["B/s", "MB/s", "GB/s", "TB/s", "MiB/s", "GiB/s"];
  return { suffix: "BytesPerSecond", units, least: 1e6, most: 1e13, multipleOf: 1, read: bytesPerSecond };
}

function count(unit: string, most: number): ParameterSpec<""> {
  const read = (x: number | string): number => {
    const n = typeof x === "string" && /^\s*\d+\s*$/.test(x) ? Number(x) : x;
    if (typeof n === "number" && Number.isSafeInteger(n)) return n;
    throw new UsageError(
      `Cannot read a count: got ${typeof x === "string" ? JSON.stringify(x) : x}; ` +
        `a whole number of ${unit} is allowed; write for example 8`,
    );
  };
  return { suffix: "", units: [unit], least: 1, most, multipleOf: 1, read };
}

// A page frame number is 32 bits wide.
const MOST_MEMORY = 2 ** 32 * PAGE_SIZE;

/** The parameters of a host, by name. */
export const HOST_PARAMETERS: SpecsOf<HostCosts> = {
  cores: count("cores", 4096),
  timeSlice: time(1),
  memory: length(MOST_MEMORY),
  // What every step pays may not be free: time would stand still.
  faultEntry: time(1),
  syscall: time(),
  pageAlloc: time(),
  pageClear: time(),
  pteInstall: time(),
  access: time(1),
  remoteAccess: time(1),
  notifier: time(),
  ipiBase: time(),
  ipiPerCpu: time(),
  collectPage: time(),
  unmapPage: time(),
  finalizePage: time(),
  zapPage: time(),
  protectPage: time(),
  copy: rate(),
};

/** The parameters of a device, by name. */
export const DEVICE_PARAMETERS: SpecsOf<DeviceCosts> = {
  memory: length(MOST_MEMORY),
  linkLatency: time(),
  link: rate(),
  fault: time(1),
  faultBatch: count("faults", 65536),
  granule: length(2 ** 30),
  access: time(1),
  pteUpdate: time(),
  tlbInvalidate: time(),
  dmaMapPage: time(),
  dmaUnmapPage: time(),
  dmaSetup: time(),
};

/** The parameters of a GPU, by name: those of a device, and its own. */
export const GPU_PARAMETERS: SpecsOf<GpuCosts> = {
  ...DEVICE_PARAMETERS,
  sms: count("SMs", 4096),
  blocksPerSm: count("blocks", 256),
  threadsPerSm: count("threads", 65536),
  mixedBlocks: count("blocks", 1024),
  smsPerUtlb: count("SMs", 4096),
  outstandingFaults: count("faults", 65536),
  faultBufferEntries: count("faults", 2 ** 20),
  chunk: length(2 ** 30),
  dmaChannels: count("channels", 64),
  pageWalk: time(),
  remoteAccess: time(1),
  batchService: time(1),
  blockService: time(),
  faultService: time(),
  replay: time(),
};

/** The parameters of a network adapter, by name. */
export const NIC_PARAMETERS: SpecsOf<NicCosts> = {
  linkLatency: time(),
  link: rate(),
  port: rate(),
  fault: time(1),
  faultPages: count("pages", 2 ** 20),
  outstandingFaults: count("faults", 65536),
  pteUpdate: time(),
  tlbInvalidate: time(),
  dmaMapPage: time(),
  dmaUnmapPage: time(),
  translationEntries: count("entries", 2 ** 24),
  translationMiss: time(),
  access: time(1),
};

/** The parameters of every kind of hardware. */
export const PARAMETERS: Readonly<Record<ProfileKind, Specs>> = {
  host: HOST_PARAMETERS,
  device: DEVICE_PARAMETERS,
  gpu: GPU_PARAMETERS,
  nic: NIC_PARAMETERS,
};

/**
 * Says whether hardware of one kind can stand where another is asked for: a GPU is a device.
 *
 * @param kind what the hardware is
 * @param wanted what is asked for
 * @returns whether it has every parameter of the kind that is wanted
 */
export function isKind(kind: ProfileKind, wanted: ProfileKind): boolean {
  return kind === wanted || (kind === "gpu" && wanted === "device");
}

/**
 * Converts an amount to the first unit of its parameter.
 *
 * @param spec What the parameter may be.
 * @param value The amount, in `unit`.
 * @param unit One of the units of `spec`.
 * @returns The amount in the first unit, not rounded.
 */
export function inFirstUnit(spec: ParameterSpec, value: number, unit: string): number {
  return value * (spec.suffix === "" ? 1 : spec.read(`1 ${unit}`));
}

/**
 * Compiles an amount to a whole number of the first unit of its parameter.
 *
 * @param spec What the parameter may be.
 * @param value The amount, in `unit`.
 * @param unit One of the units of `spec`.
 * @returns The nearest whole number: a profile may say 1.4439 us, the clock counts nanoseconds.
 */
export function toWhole(spec: ParameterSpec, value: number, unit: string): number {
  return Math.round(inFirstUnit(spec, value, unit));
}
