/**
 * The dummy device: memory that the CPU cannot address, a mirror of each address space, a DMA engine behind a link.
 *
 * The counterpart of the kernel's lib/test_hmm.c, with the protocol of real drivers around it: fault, migrate, map under
 * the driver's lock after the sequence check. Its link is plain, one transfer after the other for both directions, and cannot
 * be one of `machine({ links })`: that a copy never stops anybody keeps its faults cheap. A GPU's link is full duplex, with
 * channels, and shared by what is in flight.
 * @module
 */
import { type CopyEngine, DmaEngine, Link } from "../../bus/link.ts";
import type { Batches } from "../../hmm/batches.ts";
import { DeviceMemory } from "../../hmm/devmem.ts";
import type { Accesses, AccessResult } from "../../mm/access.ts";
import { ENODEV, ENOMEM } from "../../mm/errno.ts";
import { UsageError } from "../../errors.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { lineCurve } from "../../profiles/curve.ts";
import type { DeviceFaultBack } from "../../mm/pages.ts";
import type { MirrorView } from "../../mm/watch.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { describe } from "../../arguments.ts";
import { deviceAccess, type DeviceTiming } from "../access.ts";
import type { Device } from "../device.ts";
import type { DeviceTable } from "../table.ts";
import { Presence } from "../presence.ts";
import { deviceFault } from "./fault.ts";
import { bringBack, mapMovedRange, migrateVmas } from "./migration.ts";
import { DummyMirror, MAX_MIRRORS, type MirrorColumns } from "./mirror.ts";
import { DeviceCopier, loseDevice, plugDevice, unplugDevice } from "./plug.ts";
import type { DummySpec } from "./spec.ts";
import { INSPECT } from "../../record/inspect.ts";
import { formatCount } from "../../units.ts";

const AT_MIGRATE = site("dummy device: migrating");
const AT_CLOSE = site("dummy device: closing a mirror");

/** Numbers of the phases into which a dummy device's time goes. */
export interface DevicePhases {
  /** Servicing a batch of faults: interrupt, fetch, replay. */
  readonly fault: number;
  /** The device's own loads and stores. */
  readonly access: number;
  /** Writing its page table. */
  readonly table: number;
  /** Invalidating its TLB. */
  readonly flush: number;
}

/** One dummy device of a machine. */
export class DummyDevice implements Device {
  /** Who it is to page maps and notifiers: 1 or more. */
  readonly owner: number;
  /** The driver's lock, over the mirrors. */
  readonly lock: number;
  /** Memory, if it has any. */
  readonly memory: DeviceMemory | undefined;
  /** The way to the host. */
  readonly link: Link;
  /** What copies pages; a test may put another here. */
  engine: CopyEngine;
  /** The engine as the driver uses it. */
  readonly copier: CopyEngine;
  /** Whether the device is there. */
  readonly presence: Presence;
  /** Phases by name. */
  readonly phase: DevicePhases;
  /** Told of every CPU fault on a page of this device; for transcripts. */
  watchFaultBack: ((f: DeviceFaultBack) => void) | undefined;
  /** Kinds of span: migrations to and from the device. */
  readonly kindMigrate: number;
  /** See {@link kindMigrate}. */
  readonly kindBack: number;
  /** Kind of span: its removal. */
  readonly kindUnplug: number;
  /** Counters by what they count. */
  readonly counter: Readonly<
    Record<"faults" | "toDevice" | "toSystem" | "failed" | "retries", number>
  >;
  /** What was opened so far, by row of the columns; closed ones are used again. */
  readonly opened: DummyMirror[] = [];
  private readonly columns: MirrorColumns;
  private readonly timing: DeviceTiming;
  /** Kind of span: device faults. */
  readonly kindFault: number;

  /**
   * Adds a device to a machine, with its memory if it has any.
   *
   * @param k the machine
   * @param batches arrays for migrations
   * @param name the device's name
   * @param spec checked description
   * @param owner number of the device, from 1
   */
  constructor(
    readonly k: Kernel,
    readonly batches: Batches,
    readonly name: string,
    readonly spec: DummySpec,
    owner: number,
  ) {
    const { sim } = k, { spans, counters } = sim, { cost } = spec;
    this.owner = owner;
    const { state } = sim;
    this.columns = {
      mm: state.u16(`dummy.${name}.mirrorMm`, MAX_MIRRORS),
      sub: state.u32(`dummy.${name}.mirrorSub`, MAX_MIRRORS),
      orphan: state.u8(`dummy.${name}.mirrorOrphan`, MAX_MIRRORS),
    };
    this.lock = k.locks.make(`driver lock of ${name}`);
    this.link = new Link(sim, `link of ${name}`, lineCurve(cost.linkLatencyNs, cost.linkBytesPerSecond));
    const { dmaMapPageNs, dmaUnmapPageNs, dmaSetupNs } = cost;
    this.engine = new DmaEngine(sim, k.pages, this.link, dmaMapPageNs, dmaUnmapPageNs, dmaSetupNs);
    if (spec.memoryPages > 0) {
      this.memory = new DeviceMemory(k, name, spec.memoryPages, owner, this, spec.coherent, spec.plugged);
    }
    this.presence = new Presence(sim, name, spec.plugged);
    this.copier = new DeviceCopier(this);
    this.phase = {
      fault: spans.phase("device fault service"),
      access: spans.phase("device access"),
      table: spans.phase("device page table"),
      flush: spans.phase("device tlb invalidation"),
    };
    this.timing = {
      granulePages: spec.granulePages,
      accessNs: cost.accessNs,
      phase: this.phase.access,
      link: this.link,
    };
    k.mirrors.push(() => this.mirrorViews());
    this.kindFault = spans.kind("device fault");
    this.kindMigrate = spans.kind("migration to device");
    this.kindBack = spans.kind("migration to system");
    this.kindUnplug = spans.kind("device removal");
    this.counter = {
      faults: counters.define("device_faults"),
      toDevice: counters.define("pages_to_device"),
      toSystem: counters.define("pages_to_system"),
      failed: counters.define("pages_not_migrated"),
      retries: counters.define("device_fault_retries"),
    };
  }

  /** The device's mirror of an address space; opened on first use. */
  mirror(mm: number): DummyMirror {
    for (const m of this.opened) {
      if (m.mm !== mm) continue;
      if (m.severed && this.presence.usable) m.open(mm);
      return m;
    }
    return this.open(mm);
  }

  /** The device's page table of an address space; its mirror is opened on first use. */
  table(mm: number): DeviceTable {
    return this.mirror(mm).table;
  }

  /** The lowest row of {@link opened} that is free, {@link MAX_MIRRORS} if there is none. */
  private freeRow(): number {
    let row = 0;
    while (row < MAX_MIRRORS && this.columns.mm[row] !== 0) row++;
    return row;
  }

  /** As {@link open}, but -ENOMEM where no mirror or no table is left. */
  tryOpen(mm: number): DummyMirror | number {
    const row = this.freeRow(), isShort = row >= this.opened.length && this.k.deviceTables.spare === 0;
    return row === MAX_MIRRORS || isShort ? -ENOMEM : this.open(mm);
  }

  /** Opens another mirror of an address space, as an open file of the kernel's test driver. */
  open(mm: number): DummyMirror {
    const { columns, opened, k } = this, row = this.freeRow();
    if (row === MAX_MIRRORS) {
      throw new UsageError(`Cannot open ${this.name}: ${MAX_MIRRORS} mirrors are open; close one first.`);
    }
    while (opened.length <= row) opened.push(new DummyMirror(k, this, columns, opened.length));
    opened[row].open(mm);
    return opened[row];
  }

  /** Closes what {@link open} or {@link mirror} opened. */
  *close(a: number, mirror: DummyMirror): Proc {
    this.k.sim.call(a, AT_CLOSE, mirror.mm);
    const there = yield* this.presence.enterSettled(a);
    yield* mirror.close(a);
    if (there) this.presence.exit();
    this.k.sim.ret(a);
  }

  /** The mirrors that are open. */
  mirrors(): DummyMirror[] {
    return this.opened.filter((m) => m.mm >= 0);
  }

  /** Its open mirrors, for checkers. */
  private mirrorViews(): MirrorView[] {
    const open = this.opened.filter((m) => m.alive);
    // With two open files of a device each ignores the other's migrations: a defect of the test driver, which is kept.
    const odd = this.spec.quirks && open.length > 1;
    return open.map(({ mm, sub, table }) => ({
      name: this.name,
      root: table.root,
      mm,
      sub,
      odd,
      isAtomic: (vpn) => table.isAtomic(vpn),
    }));
  }

  /**
   * Resolves a device fault: migrates first if the device is so, then maps the range under the sequence check.
   *
   * @param start first page
   * @param end page past the last; at most 512 pages
   * @param write whether the device wants to write
   * @returns 0, or -EFAULT, -EPERM as hmm_range_fault(); -EBUSY after the timeout; -ENODEV when the device is not there
   */
  fault(a: number, mirror: DummyMirror, start: number, end: number, write: boolean): Proc<number> {
    return deviceFault(this, a, mirror, start, end, write);
  }

  /**
   * Moves what lies in a range to the device, vma by vma; what cannot move stays.
   *
   * @returns pages that are now on the device and were not before; -ENODEV when the device is not there
   */
  *migrateToDevice(a: number, mirror: DummyMirror, start: number, end: number): Proc<number> {
    const { k } = this, lock = k.mmapLock(mirror.mm);
    if (mirror.severed || !this.presence.enter()) return -ENODEV;
    k.sim.call(a, AT_MIGRATE, start, end, 2);
    yield* k.locks.read(a, lock);
    const moved = yield* migrateVmas(this, a, mirror, start, end, true);
    k.locks.readUnlock(a, lock);
    k.sim.ret(a);
    if (moved > 0) {
      k.sim.call(a, AT_MIGRATE, start, end, 2, moved);
      yield* mapMovedRange(this, a, mirror, start, end);
      k.sim.ret(a);
    }
    this.presence.exit();
    return moved;
  }

  /** Moves what lies in a range on this device back to system memory. Returns how many pages came, or -ENODEV. */
  *migrateToSystem(a: number, mirror: DummyMirror, start: number, end: number): Proc<number> {
    if (mirror.severed || !this.presence.enter()) return -ENODEV;
    this.k.sim.call(a, AT_MIGRATE, start, end, 4);
    const moved = yield* this.moveBack(a, mirror, start, end);
    this.k.sim.ret(a);
    this.presence.exit();
    return moved;
  }

  /** As {@link migrateToSystem}, for who is at work on the device already. */
  *moveBack(a: number, mirror: DummyMirror, start: number, end: number): Proc<number> {
    const { k } = this, lock = k.mmapLock(mirror.mm);
    k.sim.call(a, AT_MIGRATE, start, end, 3);
    yield* k.locks.read(a, lock);
    const moved = yield* migrateVmas(this, a, mirror, start, end, false);
    k.locks.readUnlock(a, lock);
    k.sim.ret(a);
    return moved;
  }

  /** Removes the device from the machine: see {@link unplugDevice}. */
  unplug(a: number): Proc<number> {
    return unplugDevice(this, a);
  }

  /** Puts the device back into the machine: see {@link plugDevice}. */
  plug(a: number): Proc<number> {
    return plugDevice(this, a);
  }

  /** Lets the device vanish without warning: see {@link loseDevice}. */
  vanish(a: number): Proc<number> {
    return loseDevice(this, a);
  }

  /** What happens at once when the device vanishes: its tables are gone, and with them every way to memory that it had. */
  lose(): void {
    this.presence.lose();
    for (const m of this.mirrors()) m.table.reset();
  }

  /** Brings a page back to system memory because the CPU touched it: migrate_to_ram(). */
  migrateToRam(a: number, fault: DeviceFaultBack): Proc<number> {
    this.watchFaultBack?.(fault);
    return bringBack(this, a, fault);
  }

  /**
   * Performs a batch of accesses as the device would: through its own table, faulting where that has nothing.
   *
   * @param acc as for the CPU; it must not change before this ends
   * @param out takes errors (as signals with an errno), words and mismatches
   */
  *access(a: number, mirror: DummyMirror, acc: Accesses, out: AccessResult): Proc {
    const { table, mm } = mirror;
    const fault = (start: number, end: number, write: boolean) => this.fault(a, mirror, start, end, write);
    yield* deviceAccess(this.k, a, mm, table, acc, out, { ...this.timing, fault });
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `DummyDevice "${this.name}": ${formatCount(this.spec.memoryPages)} pages of memory`;
  }
}

/**
 * Takes a device for a dummy device.
 *
 * @param device a device of a machine, for example `m.devices.d0`
 * @returns the same
 * @throws {UsageError} if it is another kind of device, or none
 */
export function asDummy(device: Device | undefined): DummyDevice {
  if (device instanceof DummyDevice) return device;
  throw new UsageError(
    `Cannot take a device for a dummy device: got ${
      describe(device)
    }; a dummy device is allowed; write for example ` +
      'm.gpu after machine({ devices: { gpu: "titan-v" } })',
  );
}
