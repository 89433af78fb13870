/**
 * Device work: a pass over a region.
 * @module
 */
import type { DummyDevice } from "../devices/dummy/device.ts";
import { UsageError } from "../errors.ts";
import { oneRun, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import type { TouchOptions } from "./touch.ts";

/**
 * A device that reads (or writes) every page of a region once, in order, as a streaming kernel does.
 *
 * @param device one of the machine's devices
 * @param region what it goes over
 * @param options `write` (default false), and the words
 */
export function stream(device: DummyDevice, region: Region, options: TouchOptions = {}): Workload {
  if (device === undefined || typeof device.access !== "function") {
    throw new UsageError(
      "Cannot stream: the first argument is no device; write stream(m.gpu, heap) with a device of the machine.",
    );
  }
  const write = options.write ?? false;
  return {
    name: `${device.name} ${write ? "writes" : "reads"} ${region.pages} pages in order`,
    start(m, a) {
      if (device.k !== m.kernel) {
        throw new UsageError(`Cannot stream on "${device.name}": the device belongs to another machine.`);
      }
      const out = new AccessResult(false, options.check ?? false), mirror = device.mirror(region.process.mm);
      const proc = device.access(a, mirror, oneRun(region, write, options.value ?? 1), out);
      return { proc, out, total: region.pages, done: () => out.pages };
    },
  };
}
