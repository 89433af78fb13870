/**
 * Devices that come and go: what can be attached, unplugged and plugged.
 * @module
 */
import { describe } from "../arguments.ts";
import type { Device, DeviceSpec } from "../devices/device.ts";
import { UsageError } from "../errors.ts";
import type { Kernel } from "../mm/kernel.ts";
import { formatBytes } from "../units.ts";
import type { MachineSpec } from "./spec.ts";

/**
 * Refuses what is no device of a machine that can come and go.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param device what was given
 * @param k the machine that it must be of; any, if left out
 * @returns the device
 * @throws {UsageError} saying what was given
 */
export function pluggable(act: string, device: unknown, k?: Kernel): Device {
  const d = device as Device | undefined;
  if (typeof d?.unplug !== "function" || typeof d.plug !== "function") {
    throw new UsageError(
      `Cannot ${act}: got ${describe(device)}; a device of a machine that can come and go is allowed; ` +
        `write for example m.${act}(m.gpu)`,
    );
  }
  if (k !== undefined && d.k !== k) {
    throw new UsageError(
      `Cannot ${act} device "${d.name}": it belongs to another machine; one of this machine is allowed; ` +
        "use the machine that it was named in",
    );
  }
  return d;
}

/**
 * Refuses a device that a machine cannot take.
 *
 * @param m the machine
 * @param name the device's name
 * @param spec its checked description
 * @throws {UsageError} saying what is in the way
 */
export function checkAttach(
  m: { readonly kernel: Kernel; readonly spec: MachineSpec },
  name: string,
  spec: DeviceSpec,
): void {
  const act = `attach device "${name}"`;
  if (name in m) {
    throw new UsageError(
      `Cannot ${act}: the machine has a device or a member of that name; a new name is allowed; write for example gpu2`,
    );
  }
  if (spec.migratePages > m.spec.batchPages) {
    throw new UsageError(
      `Cannot ${act}: a fault of it moves ${spec.migratePages} pages; the machine migrates ${m.spec.batchPages} at a ` +
        "time (batchPages); give the device a smaller granule or faultBackPages",
    );
  }
  if (spec.memoryPages > 0 && m.kernel.pages.freeRegion(spec.memoryPages) < 0) {
    throw new UsageError(
      `Cannot ${act}: it has ${
        formatBytes(4096 * spec.memoryPages)
      } of memory, and the machine has no room for it; ` +
        `write machine({ hotplug: "${formatBytes(4096 * spec.memoryPages)}" }) when you build the machine`,
    );
  }
}
