/**
 * Device work: a pass over a region.
 * @module
 */
import { describe } from "../arguments.ts";
import { DummyDevice } from "../devices/dummy/device.ts";
import { Gpu } from "../devices/gpu/device.ts";
import { UsageError } from "../errors.ts";
import { checkRegion, oneRun, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { checkTouch, type TouchOptions } from "./touch.ts";

/**
 * A device that reads (or writes) every page of a region once, in order, as a streaming kernel does.
 *
 * @param device one of the machine's devices: `m.gpu`
 * @param region what it goes over, of any process of that machine
 * @param options write or read (default: read), and the words
 * @returns the workload
 * @throws {UsageError} for what is no device, no region of the device's machine, or an option that is none
 *
 * @example
 * ```ts
 * import { machine, stream } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: "titan-v" } });
 * const p = m.process(), heap = p.mmap("4 MiB");
 * p.write(heap, 1);
 * const run = await m.run({ gpu: stream(m.gpu, heap, { check: true }) });
 * console.log(run.pagesToDevice, run.mismatches); // 1024 0
 * ```
 */
export function stream(device: DummyDevice, region: Region, options: TouchOptions = {}): Workload {
  if ((device as unknown) instanceof Gpu) {
    throw new UsageError(
      'Cannot stream: got a GPU, which runs grids of thread blocks; a device of kind "dummy" is allowed; ' +
        "write launch(m.gpu, p, [streamGrid(heap)]) for a GPU",
    );
  }
  if (!(device instanceof DummyDevice)) {
    throw new UsageError(
      `Cannot stream: got ${describe(device)} for the device; a device of the machine is allowed; ` +
        'write for example stream(m.gpu, heap) after machine({ devices: { gpu: "titan-v" } })',
    );
  }
  checkRegion("stream", region);
  if (region.process.machine.kernel !== device.k) {
    throw new UsageError(
      `Cannot stream: got device "${device.name}" and a region of different machines; both of one machine are allowed; ` +
        "map the region in a process of the device's machine",
    );
  }
  const { write, value, check, node } = checkTouch("stream", options, false);
  return {
    name: `${device.name} ${write ? "writes" : "reads"} ${region.pages} pages in order`,
    node,
    start(m, a) {
      if (device.k !== m.kernel) {
        throw new UsageError(
          `Cannot stream on "${device.name}": the device belongs to another machine; those of the machine that runs are ` +
            `allowed; write stream(m.${device.name}, …) with the m of m.run`,
        );
      }
      const out = new AccessResult(false, check), mirror = device.mirror(region.process.mm);
      const proc = device.access(a, mirror, oneRun(region, write, value), out);
      return { proc, out, total: region.pages, done: () => out.pages };
    },
  };
}
