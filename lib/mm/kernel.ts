/**
 * The memory management of one machine: its columns put together, and what every operation needs of them.
 * @module
 */
import type { HostCosts } from "../profiles/parameters.ts";
import { UsageError } from "../errors.ts";
import { Locks } from "../sim/locks.ts";
import { defineRevert } from "../sim/revert.ts";
import { type Proc, Sim, site, type Wait } from "../sim/sim.ts";
import type { Mapping } from "./anon_vma.ts";
import { Reclaim } from "./direct_reclaim.ts";
import { EAGAIN, ENOMEM } from "./errno.ts";
import { Inodes } from "./inodes.ts";
import { Nodes } from "./numa.ts";
import { Notifiers } from "./notifier.ts";
import { Pages, type Zone } from "./pages.ts";
import { PageTables, VPN_END } from "./pagetable.ts";
import { SwapSlots } from "./swap.ts";
import { Tlbs } from "./tlb.ts";
import { Vmas } from "./vma.ts";
import { LOCK_PTL, LOCK_RMAP, LOCK_VMA, type MirrorView, type Watch } from "./watch.ts";

/** How large a machine is. */
export interface KernelSpec {
  /** Seed of every draw. */
  readonly seed: number;
  /** Frames of ordinary memory, of all nodes. */
  readonly ramPages: number;
  /** Frames of each NUMA node, and its distance to each: 10 to itself. */
  readonly nodes: readonly { readonly pages: number; readonly distances: readonly number[] }[];
  /** Frames that devices may add, in all. */
  readonly devicePages: number;
  /** How many devices may add memory. */
  readonly devices: number;
  /** Most actors at once. */
  readonly actors: number;
  /** Most page-table pages of all address spaces, and of all devices. */
  readonly pageTables: number;
  /** Most address spaces. */
  readonly processes: number;
  /** Most vmas of all address spaces. */
  readonly vmas: number;
  /** Pages of swap. */
  readonly swapPages: number;
  /** Pages of a file that one read fault maps, if the page cache has them: fault_around_bytes. */
  readonly faultAroundPages: number;
  /** Most files and shared mappings. */
  readonly inodes: number;
  /** Translation cache entries of each CPU; 0 for none. */
  readonly tlbEntries: number;
  /** Modelled words of each page. */
  readonly wordsPerPage: number;
}

/** Without it a CPU goes on storing through a translation that the page table no longer holds. */
export const REVERT_TLB_FLUSH: string = defineRevert(
  "tlb flush",
  "a CPU store lands in a page that was taken away",
);

/**
 * Without it a CPU fault on a device page asks the driver for a page that nothing keeps: 16ce101db85d, CVE-2022-3523.
 *
 * Such a fault takes neither the page's reference nor its lock, and does not look at the entry again under the lock of
 * the page table.
 */
export const REVERT_FAULT_REFERENCE: string = defineRevert(
  "fault page reference",
  "a device page is freed, and may be used again, while its own CPU fault is at its driver",
);

/**
 * Without it each of several faults on a device page holds a reference that keeps the others from migrating it:
 * 1afaeb8293c9. Linux 6.12.117 does not have that fix: a comparison with it that is about such faults switches it off.
 */
export const REVERT_FAULT_LOCK: string = defineRevert(
  "fault page lock",
  "CPU threads that touch one device page at a time keep each other from getting it",
);

const AT_PTL = site("waiting for a page-table lock");
const AT_VMA = site("waiting for faults that hold a vma");
const QUEUES = 16;

/** Numbers of the phases into which the time of the memory management goes. */
export interface Phases {
  /** Exception entry and exit of a fault. */
  readonly entry: number;
  /** Entry and exit of a system call. */
  readonly syscall: number;
  /** Taking page frames. */
  readonly alloc: number;
  /** Zeroing page frames. */
  readonly clear: number;
  /** Setting page-table entries. */
  readonly pte: number;
  /** The program's own loads and stores. */
  readonly access: number;
  /** What the program's loads and stores take longer because their memory is another node's. */
  readonly remote: number;
  /** Copying page frames with the CPU. */
  readonly copy: number;
  /** Clearing page-table entries. */
  readonly zap: number;
  /** Reclaiming page frames: isolating pages and taking them out of the page tables. */
  readonly reclaim: number;
  /** Changing the permission of page-table entries. */
  readonly protect: number;
  /** Interrupting other CPUs to flush their TLBs. */
  readonly tlb: number;
  /** migrate_vma_setup(): locking pages, setting migration entries. */
  readonly collect: number;
  /** migrate_vma_setup(): isolating and unmapping pages. */
  readonly unmap: number;
  /** migrate_vma_finalize(): replacing migration entries. */
  readonly finalize: number;
}

/** One simulated machine below its devices. */
export class Kernel {
  /** Stops, time, chance. */
  readonly sim: Sim;
  /** Sleeping locks. */
  readonly locks: Locks;
  /** Struct pages and zones. */
  readonly pages: Pages;
  /** Page tables of the address spaces. */
  readonly tables: PageTables;
  /** Page tables of devices: their mirrors. */
  readonly deviceTables: PageTables;
  /** Memory areas. */
  readonly vmas: Vmas;
  /** Files and shared memory. */
  readonly inodes: Inodes;
  /** Pages of a file that one read fault maps; a power of two. A setting of the machine, not part of its state. */
  faultAroundPages: number;
  /** Swap. */
  readonly swap: SwapSlots;
  /** Where reclaim stands. */
  readonly reclaim: Reclaim;
  /** Who is told of changes. */
  readonly notifiers: Notifiers;
  /** Translation caches of the CPUs. */
  readonly tlb: Tlbs;
  /** What things cost, in integers of ns. */
  readonly cost: HostCosts;
  /** Fixes and checks that are switched off. */
  readonly revert: ReadonlySet<string>;
  /** The zone of ordinary memory, of node 0 where there are several. */
  readonly ram: Zone;
  /** NUMA nodes. */
  readonly nodes: Nodes;
  /** Phases by name. */
  readonly phase: Phases;
  /** Kind of span: a fault of the CPU, from the access to its return. */
  readonly kindCpuFault: number;
  /** Kind of span: a system call. */
  readonly kindSyscall: number;
  /** Kind of span: a migration of pages between frames of ordinary memory. */
  readonly kindMigratePages: number;
  /** Counter pgfault. */
  readonly pgfault: number;
  /** Counters pgmigrate_success and pgmigrate_fail. */
  readonly pgmigrate: { readonly success: number; readonly fail: number };
  /** Counter pswpin: pages read from swap. */
  readonly pswpin: number;
  /** Counter pswpout: pages written to swap. */
  readonly pswpout: number;

  /** Root table by address space. */
  readonly root: Uint32Array;
  /** Anonymous pages (device and migration entries too) by address space: MM_ANONPAGES. */
  readonly rssAnon: Int32Array;
  /** Pages of files and shared memory by address space: MM_SHMEMPAGES. */
  readonly rssFile: Int32Array;
  /** Swap entries by address space: MM_SWAPENTS. */
  readonly rssSwap: Int32Array;
  /** CPUs that run the address space; a flush interrupts the others. */
  readonly cpus: Uint16Array;
  /** Counts write-unlocks of the mmap lock; a vma with this number is write-locked. */
  readonly lockSeq: Uint32Array;

  /** Watches every handle_mm_fault(), with the FAULT_FLAG_s of the fault; for checkers and transcripts. */
  watchFault: ((mm: number, vpn: number, flags: number) => void) | undefined;

  /** Watches what happens; {@link watchWith} sets it. */
  watch: Watch | undefined = undefined;
  /** Lists the mirrors of every device, as each device that has some adds here; for checkers. */
  readonly mirrors: (() => readonly MirrorView[])[] = [];

  private readonly mmapLocks: number;
  private readonly ptlTimes: number;
  private readonly ptlQueues: Wait[] = [];
  private readonly vmaQueues: Wait[] = [];
  private readonly mmInUse: Uint8Array;
  /** Users of each address space: its process, and who took a reference; the last one to go tears it down (mm_users). */
  readonly mmUsers: Uint16Array;

  /**
   * Lays out the columns; nothing of them is in host memory yet.
   *
   * @param spec sizes
   * @param cost compiled host profile
   * @param revert switches, checked by `reverts`
   */
  constructor(spec: KernelSpec, cost: HostCosts, revert: ReadonlySet<string>) {
    const sim = this.sim = new Sim(spec.seed, spec.actors), { state } = sim;
    this.cost = cost;
    this.revert = revert;
    this.locks = new Locks(sim, spec.processes + 64);
    this.pages = new Pages(
      sim,
      spec.nodes.map((n) => n.pages),
      spec.devicePages,
      spec.devices,
      spec.wordsPerPage,
    );
    this.ram = this.pages.zones[0];
    this.tables = new PageTables(state, "pte", spec.pageTables);
    this.deviceTables = new PageTables(state, "devicePte", spec.pageTables);
    const failing = () => sim.fails(Math.max(0, sim.current), "page table allocation");
    this.tables.failing = this.deviceTables.failing = failing;
    this.vmas = new Vmas(sim, spec.vmas);
    const distances = spec.nodes.map((n) => n.distances), { accessNs, remoteAccessNs } = cost;
    this.nodes = new Nodes(sim, this.pages, this.vmas, distances, spec.processes, accessNs, remoteAccessNs);
    this.faultAroundPages = spec.faultAroundPages;
    this.inodes = new Inodes(sim, spec.inodes, spec.pageTables);
    this.swap = new SwapSlots(sim, spec.swapPages, spec.wordsPerPage);
    this.reclaim = new Reclaim(sim);
    this.vmas.onMap = (inode) => this.inodes.get(inode);
    this.vmas.onUnmap = (inode) => this.inodes.put(this, Math.max(0, sim.current), inode);
    this.notifiers = new Notifiers(sim, spec.processes, cost.notifierNs);
    this.tlb = new Tlbs(sim, spec.tlbEntries);
    this.root = state.u32("mm.root", spec.processes);
    this.rssAnon = state.i32("mm.rssAnon", spec.processes);
    this.rssFile = state.i32("mm.rssFile", spec.processes);
    this.rssSwap = state.i32("mm.rssSwap", spec.processes);
    this.cpus = state.u16("mm.cpus", spec.processes);
    this.lockSeq = state.u32("mm.lockSeq", spec.processes);
    this.lockSeq.fill(1);
    this.mmInUse = state.u8("mm.inUse", spec.processes);
    this.mmUsers = state.u16("mm.users", spec.processes);
    this.mmapLocks = this.locks.make("mmap lock", spec.processes);
    this.ptlTimes = sim.resource("page-table lock", spec.pageTables);
    for (let i = 0; i < QUEUES; i++) {
      this.ptlQueues.push(sim.queue(`page-table lock ${i}`));
      this.vmaQueues.push(sim.queue(`vma lock ${i}`));
    }
    const p = (name: string) => sim.spans.phase(name);
    this.phase = {
      entry: p("fault entry"),
      syscall: p("system call"),
      alloc: p("page allocation"),
      clear: p("page clearing"),
      pte: p("page-table entry"),
      access: p("access"),
      remote: p("access to another node"),
      copy: p("copy"),
      zap: p("zap"),
      reclaim: p("reclaim"),
      protect: p("protect"),
      tlb: p("cpu tlb flush"),
      collect: p("migrate: collect"),
      unmap: p("migrate: unmap"),
      finalize: p("migrate: finalize"),
    };
    this.kindCpuFault = sim.spans.kind("cpu fault");
    this.kindSyscall = sim.spans.kind("system call");
    this.kindMigratePages = sim.spans.kind("page migration");
    this.pgfault = sim.counters.define("pgfault");
    this.pgmigrate = {
      success: sim.counters.define("pgmigrate_success"),
      fail: sim.counters.define("pgmigrate_fail"),
    };
    this.pswpin = sim.counters.define("pswpin");
    this.pswpout = sim.counters.define("pswpout");
  }

  /**
   * Makes an empty address space.
   *
   * @returns its number
   * @throws UsageError when the machine has no room for another
   */
  newMm(): number {
    const mm = this.tryNewMm();
    if (mm >= 0) return mm;
    if (mm === -ENOMEM) {
      throw new UsageError(
        `Cannot make a process: got no page table for it, all ${this.tables.capacity} are in use; ` +
          `write for example machine({ pageTables: ${2 * this.tables.capacity} })`,
      );
    }
    throw new UsageError(
      `Cannot make a process: got one more than the ${this.mmInUse.length} that this machine was built for; ` +
        `write for example machine({ processes: ${2 * this.mmInUse.length} })`,
    );
  }

  /** As {@link newMm}, but -EAGAIN when there is no room for another, -ENOMEM when no page table is left for it. */
  tryNewMm(): number {
    const mm = this.mmInUse.indexOf(0), root = mm < 0 ? -1 : this.tables.tryNewRoot();
    if (root < 0) return mm < 0 ? -EAGAIN : -ENOMEM;
    this.mmInUse[mm] = 1;
    this.mmUsers[mm] = 1;
    this.root[mm] = root;
    return mm;
  }

  /** Whether a fix or check is switched off. Mostly none is, and that is known without looking it up. */
  reverts(name: string): boolean {
    return this.revert.size > 0 && this.revert.has(name);
  }

  /** Lets a watcher see everything that can be watched; undefined ends it. */
  watchWith(watch: Watch | undefined): void {
    this.watch =
      this.locks.watch =
      this.pages.watch =
      this.notifiers.checker =
        watch;
    this.sim.watchSleep = watch && ((a, what) => watch.sleepsInAtomic(a, what));
  }

  /** The address spaces in use. */
  spaces(): number[] {
    const spaces: number[] = [];
    this.mmInUse.forEach((used, mm) => used && spaces.push(mm));
    return spaces;
  }

  /** Takes a reference to an address space that has users; its counterpart is mmput(): mmget_not_zero(). */
  mmgetNotZero(mm: number): boolean {
    if (this.mmUsers[mm] === 0) return false;
    this.mmUsers[mm]++;
    return true;
  }

  /** Gives the number of an address space back in which nothing is mapped any more. */
  freeMm(mm: number): void {
    this.watch?.mmGone(this.sim.current, mm);
    this.tables.freeRange(this.root[mm], 0, VPN_END, 0, VPN_END);
    this.tables.freeRoot(this.root[mm]);
    this.mmInUse[mm] = this.root[mm] = this.nodes.policy[mm] = 0;
    this.mmUsers[mm] = 0;
  }

  /** The places where a page may be mapped, in the order of a walk of its reverse map. */
  places(pfn: number): Mapping[] {
    const { pages, vmas } = this, inode = pages.inode[pfn], index = pages.index[pfn];
    this.watch?.lockWanted(this.sim.current, LOCK_RMAP);
    if (inode === 0) return vmas.mapping(pages.mapping[pfn], index);
    return vmas.mappingFile(inode, index, index + 1).map((vma) => ({
      mm: vmas.mm[vma],
      vma,
      vpn: vmas.start[vma] + (index - vmas.pgoff[vma]),
    }));
  }

  /** The mmap lock of an address space, for {@link Locks}. */
  mmapLock(mm: number): number {
    return this.mmapLocks + mm;
  }

  /** Lets go of the mmap lock taken alone, and with it of every vma that was write-locked under it. */
  mmapWriteUnlock(a: number, mm: number): void {
    this.endVmaWrites(mm);
    this.locks.unlock(a, this.mmapLock(mm));
  }

  /** Ends the write locks of all vmas of `mm`: vma_end_write_all(). */
  endVmaWrites(mm: number): void {
    this.lockSeq[mm]++;
    this.watch?.lockDropped(this.sim.current, LOCK_VMA);
  }

  /** Whether a fault may not use the vma's own lock because a writer has it. */
  vmaWriteLocked(vma: number): boolean {
    return this.vmas.lockSeq[vma] === this.lockSeq[this.vmas.mm[vma]];
  }

  /** Locks a vma against faults and waits for those inside: vma_start_write(). The mmap lock is held alone. */
  *vmaStartWrite(a: number, vma: number): Proc {
    const { vmas } = this;
    this.watch?.lockWanted(a, LOCK_VMA);
    vmas.lockSeq[vma] = this.lockSeq[vmas.mm[vma]];
    while (vmas.faulting[vma] > 0) {
      this.sim.mark(a, AT_VMA, vma);
      yield this.vmaQueues[vma % QUEUES];
    }
    this.watch?.lockTaken(a, LOCK_VMA, false);
  }

  /** Takes the vma's lock for a fault: vma_start_read(). Fails when a writer has it. */
  vmaStartRead(vma: number): boolean {
    if (this.vmaWriteLocked(vma)) return false;
    this.vmas.faulting[vma]++;
    this.watch?.lockTaken(this.sim.current, LOCK_VMA, true);
    return true;
  }

  /** Ends {@link vmaStartRead}. */
  vmaEndRead(vma: number): void {
    this.watch?.lockDropped(this.sim.current, LOCK_VMA);
    if (--this.vmas.faulting[vma] === 0) this.sim.wake(this.vmaQueues[vma % QUEUES]);
  }

  /** Waits while another actor is stopped inside a section under the lock of a table. */
  *waitPtl(a: number, leaf: number): Proc {
    const t = leaf >>> 9;
    this.watch?.lockWanted(a, LOCK_PTL);
    while (this.tables.locked[t]) {
      this.sim.mark(a, AT_PTL, t);
      yield this.ptlQueues[t % QUEUES];
    }
  }

  /** Holds the lock of a table over the stop that follows; {@link ptlRelease} ends it. */
  ptlHold(leaf: number): void {
    this.tables.locked[leaf >>> 9] = 1;
  }

  /** Ends {@link ptlHold}. */
  ptlRelease(leaf: number): void {
    this.tables.locked[leaf >>> 9] = 0;
    this.sim.wake(this.ptlQueues[(leaf >>> 9) % QUEUES]);
  }

  /** Spends `ns` under the lock of a table, after whoever has it in virtual time. */
  ptlSpend(a: number, leaf: number, phase: number, ns: number): void {
    this.watch?.lockWanted(a, LOCK_PTL);
    this.sim.hold(a, this.ptlTimes + (leaf >>> 9), phase, ns);
  }

  /** Drops a range of an address space from the translation caches of all CPUs: flush_tlb_range(). */
  flushTlb(a: number, mm: number, start: number, end: number): void {
    const others = Math.max(0, this.cpus[mm] - 1);
    // A CPU flushes its own entries for next to nothing; the interrupts to the others are what costs.
    if (others > 0) this.sim.spend(a, this.phase.tlb, this.cost.ipiBaseNs + others * this.cost.ipiPerCpuNs);
    if (this.tlb.entries > 0 && !this.revert.has(REVERT_TLB_FLUSH)) this.tlb.flush(mm, start, end);
  }
}
