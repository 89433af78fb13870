/**
 * What a dummy device is: its sizes, what it does on a fault, what things cost.
 * @module
 */
import { UsageError } from "../../errors.ts";
import type { DeviceCosts } from "../../profiles/parameters.ts";
import { compileDevice } from "../../profiles/costs.ts";
import type { Profile } from "../../profiles/profile.ts";
import { bytes, PAGE_SIZE } from "../../units.ts";

/** What a user may say of a dummy device. */
export interface DummyOptions {
  /** Name of a device profile, or a profile, from which everything below comes if it is not given. */
  readonly profile?: string | Profile;
  /** Device memory, for example "12 GiB"; 0 for a device that only mirrors. */
  readonly memory?: string | number;
  /** "migrate": a device fault first moves the pages to the device; "map": it maps them where they are. */
  readonly onFault?: "migrate" | "map";
  /** What one device fault moves or maps, aligned to its own size. */
  readonly granule?: string | number;
  /** Pages that one CPU fault brings back: 1 as the kernel's test driver, or a power of two. */
  readonly faultBackPages?: number;
  /** Longest time that a device fault retries before it gives up with -EBUSY. */
  readonly timeoutMs?: number;
}

/** A checked, immutable description of a dummy device. */
export interface DummySpec {
  readonly memoryPages: number;
  readonly onFault: "migrate" | "map";
  readonly granulePages: number;
  readonly faultBackPages: number;
  readonly timeoutNs: number;
  readonly cost: DeviceCosts;
}

function powerOfTwo(what: string, pages: number): number {
  if (Number.isInteger(pages) && pages >= 1 && pages <= 512 && (pages & (pages - 1)) === 0) return pages;
  throw new UsageError(
    `Cannot build a dummy device: ${what} is ${pages} pages; allowed are 1, 2, 4, … 512 pages (2 MiB).`,
  );
}

/**
 * Checks what a user said of a dummy device.
 *
 * @param options see {@link DummyOptions}; a string is the name of a profile
 * @returns the full description
 * @throws UsageError naming the option, what was given and what is allowed
 */
export function checkDummy(options: string | DummyOptions): DummySpec {
  const o: DummyOptions = typeof options === "string" ? { profile: options } : options;
  const allowed = ["profile", "memory", "onFault", "granule", "faultBackPages", "timeoutMs"];
  for (const key of Object.keys(o)) {
    if (!allowed.includes(key)) {
      throw new UsageError(
        `Cannot build a dummy device: unknown option "${key}"; allowed are ${allowed.join(", ")}.`,
      );
    }
  }
  const cost = compileDevice(o.profile ?? "titan-v");
  const memoryBytes = o.memory === undefined ? cost.memoryBytes : bytes(o.memory);
  if (memoryBytes % PAGE_SIZE !== 0) {
    throw new UsageError(
      `Cannot build a dummy device: memory of ${memoryBytes} bytes is not whole pages of 4 KiB.`,
    );
  }
  if (o.onFault !== undefined && o.onFault !== "migrate" && o.onFault !== "map") {
    throw new UsageError(
      `Cannot build a dummy device: onFault is "${o.onFault}"; allowed are "migrate" and "map".`,
    );
  }
  const granule = o.granule === undefined ? cost.granuleBytes : bytes(o.granule);
  return {
    memoryPages: memoryBytes / PAGE_SIZE,
    onFault: o.onFault ?? (memoryBytes > 0 ? "migrate" : "map"),
    granulePages: powerOfTwo("granule", granule / PAGE_SIZE),
    faultBackPages: powerOfTwo("faultBackPages", o.faultBackPages ?? 1),
    timeoutNs: Math.round((o.timeoutMs ?? 1000) * 1e6),
    cost,
  };
}
