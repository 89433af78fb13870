/**
 * Processes as a user handles them: plain methods, each run to completion.
 * @module
 */
import { UsageError } from "../errors.ts";
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import { errnoName, VM_FAULT_MAPERR, VM_FAULT_OOM, VM_FAULT_SIGBUS } from "../mm/errno.ts";
import { mmap, mprotect, munmap } from "../mm/mmap.ts";
import { VM_READ, VM_WRITE } from "../mm/vma.ts";
import type { Proc } from "../sim/sim.ts";
import { formatBytes, PAGE_SIZE, pages } from "../units.ts";
import type { Machine } from "./machine.ts";
import { checkHostMemory, hostBytesOfPages } from "./spec.ts";

/** What a mapping allows: nothing, reading, writing, both. */
export type Protection = "none" | "r" | "w" | "rw";

/** VM_ flags of a protection. */
export function protectionFlags(p: Protection): number {
  switch (p) {
    case "none":
      return 0;
    case "r":
      return VM_READ;
    case "w":
      return VM_WRITE;
    case "rw":
      return VM_READ | VM_WRITE;
    default:
      throw new UsageError(`Cannot set protection "${p}": allowed are "none", "r", "w" and "rw".`);
  }
}

/** A range of a process's address space, in whole pages. */
export class Region {
  /**
   * @param process whose memory it is
   * @param vpn first virtual page number
   * @param pages length in pages
   */
  constructor(readonly process: Process, readonly vpn: number, readonly pages: number) {}

  /** Length in bytes. */
  get lengthBytes(): number {
    return this.pages * PAGE_SIZE;
  }

  /**
   * A part of the region.
   *
   * @param offset from its start, for example "1 MiB"; whole pages
   * @param length for example "64 KiB"; whole pages, up to the region's end if left out
   */
  slice(offset: string | number, length?: string | number): Region {
    const from = pages(offset), n = length === undefined ? this.pages - from : pages(length);
    if (from + n > this.pages || n < 1) {
      throw new UsageError(
        `Cannot take ${n} pages at page ${from} of a region of ${this.pages}; let offset and length stay within ${
          formatBytes(this.lengthBytes)
        }.`,
      );
    }
    return new Region(this.process, this.vpn + from, n);
  }
}

/** A batch of one run of pages. */
export function oneRun(region: Region, write: boolean, value: number): Accesses {
  return {
    n: 1,
    vpn: Float64Array.of(region.vpn),
    pages: Uint32Array.of(region.pages),
    write: Uint8Array.of(write ? 1 : 0),
    value: Uint32Array.of(value),
  };
}

/** What came of a load or store: a word, or the signal in its place. */
export type Word = number | "SEGV_MAPERR" | "SEGV_ACCERR" | "SIGBUS" | "OOM";

/** The signal of a VM_FAULT_ result. */
export function signalName(cause: number): Exclude<Word, number> {
  if (cause === VM_FAULT_MAPERR) return "SEGV_MAPERR";
  if (cause === VM_FAULT_SIGBUS) return "SIGBUS";
  return cause === VM_FAULT_OOM ? "OOM" : "SEGV_ACCERR";
}

/** A process of a machine: an address space and the operations of its program. */
export class Process {
  /** Number of its address space. */
  readonly mm: number;
  /** The machine that runs it. */
  readonly machine: Machine;
  private mappedPages = 0;

  /** Use `machine.process()`. */
  constructor(machine: Machine) {
    this.machine = machine;
    this.mm = machine.kernel.newMm();
  }

  /** Pages that the process has, in ordinary and in device memory: its resident set. */
  get residentPages(): number {
    return this.machine.kernel.rssAnon[this.mm];
  }

  /**
   * Maps anonymous private memory: mmap(2).
   *
   * @param length for example "4 GiB"; whole pages
   * @param protection what it allows; "rw" if left out
   * @returns the region, nothing of it in memory yet
   * @throws UsageError for a length that is not whole pages, or that this computer could not hold when touched
   */
  mmap(length: string | number, protection: Protection = "rw"): Region {
    const n = pages(length), { kernel, spec } = this.machine, flags = protectionFlags(protection);
    if (n < 1) throw new UsageError(`Cannot map ${length}: give one page (4 KiB) or more.`);
    const frames = Math.min(this.mappedPages + n, spec.kernel.ramPages + spec.kernel.devicePages);
    const tables = Math.min(this.mappedPages + n, 512 * spec.kernel.pageTables) - frames;
    checkHostMemory(
      `map ${formatBytes(n * PAGE_SIZE)}`,
      hostBytesOfPages(frames, spec.kernel.wordsPerPage) + Math.max(0, tables) * 10,
    );
    const vpn = this.machine.complete(mmap(kernel, 0, this.mm, -1, n, flags));
    if (vpn < 0) {
      throw new UsageError(
        `Cannot map ${formatBytes(n * PAGE_SIZE)}: the address space has no free range of it (${
          errnoName(vpn)
        }).`,
      );
    }
    this.mappedPages += n;
    return new Region(this, vpn, n);
  }

  /** Unmaps a region: munmap(2). Returns 0 or a negated errno. */
  munmap(region: Region): number {
    this.own(region);
    this.mappedPages -= region.pages;
    return this.machine.complete(munmap(this.machine.kernel, 0, this.mm, region.vpn, region.pages));
  }

  /** Changes what a region allows: mprotect(2). Returns 0 or a negated errno. */
  mprotect(region: Region, protection: Protection): number {
    this.own(region);
    const flags = protectionFlags(protection);
    return this.machine.complete(mprotect(this.machine.kernel, 0, this.mm, region.vpn, region.pages, flags));
  }

  /**
   * Stores a word in each page of a region, as the program would.
   *
   * @param value word of the first page; the next page's is one more
   * @returns the signals of pages that could not be written, by page; empty when all went well
   */
  write(region: Region, value: number): Readonly<Record<number, Word>> {
    this.own(region);
    const out = new AccessResult();
    this.machine.complete(cpuAccess(this.machine.kernel, 0, this.mm, oneRun(region, true, value), out));
    return Object.fromEntries(out.signals.map((s) => [s.vpn - region.vpn, signalName(s.cause)]));
  }

  /** Loads the word of each page of a region, as the program would. */
  read(region: Region): Word[] {
    this.own(region);
    const out = new AccessResult(true);
    this.machine.complete(cpuAccess(this.machine.kernel, 0, this.mm, oneRun(region, false, 0), out));
    const signals = new Map(out.signals.map((s) => [s.vpn - region.vpn, signalName(s.cause)]));
    let next = 0;
    return Array.from({ length: region.pages }, (_, i) => signals.get(i) ?? out.words[next++]);
  }

  /** Runs a generator of the lower floors to completion on the machine's own actor. */
  complete<R>(proc: Proc<R>): R {
    return this.machine.complete(proc);
  }

  private own(region: Region): void {
    if (region.process !== this) {
      throw new UsageError("Cannot use a region of another process; use the one that mapped it.");
    }
  }
}
