/**
 * A GPU whose faults are served by a driver over HMM: multiprocessors with thread blocks, uTLBs, a fault buffer, a driver that
 * services batches, memory in chunks.
 *
 * Two actors share it: the multiprocessors (front.ts), run by the workload that launches kernels, and the driver's thread
 * (driver.ts), which the machine starts beside the workloads. They meet in the fault buffer and in the replay. Pages move by
 * migrate_vma and come back by migrate_to_ram and migrate_device_range; what the GPU maps is what hmm_range_fault() found.
 * What another GPU has goes through system memory, as in Linux 6.12, where a driver collects no pages but its own device's.
 * @module
 */
import { type CopyEngine, DmaEngine } from "../../bus/link.ts";
import { Channels, type SharedLink } from "../../bus/shared_link.ts";
import type { Topology } from "../../bus/topology.ts";
import type { Batches } from "../../hmm/batches.ts";
import { DeviceMemory } from "../../hmm/devmem.ts";
import type { AccessResult } from "../../mm/access.ts";
import { lineCurve } from "../../profiles/curve.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { DeviceFaultBack } from "../../mm/zone.ts";
import type { Columns } from "../../record/columns.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { ENODEV } from "../../mm/errno.ts";
import type { Device, DriverThread } from "../device.ts";
import { Presence } from "../presence.ts";
import type { DeviceTable } from "../table.ts";
import { AccessCounters } from "./access_counters.ts";
import { Chunks } from "./chunks.ts";
import { GpuDriver } from "./driver.ts";
import { FaultBuffer } from "./fault_buffer.ts";
import { Front } from "./front.ts";
import { Hints } from "./hints.ts";
import type { Grid } from "./launch.ts";
import { bringBack } from "./migrate.ts";
import { GpuMirror } from "./mirror.ts";
import { plugGpu, unplugGpu } from "./plug.ts";
import { GpuRecords } from "./records.ts";
import { BlockWork } from "./work.ts";
import type { GpuSpec } from "./spec.ts";
import { INSPECT } from "../../record/inspect.ts";
import { formatCount } from "../../units.ts";
import { ThrashWatch } from "./thrash.ts";

/** Regions whose remote accesses are counted at once, and notifications that can wait: assumed, no source found. */
const COUNTED_REGIONS = 4096, COUNTER_BUFFER = 4096;

const AT_KERNEL = site("gpu: in a kernel");

/** Numbers of the phases into which a GPU's time goes, and that of its driver. */
export interface GpuPhases {
  /** Loads and stores of the thread blocks. */
  readonly access: number;
  /** Each batch: interrupt, fetch, sort. */
  readonly batch: number;
  /** Each fault of a batch. */
  readonly parse: number;
  /** Each VA block of a batch. */
  readonly block: number;
  /** Telling the GPU to replay. */
  readonly replay: number;
  /** Writing the GPU's page table. */
  readonly table: number;
  /** Invalidating the GPU's TLBs. */
  readonly flush: number;
}

/** One GPU of a machine. */
export class Gpu implements Device {
  /** The driver's lock, over page table and sequence: what is mapped is checked and entered under it. */
  readonly lock: number;
  /** The driver's lock over the service of VA blocks: one at a time. */
  readonly blockLock: number;
  /** Its memory. */
  readonly memory: DeviceMemory;
  /** Whether the GPU is there. */
  readonly presence: Presence;
  /** That memory in chunks. */
  readonly chunks: Chunks;
  /** The way to the host, shared by its copies in flight and what its multiprocessors access there. */
  readonly link: SharedLink;
  /** What copies pages: a DMA engine with `dmaChannels` channels on the link; a test may put another here. */
  engine: CopyEngine;
  /** Where faults wait for the driver. */
  readonly buffer: FaultBuffer;
  /** Multiprocessors and uTLBs. */
  readonly front: Front;
  /** The driver's loop. */
  readonly driver: GpuDriver;
  /** What programs said of their memory. */
  readonly hints: Hints;
  /** The block that is serviced. */
  readonly work: BlockWork;
  /** Detection of thrashing, if the spec has it. */
  readonly thrash: ThrashWatch | undefined;
  /** Access counters, if the spec has them. */
  readonly counters: AccessCounters | undefined;
  /** Regions of a batch of the counters' notifications. */
  readonly notified: Float64Array;
  /** Phases by name. */
  readonly phase: GpuPhases;
  /** Kinds of span: migrations to the GPU, back, and evictions. */
  readonly kindMigrate: number;
  /** See {@link kindMigrate}. */
  readonly kindBack: number;
  /** See {@link kindMigrate}. */
  readonly kindEvict: number;
  /** Kind of span: its removal. */
  readonly kindUnplug: number;
  /** Counters by what they count. */
  readonly counter: Readonly<
    Record<"toDevice" | "toSystem" | "failed" | "retries" | "evicted" | "evictFailed" | "exclusive", number>
  >;
  /** What is kept of the present run: batches, residency. */
  log: GpuRecords = new GpuRecords(0);
  private readonly mirrors: GpuMirror[] = [];

  /**
   * Adds a GPU to a machine.
   *
   * @param k the machine
   * @param batches arrays for migrations
   * @param name the GPU's name
   * @param spec checked description
   * @param owner number of the device, from 1
   * @param topology what lies between devices and host
   */
  constructor(
    readonly k: Kernel,
    readonly batches: Batches,
    readonly name: string,
    readonly spec: GpuSpec,
    readonly owner: number,
    topology: Topology,
  ) {
    const { sim } = k, { spans, counters } = sim, { cost } = spec;
    this.lock = k.locks.make(`driver lock of ${name}`);
    this.blockLock = k.locks.make(`gpu block lock`);
    this.memory = new DeviceMemory(k, name, spec.memoryPages, owner, this);
    this.presence = new Presence(sim, name);
    this.chunks = new Chunks(sim, name, spec, this.memory);
    const curve = lineCurve(cost.linkLatencyNs, cost.linkBytesPerSecond);
    this.link = topology.linkOf(name, curve, cost.linkBytesPerSecond);
    this.engine = new DmaEngine(
      sim,
      k.pages,
      new Channels(sim, this.link, cost.dmaChannels),
      cost.dmaMapPageNs,
      cost.dmaUnmapPageNs,
      cost.dmaSetupNs,
    );
    this.phase = {
      access: spans.phase("gpu access"),
      batch: spans.phase("fault batch: fetch"),
      parse: spans.phase("fault batch: parse"),
      block: spans.phase("fault batch: block"),
      replay: spans.phase("fault batch: replay"),
      table: spans.phase("device page table"),
      flush: spans.phase("device tlb invalidation"),
    };
    this.kindMigrate = spans.kind("migration to device");
    this.kindBack = spans.kind("migration to system");
    this.kindEvict = spans.kind("eviction");
    this.kindUnplug = spans.kind("device removal");
    this.counter = {
      toDevice: counters.define("pages_to_device"),
      toSystem: counters.define("pages_to_system"),
      failed: counters.define("pages_not_migrated"),
      retries: counters.define("device_fault_retries"),
      evicted: counters.define("gpu_pages_evicted"),
      evictFailed: counters.define("gpu_chunks_not_emptied"),
      exclusive: counters.define("gpu_pages_made_exclusive"),
    };
    this.buffer = new FaultBuffer(sim, name, cost.faultBufferEntries);
    this.hints = new Hints(sim, name);
    this.work = new BlockWork(sim, name);
    const { thrashing, accessCounters } = spec, prefix = `gpu.${name}.counters`;
    this.thrash = thrashing === undefined ? undefined : new ThrashWatch(sim, name, thrashing);
    this.counters = accessCounters === undefined
      ? undefined
      : new AccessCounters(sim.state, prefix, COUNTED_REGIONS, COUNTER_BUFFER, accessCounters);
    this.notified = sim.state.f64(`gpu.${name}.regions`, this.counters?.batch ?? 0);
    this.driver = new GpuDriver(this);
    this.front = new Front(this);
    k.mirrors.push(() =>
      this.mirrors.filter((m) => m.alive).map(({ mm, sub, table }) => ({
        name,
        root: table.root,
        mm,
        sub,
        odd: false,
        isAtomic: (vpn) => table.isAtomic(vpn),
      }))
    );
  }

  /** The GPU's mirror of an address space, if it has one. */
  opened(mm: number): GpuMirror | undefined {
    return this.mirrors.find((m) => m.mm === mm && m.alive);
  }

  /** The GPU's mirror of an address space; made on first use. */
  mirror(mm: number): GpuMirror {
    const known = this.opened(mm);
    if (known !== undefined) return known;
    const made = new GpuMirror(this, mm);
    this.mirrors.push(made);
    return made;
  }

  /** Mirrors of address spaces that are still there. */
  openMirrors(): GpuMirror[] {
    return this.mirrors.filter((m) => m.alive);
  }

  /** The latest mirror of an address space, even if that is gone; a kernel that runs there has made one. */
  latest(mm: number): GpuMirror {
    for (let i = this.mirrors.length - 1; i >= 0; i--) if (this.mirrors[i].mm === mm) return this.mirrors[i];
    throw new Error(`${this.name} never mirrored address space ${mm}`);
  }

  /** The GPU's page table of an address space. */
  table(mm: number): DeviceTable {
    return this.mirror(mm).table;
  }

  /** Removes the GPU from the machine, between its kernels: see {@link unplugGpu}. */
  unplug(a: number): Proc<number> {
    return unplugGpu(this, a);
  }

  /** Puts the GPU back into the machine: see {@link plugGpu}. */
  plug(a: number): Proc<number> {
    return plugGpu(this, a);
  }

  /** The driver's thread, if a kernel will run. */
  threads(): readonly DriverThread[] {
    if (!this.driver.expected) return [];
    return [{ name: `driver of ${this.name}`, start: (a) => this.driver.run(a) }];
  }

  /** Begins to keep rows of batches and residency. */
  startRecords(rows: number): void {
    this.log = new GpuRecords(rows);
  }

  /** What was kept of the run: tables batches and residency. */
  records(): Readonly<Record<string, Columns>> {
    return this.log.tables();
  }

  /**
   * Runs a kernel: {@link GpuDriver.expect} was called for it before. Where the GPU is not there it ends at once, with -ENODEV
   * as its one signal.
   *
   * @param a actor: the multiprocessors
   * @param mm the address space in which it runs
   * @param grid its thread blocks
   * @param out takes errors (as signals with an errno), words, mismatches and the pages done
   */
  *launch(a: number, mm: number, grid: Grid, out: AccessResult): Proc {
    const { sim } = this.k;
    if (this.presence.enter()) {
      sim.call(a, AT_KERNEL, mm);
      yield* this.front.run(a, this.mirror(mm), grid, out);
      sim.ret(a);
      this.presence.exit();
    } else out.fail(0, -ENODEV);
    this.driver.ended();
  }

  /** One line in place of its insides, where a console or a notebook prints it. */
  [INSPECT](): string {
    return `Gpu "${this.name}": ${formatCount(this.spec.memoryPages)} pages of memory`;
  }

  /** Brings a page back to system memory because the CPU touched it: migrate_to_ram(). */
  migrateToRam(a: number, fault: DeviceFaultBack): Proc<number> {
    return bringBack(this, a, fault);
  }

  /** Takes note of a page that nobody has any more: page_free(). */
  pageFree(_a: number, pfn: number): void {
    this.chunks.pageFreed(pfn);
  }
}
