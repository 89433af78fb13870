/** A driver as it would have been written for patchset v13: one lock, one device table, one mirror. */
import { DeviceTable } from "../../../lib/devices/table.ts";
import { hmmPfnToPage } from "../../../lib/hmm/v13/flags.ts";
import * as v13 from "../../../lib/hmm/v13/mod.ts";
import { type Machine, machine } from "../../../lib/machine/machine.ts";
import type { Process, Region } from "../../../lib/machine/process.ts";
import { madvise } from "../../../lib/mm/madvise.ts";
import type { Proc } from "../../../lib/sim/sim.ts";

/** What a device of 2016 has of one process. */
export class Driver2016 {
  readonly mm: v13.MmStruct;
  readonly table: DeviceTable;
  readonly mirror: v13.HmmMirror;
  /** Ranges that `update` was given, as offsets from `base`. */
  readonly heard: string[] = [];
  private readonly lock: number;

  constructor(readonly p: Process, readonly base = 0, register = true) {
    const { kernel: k } = p.machine, { locks, sim } = k;
    this.mm = new v13.MmStruct(p);
    this.table = new DeviceTable(k);
    const lock = this.lock = locks.make("driver of 2016"), { table, heard } = this;
    this.mirror = new v13.HmmMirror({
      *update(_mirror, _action, start, end) {
        heard.push(`${start - base}+${end - start}`);
        yield* locks.lock(sim.current, lock);
        table.zap(start, end);
        table.flush(start, end);
        locks.unlock(sim.current, lock);
      },
    });
    if (register) p.complete(v13.hmmMirrorRegister(this.mirror, this.mm));
  }

  private *commit(start: number, pfns: BigUint64Array, valid: () => Proc<boolean>): Proc<boolean> {
    const { k } = this, a = k.sim.current;
    yield* k.locks.lock(a, this.lock);
    const good = yield* valid();
    if (good) {
      for (const [i, pfn] of pfns.entries()) {
        const page = hmmPfnToPage(pfn);
        if (page >= 0) this.table.set(start + i, page, (pfn & v13.HMM_PFN_WRITE) !== 0n);
      }
    }
    k.locks.unlock(a, this.lock);
    return good;
  }

  /** Enters a snapshot in the device's table, without asking whether it still holds. */
  *commitNow(start: number, pfns: BigUint64Array): Proc {
    yield* this.commit(start, pfns, function* () {
      return true;
    });
  }

  get k() {
    return this.p.machine.kernel;
  }

  /** Maps what the process has of a region, under a range lock. */
  *mapLocked(r: Region, between?: () => Proc<unknown>): Proc<number> {
    const { mm } = this,
      end = r.vpn + r.pages,
      pfns = new BigUint64Array(r.pages),
      range = new v13.HmmRange();
    yield* mm.downRead();
    const vma = v13.findVma(mm, r.vpn);
    const rc = vma === undefined ? -1 : yield* v13.hmmVmaRangeLock(range, vma, r.vpn, end);
    if (rc === 0) {
      yield* v13.hmmVmaGetPfns(vma!, r.vpn, end, pfns);
      if (between !== undefined) yield* between();
      yield* this.commitNow(r.vpn, pfns);
      v13.hmmVmaRangeUnlock(range);
    }
    mm.upRead();
    return rc;
  }

  /** Faults a region in and maps it, under a monitor, as often as it takes. */
  *faultMonitored(r: Region, write: boolean): Proc<boolean> {
    const { mm } = this, end = r.vpn + r.pages, range = new v13.HmmRange();
    for (;;) {
      const ask = v13.HMM_PFN_FAULT | (write ? v13.HMM_PFN_WRITE : 0n),
        pfns = new BigUint64Array(r.pages).fill(ask);
      yield* mm.downRead();
      const vma = v13.findVma(mm, r.vpn);
      if (vma === undefined || vma.vmStart > r.vpn) {
        mm.upRead();
        return false;
      }
      yield* v13.hmmVmaRangeMonitorStart(range, vma, r.vpn, end, true);
      if (!(yield* v13.hmmVmaFault(vma, r.vpn, end, pfns))) {
        yield* v13.hmmVmaRangeMonitorEnd(range);
        continue;
      }
      mm.upRead();
      if (yield* this.commit(r.vpn, pfns, () => v13.hmmVmaRangeMonitorEnd(range))) return true;
    }
  }

  /** Whether the device has an entry that names another page than the process's. */
  stale(r: Region): boolean {
    return this.table.stalePage(this.p.mm, r.vpn, r.pages) >= 0;
  }

  /** Drops a region's pages: madvise(MADV_DONTNEED), which invalidates with mmap_sem held for reading. */
  *dontneed(r: Region): Proc {
    yield* madvise(this.k, this.k.sim.current, this.p.mm, r.vpn, r.pages, "dontneed");
  }
}

/** A machine with a process, a region, and room for device memory. */
export function bench(pages = 4, revert: readonly string[] = []): { m: Machine; p: Process; r: Region } {
  const devices = { board: { memory: 0 }, second: { memory: 0 } };
  const m = machine({ memory: "8 MiB", devices, pageTables: 64, revert });
  const p = m.process();
  return { m, p, r: p.mmap(pages * 4096) };
}

/** Migrates a region; `take` gives destinations, -1 to leave a page. Returns the pages that went. */
export function* migrate(
  mm: v13.MmStruct,
  r: Region,
  take: (vma: v13.VmArea, vpn: number) => number,
  pfns: BigUint64Array = new BigUint64Array(r.pages),
): Proc<{ rc: number; moved: number[]; offered: number[] }> {
  const moved: number[] = [], offered: number[] = [], { pages } = mm.kernel;
  yield* mm.downRead();
  const vma = v13.findVma(mm, r.vpn);
  if (vma === undefined) {
    mm.upRead();
    return { rc: -1, moved, offered };
  }
  const rc = yield* v13.hmmVmaMigrate(
    {
      *allocAndCopy(vma, start, _end, pfns) {
        for (let i = 0; i < pfns.length; i++) {
          const from = hmmPfnToPage(pfns[i]);
          if (from < 0 || !(pfns[i] & v13.HMM_PFN_MIGRATE)) continue;
          offered.push(i);
          const to = take(vma, start + i);
          if (to >= 0) {
            pages.copy(to, from);
            pfns[i] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
          } else pfns[i] = to === -2 ? v13.HMM_PFN_ERROR : pfns[i] & ~v13.HMM_PFN_MIGRATE;
        }
      },
      *finalizeAndMap(_vma, _start, _end, pfns) {
        pfns.forEach((pfn, i) => pfn & v13.HMM_PFN_MIGRATE && moved.push(i));
      },
    } satisfies v13.HmmMigrateOps<null>,
    vma,
    r.vpn,
    r.vpn + r.pages,
    pfns,
    null,
  );
  mm.upRead();
  return { rc, moved, offered };
}
