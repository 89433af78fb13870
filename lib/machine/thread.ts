/**
 * Processes as actors handle them: the same operations as generators, for litmus tests and own workloads.
 *
 * What an operation tells its caller goes into the actor's history, so that the explorer knows where a user's program
 * stands without asking it to keep frames.
 * @module
 */
import { UsageError } from "../errors.ts";
import { checkOptions, checkWord, describe } from "../arguments.ts";
import { AccessResult, cpuAccess } from "../mm/access.ts";
import { forkMm } from "../mm/fork.ts";
import { type Advice, madvise } from "../mm/madvise.ts";
import { mmap, mprotect, munmap } from "../mm/mmap.ts";
import { type Proc, type Sim } from "../sim/sim.ts";
import { checkNode } from "./nodes.ts";
import { bindRegion, type Moved, movedNumber, moveRegion } from "./placement.ts";
import {
  checkRegion,
  oneRun,
  Process,
  type Protection,
  protectionFlags,
  Region,
  signalName,
  type Word,
} from "./process.ts";
import { INSPECT } from "../record/inspect.ts";
import { told, wordNumber } from "./told.ts";

/**
 * A thread of a process: the operations of its program as generators, for litmus tests and workloads of one's own.
 *
 * @example
 * ```ts
 * import { machine, Thread } from "hmmlab";
 *
 * const p = machine({ memory: "64 MiB" }).process(), heap = p.mmap("8 KiB"), t = new Thread(p);
 * function* program() {
 *   yield* t.write(heap, 1);
 *   yield* t.mprotect(heap, "r");
 *   return yield* t.write(heap, 2);
 * }
 * console.log(p.complete(program())); // SEGV_ACCERR
 * ```
 */
export class Thread {
  /** The process that it belongs to. */
  readonly process: Process;
  /** NUMA node of the CPU on which it runs. */
  readonly node: number;

  /**
   * Makes a thread; which actor runs it is decided by who runs its operations.
   *
   * @param process the process that it belongs to
   * @param options `node`: NUMA node of the CPU on which it runs (default: the process's)
   * @throws {UsageError} for what is no process, or a node that the machine does not have
   */
  constructor(process: Process, options: { readonly node?: number } = {}) {
    if (!(process instanceof Process)) {
      throw new UsageError(
        `Cannot make a thread: got ${describe(process)}; a process of a machine is allowed; ` +
          "write for example new Thread(m.process())",
      );
    }
    this.process = process;
    checkOptions("make a thread", options, { node: true }, "{ node: 1 }");
    const { nodes } = process.machine.kernel;
    this.node = checkNode("make a thread", "node", options.node ?? process.node, nodes.count);
  }

  /** The actor that runs it now, on a CPU of its node. */
  private actor(): number {
    const { nodes, sim } = this.process.machine.kernel;
    nodes.run(sim.current, this.node);
    return sim.current;
  }

  /** The contract of the process's machine. */
  private get sim(): Sim {
    return this.process.machine.kernel.sim;
  }

  /**
   * Unmaps a region: munmap(2).
   *
   * @param region all of a mapping or a part of it
   * @returns 0 or a negated errno
   */
  *munmap(region: Region): Proc<number> {
    const { machine: { kernel }, mm } = this.process;
    checkRegion("unmap", region, this.process);
    return yield* told(this.sim, munmap(kernel, this.actor(), mm, region.vpn, region.pages));
  }

  /**
   * Changes what a region allows: mprotect(2).
   *
   * @param region all of a mapping or a part of it
   * @param protection what it allows from now on
   * @returns 0 or a negated errno
   */
  *mprotect(region: Region, protection: Protection): Proc<number> {
    const { machine: { kernel }, mm } = this.process, flags = protectionFlags(protection);
    checkRegion("protect", region, this.process);
    return yield* told(this.sim, mprotect(kernel, this.actor(), mm, region.vpn, region.pages, flags));
  }

  /**
   * Makes a child that shares every page until one of the two writes: fork(2).
   *
   * @returns the child's address space, or a negated errno
   */
  *fork(): Proc<number> {
    const { machine: { kernel }, mm } = this.process;
    return yield* told(this.sim, forkMm(kernel, this.actor(), mm));
  }

  /**
   * Gives advice on a region: madvise(2).
   *
   * @param region all of a mapping or a part of it
   * @param advice by the kernel's name without MADV_
   * @returns 0 or a negated errno
   */
  *madvise(region: Region, advice: Advice): Proc<number> {
    const { machine: { kernel }, mm } = this.process;
    checkRegion("advise", region, this.process);
    return yield* told(this.sim, madvise(kernel, this.actor(), mm, region.vpn, region.pages, advice));
  }

  /**
   * Maps fresh memory at the place of a region, over what is there: mmap(2) with MAP_FIXED.
   *
   * @param region where; it stays valid
   * @param protection what it allows; "rw" if left out
   * @returns its first virtual page number, or a negated errno
   */
  *mmapAt(region: Region, protection: Protection = "rw"): Proc<number> {
    const { machine: { kernel }, mm } = this.process, flags = protectionFlags(protection);
    checkRegion("map at a region", region, this.process);
    return yield* told(this.sim, mmap(kernel, this.actor(), mm, region.vpn, region.pages, flags));
  }

  /**
   * Moves pages to other NUMA nodes: move_pages(2). Arguments and result are those of {@linkcode Process.movePages}.
   *
   * @param given pages, nodes, options
   * @returns what the system call returned, and where each page is then
   */
  *movePages(...given: Parameters<Process["movePages"]>): Proc<Moved> {
    return yield* told(this.sim, moveRegion(this.process, this.actor(), ...given), movedNumber);
  }

  /**
   * Says on which NUMA nodes pages of a region shall be: mbind(2). Arguments are those of {@linkcode Process.mbind}.
   *
   * @param given region, policy, nodes, options
   * @returns 0 or a negated errno
   */
  *mbind(...given: Parameters<Process["mbind"]>): Proc<number> {
    return yield* told(this.sim, bindRegion(this.process, this.actor(), ...given));
  }

  /**
   * Stores a word in each page of a region, as the program would.
   *
   * @param region where it stores
   * @param value word of the first page; the next page's is one more
   * @returns "" or the first signal
   */
  *write(region: Region, value: number): Proc<string> {
    checkRegion("write", region, this.process);
    checkWord("write", "value", value);
    const { machine: { kernel }, mm } = this.process, out = new AccessResult();
    yield* cpuAccess(kernel, this.actor(), mm, oneRun(region, true, value), out);
    this.sim.note(this.sim.current, wordNumber(out));
    return out.signals.length === 0 ? "" : String(signalName(out.signals[0].cause));
  }

  /**
   * Loads the word of the first page of a region, as the program would.
   *
   * @param region where it loads
   * @returns the word, or the signal in its place
   */
  *read(region: Region): Proc<Word> {
    checkRegion("read", region, this.process);
    const { machine: { kernel }, mm } = this.process, out = new AccessResult(true);
    yield* cpuAccess(
      kernel,
      this.actor(),
      mm,
      oneRun(new Region(this.process, region.vpn, 1), false, 0),
      out,
    );
    const word: Word = out.signals.length > 0 ? signalName(out.signals[0].cause) : out.words[0];
    this.sim.note(this.sim.current, wordNumber(out));
    return word;
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Thread of process ${this.process.mm}`;
  }
}
