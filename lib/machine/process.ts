/**
 * Processes as a user handles them: plain methods, each run to completion.
 * @module
 */
import { checkWord, describe, didYouMean, during } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import { errnoName, VM_FAULT_MAPERR, VM_FAULT_OOM, VM_FAULT_SIGBUS } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import { mmput } from "../mm/exit.ts";
import { forkMm } from "../mm/fork.ts";
import { type Advice, ADVICES, madvise } from "../mm/madvise.ts";
import type { CopyEngine } from "../mm/copy_engine.ts";
import { setMempolicy } from "../mm/mempolicy.ts";
import { mmap, mprotect, munmap } from "../mm/mmap.ts";
import { pageNode } from "../mm/move_pages.ts";
import type { Proc } from "../sim/sim.ts";
import { formatBytes, formatCount, PAGE_SIZE, pages } from "../units.ts";
import type { Machine } from "./machine.ts";
import {
  type BindOptions,
  bindRegion,
  type Mempolicy,
  migrateNodes,
  migrateRegion,
  type Moved,
  type MoveOptions,
  moveRegion,
  nodeMask,
  policyNumber,
} from "./placement.ts";
import { checkRegion, type Protection, protectionFlags, Region } from "./region.ts";
import { checkHostMemory, hostBytesOfPages } from "./spec.ts";
import { INSPECT } from "../record/inspect.ts";

export { checkRegion, type Protection, protectionFlags, Region };

/** A batch of accesses that is one run: all pages of a region, the first with word `value`, the next with one more. */
export function oneRun(region: Region, write: boolean, value: number): Accesses {
  return {
    n: 1,
    vpn: Float64Array.of(region.vpn),
    pages: Uint32Array.of(region.pages),
    write: Uint8Array.of(write ? 1 : 0),
    value: Uint32Array.of(value),
  };
}

/**
 * What came of a load or store of one page: a word (32 bits), or the signal in its place.
 *
 * SEGV_MAPERR: nothing is mapped there; SEGV_ACCERR: the mapping forbids it; SIGBUS: the page could not be brought
 * back from a device; OOM: no memory was left.
 */
export type Word = number | "SEGV_MAPERR" | "SEGV_ACCERR" | "SIGBUS" | "OOM";

/** The signal of a VM_FAULT_ result. */
export function signalName(cause: number): Exclude<Word, number> {
  if (cause === VM_FAULT_MAPERR) return "SEGV_MAPERR";
  if (cause === VM_FAULT_SIGBUS) return "SIGBUS";
  return cause === VM_FAULT_OOM ? "OOM" : "SEGV_ACCERR";
}

/** Pages that the vmas of all address spaces map. */
function mappedPages({ vmas, root }: Kernel): number {
  let n = 0;
  for (let mm = 0; mm < root.length; mm++) {
    for (let v = vmas.find(mm, 0); v >= 0; v = vmas.next(v)) n += vmas.end[v] - vmas.start[v];
  }
  return n;
}

/**
 * A process of a machine: an address space (struct mm_struct) and the operations of its program.
 *
 * Each call runs at once and to its end, outside of any run's time. Inside of a run the same operations are those of a
 * workload, inside of a race those of a {@linkcode Thread}.
 *
 * @example
 * ```ts
 * import { machine } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process();
 * const a = p.mmap("8 KiB");
 * p.write(a, 7);
 * console.log(p.read(a), p.residentPages); // [ 7, 8 ] 2
 * p.mprotect(a, "r");
 * console.log(p.write(a, 9)); // { 0: "SEGV_ACCERR", 1: "SEGV_ACCERR" }
 * ```
 */
export class Process {
  /** Number of its address space. */
  readonly mm: number;
  /** The machine that runs it. */
  readonly machine: Machine;
  /** NUMA node of the CPU on which it runs, if its threads and workloads do not say otherwise. */
  readonly node: number;

  /**
   * Use {@linkcode Machine.process} or {@linkcode Process.fork}.
   *
   * @param machine the machine that runs it
   * @param node NUMA node of its CPU
   * @param mm its address space; a new one if left out
   */
  constructor(machine: Machine, node: number = 0, mm: number = machine.kernel.newMm()) {
    this.machine = machine;
    this.node = node;
    this.mm = mm;
  }

  /**
   * Makes a child that shares every page until one of the two writes: fork(2).
   *
   * @returns the child; {@linkcode Process.here} finds a region of the parent in it
   * @throws {UsageError} when the machine has no room for another process or its tables
   */
  fork(): Process {
    const { machine } = this, child = this.complete(forkMm(machine.kernel, 0, this.mm));
    if (child >= 0) return new Process(machine, this.node, child);
    throw new UsageError(
      `Cannot fork: got ${
        errnoName(child)
      }; this machine was built for ${machine.spec.kernel.processes} processes; ` +
        "give machine({ processes }) more",
    );
  }

  /** Ends the process: its pages are dropped, its subscribers told, its number is not used again. */
  exit(): void {
    this.complete(mmput(this.machine.kernel, 0, this.mm));
  }

  /**
   * The same addresses in this process, as a fork leaves them.
   *
   * @param region a region of another process of the machine, its parent for example
   * @returns the region of this process; whether anything is mapped there is another question
   */
  here(region: Region): Region {
    const { vpn, pages } = checkRegion("find a region in another process", region);
    return new Region(this, vpn, pages);
  }

  /**
   * Gives advice on a region: madvise(2).
   *
   * @param region all of a mapping or a part of it
   * @param advice by the kernel's name without MADV_, for example "dontneed", "pageout", "hugepage"
   * @returns 0 or a negated errno
   * @throws {UsageError} for advice that is none
   */
  madvise(region: Region, advice: Advice): number {
    const { vpn, pages } = checkRegion("advise", region, this);
    if (!ADVICES.includes(advice)) {
      throw new UsageError(
        `Cannot advise: got ${describe(advice)}${didYouMean(String(advice), ADVICES)}; ${
          ADVICES.join(", ")
        } are allowed`,
      );
    }
    return this.complete(madvise(this.machine.kernel, 0, this.mm, vpn, pages, advice));
  }

  /**
   * The NUMA node of each page of a region, as move_pages(2) tells it that is given no nodes.
   *
   * @param region which pages
   * @returns a node for each page; -EFAULT (-14) for one that is not mapped or is the zero page, -ENOENT (-2) for one that
   * is not present in ordinary memory
   * @throws {UsageError} for what is no region of this process
   */
  nodes(region: Region): number[] {
    const { vpn, pages } = checkRegion("look for nodes", region, this), { kernel } = this.machine;
    return Array.from({ length: pages }, (_, i) => pageNode(kernel, this.mm, vpn + i));
  }

  /**
   * Moves pages to other NUMA nodes: move_pages(2).
   *
   * @param region which pages
   * @param nodes the node that all of them shall go to, or one for each
   * @param options pages that others map too (`all`), and what copies (`engine`; a CPU if left out)
   * @returns what the system call returned, and where each page is now
   * @throws {UsageError} for what is no region of this process, or no nodes
   *
   * @example
   * ```ts
   * import { machine } from "hmmlab";
   *
   * const p = machine({ memory: "64 MiB", nodes: 2 }).process(), heap = p.mmap("12 KiB");
   * p.write(heap.slice(0, "8 KiB"), 1);
   * console.log(p.movePages(heap, 1)); // { result: 0, status: [ 1, 1, -2 ] }
   * ```
   */
  movePages(region: Region, nodes: number | readonly number[], options: MoveOptions = {}): Moved {
    return this.complete(moveRegion(this, 0, region, nodes, options));
  }

  /**
   * Moves all that the process has on some NUMA nodes to others: migrate_pages(2).
   *
   * @param from nodes to empty
   * @param to nodes to fill; the first of `from` goes to the first of these, and so on
   * @param options as of {@linkcode Process.movePages}
   * @returns pages that could not be moved, or a negated errno: -EINVAL (-22) for nodes that are none
   * @throws {UsageError} for what is no list of nodes
   */
  migratePages(from: readonly number[], to: readonly number[], options: MoveOptions = {}): number {
    return this.complete(migrateNodes(this, 0, from, to, options));
  }

  /**
   * Moves a range to a NUMA node as a driver without device and mirror does: migrate_vma_setup(), pages(), finalize()
   * (2016: hmm_vma_migrate()) with any engine that copies.
   *
   * @param region which pages
   * @param node where they shall be
   * @param options what copies (`engine`; a CPU if left out)
   * @returns pages that moved, or a negated errno
   * @throws {UsageError} for what is no region of this process, or a node that the machine does not have
   *
   * @example
   * ```ts
   * import { dmaEngine, interconnect, machine } from "hmmlab";
   *
   * const m = machine({ memory: "64 MiB", nodes: 2 }), p = m.process(), heap = p.mmap("1 MiB");
   * p.write(heap, 1);
   * const engine = dmaEngine(interconnect(m, { rate: "55 GB/s" }), { channels: 16 });
   * console.log(p.migrateRange(heap, 1, { engine }), p.nodes(heap)[0]); // 256 1
   * ```
   */
  migrateRange(region: Region, node: number, options: { readonly engine?: CopyEngine } = {}): number {
    return this.complete(migrateRegion(this, 0, region, node, options));
  }

  /**
   * Says on which NUMA nodes pages of a region shall be: mbind(2).
   *
   * @param region all of a mapping or a part of it
   * @param policy "default", "preferred", "bind" or "interleave"
   * @param nodes which nodes
   * @param options whether pages that are elsewhere move (`move`, `all`), and whether it fails if one stays (`strict`)
   * @returns 0 or a negated errno
   * @throws {UsageError} for what is no region of this process, no policy or no list of nodes
   *
   * @example
   * ```ts
   * import { machine } from "hmmlab";
   *
   * const p = machine({ memory: "64 MiB", nodes: 2 }).process(), heap = p.mmap("16 KiB");
   * p.mbind(heap, "interleave", [0, 1]);
   * p.write(heap, 1);
   * console.log(p.nodes(heap), p.mbind(heap, "bind", [1], { move: true }), p.nodes(heap)); // [ 0, 1, 0, 1 ] 0 [ 1, 1, 1, 1 ]
   * ```
   */
  mbind(region: Region, policy: Mempolicy, nodes: readonly number[], options: BindOptions = {}): number {
    return this.complete(bindRegion(this, 0, region, policy, nodes, options));
  }

  /**
   * Says on which NUMA nodes pages shall be of memory that has no policy of its own: set_mempolicy(2).
   *
   * @param policy "default", "preferred", "bind" or "interleave"
   * @param nodes which nodes; none for "default"
   * @returns 0 or a negated errno
   * @throws {UsageError} for no policy or no list of nodes
   */
  setMempolicy(policy: Mempolicy, nodes: readonly number[] = []): number {
    const { kernel } = this.machine, act = "set a memory policy";
    return setMempolicy(kernel, 0, this.mm, policyNumber(act, policy), nodeMask(act, nodes));
  }

  /** Pages that the process has, in ordinary and in device memory: its resident set. */
  get residentPages(): number {
    return this.machine.kernel.rssAnon[this.mm];
  }

  /**
   * Maps anonymous private memory: mmap(2).
   *
   * @param length in whole pages, for example "4 GiB"
   * @param protection what it allows; "rw" if left out
   * @returns the region, nothing of it in memory yet
   * @throws {UsageError} for a length that is not whole pages, that the address space has no room for, that memory and
   * swap could never hold, or that this computer could not hold when touched
   */
  mmap(length: string | number, protection: Protection = "rw"): Region {
    const n = during("map memory", () => pages(length)), flags = protectionFlags(protection);
    const { machine } = this, { kernel, spec } = machine;
    if (n < 1) {
      throw new UsageError(
        `Cannot map memory: got a length of ${
          describe(length)
        }; one page or more is allowed; write for example "4 KiB"`,
      );
    }
    const { ramPages, devicePages, pageTables, swapPages } = spec.kernel, mapped = n + mappedPages(kernel);
    // vm.overcommit_memory = 0: a mapping that memory and swap could never hold is refused when it is asked for.
    if (n > ramPages + swapPages) {
      throw new UsageError(
        `Cannot map memory: got a length of ${formatBytes(n * PAGE_SIZE)}; the machine has ${
          formatBytes(ramPages * PAGE_SIZE)
        } of memory and ${
          formatBytes(swapPages * PAGE_SIZE)
        } of swap, and Linux maps no more at once than both; ` +
          "map less, or give machine({ memory }) more",
      );
    }
    const frames = Math.min(mapped, ramPages + devicePages);
    const tables = Math.min(mapped, 512 * pageTables) - frames;
    checkHostMemory(
      `map ${formatBytes(n * PAGE_SIZE)}`,
      hostBytesOfPages(frames, spec.kernel.wordsPerPage) + Math.max(0, tables) * 10,
      "map less",
    );
    const vpn = this.complete(mmap(kernel, 0, this.mm, -1, n, flags));
    if (vpn < 0) {
      throw new UsageError(
        `Cannot map memory: got a length of ${formatBytes(n * PAGE_SIZE)} (${
          errnoName(vpn)
        }); a free range of the ` +
          `address space (128 TiB in all) and a free one of the machine's ${spec.kernel.vmas} vmas are needed; ` +
          "map less, unmap first, or give machine({ vmas }) more",
      );
    }
    return new Region(this, vpn, n);
  }

  /**
   * Unmaps a region: munmap(2).
   *
   * @param region all of a mapping or a part of it
   * @returns 0 or a negated errno
   * @throws {UsageError} for what is no region of this process
   */
  munmap(region: Region): number {
    const { vpn, pages } = checkRegion("unmap", region, this);
    return this.complete(munmap(this.machine.kernel, 0, this.mm, vpn, pages));
  }

  /**
   * Changes what a region allows: mprotect(2).
   *
   * @param region all of a mapping or a part of it
   * @param protection what it allows from now on
   * @returns 0 or a negated errno
   * @throws {UsageError} for what is no region of this process, or no protection
   */
  mprotect(region: Region, protection: Protection): number {
    const { vpn, pages } = checkRegion("protect", region, this), flags = protectionFlags(protection);
    return this.complete(mprotect(this.machine.kernel, 0, this.mm, vpn, pages, flags));
  }

  /**
   * Stores a word in each page of a region, as the program would.
   *
   * @param region where it stores
   * @param value word of the first page (0 to 2^32 - 1); the next page's is one more
   * @returns the signals of pages that could not be written, by page of the region; empty when all went well
   * @throws {UsageError} for what is no region of this process, or no word
   */
  write(region: Region, value: number): Readonly<Record<number, Word>> {
    const act = "write", { vpn } = checkRegion(act, region, this), { kernel } = this.machine;
    const out = new AccessResult(false, false, Infinity),
      batch = oneRun(region, true, checkWord(act, "value", value));
    this.complete(cpuAccess(kernel, 0, this.mm, batch, out));
    return Object.fromEntries(out.signals.map((s) => [s.vpn - vpn, signalName(s.cause)]));
  }

  /**
   * Loads the word of each page of a region, as the program would.
   *
   * @param region where it loads
   * @returns a word for each page, or the signal in its place
   * @throws {UsageError} for what is no region of this process
   */
  read(region: Region): Word[] {
    const { vpn, pages } = checkRegion("read", region, this), out = new AccessResult(true, false, Infinity);
    this.complete(cpuAccess(this.machine.kernel, 0, this.mm, oneRun(region, false, 0), out));
    const signals = new Map(out.signals.map((s) => [s.vpn - vpn, signalName(s.cause)]));
    let next = 0;
    return Array.from({ length: pages }, (_, i) => signals.get(i) ?? out.words[next++]);
  }

  /**
   * Runs a generator of the lower floors to completion on the machine's own actor.
   *
   * @param proc what to run
   * @returns what it returns
   */
  complete<R>(proc: Proc<R>): R {
    this.machine.kernel.nodes.run(0, this.node);
    return this.machine.complete(proc);
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Process ${this.mm}: ${formatCount(this.residentPages)} pages resident`;
  }
}
