/**
 * Address spaces and areas as code of 2016 handled them.
 * @module
 */
import { describe } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Proc } from "../../sim/sim.ts";
import { HmmSpaces } from "./hmm.ts";

/** The memory of a process as code of 2016 knew it: `struct mm_struct`. */
export class MmStruct {
  /** The machine. */
  readonly kernel: Kernel;
  /** Number of the address space. */
  readonly mm: number;

  /**
   * Names the address space of a process. For a race this is done before it is explored.
   *
   * @param of the machine's kernel and the number of the address space: a process's `machine.kernel` and `mm`
   * @throws {UsageError} for what is no process
   *
   * @example
   * ```ts
   * import { machine, v13 } from "hmmlab";
   *
   * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB");
   * const mm = new v13.MmStruct(p), vma = v13.findVma(mm, heap.vpn)!;
   * console.log(vma.vmEnd - vma.vmStart); // 2
   * ```
   */
  constructor(of: { readonly machine: { readonly kernel: Kernel }; readonly mm: number }) {
    if (typeof of?.mm !== "number" || of.machine?.kernel === undefined) {
      throw new UsageError(
        `Cannot name an address space: got ${describe(of)}; a process is allowed; ` +
          "write for example new v13.MmStruct(m.process())",
      );
    }
    this.kernel = of.machine.kernel;
    this.mm = of.mm;
    HmmSpaces.of(this.kernel);
  }

  /** `down_read(&mm->mmap_sem)`. */
  *downRead(): Proc {
    const { kernel: k, mm } = this;
    yield* k.locks.read(k.sim.current, k.mmapLock(mm));
  }

  /** `up_read(&mm->mmap_sem)`. */
  upRead(): void {
    const { kernel: k, mm } = this;
    k.locks.readUnlock(k.sim.current, k.mmapLock(mm));
  }
}

/** A memory area as code of 2016 knew it: `struct vm_area_struct`. It is good while mmap_sem is held. */
export class VmArea {
  /**
   * Use {@linkcode findVma}.
   *
   * @param vmMm the address space
   * @param row its row in the machine's vmas
   */
  constructor(readonly vmMm: MmStruct, readonly row: number) {}

  /** First page. */
  get vmStart(): number {
    return this.vmMm.kernel.vmas.start[this.row];
  }

  /** Page past the last. */
  get vmEnd(): number {
    return this.vmMm.kernel.vmas.end[this.row];
  }

  /** VM_ flags. */
  get vmFlags(): number {
    return this.vmMm.kernel.vmas.flags[this.row];
  }

  /** Whether `start` to `end` lies within, as every call of v13 asked it: an empty range at its start does. */
  contains(start: number, end: number): boolean {
    const { vmStart, vmEnd } = this;
    return start >= vmStart && start < vmEnd && end >= vmStart && end <= vmEnd;
  }
}

/**
 * The first area that ends past an address: `find_vma()`. mmap_sem is held.
 *
 * @param mm the address space
 * @param vpn page number
 * @returns the area, which may begin past the page; undefined when there is none
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * console.log(v13.findVma(new v13.MmStruct(machine({ memory: "64 MiB" }).process()), 0)); // undefined
 * ```
 */
export function findVma(mm: MmStruct, vpn: number): VmArea | undefined {
  const row = mm.kernel.vmas.find(mm.mm, vpn);
  return row < 0 ? undefined : new VmArea(mm, row);
}

/** Folds what a call tells its caller into the history of who called it, for the explorer. */
export function tell<R extends number | boolean>(k: Kernel, result: R, more: number = 0): R {
  k.sim.note(k.sim.current, Number(result));
  if (more !== 0) k.sim.note(k.sim.current, more);
  return result;
}
