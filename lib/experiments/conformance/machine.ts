/**
 * The machine that plays transcripts: two device-private and two device-coherent test devices, and processes with open
 * files on them.
 * @module
 */
import { asDummy, type DummyDevice } from "../../devices/dummy/device.ts";
import type { DummyMirror } from "../../devices/dummy/mirror.ts";
import { AccessResult, cpuAccess } from "../../mm/access.ts";
import { mmap, munmap } from "../../mm/mmap.ts";
import { VM_READ, VM_WRITE } from "../../mm/vma.ts";
import { Machine } from "../../machine/machine.ts";
import { checkMachine, type MachineSpec } from "../../machine/spec.ts";
import type { Snapshot } from "../../sim/arena.ts";
import { Clock, complete, steps } from "../../sim/runners.ts";
import type { Proc } from "../../sim/sim.ts";

/** How operations are driven: alone, or in virtual time or stop by stop beside an unrelated process. */
export type RunnerName = "complete" | "clock" | "steps";

/** What the four devices have in common. */
const DEVICE = { memory: "64 MiB", onFault: "map" } as const;

/**
 * What each transcript's machine is made of; made once, since profiles are read for it.
 *
 * @param quirks whether its devices have the oddities of the test driver that the transcripts were recorded with
 * @param checkers rules to look after
 */
export function conformanceSpec(quirks = true, checkers: "all" | readonly string[] = []): MachineSpec {
  const device = quirks ? { ...DEVICE, quirks: "test_hmm-6.12" as const } : DEVICE;
  return checkMachine({
    memory: "256 MiB",
    devices: {
      d0: device,
      d1: device,
      d2: { ...device, coherent: true },
      d3: { ...device, coherent: true },
    },
    actors: 4,
    processes: 16,
    vmas: 1024,
    pageTables: 512,
    batchPages: 64,
    checkers,
  });
}

/** An open file of a device; processes that forked share it. */
export interface OpenFile {
  /** Number of the device. */
  readonly number: number;
  readonly device: DummyDevice;
  readonly mirror: DummyMirror;
  /** Descriptors that refer to it. */
  users: number;
}

/** A process of a program. */
export interface PlayedProcess {
  readonly name: string;
  readonly mm: number;
  /** Open files by slot, in the order in which they were opened. */
  readonly files: Map<number, OpenFile>;
  /** Files on a tmpfs by region: those that this process made. */
  readonly inodes: Map<string, number>;
  /** Long-term pins that are held. */
  pins: Uint32Array[];
  /** Whether it ever opened a device, and so has notifiers. */
  opened: boolean;
  exited: boolean;
}

/** Where the unrelated process has its pages. */
const ELSEWHERE = 0x1_0000, ELSEWHERE_PAGES = 4;

/** Mirrors that each device has ready before a program begins; what opens more takes a machine of its own. */
const MIRRORS_READY = 8;

/** A machine that was built once and is put back to its beginning for each program. */
interface Kept {
  readonly machine: Machine;
  readonly beginning: Snapshot;
  /** What its checkers remembered then. */
  readonly memory: Snapshot | undefined;
  /** What the arena reserved at the beginning: more columns since then would not be put back. */
  readonly reservedBytes: number;
  /** Programs that have begun on it. */
  programs: number;
}

/** By spec. Building a machine costs more than playing most programs. */
const kept = new WeakMap<MachineSpec, Kept>();

function build(spec: MachineSpec): Kept {
  const machine = new Machine(spec), { kernel: k } = machine, mm = k.newMm();
  for (const d of machine.deviceList.map(asDummy)) {
    const mirrors = Array.from({ length: MIRRORS_READY }, () => d.open(mm));
    for (const m of mirrors) machine.complete(d.close(0, m));
  }
  const { state } = k.sim;
  const memory = machine.checkers?.memory.snapshot();
  return { machine, beginning: state.snapshot(), memory, reservedBytes: state.reservedBytes, programs: 0 };
}

function fresh(spec: MachineSpec): Kept {
  const known = kept.get(spec);
  if (known !== undefined && known.machine.kernel.sim.state.reservedBytes === known.reservedBytes) {
    const { sim } = known.machine.kernel;
    if (known.memory !== undefined) known.machine.checkers?.memory.restore(known.memory);
    sim.state.restore(known.beginning);
    sim.noSleepers();
    sim.resetAccounts();
    return known;
  }
  const made = build(spec);
  kept.set(spec, made);
  return made;
}

/** A machine with the actor of the program and, beside it, one of an unrelated process. */
export class Bench {
  private readonly kept: Kept;
  private readonly program: number;
  private readonly otherMm: number;

  /**
   * @param spec of {@link conformanceSpec}; benches of one spec share a machine, and the latest has it
   * @param runner how operations are driven
   */
  constructor(spec: MachineSpec, readonly runner: RunnerName) {
    this.kept = fresh(spec);
    this.program = ++this.kept.programs;
    this.otherMm = runner === "complete" ? -1 : this.machine.kernel.newMm();
  }

  /** The machine. */
  get machine(): Machine {
    if (this.program !== this.kept.programs) {
      throw new Error(
        "another program has begun on this machine; end one before the next, or use another spec",
      );
    }
    return this.kept.machine;
  }

  /** What the unrelated process does beside each operation: it maps, writes, reads and unmaps pages of its own. */
  private *elsewhere(): Proc {
    const { kernel: k } = this.machine, { otherMm: mm } = this;
    yield* mmap(k, 1, mm, ELSEWHERE, ELSEWHERE_PAGES, VM_READ | VM_WRITE);
    const rows = {
      n: 2,
      vpn: Float64Array.of(ELSEWHERE, ELSEWHERE),
      pages: Uint32Array.of(ELSEWHERE_PAGES, ELSEWHERE_PAGES),
      write: Uint8Array.of(1, 0),
    };
    yield* cpuAccess(k, 1, mm, rows, new AccessResult());
    yield* munmap(k, 1, mm, ELSEWHERE, ELSEWHERE_PAGES);
  }

  /** Runs an operation with the bench's runner, as actor 0. */
  run<R>(proc: Proc<R>): R {
    let result: R | undefined;
    function* keep(): Proc {
      result = yield* proc;
    }
    const { sim } = this.machine.kernel;
    if (this.runner === "complete") complete(sim, [{ a: 0, proc: keep() }]);
    else {
      const actors = [{ a: 0, proc: keep() }, { a: 1, proc: this.elsewhere() }];
      if (this.runner === "steps") steps(sim, actors);
      else new Clock(sim, actors).run();
    }
    return result as R;
  }

  /** Looks at the machine, always to completion. */
  look<R>(proc: Proc<R>): R {
    let result: R | undefined;
    function* keep(): Proc {
      result = yield* proc;
    }
    complete(this.machine.kernel.sim, [{ a: 0, proc: keep() }]);
    return result as R;
  }
}
