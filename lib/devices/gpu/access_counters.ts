/**
 * Access counters: hardware that counts a GPU's remote accesses by region and notifies the driver when a region is busy,
 * so that it can be moved instead of being read over the link for ever.
 *
 * After NVIDIA's open driver (595.45.04, kernel-open/nvidia-uvm/uvm_gpu_access_counters.c): threshold 256, notifications
 * in batches of up to 256, one counter for each 2 MiB by default. The counters are a table of fixed length, looked up by
 * the region's number; what it does when two regions meet in one entry is assumed: the newer one takes the entry.
 * @module
 */
import { checkOptions, during, wholeNumber } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import type { Arena } from "../../sim/arena.ts";
import { bytes, formatBytes, PAGE_SIZE } from "../../units.ts";

/** Lengths of region that the hardware can count by. */
export const COUNTER_GRANULARITIES: readonly string[] = ["64 KiB", "2 MiB", "16 MiB", "16 GiB"];

/** The driver's parameters uvm_perf_access_counter_*. */
export interface AccessCounterOptions {
  /** Length of a region: one of {@linkcode COUNTER_GRANULARITIES} (default "2 MiB"). */
  readonly granularity?: string | number;
  /** Remote accesses of a region that make a notification, 1 to 65535 (default 256). */
  readonly threshold?: number;
  /** Notifications that the driver takes at once, 1 or more (default 256). */
  readonly batch?: number;
}

const OPTIONS: Readonly<Required<AccessCounterOptions>> = {
  granularity: "2 MiB",
  threshold: 256,
  batch: 256,
};

/** The access counters of one GPU, and the buffer of their notifications. */
export class AccessCounters {
  /** Pages of a region. */
  readonly regionPages: number;
  /** Notifications that the driver takes at once. */
  readonly batch: number;
  private readonly threshold: number;
  private readonly entries: number;
  private readonly capacity: number;
  private readonly region: Float64Array; // By entry: the region's number plus 1, 0 if it counts nothing.
  private readonly counted: Uint32Array;
  private readonly notified: Uint8Array; // Counted out; silent until it is cleared.
  private readonly ring: Float64Array;
  private readonly ends: Uint32Array; // Notifications waiting, place of the oldest, dropped.

  /**
   * Lays the columns of counters that have counted nothing.
   *
   * @param arena the machine's state
   * @param prefix first part of the columns' names, unique in the arena
   * @param entries regions counted at once
   * @param capacity notifications that can wait; one more is dropped, and its region stays counted out until cleared
   * @param options see {@linkcode AccessCounterOptions}
   * @throws {UsageError} naming the option, what was given and what is allowed
   */
  constructor(
    arena: Arena,
    prefix: string,
    entries: number,
    capacity: number,
    options: AccessCounterOptions = {},
  ) {
    const act = "count accesses";
    checkOptions(act, options, OPTIONS, '{ granularity: "2 MiB" }');
    const { granularity, threshold, batch } = { ...OPTIONS, ...options };
    const length = during(`${act}: granularity`, () => bytes(granularity));
    if (!COUNTER_GRANULARITIES.some((g) => bytes(g) === length)) {
      throw new UsageError(
        `Cannot ${act}: got ${formatBytes(length)} for granularity; allowed are ${
          COUNTER_GRANULARITIES.join(", ")
        }; leave granularity out to have 2 MiB`,
      );
    }
    this.regionPages = length / PAGE_SIZE;
    this.threshold = wholeNumber(act, "threshold", threshold, 1, 65535);
    this.batch = wholeNumber(act, "batch", batch, 1, Number.MAX_SAFE_INTEGER);
    this.entries = wholeNumber(act, "entries", entries, 1, 1 << 24);
    this.capacity = wholeNumber(act, "capacity", capacity, 1, 1 << 24);
    this.region = arena.f64(`${prefix}.region`, entries);
    this.counted = arena.u32(`${prefix}.counted`, entries);
    this.notified = arena.u8(`${prefix}.notified`, entries);
    this.ring = arena.f64(`${prefix}.ring`, capacity);
    this.ends = arena.u32(`${prefix}.ends`, 3);
  }

  /** Notifications that wait. */
  get waiting(): number {
    return this.ends[0];
  }

  /** Notifications that found the buffer full. */
  get dropped(): number {
    return this.ends[2];
  }

  /**
   * Counts remote accesses of a page.
   *
   * @param vpn virtual page number
   * @param accesses how many, 1 or more
   * @returns whether a notification was written
   */
  count(vpn: number, accesses: number): boolean {
    const region = Math.floor(vpn / this.regionPages), e = region % this.entries, { ends, capacity } = this;
    if (this.region[e] !== region + 1) {
      this.region[e] = region + 1;
      this.counted[e] = this.notified[e] = 0;
    }
    if (this.notified[e] === 1) return false;
    this.counted[e] += accesses;
    if (this.counted[e] < this.threshold) return false;
    this.counted[e] = 0;
    this.notified[e] = 1;
    if (ends[0] === capacity) {
      ends[2]++;
      return false;
    }
    this.ring[(ends[1] + ends[0]++) % capacity] = region * this.regionPages;
    return true;
  }

  /**
   * Takes notifications out of the buffer, oldest first.
   *
   * @param out first pages of the regions, of at least {@link batch} rows
   * @returns how many were taken, {@link batch} at most
   */
  fetch(out: Float64Array): number {
    const { ends, ring, capacity } = this, n = Math.min(ends[0], this.batch);
    for (let i = 0; i < n; i++) {
      out[i] = ring[ends[1]];
      ring[ends[1]] = 0;
      ends[1] = (ends[1] + 1) % capacity;
    }
    ends[0] -= n;
    if (ends[0] === 0) ends[1] = 0;
    return n;
  }

  /** Lets a region count again, after the driver has dealt with its notification. */
  clear(vpn: number): void {
    const region = Math.floor(vpn / this.regionPages), e = region % this.entries;
    if (this.region[e] !== region + 1) return;
    this.region[e] = 0;
    this.counted[e] = this.notified[e] = 0;
  }
}
