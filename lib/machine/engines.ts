/**
 * Copy engines that belong to no device, as a user asks for them: CPU threads, a DMA engine between memories.
 * @module
 */
import { checkOptions, describe, during, wholeNumber } from "../arguments.ts";
import { CpuCopy, Interconnect, PlainDma } from "../bus/interconnect.ts";
import { UsageError } from "../errors.ts";
import { bytesPerSecond, nanoseconds } from "../units.ts";
import { Machine } from "./machine.ts";

/** What the ways between a machine's memories are. */
export interface InterconnectOptions {
  /** Rate of each way and direction, for example "55 GB/s". */
  readonly rate: string | number;
}

/** What {@linkcode dmaEngine} makes. */
export interface DmaEngineOptions {
  /** Channels that work side by side (default 1). */
  readonly channels?: number;
  /** Descriptors that the queue of a channel holds (default 64). */
  readonly queueDepth?: number;
  /** From when a channel takes a descriptor up to its first byte (default 0). */
  readonly setup?: string | number;
  /** Most that one channel moves (default: the rate of the way). */
  readonly channelRate?: string | number;
  /** Mapping one page for DMA (default 0). */
  readonly mapPage?: string | number;
}

/** What {@linkcode cpuCopy} makes. */
export interface CpuCopyOptions {
  /** Threads that copy side by side (default 1); no more than the host has cores. */
  readonly threads?: number;
  /** Most that one thread copies (default: the host profile's `copy`). */
  readonly threadRate?: string | number;
  /** Most that all threads copy together (default: the rate of the way). */
  readonly rate?: string | number;
}

/**
 * Makes the ways between the memories of a machine. Engines on the same ones share their rates.
 *
 * @param m the machine
 * @param options their rate
 * @returns the ways, for {@linkcode dmaEngine} and {@linkcode cpuCopy}
 * @throws {UsageError} for what is no machine or no rate
 *
 * @example
 * ```ts
 * import { dmaEngine, interconnect, machine } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", nodes: 2 }), bus = interconnect(m, { rate: "40 GB/s" });
 * const p = m.process(), heap = p.mmap("1 MiB"), engine = dmaEngine(bus, { channels: 4, setup: "2 us" });
 * p.write(heap, 1);
 * console.log(p.movePages(heap, 1, { engine }).result, p.read(heap)[255]); // 0 256
 * ```
 */
export function interconnect(m: Machine, options: InterconnectOptions): Interconnect {
  const act = "make an interconnect";
  if (!(m instanceof Machine)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(m)
      }; a machine is allowed; write for example interconnect(m, { rate: "40 GB/s" })`,
    );
  }
  checkOptions(act, options, { rate: true }, '{ rate: "40 GB/s" }');
  const rate = during(`${act}: rate`, () => bytesPerSecond(options.rate));
  return new Interconnect(m.kernel.sim, m.kernel.pages, checkRate(act, "rate", rate));
}

/** A rate that a byte count can be divided by. */
function checkRate(act: string, what: string, rate: number): number {
  return wholeNumber(act, what, rate, 1_000_000, 10_000_000_000_000);
}

function checkBus(act: string, bus: unknown): asserts bus is Interconnect {
  if (bus instanceof Interconnect) return;
  throw new UsageError(
    `Cannot ${act}: got ${describe(bus)}; an interconnect is allowed; ` +
      'write for example const bus = interconnect(m, { rate: "40 GB/s" })',
  );
}

/**
 * Makes a DMA engine that belongs to no device, as hosts have them (I/OAT, PTDMA).
 *
 * @param bus what it moves over: {@linkcode interconnect}
 * @param options channels and costs
 * @returns an engine for `movePages`, `migratePages`, `mbind` and `migrateRange`
 * @throws {UsageError} for what is no interconnect, or an option that makes no sense
 *
 * @example
 * ```ts
 * import { dmaEngine, interconnect, machine } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", nodes: 2 }), bus = interconnect(m, { rate: "55 GB/s" });
 * console.log(dmaEngine(bus, { channels: 16, channelRate: "4.4 GB/s" }).cost.channelBytesPerSecond); // 4400000000
 * ```
 */
export function dmaEngine(bus: Interconnect, options: DmaEngineOptions = {}): PlainDma {
  const act = "make a DMA engine";
  checkBus(act, bus);
  const known = { channels: true, queueDepth: true, setup: true, channelRate: true, mapPage: true } as const;
  checkOptions(act, options, known, "{ channels: 4 }");
  const { channels = 1, queueDepth = 64, setup = 0, channelRate = bus.bytesPerSecond, mapPage = 0 } = options;
  return new PlainDma(bus, {
    channels: wholeNumber(act, "channels", channels, 1, 256),
    queueDepth: wholeNumber(act, "queueDepth", queueDepth, 1, 65_536),
    setupNs: during(`${act}: setup`, () => nanoseconds(setup)),
    channelBytesPerSecond: checkRate(
      act,
      "channelRate",
      during(`${act}: channelRate`, () => bytesPerSecond(channelRate)),
    ),
    mapPageNs: during(`${act}: mapPage`, () => nanoseconds(mapPage)),
  });
}

/**
 * Lets CPU threads copy pages side by side.
 *
 * @param m the machine whose CPUs copy
 * @param bus what they copy over: {@linkcode interconnect}
 * @param options how many threads and how fast
 * @returns an engine for `movePages`, `migratePages`, `mbind` and `migrateRange`
 * @throws {UsageError} for what is no interconnect, more threads than cores, or an option that makes no sense
 *
 * @example
 * ```ts
 * import { cpuCopy, interconnect, machine } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", nodes: 2 }), bus = interconnect(m, { rate: "55 GB/s" });
 * console.log(cpuCopy(m, bus, { threads: 16, rate: "38 GB/s" }).cost.threads); // 16
 * ```
 */
export function cpuCopy(m: Machine, bus: Interconnect, options: CpuCopyOptions = {}): CpuCopy {
  const act = "make CPU threads copy";
  checkBus(act, bus);
  checkOptions(act, options, { threads: true, threadRate: true, rate: true }, "{ threads: 4 }");
  const { cost } = m.spec,
    { threads = 1, threadRate = cost.copyBytesPerSecond, rate = bus.bytesPerSecond } = options;
  const most = during(`${act}: rate`, () => bytesPerSecond(rate));
  return new CpuCopy(bus, {
    threads: wholeNumber(act, "threads", threads, 1, cost.cores),
    threadBytesPerSecond: checkRate(
      act,
      "threadRate",
      during(`${act}: threadRate`, () => bytesPerSecond(threadRate)),
    ),
    mostBytesPerSecond: checkRate(act, "rate", most),
  });
}
