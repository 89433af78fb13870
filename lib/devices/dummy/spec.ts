/**
 * What a dummy device is: its sizes, what it does on a fault, what things cost.
 * @module
 */
import { checkOptions, describe, during } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import type { DeviceSpec } from "../device.ts";
import type { DeviceCosts } from "../../profiles/parameters.ts";
import { compileDevice } from "../../profiles/costs.ts";
import type { Profile } from "../../profiles/profile.ts";
import { bytes, formatBytes, nanoseconds, PAGE_SIZE, pages } from "../../units.ts";

/** What a user may say of a dummy device. Its link moves one transfer after the other, for both directions together. */
export interface DummyOptions {
  /** The kind of device; this one, if left out. */
  readonly kind?: "dummy";
  /** A device profile or its name (default "titan-v"), from which come the costs, and what is left out below. */
  readonly profile?: string | Profile;
  /** Device memory, which the CPU cannot address unless it is coherent, in whole pages, for example "12 GiB"; 0 for a device that only mirrors. */
  readonly memory?: string | number;
  /** Whether the CPU addresses the device's memory like its own, as over a coherent link (default false). */
  readonly coherent?: boolean;
  /** "migrate": a device fault first moves the pages to the device (default, if it has memory); "map": it maps them where they are. */
  readonly onFault?: "migrate" | "map";
  /** What one device fault moves or maps, aligned to its own size: 4 KiB times a power of two, up to "2 MiB". */
  readonly granule?: string | number;
  /** Pages that one CPU fault brings back: 1 (default) as the kernel's test driver, or a power of two up to 512. */
  readonly faultBackPages?: number;
  /** Longest virtual time that a device fault retries before it gives up with -EBUSY (default "1 s"). */
  readonly timeout?: string | number;
  /** Whether the device is in the machine from the start (default true); if not, it comes when it is plugged. */
  readonly plugged?: boolean;
  /** "test_hmm-6.12": the oddities of that kernel's test driver, for comparing with what it recorded; none if left out. */
  readonly quirks?: "test_hmm-6.12";
}

/** A checked, immutable description of a dummy device. */
export interface DummySpec extends DeviceSpec {
  /** Name of the kind. */
  readonly kind: "dummy";
  /** Frames of its own memory; 0 for a device that only mirrors. */
  readonly memoryPages: number;
  /** Whether the CPU addresses that memory like its own. */
  readonly coherent: boolean;
  /** Whether a device fault moves pages to the device or maps them where they are. */
  readonly onFault: "migrate" | "map";
  /** Pages that one device fault moves or maps, aligned to their number. */
  readonly granulePages: number;
  /** Pages that one CPU fault brings back, aligned to their number. */
  readonly faultBackPages: number;
  /** Longest virtual time that a device fault retries. */
  readonly timeoutNs: number;
  /** Whether the device is in the machine from the start. */
  readonly plugged: boolean;
  /** Whether the device behaves as Linux 6.12's lib/test_hmm.c where that differs from what HMM asks for. */
  readonly quirks: boolean;
  /** Compiled costs of the device's work. */
  readonly cost: DeviceCosts;
}

const OPTIONS: Readonly<Record<keyof DummyOptions, true>> = {
  kind: true,
  profile: true,
  memory: true,
  coherent: true,
  onFault: true,
  granule: true,
  faultBackPages: true,
  timeout: true,
  plugged: true,
  quirks: true,
};
const QUIRKS = "test_hmm-6.12";

function isProfile(x: unknown): x is Profile {
  return typeof x === "object" && x !== null && "kind" in x && "parameters" in x;
}

/** Pages of a length that may be 4 KiB, 8 KiB, … 2 MiB. */
function powerOfTwo(act: string, given: string, pages: number): number {
  if (Number.isInteger(pages) && pages >= 1 && pages <= 512 && (pages & (pages - 1)) === 0) return pages;
  throw new UsageError(`Cannot ${act}: got ${given}; 1, 2, 4, … 512 pages are allowed (4 KiB to 2 MiB)`);
}

/**
 * Checks what a user said of a dummy device.
 *
 * @param options see {@linkcode DummyOptions}; a profile or its name stands for a device with all of its defaults
 * @param name the device's name, for messages
 * @returns the full description
 * @throws {UsageError} naming the option, what was given and what is allowed
 *
 * @example
 * ```ts
 * console.log(checkDummy({ memory: "64 MiB", granule: "64 KiB" }).memoryPages); // 16384
 * ```
 */
export function checkDummy(options: unknown, name = "dummy"): DummySpec {
  const act = `build device "${name}"`;
  if (typeof options === "string" || isProfile(options)) return checkDummy({ profile: options }, name);
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(options)
      }; a device profile, its name, or an object of options is allowed; ` +
        `write for example "titan-v" or { profile: "titan-v", memory: "1 GiB" }`,
    );
  }
  checkOptions(act, options, OPTIONS, '{ profile: "titan-v" }');
  const o: DummyOptions = options, { memory, granule, timeout, quirks } = o;
  const cost = during(`${act}: profile`, () => compileDevice(o.profile ?? "titan-v"));
  const memoryPages = memory === undefined
    ? Math.floor(cost.memoryBytes / PAGE_SIZE)
    : during(`${act}: memory`, () => pages(memory));
  const onFault = o.onFault ?? (memoryPages > 0 ? "migrate" : "map");
  if (onFault !== "migrate" && onFault !== "map") {
    throw new UsageError(
      `Cannot ${act}: got ${describe(onFault)} for onFault; "migrate" and "map" are allowed`,
    );
  }
  if (onFault === "migrate" && memoryPages === 0) {
    throw new UsageError(
      `Cannot ${act}: got onFault "migrate" for a device without memory; "map" is allowed; ` +
        "leave onFault out, or give the device memory",
    );
  }
  if (quirks !== undefined && quirks !== QUIRKS) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(quirks)
      } for quirks; "${QUIRKS}" is allowed; leave quirks out to have none`,
    );
  }
  const coherent = o.coherent ?? false;
  if (typeof coherent !== "boolean") {
    throw new UsageError(`Cannot ${act}: got ${describe(coherent)} for coherent; true and false are allowed`);
  }
  const plugged = o.plugged ?? true;
  if (typeof plugged !== "boolean") {
    throw new UsageError(`Cannot ${act}: got ${describe(plugged)} for plugged; true and false are allowed`);
  }
  const granuleBytes = granule === undefined
    ? cost.granuleBytes
    : during(`${act}: granule`, () => bytes(granule));
  const back = o.faultBackPages ?? 1;
  const granulePages = powerOfTwo(act, `${formatBytes(granuleBytes)} for granule`, granuleBytes / PAGE_SIZE);
  const faultBackPages = powerOfTwo(act, `${describe(back)} for faultBackPages`, back);
  return {
    kind: "dummy",
    memoryPages,
    migratePages: Math.max(granulePages, faultBackPages),
    coherent,
    onFault,
    granulePages,
    faultBackPages,
    timeoutNs: during(`${act}: timeout`, () => nanoseconds(timeout ?? "1 s")),
    plugged,
    quirks: quirks === QUIRKS,
    cost,
  };
}
