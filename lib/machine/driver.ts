/**
 * A driver of one's own: an object with `state`, `invalidate` and `fault`.
 *
 * It runs on the same kernel as everything else, in virtual time and in the explorer. This file has all that one who
 * writes a driver imports.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { DriverHandle } from "./driver_handle.ts";
import type { DriverSpec } from "./driver_spec.ts";
import { Process } from "./process.ts";

export {
  hmmRange,
  hmmRangeFault,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from "./driver_calls.ts";
export { DriverHandle } from "./driver_handle.ts";
export type {
  DriverFault,
  DriverInvalidation,
  DriverKernel,
  DriverMutex,
  DriverRange,
  DriverSpec,
  DriverTable,
  Subscription,
} from "./driver_spec.ts";

/** A driver that can be bound to a process. */
export interface Driver {
  /** Its name, for locks and reports. */
  readonly name: string;
  /**
   * Binds it to a process: the device gets a mirror of the whole address space.
   *
   * @param process whose memory the device shall reach
   * @param profile name of the profile that says what the device's work costs (default "titan-v")
   * @returns the device's operations
   * @throws {UsageError} for what is no process, or an unknown profile
   */
  bind(process: Process, profile?: string): DriverHandle;
}

/**
 * Declares a driver: how a device gives up a range and how it resolves a fault, in the kernel's words.
 *
 * It runs on the same kernel as everything else, in virtual time and in the explorer. `state` must keep nothing in
 * plain variables that `invalidate` or `fault` changes: what decides behaviour lies in locks and tables of `k`.
 *
 * @param name for locks and reports
 * @param spec its state and its two calls
 * @returns a driver to bind to a process, or to give to `litmus` as `drv`
 * @throws {UsageError} for a driver that lacks one of the three
 *
 * @example
 * ```ts
 * import * as hmm from "hmmlab";
 *
 * const drv = hmm.driver("mydrv", {
 *   state: (k) => ({ lock: k.mutex("mydrv"), pt: k.deviceTable() }),
 *   *invalidate(s, sub, range, seq) {
 *     if (range.blockable) yield* s.lock.lock();
 *     else if (!s.lock.trylock()) return false;
 *     hmm.mmuIntervalSetSeq(sub, seq);
 *     yield* s.pt.zapAndFlush(range);
 *     s.lock.unlock();
 *     return true;
 *   },
 *   *fault(s, k, sub, r) {
 *     const wanted = hmm.HMM_PFN_REQ_FAULT | (r.write ? hmm.HMM_PFN_REQ_WRITE : 0);
 *     const range = hmm.hmmRange(sub, r, { defaultFlags: wanted });
 *     for (const end = k.deadline("1000 ms");;) {
 *       if (yield* end.expired()) return -hmm.EBUSY;
 *       range.seq = yield* hmm.mmuIntervalReadBegin(sub);
 *       yield* sub.mm.mmapLock.read();
 *       const rc = yield* hmm.hmmRangeFault(range);
 *       sub.mm.mmapLock.readUnlock();
 *       if (rc === -hmm.EBUSY) continue;
 *       if (rc !== 0) return rc;
 *       yield* s.lock.lock();
 *       if (!hmm.mmuIntervalReadRetry(sub, range.seq)) break;
 *       s.lock.unlock();
 *     }
 *     s.pt.map(range);
 *     s.lock.unlock();
 *     return 0;
 *   },
 * });
 *
 * const m = hmm.machine({ memory: "64 MiB" }), p = m.process(), heap = p.mmap("64 KiB");
 * const dev = drv.bind(p);
 * const run = await m.run({ cpu: hmm.touch(heap), dev: dev.stream(heap) });
 * console.log(run.deviceFaults.count, dev.stale(heap)); // 1 false
 * ```
 */
export function driver<S>(name: string, spec: DriverSpec<S>): Driver {
  const example =
    'driver("mydrv", { state: (k) => …, *invalidate(s, sub, range, seq) { … }, *fault(s, k, sub, r) { … } })';
  if (typeof name !== "string" || name === "") {
    throw new UsageError(
      `Cannot declare a driver: got ${
        describe(name)
      } for its name; a text is allowed; write for example ${example}`,
    );
  }
  for (const call of ["state", "invalidate", "fault"] as const) {
    const given: unknown = spec?.[call];
    if (typeof given === "function") continue;
    throw new UsageError(
      `Cannot declare driver "${name}": got ${describe(given)} for ${call}; a function is needed; ` +
        `write for example ${example}`,
    );
  }
  return {
    name,
    bind(process, profile = "titan-v") {
      if (!(process instanceof Process)) {
        throw new UsageError(
          `Cannot bind driver "${name}": got ${describe(process)}; a process of a machine is allowed; ` +
            "write for example drv.bind(m.process())",
        );
      }
      return new DriverHandle(name, process, spec as DriverSpec<unknown>, profile);
    },
  };
}
