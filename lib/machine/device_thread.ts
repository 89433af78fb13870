/**
 * Devices as actors handle them: their operations on a process's memory as generators, for litmus tests and own workloads.
 * @module
 */
import { DummyDevice } from "../devices/dummy/device.ts";
import { dummyExclusive, IoctlResult } from "../devices/dummy/ioctl.ts";
import { UsageError } from "../errors.ts";
import { checkWord, describe } from "../arguments.ts";
import { AccessResult } from "../mm/access.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import { checkRegion, oneRun, Process, Region } from "./process.ts";
import { INSPECT } from "../record/inspect.ts";
import { told } from "./told.ts";

const AT_HARDWARE = site("device hardware: before a store");

/**
 * A device as actors handle it: its operations on one process's memory as generators.
 *
 * @example
 * ```ts
 * import { DeviceThread, machine } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: "titan-v" } });
 * const p = m.process(), heap = p.mmap("8 KiB"), dev = new DeviceThread(m.gpu, p);
 * p.write(heap, 1);
 * console.log(p.complete(dev.migrate(heap)), p.complete(dev.fault(heap)), dev.text(heap)); // 2 0 ww
 * ```
 */
export class DeviceThread {
  /** The device. */
  readonly device: DummyDevice;
  /** The process whose memory it mirrors. */
  readonly process: Process;

  /**
   * Makes the device's mirror of a process, if it has none yet.
   *
   * @param device the device
   * @param process the process whose memory it mirrors
   * @throws {UsageError} when they are of different machines
   */
  constructor(device: DummyDevice, process: Process) {
    if (!(device instanceof DummyDevice) || !(process instanceof Process)) {
      throw new UsageError(
        `Cannot bind a device to a process: got ${describe(device)} and ${
          describe(process)
        }; a device and a process of ` +
          "one machine are allowed; write for example new DeviceThread(m.gpu, m.process())",
      );
    }
    this.device = device;
    this.process = process;
    if (device.k !== process.machine.kernel) {
      throw new UsageError(
        `Cannot bind device "${device.name}" to a process: they are of different machines; both of one machine are ` +
          "allowed; write for example new DeviceThread(m.gpu, m.process())",
      );
    }
    device.mirror(process.mm);
  }

  /** The contract of the device's machine. */
  private get sim(): Sim {
    return this.device.k.sim;
  }

  /** The device's mirror of the process. */
  private get mirror(): ReturnType<DummyDevice["mirror"]> {
    return this.device.mirror(this.process.mm);
  }

  /**
   * Resolves a device fault of a region: migrates it first if the device is so, then maps it (hmm_range_fault() under
   * the sequence check).
   *
   * @param region up to 512 pages
   * @param write whether the device wants to write
   * @returns 0 or a negated errno
   */
  *fault(region: Region, write: boolean = false): Proc<number> {
    checkRegion("fault", region, this.process);
    const { device, mirror, sim } = this, end = region.vpn + region.pages;
    return yield* told(sim, device.fault(sim.current, mirror, region.vpn, end, write));
  }

  /**
   * Moves a region to the device: migrate_vma_setup(), pages(), finalize().
   *
   * @param region what shall move
   * @returns how many pages went
   */
  *migrate(region: Region): Proc<number> {
    checkRegion("migrate", region, this.process);
    const { device, mirror, sim } = this;
    return yield* told(
      sim,
      device.migrateToDevice(sim.current, mirror, region.vpn, region.vpn + region.pages),
    );
  }

  /**
   * Moves a region back to system memory.
   *
   * @param region what shall move
   * @returns how many pages came
   */
  *migrateBack(region: Region): Proc<number> {
    checkRegion("migrate back", region, this.process);
    const { device, mirror, sim } = this;
    return yield* told(
      sim,
      device.migrateToSystem(sim.current, mirror, region.vpn, region.vpn + region.pages),
    );
  }

  /**
   * Stores a word in each page of a region as a program on the device does, faulting where its table has nothing.
   *
   * @param region where it stores
   * @param value word of the first page; the next page's is one more
   * @returns 0 or a negated errno
   */
  *write(region: Region, value: number): Proc<number> {
    checkRegion("write", region, this.process);
    checkWord("write", "value", value);
    const { device, mirror, sim } = this, out = new AccessResult();
    yield* device.access(sim.current, mirror, oneRun(region, true, value), out);
    const rc = out.signals.length > 0 ? out.signals[0].cause : 0;
    sim.note(sim.current, rc);
    return rc;
  }

  /**
   * Loads the word of the first page of a region as a program on the device does, faulting where its table has nothing.
   *
   * @param region where it loads
   * @returns the word, or a negated errno
   */
  *read(region: Region): Proc<number> {
    checkRegion("read", region, this.process);
    const { device, mirror, sim } = this, out = new AccessResult(true);
    yield* device.access(sim.current, mirror, oneRun(new Region(this.process, region.vpn, 1), false, 0), out);
    const word = out.signals.length > 0 ? out.signals[0].cause : out.words[0];
    sim.note(sim.current, word);
    return word;
  }

  /**
   * Takes a region for the device alone, for its atomic operations: the CPU's next touch takes it back.
   *
   * @param region what to take
   * @returns 0, or a negated errno: -EBUSY when a page could not be had
   */
  *exclusive(region: Region): Proc<number> {
    checkRegion("take pages exclusively", region, this.process);
    const { device, mirror, sim } = this, out = new IoctlResult();
    return yield* told(sim, dummyExclusive(device, sim.current, mirror, region.vpn, region.pages, out));
  }

  /**
   * Removes the device from the machine: what is under way on it ends, its mirrors end, its pages come back, its memory
   * goes. From now on its operations return -ENODEV.
   *
   * @returns 0; -ENODEV when it is away; -ENOMEM, -EIO or -EBUSY when a page could not be brought back, and the device stays
   */
  *unplug(): Proc<number> {
    return yield* told(this.sim, this.device.unplug(this.sim.current));
  }

  /**
   * Puts the device back into the machine, its memory empty; its mirror of the process is made anew when it is used.
   *
   * @returns 0; -EBUSY when it is there; -ERANGE or -ENOMEM when its memory cannot be added
   */
  *plug(): Proc<number> {
    return yield* told(this.sim, this.device.plug(this.sim.current));
  }

  /**
   * Lets the device vanish without warning: what lives only in memory that the CPU cannot address is lost. Until it is
   * unplugged its pages stay where they are, and who touches one gets SIGBUS.
   *
   * @returns 0, or -ENODEV when it is away or lost
   */
  *vanish(): Proc<number> {
    return yield* told(this.sim, this.device.vanish(this.sim.current));
  }

  /**
   * Stores into the first page of a region as the hardware does: through its TLB and table, with no lock and no fault.
   *
   * @param region where it stores
   * @param value the word
   * @returns whether TLB or table had an entry that may be written
   */
  *walkAndStore(region: Region, value: number): Proc<boolean> {
    checkRegion("store", region, this.process);
    checkWord("store", "value", value);
    const { sim, mirror } = this, a = sim.current;
    if (sim.due(a)) {
      sim.mark(a, AT_HARDWARE, region.vpn, value);
      yield DUE;
    }
    const stored = mirror.table.store(region.vpn, value);
    sim.note(a, stored ? 1 : 0);
    return stored;
  }

  /** Whether the hardware ever stored into a page that was free: a use after free by the device. */
  storedToFreed(): boolean {
    return this.mirror.table.storedToFreed;
  }

  /**
   * Looks for stale entries of the device's table.
   *
   * @param region where to look
   * @returns whether one names a page that the process no longer has there, or may write what that may not
   */
  stale(region: Region): boolean {
    return this.mirror.table.stalePage(this.process.mm, region.vpn, region.pages) >= 0;
  }

  /**
   * The mirror of a region as the transcripts of the kernel's test driver write it.
   *
   * @param region which pages
   * @returns a character a page: `.` nothing, `r` readable, `w` writable, `x` the device's alone
   */
  text(region: Region): string {
    return this.mirror.text(region.vpn, region.pages);
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `DeviceThread of ${this.device.name} on process ${this.process.mm}`;
  }
}
