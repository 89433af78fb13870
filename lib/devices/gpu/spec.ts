/**
 * What a GPU is: its sizes, its policies, what things cost.
 * @module
 */
import { checkOptions, describe, didYouMean, during, wholeNumber } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { compileGpu, type Overrides } from "../../profiles/costs.ts";
import { refuseMisplaced } from "../../profiles/misplaced.ts";
import type { GpuCosts } from "../../profiles/parameters.ts";
import type { Profile } from "../../profiles/profile.ts";
import { bytes, formatBytes, nanoseconds, PAGE_SIZE, pages } from "../../units.ts";
import { Arena } from "../../sim/arena.ts";
import type { DeviceSpec } from "../device.ts";
import { type AccessCounterOptions, AccessCounters } from "./access_counters.ts";
import { evictionPolicy, prefetchPolicy } from "./policies.ts";
import { BLOCK_PAGES, type EvictionPolicy, type PrefetchPolicy } from "./policy.ts";
import { Thrashing, type ThrashingOptions } from "./thrashing.ts";

/** When the GPU is told to try again what faulted: after each VA block, after each batch, after a batch with the fault
 * buffer emptied first (what NVIDIA's driver does), or once, when the buffer holds no more. */
export type ReplayPolicy = "block" | "batch" | "batch-flush" | "once";

/** Every {@linkcode ReplayPolicy}. */
export const REPLAY_POLICIES: readonly ReplayPolicy[] = ["block", "batch", "batch-flush", "once"];

/** What a user may say of a GPU. */
export interface GpuOptions {
  /** The kind of device. */
  readonly kind: "gpu";
  /** A GPU's profile or its name (default "titan-v"), from which come costs and sizes. */
  readonly profile?: string | Profile;
  /** Amounts in place of the profile's own, by key: `{ sms: 2, outstandingFaults: 8, faultBatch: 128 }`. */
  readonly parameters?: Overrides;
  /** Its memory, a multiple of the chunk, for example "12 GiB" (default: the profile's). */
  readonly memory?: string | number;
  /** What memory is given out and evicted in: 4 KiB times a power of two, up to "2 MiB" (default: the profile's). */
  readonly chunk?: string | number;
  /** What one fault moves at least, aligned to its own size: 4 KiB (default) times a power of two, up to "2 MiB". */
  readonly granule?: string | number;
  /** Which pages a batch of faults brings along: a policy or its name (default "tree51"). */
  readonly prefetch?: string | PrefetchPolicy;
  /** Which chunk is given up first: a policy or its name (default "lru-allocation"). */
  readonly eviction?: string | EvictionPolicy;
  /** When the GPU tries again what faulted (default "batch-flush"). */
  readonly replay?: ReplayPolicy;
  /** Pages that one CPU fault brings back: 1 (default), or a power of two up to 512. */
  readonly faultBackPages?: number;
  /** Detection of thrashing: true, or its parameters (default false; NVIDIA's driver has it on, for the CPU's faults too). */
  readonly thrashing?: boolean | ThrashingOptions;
  /** Access counters that bring what the GPU uses over the link: true, or their parameters (default false). */
  readonly accessCounters?: boolean | AccessCounterOptions;
  /** Longest virtual time that the driver tries to map a block before its faults fail with -EBUSY (default "1 s"). */
  readonly timeout?: string | number;
}

/** A checked, immutable description of a GPU. */
export interface GpuSpec extends DeviceSpec {
  /** Name of the kind. */
  readonly kind: "gpu";
  /** Pages of a chunk of its memory. */
  readonly chunkPages: number;
  /** Pages that one fault moves at least, aligned to their number. */
  readonly granulePages: number;
  /** Which pages a batch of faults brings along. */
  readonly prefetch: PrefetchPolicy;
  /** Which chunk is given up first. */
  readonly eviction: EvictionPolicy;
  /** When the GPU tries again what faulted. */
  readonly replay: ReplayPolicy;
  /** Pages that one CPU fault brings back, aligned to their number. */
  readonly faultBackPages: number;
  /** Parameters of the thrashing detector; undefined for none. */
  readonly thrashing: ThrashingOptions | undefined;
  /** Parameters of the access counters; undefined for none. */
  readonly accessCounters: AccessCounterOptions | undefined;
  /** Longest virtual time that the driver tries to map a block. */
  readonly timeoutNs: number;
  /** Compiled costs and sizes. */
  readonly cost: GpuCosts;
}

const OPTIONS: Readonly<Record<keyof GpuOptions, true>> = {
  kind: true,
  profile: true,
  parameters: true,
  memory: true,
  chunk: true,
  granule: true,
  prefetch: true,
  eviction: true,
  replay: true,
  faultBackPages: true,
  thrashing: true,
  accessCounters: true,
  timeout: true,
};

/** Pages of a length that may be 4 KiB, 8 KiB, … 2 MiB. */
function powerOfTwo(act: string, given: string, n: number): number {
  if (Number.isInteger(n) && n >= 1 && n <= BLOCK_PAGES && (n & (n - 1)) === 0) return n;
  throw new UsageError(`Cannot ${act}: got ${given}; 1, 2, 4, … 512 pages are allowed (4 KiB to 2 MiB)`);
}

function checkReplay(act: string, given: unknown): ReplayPolicy {
  const found = REPLAY_POLICIES.find((r) => r === given);
  if (found !== undefined) return found;
  throw new UsageError(
    `Cannot ${act}: got ${describe(given)} for replay; allowed are ${
      REPLAY_POLICIES.map((r) => `"${r}"`).join(", ")
    }` +
      (typeof given === "string" ? didYouMean(given, REPLAY_POLICIES) : ""),
  );
}

/** Refuses memory that no chunk fits, or that is no whole number of chunks. */
function checkMemory(act: string, memoryPages: number, chunkPages: number): void {
  if (memoryPages >= chunkPages && memoryPages % chunkPages === 0) return;
  const chunk = formatBytes(PAGE_SIZE * chunkPages), memory = formatBytes(PAGE_SIZE * memoryPages);
  throw new UsageError(
    memoryPages < chunkPages
      ? `Cannot ${act}: got a chunk of ${chunk} and ${memory} of memory; a chunk within the memory is allowed; ` +
        `give it ${chunk} of memory or more, or a smaller chunk`
      : `Cannot ${act}: got ${memory} of memory; whole chunks of ${chunk} are allowed; write for example memory: "${
        formatBytes(PAGE_SIZE * chunkPages * Math.floor(memoryPages / chunkPages))
      }"`,
  );
}

/** What is said of a part that can be left out: undefined for false, its options for anything else; `check` refuses them. */
function partOf<O extends object>(
  act: string,
  name: string,
  given: boolean | O | undefined,
  check: (options: O) => void,
): O | undefined {
  if (given === undefined || given === false) return undefined;
  const options = given === true ? {} as O : given;
  during(`${act}: ${name}`, () => check(options));
  return options;
}

/**
 * Checks what a user said of a GPU.
 *
 * @param options see {@linkcode GpuOptions}
 * @param name the device's name, for messages
 * @returns the full description
 * @throws {UsageError} naming the option, what was given and what is allowed
 *
 * @example
 * ```ts
 * console.log(checkGpu({ kind: "gpu", memory: "64 MiB" }).memoryPages); // 16384
 * ```
 */
export function checkGpu(options: unknown, name = "gpu"): GpuSpec {
  const act = `build device "${name}"`;
  refuseMisplaced(act, options, OPTIONS, "gpu", "parameters");
  checkOptions(act, options, OPTIONS, '{ kind: "gpu", profile: "titan-v" }');
  const o = options as GpuOptions;
  const cost = during(`${act}: profile`, () => compileGpu(o.profile ?? "titan-v", o.parameters ?? {}));
  const chunkBytes = o.chunk === undefined ? cost.chunkBytes : during(`${act}: chunk`, () => bytes(o.chunk!));
  const chunkPages = powerOfTwo(act, `${formatBytes(chunkBytes)} for chunk`, chunkBytes / PAGE_SIZE);
  const memoryPages = o.memory === undefined
    ? Math.floor(cost.memoryBytes / PAGE_SIZE)
    : during(`${act}: memory`, () => pages(o.memory!));
  checkMemory(act, memoryPages, chunkPages);
  const granuleBytes = during(`${act}: granule`, () => bytes(o.granule ?? PAGE_SIZE));
  const granulePages = powerOfTwo(act, `${formatBytes(granuleBytes)} for granule`, granuleBytes / PAGE_SIZE);
  if (granulePages > chunkPages) {
    throw new UsageError(
      `Cannot ${act}: got a granule of ${formatBytes(granuleBytes)} and chunks of ${
        formatBytes(chunkBytes)
      }; a granule within a chunk is allowed, since a fault's pages come from one; give it a smaller granule or a larger chunk`,
    );
  }
  const back = wholeNumber(act, "faultBackPages", o.faultBackPages ?? 1, 1, BLOCK_PAGES);
  const prefetch = during(act, () => prefetchPolicy(o.prefetch ?? "tree51"));
  const eviction = during(act, () => evictionPolicy(o.eviction ?? "lru-allocation"));
  if (eviction.needsFuture) {
    throw new UsageError(
      `Cannot ${act}: got "${eviction.name}" for eviction; it must know the future, which only a recorded trace does; ` +
        'write for example eviction: "lru-access"',
    );
  }
  return {
    kind: "gpu",
    memoryPages,
    migratePages: BLOCK_PAGES,
    chunkPages,
    granulePages,
    prefetch,
    eviction,
    replay: checkReplay(act, o.replay ?? "batch-flush"),
    faultBackPages: powerOfTwo(act, `${describe(back)} for faultBackPages`, back),
    thrashing: partOf<ThrashingOptions>(act, "thrashing", o.thrashing, (x) => {
      const reachableBy = new Uint32Array(2), arena = new Arena();
      new Thrashing({ arena, prefix: "check", blocks: 1, watched: 1, reachableBy }, x);
    }),
    accessCounters: partOf<AccessCounterOptions>(act, "accessCounters", o.accessCounters, (x) => {
      new AccessCounters(new Arena(), "check", 1, 1, x);
    }),
    timeoutNs: during(`${act}: timeout`, () => nanoseconds(o.timeout ?? "1 s")),
    cost,
  };
}
