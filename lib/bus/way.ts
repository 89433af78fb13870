/**
 * What a device asks of its link to the host, of whatever kind that is.
 * @module
 */
import type { Timeline } from "../record/timeline.ts";
import type { Proc } from "../sim/sim.ts";

/** Which way bytes go. */
export type Direction = 0 | 1;
/** From the host to the device. */
export const TO_DEVICE = 0;
/** From the device to the host. */
export const TO_HOST = 1;

/** A way between a device and the host. */
export interface DeviceLink {
  /**
   * Moves bytes at once, if nobody else has to run before that is done.
   *
   * @param a actor that waits for them
   * @param direction {@link TO_DEVICE} or {@link TO_HOST}
   * @param bytes how many, 1 or more
   * @returns whether they were moved; if not, nothing has happened, and {@link DeviceLink.transfer} does it
   */
  tryTransfer(a: number, direction: Direction, bytes: number): boolean;
  /** Moves bytes as {@link DeviceLink.tryTransfer}; others run meanwhile. */
  transfer(a: number, direction: Direction, bytes: number): Proc;
  /** Bytes over virtual time in this run: one timeline for both directions, or one for each. */
  timelines(): readonly Timeline[];
}
