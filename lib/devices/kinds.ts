/**
 * The kinds of devices there are. A new kind is a folder and its lines here.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Topology } from "../bus/topology.ts";
import type { Batches } from "../hmm/batches.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Profile } from "../profiles/profile.ts";
import type { Device } from "./device.ts";
import { DummyDevice } from "./dummy/device.ts";
import { checkDummy, type DummyOptions, type DummySpec } from "./dummy/spec.ts";
import { Gpu } from "./gpu/device.ts";
import { checkGpu, type GpuOptions, type GpuSpec } from "./gpu/spec.ts";

/** What a user may write for a device of a machine. */
export type DeviceChoice = string | Profile | DummyOptions | GpuOptions;

/** The spec of a device of any kind. */
export type AnyDeviceSpec = DummySpec | GpuSpec;

/** The device that a choice makes. */
export type DeviceOf<C> = C extends GpuOptions ? Gpu : DummyDevice;

/**
 * Checks and completes what a user said of a device.
 *
 * @param options see {@linkcode DeviceChoice}; a profile or its name stands for a dummy device with all of its defaults
 * @param name the device's name, for messages
 * @returns the full description
 * @throws {UsageError} naming the option, what was given and what is allowed
 */
export function checkDevice(options: unknown, name: string): AnyDeviceSpec {
  if (typeof options === "object" && options !== null && "bind" in options) {
    throw new UsageError(
      `Cannot build device "${name}": got a driver of your own; a profile or the options of a device are allowed; ` +
        "write drv.bind(m.process()) for the driver's device, and run its workloads: m.run({ dev: dev.stream(heap) })",
    );
  }
  const kind =
    typeof options === "object" && options !== null && "kind" in options && !("parameters" in options &&
        "title" in options)
      ? options.kind
      : "dummy";
  if (kind === "gpu") return checkGpu(options, name);
  if (kind === "dummy") return checkDummy(options, name);
  throw new UsageError(
    `Cannot build device "${name}": got ${describe(kind)} for kind; "dummy" and "gpu" are allowed; ` +
      'write for example { kind: "gpu", profile: "titan-v" }',
  );
}

/**
 * Puts a device into a machine.
 *
 * @param k the machine
 * @param batches arrays for migrations
 * @param name the device's name
 * @param spec checked description
 * @param owner number of the device, from 1
 * @param topology what lies between devices and host
 * @returns the device
 */
export function attachDevice(
  k: Kernel,
  batches: Batches,
  name: string,
  spec: AnyDeviceSpec,
  owner: number,
  topology: Topology,
): Device {
  return spec.kind === "gpu"
    ? new Gpu(k, batches, name, spec, owner, topology)
    : new DummyDevice(k, batches, name, spec, owner);
}
