/**
 * The kinds of devices there are. A new kind is a folder and its lines here.
 * @module
 */
import type { Batches } from "../hmm/batches.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Profile } from "../profiles/profile.ts";
import type { Device } from "./device.ts";
import { DummyDevice } from "./dummy/device.ts";
import { checkDummy, type DummyOptions, type DummySpec } from "./dummy/spec.ts";

/** What a user may write for a device of a machine. */
export type DeviceChoice = string | Profile | DummyOptions;

/** The spec of a device of any kind. */
export type AnyDeviceSpec = DummySpec;

/** The device that a choice makes. */
export type DeviceOf<C> = C extends DeviceChoice ? DummyDevice : Device;

/**
 * Checks and completes what a user said of a device.
 *
 * @param options see {@linkcode DeviceChoice}; a profile or its name stands for a device with all of its defaults
 * @param name the device's name, for messages
 * @returns the full description
 * @throws {UsageError} naming the option, what was given and what is allowed
 */
export function checkDevice(options: unknown, name: string): AnyDeviceSpec {
  return checkDummy(options, name);
}

/**
 * Puts a device into a machine.
 *
 * @param k the machine
 * @param batches arrays for migrations
 * @param name the device's name
 * @param spec checked description
 * @param owner number of the device, from 1
 * @returns the device
 */
export function attachDevice(
  k: Kernel,
  batches: Batches,
  name: string,
  spec: AnyDeviceSpec,
  owner: number,
): Device {
  return new DummyDevice(k, batches, name, spec, owner);
}
