/**
 * Processes and devices as actors handle them: the same operations as generators, for litmus tests and own workloads.
 *
 * What an operation tells its caller goes into the actor's history, so that the explorer knows where a user's program
 * stands without asking it to keep frames.
 * @module
 */
import type { DummyDevice } from "../devices/dummy/device.ts";
import { AccessResult, cpuAccess } from "../mm/access.ts";
import { mmap, mprotect, munmap } from "../mm/mmap.ts";
import { DUE, type Proc, type Sim, site } from "../sim/sim.ts";
import {
  oneRun,
  type Process,
  type Protection,
  protectionFlags,
  Region,
  signalName,
  type Word,
} from "./process.ts";

const AT_HARDWARE = site("device hardware: before a store");

/** Runs an operation and folds its result into the history of whoever runs it. */
export function* told<R>(sim: Sim, proc: Proc<R>, asNumber: (r: R) => number = Number): Proc<R> {
  const result = yield* proc;
  sim.note(sim.current, asNumber(result));
  return result;
}

function wordNumber(w: Word): number {
  return typeof w === "number" ? w : -1 - w.length;
}

/** A thread of a process: its operations as generators. */
export class Thread {
  /** @param process the process that it belongs to */
  constructor(readonly process: Process) {}

  private get sim(): Sim {
    return this.process.machine.kernel.sim;
  }

  /** munmap(2). Returns 0 or a negated errno. */
  *munmap(region: Region): Proc<number> {
    const { machine: { kernel }, mm } = this.process;
    return yield* told(this.sim, munmap(kernel, this.sim.current, mm, region.vpn, region.pages));
  }

  /** mprotect(2). Returns 0 or a negated errno. */
  *mprotect(region: Region, protection: Protection): Proc<number> {
    const { machine: { kernel }, mm } = this.process, flags = protectionFlags(protection);
    return yield* told(this.sim, mprotect(kernel, this.sim.current, mm, region.vpn, region.pages, flags));
  }

  /** mmap(2) at the place of a region that was unmapped before. Returns its page or a negated errno. */
  *mmapAt(region: Region, protection: Protection = "rw"): Proc<number> {
    const { machine: { kernel }, mm } = this.process, flags = protectionFlags(protection);
    return yield* told(this.sim, mmap(kernel, this.sim.current, mm, region.vpn, region.pages, flags));
  }

  /** Stores `value`, `value` + 1, … in the pages of a region. Returns "" or the first signal. */
  *write(region: Region, value: number): Proc<string> {
    const { machine: { kernel }, mm } = this.process, out = new AccessResult();
    yield* cpuAccess(kernel, this.sim.current, mm, oneRun(region, true, value), out);
    this.sim.note(this.sim.current, out.signals.length);
    return out.signals.length === 0 ? "" : String(signalName(out.signals[0].cause));
  }

  /** Loads the word of the first page of a region: the word, or the signal in its place. */
  *read(region: Region): Proc<Word> {
    const { machine: { kernel }, mm } = this.process, out = new AccessResult(true);
    yield* cpuAccess(
      kernel,
      this.sim.current,
      mm,
      oneRun(new Region(this.process, region.vpn, 1), false, 0),
      out,
    );
    const word: Word = out.signals.length > 0 ? signalName(out.signals[0].cause) : out.words[0];
    this.sim.note(this.sim.current, wordNumber(word));
    return word;
  }
}

/** A device as actors handle it. */
export class DeviceThread {
  /**
   * @param device the device
   * @param process the process whose memory it mirrors
   */
  constructor(readonly device: DummyDevice, readonly process: Process) {
    device.mirror(process.mm);
  }

  private get sim(): Sim {
    return this.device.k.sim;
  }

  private get mirror(): ReturnType<DummyDevice["mirror"]> {
    return this.device.mirror(this.process.mm);
  }

  /** A device fault of a region: migrated first if the device is so, then mapped. Returns 0 or a negated errno. */
  *fault(region: Region, write = false): Proc<number> {
    const { device, mirror, sim } = this, end = region.vpn + region.pages;
    return yield* told(sim, device.fault(sim.current, mirror, region.vpn, end, write));
  }

  /** Moves a region to the device. Returns the pages that went. */
  *migrate(region: Region): Proc<number> {
    const { device, mirror, sim } = this;
    return yield* told(
      sim,
      device.migrateToDevice(sim.current, mirror, region.vpn, region.vpn + region.pages),
    );
  }

  /** Moves a region back to system memory. Returns the pages that came. */
  *migrateBack(region: Region): Proc<number> {
    const { device, mirror, sim } = this;
    return yield* told(
      sim,
      device.migrateToSystem(sim.current, mirror, region.vpn, region.vpn + region.pages),
    );
  }

  /** Stores as a program on the device does, faulting where its table has nothing. Returns 0 or a negated errno. */
  *write(region: Region, value: number): Proc<number> {
    const { device, mirror, sim } = this, out = new AccessResult();
    yield* device.access(sim.current, mirror, oneRun(region, true, value), out);
    const rc = out.signals.length > 0 ? out.signals[0].cause : 0;
    sim.note(sim.current, rc);
    return rc;
  }

  /** Loads the word of the first page as a program on the device does: the word, or a negated errno. */
  *read(region: Region): Proc<number> {
    const { device, mirror, sim } = this, out = new AccessResult(true);
    yield* device.access(sim.current, mirror, oneRun(new Region(this.process, region.vpn, 1), false, 0), out);
    const word = out.signals.length > 0 ? out.signals[0].cause : out.words[0];
    sim.note(sim.current, word);
    return word;
  }

  /** A store of the hardware through its TLB and table, with no lock and no fault. Returns whether it could. */
  *walkAndStore(region: Region, value: number): Proc<boolean> {
    const { sim, mirror } = this, a = sim.current;
    if (sim.due(a)) {
      sim.mark(a, AT_HARDWARE, region.vpn, value);
      yield DUE;
    }
    const stored = mirror.table.store(region.vpn, value);
    sim.note(a, stored ? 1 : 0);
    return stored;
  }

  /** Whether the hardware ever stored into a page that was free. */
  storedToFreed(): boolean {
    return this.mirror.table.storedToFreed;
  }

  /** Whether the mirror of a region names pages that the process no longer has there, or may write what that may not. */
  stale(region: Region): boolean {
    return this.mirror.table.stalePage(this.process.mm, region.vpn, region.pages) >= 0;
  }

  /** The mirror of a region as the transcripts write it: `.` nothing, `r` readable, `w` writable. */
  text(region: Region): string {
    return this.mirror.text(region.vpn, region.pages);
  }
}
