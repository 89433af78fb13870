/**
 * What a driver of one's own is, and what it sees of the kernel: struct by struct.
 * @module
 */
import type { Proc } from "../sim/sim.ts";

/** A mutex of a driver: struct mutex. */
export interface DriverMutex {
  /** Sleeps until it is free, and takes it. */
  lock(): Proc;
  /** Takes it if it is free. */
  trylock(): boolean;
  /** Gives it back. */
  unlock(): void;
}

/** The table through which a driver's device reaches memory. */
export interface DriverTable {
  /** Enters the pages of a range that {@link hmmRangeFault} filled. */
  map(range: DriverRange): void;
  /** Empties a range, then drops it from the device's TLB; hardware may come in between. */
  zapAndFlush(range: { readonly start: number; readonly end: number }): Proc;
}

/** What a driver asks of the kernel. */
export interface DriverKernel {
  /** Makes a mutex, named in reports of deadlocks. */
  mutex(name: string): DriverMutex;
  /** Makes the device's table; the first one is the one through which the device's own accesses go. */
  deviceTable(): DriverTable;
  /** A point in time from now, for example "1000 ms"; in the explorer it passes only where failure point "timeout" is on. */
  deadline(length: string | number): { expired(): Proc<boolean> };
}

/** A subscription to an address space: struct mmu_interval_notifier. */
export interface Subscription {
  /** The address space, with the lock that hmm_range_fault() wants held for reading. */
  readonly mm: { readonly mmapLock: { read(): Proc; readUnlock(): void } };
}

/** An invalidation as a driver sees it: struct mmu_notifier_range. */
export interface DriverInvalidation {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** MMU_NOTIFY_ event. */
  readonly event: number;
  /**
   * State of the driver whose device causes a MIGRATE or EXCLUSIVE event. A driver of one's own has no device memory yet and
   * causes none, so it never finds its own state here: undefined stands for another's device or for nobody.
   */
  readonly owner: unknown;
  /** Whether the callback may sleep. */
  readonly blockable: boolean;
}

/** A range to fault and map: struct hmm_range. */
export interface DriverRange {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** Sequence from {@link mmuIntervalReadBegin}. */
  seq: number;
  /** One HMM_PFN_ entry a page. */
  readonly pfns: Uint32Array;
}

/** A driver: what it keeps, how it gives up a range, how it resolves a fault. */
export interface DriverSpec<S> {
  /** Makes the driver's state for one device. */
  state(k: DriverKernel): S;
  /** Gives up a range; false (only where it must not sleep) makes the caller give up with -EAGAIN. */
  invalidate(s: S, sub: Subscription, range: DriverInvalidation, seq: number): Proc<boolean>;
  /** Resolves a device fault. Returns 0 or a negated errno. */
  fault(s: S, k: DriverKernel, sub: Subscription, r: DriverFault): Proc<number>;
}

/** The pages of a device fault. */
export interface DriverFault {
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** Whether the device wants to write. */
  readonly write: boolean;
}
