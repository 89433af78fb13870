/**
 * Devices that come and go while a machine runs.
 * @module
 */
import { checkOptions, during } from "../arguments.ts";
import type { Device } from "../devices/device.ts";
import { UsageError } from "../errors.ts";
import { pluggable } from "../machine/hotplug.ts";
import type { Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { nanoseconds } from "../units.ts";

/** When a device comes or goes. */
export interface HotplugOptions {
  /** Virtual time from the start of the run, for example "2 ms" (default 0). */
  readonly after?: string | number;
}

const AT_TIME = site("hotplug: waiting for its time");

/** A workload that does one thing to a device at some time; what it returns below 0 is its one signal. */
function atTime(
  act: "unplug" | "plug" | "vanish",
  what: string,
  device: Device,
  options: HotplugOptions,
): Workload {
  pluggable(act, device);
  checkOptions(act, options, { after: true }, '{ after: "2 ms" }');
  const afterNs = during(`${act}: after`, () => nanoseconds(options.after ?? 0));
  return {
    name: `${device.name} ${what}`,
    start(m, a) {
      pluggable(act, device, m.kernel);
      if (device[act] === undefined) {
        throw new UsageError(
          `Cannot ${act} device "${device.name}": its kind does not do that; a device of kind "dummy" does; ` +
            "leave it out, or write unplug(device), which every kind does",
        );
      }
      const { sim } = m.kernel, out = new AccessResult(), idle = sim.spans.phase("idle");
      function* proc(): Proc {
        sim.spend(a, idle, afterNs);
        if (sim.due(a)) {
          sim.mark(a, AT_TIME, afterNs);
          yield DUE;
        }
        sim.call(a, AT_TIME, afterNs, 1);
        const rc = yield* device[act]!(a);
        sim.ret(a);
        if (rc < 0) out.fail(0, rc);
      }
      return { proc: proc(), out, total: 0, done: () => 0 };
    },
  };
}

/**
 * Work for `m.run`: removes a device at some time. What is under way on it ends first; its mirrors end, its pages come back
 * over its link, its memory goes. Its accesses from then on end with -ENODEV; the CPU's go on.
 *
 * @param device what goes
 * @param options when
 * @returns the workload; it has a signal when the device could not be removed
 * @throws {UsageError} for what is no device that can come and go, or no time
 *
 * @example
 * ```ts
 * import { machine, stream, touch, unplug } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", devices: { gpu: "titan-v" } }), heap = m.process().mmap("16 MiB");
 * await m.run({ cpu: touch(heap) });
 * await m.run({ gpu: stream(m.gpu, heap) });
 * const run = await m.run({ cpu: touch(heap, { write: false, check: true }), driver: unplug(m.gpu, { after: "1 ms" }) });
 * console.log(run.pagesToSystem, run.actors[0].mismatches); // 4096 0
 * ```
 */
export function unplug(device: Device, options: HotplugOptions = {}): Workload {
  return atTime("unplug", "is unplugged", device, options);
}

/**
 * Work for `m.run`: puts a device back at some time, its memory empty.
 *
 * @param device what comes; one that {@linkcode unplug} has removed, or that was built with `plugged: false`
 * @param options when
 * @returns the workload; it has a signal when the device is there already, or its memory could not be added
 * @throws {UsageError} as {@linkcode unplug}
 *
 * @example
 * ```ts
 * import { machine, plug } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", devices: { gpu: { profile: "titan-v", plugged: false } } });
 * const run = await m.run({ driver: plug(m.gpu, { after: "1 ms" }) });
 * console.log(run.actors[0].signals, m.gpu.presence.usable); // 0 true
 * ```
 */
export function plug(device: Device, options: HotplugOptions = {}): Workload {
  return atTime("plug", "is plugged", device, options);
}

/**
 * Work for `m.run`: lets a device vanish at some time, without warning. What lives only in memory that the CPU cannot address
 * is lost: who touches it gets SIGBUS.
 *
 * @param device what vanishes
 * @param options when
 * @returns the workload; it has a signal when the device was away
 * @throws {UsageError} as {@linkcode unplug}
 *
 * @example
 * ```ts
 * import { machine, stream, touch, vanish } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", devices: { gpu: "titan-v" } }), heap = m.process().mmap("1 MiB");
 * await m.run({ gpu: stream(m.gpu, heap) });
 * await m.run({ slot: vanish(m.gpu) });
 * const run = await m.run({ cpu: touch(heap) });
 * console.log(run.actors[0].signals, m.unplug(m.gpu), m.process().residentPages); // 256 0 0
 * ```
 */
export function vanish(device: Device, options: HotplugOptions = {}): Workload {
  return atTime("vanish", "vanishes", device, options);
}
