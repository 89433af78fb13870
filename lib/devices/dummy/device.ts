/**
 * The dummy device: memory that the CPU cannot address, a mirror of each address space, a DMA engine behind a link.
 *
 * The counterpart of the kernel's lib/test_hmm.c, with the protocol of real drivers around it: fault, migrate, map under
 * the driver's lock after the sequence check.
 * @module
 */
import { type CopyEngine, DmaEngine, Link, NO_PAGE } from "../../bus/link.ts";
import type { Batch, Batches } from "../../hmm/batches.ts";
import { DeviceMemory } from "../../hmm/devmem.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../hmm/migrate.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, hmmRangeFault } from "../../hmm/range.ts";
import type { Accesses, AccessResult } from "../../mm/access.ts";
import { EBUSY, EFAULT, EINVAL, ENOMEM } from "../../mm/errno.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { DeviceFaultBack } from "../../mm/pages.ts";
import { defineRevert } from "../../sim/revert.ts";
import { type Proc, site } from "../../sim/sim.ts";
import { deviceAccess, type DeviceTiming } from "../access.ts";
import { DummyMirror } from "./mirror.ts";
import type { DummySpec } from "./spec.ts";

/** Without it a device maps what an invalidation has taken away meanwhile. */
export const REVERT_SEQUENCE_CHECK: string = defineRevert(
  "sequence check",
  "a device maps a page that an invalidation took away while the fault was under way",
);

const AT_BEGIN = site("device fault: reading the sequence");
const AT_RANGE = site("device fault: hmm_range_fault");
const AT_LOCK = site("device fault: taking the driver's lock");
const AT_MIGRATE = site("device fault: migrating first");
const AT_SETUP = site("migration: setup");
const AT_COPY = site("migration: copy");
const AT_PAGES = site("migration: pages");
const AT_MAPPED = site("migration: updating the mirror");
const AT_FINALIZE = site("migration: finalize");

/** Phases into which a dummy device's time goes. */
interface DevicePhases {
  readonly fault: number;
  readonly access: number;
  readonly table: number;
  readonly flush: number;
}

/** One dummy device of a machine. */
export class DummyDevice {
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
  /** Phases by name. */
  readonly phase: DevicePhases;
  /** Mirrors by address space. */
  private readonly mirrors = new Map<number, DummyMirror>();
  private readonly timing: DeviceTiming;
  private readonly kindFault: number;
  private readonly kindMigrate: number;
  private readonly kindBack: number;
  private readonly counter: Readonly<
    Record<"faults" | "toDevice" | "toSystem" | "failed" | "retries", number>
  >;

  /**
   * @param k the machine
   * @param batches arrays for migrations
   * @param name the device's name
   * @param spec checked description
   * @param owner number of the device, from 1
   */
  constructor(
    readonly k: Kernel,
    private readonly batches: Batches,
    readonly name: string,
    readonly spec: DummySpec,
    owner: number,
  ) {
    const { sim } = k, { spans, counters } = sim, { cost } = spec;
    this.owner = owner;
    this.lock = k.locks.make(`driver lock of ${name}`);
    this.link = new Link(sim, `link of ${name}`, cost.linkLatencyNs, cost.linkBytesPerSecond);
    this.engine = new DmaEngine(sim, k.pages, this.link, cost.dmaMapPageNs, cost.dmaSetupNs);
    if (spec.memoryPages > 0) this.memory = new DeviceMemory(k, name, spec.memoryPages, owner, this);
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
    this.kindFault = spans.kind("device fault");
    this.kindMigrate = spans.kind("migration to device");
    this.kindBack = spans.kind("migration to system");
    this.counter = {
      faults: counters.define("device_faults"),
      toDevice: counters.define("pages_to_device"),
      toSystem: counters.define("pages_to_system"),
      failed: counters.define("pages_not_migrated"),
      retries: counters.define("device_fault_retries"),
    };
  }

  /** The device's mirror of an address space; made on first use. */
  mirror(mm: number): DummyMirror {
    let m = this.mirrors.get(mm);
    if (m === undefined) this.mirrors.set(mm, m = new DummyMirror(this.k, this, mm));
    return m;
  }

  /**
   * Resolves a device fault: migrates first if the device is so, then maps the range under the sequence check.
   *
   * @param start first page
   * @param end page past the last; at most 512 pages
   * @param write whether the device wants to write
   * @returns 0, or -EFAULT, -EPERM as hmm_range_fault(); -EBUSY after the timeout
   */
  *fault(a: number, mirror: DummyMirror, start: number, end: number, write: boolean): Proc<number> {
    const { k, batches } = this, { sim, locks, notifiers } = k, { mm, sub } = mirror;
    if (!(end > start) || end - start > batches.pages) return -EINVAL;
    sim.spans.begin(a, this.kindFault, start);
    sim.spend(a, this.phase.fault, this.spec.cost.faultNs);
    sim.counters.values[this.counter.faults]++;
    if (this.spec.onFault === "migrate") {
      sim.call(a, AT_MIGRATE, start, end, write ? 1 : 0);
      yield* locks.read(a, k.mmapLock(mm));
      yield* this.migrateVmas(a, mirror, start, end, true);
      locks.readUnlock(a, k.mmapLock(mm));
      sim.ret(a);
    }
    const batch = batches.take(), n = end - start, deadlineNs = sim.nowNs[a] + this.spec.timeoutNs;
    const range = {
      sub,
      seq: 0,
      mm,
      start,
      end,
      pfns: batch.src,
      defaultFlags: HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0),
      pfnFlagsMask: 0,
      owner: this.owner,
    };
    let rc: number;
    for (;;) {
      if (sim.expired(a, deadlineNs)) {
        rc = -EBUSY;
        break;
      }
      sim.call(a, AT_BEGIN, start, end, write ? 1 : 0, batch.slot);
      range.seq = yield* notifiers.readBegin(a, sub);
      sim.ret(a);
      sim.call(a, AT_RANGE, start, end, batch.slot + (write ? 0.5 : 0), range.seq);
      yield* locks.read(a, k.mmapLock(mm));
      rc = yield* hmmRangeFault(k, a, range);
      locks.readUnlock(a, k.mmapLock(mm));
      sim.ret(a);
      if (rc === 0) {
        sim.call(a, AT_LOCK, start, end, batch.slot + (write ? 0.5 : 0), range.seq);
        yield* locks.lock(a, this.lock);
        sim.ret(a);
        if (k.revert.has(REVERT_SEQUENCE_CHECK) || !notifiers.readRetry(sub, range.seq)) break;
        locks.unlock(a, this.lock);
      } else if (rc !== -EBUSY) break;
      sim.counters.values[this.counter.retries]++;
    }
    if (rc === 0) {
      if (mirror.map(a, start, batch.src, n) < 0) rc = -ENOMEM;
      locks.unlock(a, this.lock);
    }
    batches.give(batch, n);
    sim.spans.end(a, this.kindFault, n);
    sim.progress++;
    return rc;
  }

  /**
   * Moves what lies in a range to the device, vma by vma; what cannot move stays.
   *
   * @returns pages that are now on the device and were not before
   */
  *migrateToDevice(a: number, mirror: DummyMirror, start: number, end: number): Proc<number> {
    const { k } = this, lock = k.mmapLock(mirror.mm);
    k.sim.call(a, AT_MIGRATE, start, end, 2);
    yield* k.locks.read(a, lock);
    const moved = yield* this.migrateVmas(a, mirror, start, end, true);
    k.locks.readUnlock(a, lock);
    k.sim.ret(a);
    return moved;
  }

  /** Moves what lies in a range on this device back to system memory. Returns how many pages came. */
  *migrateToSystem(a: number, mirror: DummyMirror, start: number, end: number): Proc<number> {
    const { k } = this, lock = k.mmapLock(mirror.mm);
    k.sim.call(a, AT_MIGRATE, start, end, 3);
    yield* k.locks.read(a, lock);
    const moved = yield* this.migrateVmas(a, mirror, start, end, false);
    k.locks.readUnlock(a, lock);
    k.sim.ret(a);
    return moved;
  }

  /** Migrates the parts of a range that vmas cover, in batches. The mmap lock is held for reading. */
  private *migrateVmas(
    a: number,
    mirror: DummyMirror,
    start: number,
    end: number,
    toDevice: boolean,
  ): Proc<number> {
    const { k } = this, { vmas, sim } = k;
    let moved = 0;
    for (let v = start; v < end;) {
      const vma = vmas.find(mirror.mm, v);
      if (vma < 0 || vmas.start[vma] >= end) break;
      v = Math.max(v, vmas.start[vma]);
      const stop = Math.min(end, vmas.end[vma], v + this.batches.pages);
      sim.call(a, AT_MIGRATE, v, end, toDevice ? 1 : 0, moved);
      moved += yield* this.migrate(a, mirror.mm, vma, v, stop, toDevice, -1);
      sim.ret(a);
      v = stop;
    }
    return moved;
  }

  /** One migration within one vma. Returns the pages that went. */
  private *migrate(
    a: number,
    mm: number,
    vma: number,
    start: number,
    end: number,
    toDevice: boolean,
    faultPage: number,
  ): Proc<number> {
    const { k, batches } = this, { sim } = k, n = end - start;
    const batch = batches.take(), kind = toDevice ? this.kindMigrate : this.kindBack;
    const m: MigrateVma = {
      mm,
      vma,
      start,
      end,
      src: batch.src,
      dst: batch.dst,
      flags: toDevice ? MIGRATE_VMA_SELECT_SYSTEM : MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      owner: this.owner,
      faultPage,
      cpages: 0,
    };
    sim.spans.begin(a, kind, start);
    sim.call(a, AT_SETUP, start, end, batch.slot, toDevice ? 1 : 0);
    const rc = yield* migrateVmaSetup(k, a, m);
    sim.ret(a);
    let moved = 0;
    if (rc === 0 && m.cpages > 0) {
      const wanted = m.cpages;
      sim.call(a, AT_COPY, start, end, batch.slot, toDevice ? 1 : 0);
      yield* this.allocAndCopy(a, m, batch, toDevice);
      sim.ret(a);
      sim.call(a, AT_PAGES, start, end, batch.slot, toDevice ? 1 : 0);
      yield* migrateVmaPages(k, a, m);
      sim.ret(a);
      sim.call(a, AT_MAPPED, start, end, batch.slot, toDevice ? 1 : 0);
      yield* this.updateMirror(a, m, toDevice);
      sim.ret(a);
      for (let i = 0; i < n; i++) if (m.src[i] & MIGRATE_PFN_MIGRATE) moved++;
      sim.call(a, AT_FINALIZE, start, end, batch.slot, moved);
      yield* migrateVmaFinalize(k, a, m);
      sim.ret(a);
      sim.counters.values[toDevice ? this.counter.toDevice : this.counter.toSystem] += moved;
      sim.counters.values[this.counter.failed] += wanted - moved;
    } else sim.counters.values[this.counter.failed] += n;
    batches.give(batch, n);
    sim.spans.end(a, kind, moved);
    return moved;
  }

  /** Finds a destination for each collected page and lets the DMA engine copy; a page without one stays where it is. */
  private *allocAndCopy(a: number, m: MigrateVma, batch: Batch, toDevice: boolean): Proc {
    const { k, batches } = this, { pages, sim } = k, n = m.end - m.start;
    const frames = batches.take();
    for (let i = 0; i < n; i++) {
      frames.src[i] = frames.dst[i] = NO_PAGE;
      if (!(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
      const to = toDevice ? this.memory!.alloc(a) : this.allocSystem(a);
      if (to < 0) continue;
      m.dst[i] = migratePfn(to) | (m.src[i] & MIGRATE_PFN_WRITE);
      frames.dst[i] = to;
      const from = migratePfnToPage(m.src[i]);
      if (from >= 0) frames.src[i] = from;
    }
    sim.call(a, AT_COPY, batch.slot, frames.slot, n);
    const rc = yield* this.engine.copy(a, frames.src, frames.dst, n);
    sim.ret(a);
    if (rc !== 0) {
      // Nothing was copied: without a destination every page stays where it is.
      for (let i = 0; i < n; i++) {
        const to = migratePfnToPage(m.dst[i]);
        if (to < 0) continue;
        m.dst[i] = 0;
        pages.unlock(to);
        pages.put(a, to);
      }
    }
    batches.give(frames, n);
  }

  private allocSystem(a: number): number {
    const { sim, pages, ram, cost, phase } = this.k;
    const pfn = sim.fails(a, "page allocation") ? -1 : pages.take(ram);
    if (pfn < 0) return -1;
    sim.hold(a, ram.lock, phase.alloc, cost.pageAllocNs);
    if (!pages.trylock(pfn)) throw new Error(`free page ${pfn} is locked`);
    return pfn;
  }

  /** Brings the device's own table in step with a migration that its notifier let pass as its own. */
  private *updateMirror(a: number, m: MigrateVma, toDevice: boolean): Proc {
    const { k } = this, { table } = this.mirror(m.mm), { sim } = k;
    yield* k.locks.lock(a, this.lock);
    let changed = 0, removed = 0;
    for (let i = 0; i < m.end - m.start; i++) {
      if (!(m.src[i] & MIGRATE_PFN_MIGRATE)) continue;
      const vpn = m.start + i;
      // A page made from a hole is writable if its vma is; the device asks for that when it first writes.
      if (!toDevice) removed += table.zap(vpn, vpn + 1);
      else if (table.set(vpn, migratePfnToPage(m.dst[i]), (m.src[i] & MIGRATE_PFN_WRITE) !== 0)) changed++;
    }
    sim.spend(a, this.phase.table, (changed + removed) * this.spec.cost.pteUpdateNs);
    if (removed > 0) {
      table.flush(m.start, m.end);
      sim.spend(a, this.phase.flush, this.spec.cost.tlbInvalidateNs);
    }
    k.locks.unlock(a, this.lock);
  }

  /** Brings a page (and its neighbours on the device, as the spec says) back because the CPU touched it. */
  *migrateToRam(a: number, f: DeviceFaultBack): Proc<number> {
    const { k } = this, { vmas, tables } = k, granule = this.spec.faultBackPages;
    const aligned = f.vpn - (f.vpn % granule);
    const start = Math.max(aligned, vmas.start[f.vma]), end = Math.min(aligned + granule, vmas.end[f.vma]);
    yield* this.migrate(a, f.mm, f.vma, start, end, false, f.pfn);
    const e = tables.entry(k.root[f.mm], f.vpn);
    // Still this very page on the device: it could not be copied. Anything else is for the CPU to look at again.
    return e >= 0 && tables.pfn[e] === f.pfn && k.pages.mapcount[f.pfn] > 0 ? -EFAULT : 0;
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
}
