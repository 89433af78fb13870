/**
 * What a device is to the machine around it, whatever its kind.
 *
 * A kind is a folder beside this file: a spec (plain data), its columns, its handlers. kinds.ts lists the kinds; a machine
 * knows only what stands here.
 * @module
 */
import type { DeviceLink } from "../bus/way.ts";
import type { DeviceMemory } from "../hmm/devmem.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Columns } from "../record/columns.ts";
import type { Proc } from "../sim/sim.ts";
import type { DeviceTable } from "./table.ts";

/** What every device's spec says, whatever its kind: plain data, all of it in a run's provenance. */
export interface DeviceSpec {
  /** Name of the kind. */
  readonly kind: string;
  /** Frames of its own memory; 0 for none. */
  readonly memoryPages: number;
  /** Most pages that it migrates at once. */
  readonly migratePages: number;
}

/** A thread of a device's driver, which runs on the host beside the workloads of a run. */
export interface DriverThread {
  /** Its name, for reports. */
  readonly name: string;
  /**
   * Makes what it runs; it must end when the run's work on the device has.
   *
   * @param a number of its actor
   */
  start(a: number): Proc;
}

/** One device of a machine. */
export interface Device {
  /** Its name in the machine. */
  readonly name: string;
  /** Its checked description. */
  readonly spec: DeviceSpec;
  /** Who it is to page maps and notifiers: 1 or more. */
  readonly owner: number;
  /** The machine that it is in. */
  readonly k: Kernel;
  /** The way to the host. */
  readonly link: DeviceLink;
  /** Memory of its own, if it has any. */
  readonly memory: DeviceMemory | undefined;
  /** The device's page table of an address space; made on first use. */
  table(mm: number): DeviceTable;
  /** Removes it from the running machine: 0, or a negated errno, and it stays. Left out by a kind that is built in. */
  unplug?(a: number): Proc<number>;
  /** Puts it back into the running machine: 0, or a negated errno. */
  plug?(a: number): Proc<number>;
  /** Lets it vanish without warning: 0, or a negated errno. */
  vanish?(a: number): Proc<number>;
  /** The threads of its driver that a run needs, asked for after all workloads have begun; none, if left out. */
  threads?(): readonly DriverThread[];
  /**
   * Begins to keep rows of what happens, up to `rows` a table; 0 keeps none.
   *
   * @param rows how many
   */
  startRecords?(rows: number): void;
  /** What was kept since then, one table by name. */
  records?(): Readonly<Record<string, Columns>>;
}
