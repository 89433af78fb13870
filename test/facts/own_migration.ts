/**
 * A driver that lets its own MIGRATE events pass, as test_hmm does, and brings its table in step itself; for wrong ones.
 *
 * It is the least that can be wrong: memory, a table, a lock, one mirror. What it knows across a stop lies in a batch.
 */
import { DeviceTable } from "../../lib/devices/table.ts";
import { DeviceMemory } from "../../lib/hmm/devmem.ts";
import type { Batches } from "../../lib/hmm/batches.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  migratePfn,
  migratePfnToPage,
  type MigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from "../../lib/hmm/migrate.ts";
import type { Region } from "../../lib/machine/process.ts";
import { EFAULT } from "../../lib/mm/errno.ts";
import { type Invalidation, MMU_NOTIFY_MIGRATE, type NotifierOps } from "../../lib/mm/notifier.ts";
import { VPN_END } from "../../lib/mm/pagetable.ts";
import { VM_WRITE } from "../../lib/mm/vma.ts";
import { type Proc, site, type Wait } from "../../lib/sim/sim.ts";

/** Number that the driver's pages and events carry; no device of a race has it. */
const OWNER = 9;

const AT = site("test driver: migrating");

/** What such a driver may forget. */
export interface Forgets {
  /** To look again which pages went, after migrate_vma_pages(). */
  readonly source?: boolean;
  /** To bring its table in step at all. */
  readonly table?: boolean;
}

/** One device with memory, over one process. */
export class SkippingDriver implements NotifierOps {
  readonly table: DeviceTable;
  readonly memory: DeviceMemory;
  private readonly lock: number;
  private readonly sub: number;

  constructor(
    readonly region: Region,
    private readonly batches: Batches,
    private readonly forgets: Forgets = {},
  ) {
    const { machine: { kernel: k }, mm } = region.process;
    this.table = new DeviceTable(k);
    this.lock = k.locks.make("test driver");
    const sub = this.sub = k.notifiers.insert(mm, 0, VPN_END, this);
    const view = { name: "test driver", root: this.table.root, mm, sub, odd: false, isAtomic: () => false };
    k.mirrors.push(() => [view]);
    this.memory = new DeviceMemory(k, "test driver", 8, OWNER, {
      // A CPU fault that cannot be answered: the races with this driver have none.
      // deno-lint-ignore require-yield -- a callback is a generator, whether or not it stops
      *migrateToRam() {
        return -EFAULT;
      },
    });
  }

  private get k() {
    return this.region.process.machine.kernel;
  }

  tryInvalidate(a: number, e: Invalidation): boolean {
    const { k: { locks, notifiers }, table } = this;
    if (e.owner === OWNER && e.event === MMU_NOTIFY_MIGRATE) return true;
    if (!locks.trylock(a, this.lock)) return false;
    notifiers.setSeq(this.sub, e.seq);
    table.zap(e.start, e.end);
    table.flush(e.start, e.end);
    locks.unlock(a, this.lock);
    return true;
  }

  waitOn(): Wait {
    return this.k.locks.queue(this.lock);
  }

  /** Enters what the process has of the region now, with nothing under way. */
  mirror(): void {
    const { k: { tables, root }, region: { process: { mm }, vpn, pages } } = this;
    for (let v = vpn; v < vpn + pages; v++) this.table.set(v, tables.pfn[tables.entry(root[mm], v)], true);
  }

  /** Moves the region to the device, holes too. */
  *migrate(): Proc {
    const { k, memory, table, forgets, region: { process: { mm }, vpn, pages: n } } = this;
    const { sim, locks, pages, vmas } = k, a = sim.current, mmap = k.mmapLock(mm);
    sim.call(a, AT, 0);
    yield* locks.read(a, mmap);
    const batch = this.batches.take(), { src, dst } = batch;
    const m: MigrateVma = {
      mm,
      vma: vmas.lookup(mm, vpn),
      start: vpn,
      end: vpn + n,
      src,
      dst,
      flags: MIGRATE_VMA_SELECT_SYSTEM,
      owner: OWNER,
      faultPage: -1,
      cpages: 0,
    };
    yield* migrateVmaSetup(k, a, m);
    for (let i = 0; i < n; i++) {
      const to = src[i] & MIGRATE_PFN_MIGRATE ? memory.alloc(a) : -1;
      if (to < 0) continue;
      dst[i] = migratePfn(to);
      if (src[i] & MIGRATE_PFN_VALID) pages.copy(to, migratePfnToPage(src[i]));
      else pages.clear(to);
    }
    yield* migrateVmaPages(k, a, m);
    if (!forgets.table) {
      yield* locks.lock(a, this.lock);
      for (let i = 0; i < n; i++) {
        if (dst[i] === 0 || !forgets.source && !(src[i] & MIGRATE_PFN_MIGRATE)) continue;
        const write = src[i] & MIGRATE_PFN_VALID ? src[i] & MIGRATE_PFN_WRITE : vmas.flags[m.vma] & VM_WRITE;
        table.set(vpn + i, migratePfnToPage(dst[i]), write !== 0);
      }
      table.flush(vpn, vpn + n);
      locks.unlock(a, this.lock);
    }
    yield* migrateVmaFinalize(k, a, m);
    this.batches.give(batch, n);
    locks.readUnlock(a, mmap);
    sim.ret(a);
  }

  /** Whether the table names a page that the process does not have there. */
  get stale(): boolean {
    return this.table.stalePage(this.region.process.mm, this.region.vpn, this.region.pages) >= 0;
  }
}
