/**
 * The dummy device's mirror of one address space: a table of its own, kept in step by an interval notifier.
 * @module
 */
import type { Kernel } from "../../mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_MIGRATE, type NotifierOps } from "../../mm/notifier.ts";
import { PTE_KIND, PTE_NONE, PTE_PRESENT, PTE_WRITE, VPN_END } from "../../mm/pagetable.ts";
import type { Wait } from "../../sim/sim.ts";
import { HMM_PFN_MASK, HMM_PFN_VALID, HMM_PFN_WRITE } from "../../hmm/range.ts";
import type { DummyDevice } from "./device.ts";

/** What one device knows of one address space. */
export class DummyMirror implements NotifierOps {
  /** Root of the device's table. */
  readonly root: number;
  /** Subscription over the whole address space. */
  readonly sub: number;

  /**
   * @param k the machine
   * @param device whose mirror it is
   * @param mm mirrored address space
   */
  constructor(private readonly k: Kernel, readonly device: DummyDevice, readonly mm: number) {
    this.root = k.deviceTables.newRoot();
    this.sub = k.notifiers.insert(mm, 0, VPN_END, this);
  }

  /** @inheritdoc */
  tryInvalidate(a: number, e: Invalidation): boolean {
    const { device, k } = this;
    // Its own migration updates the mirror itself, under the same lock (the owner's promise).
    if (e.event === MMU_NOTIFY_MIGRATE && e.owner === device.owner) return true;
    if (!k.locks.trylock(a, device.lock)) return false;
    k.notifiers.setSeq(this.sub, e.seq);
    this.zap(a, e.start, e.end);
    k.locks.unlock(a, device.lock);
    return true;
  }

  /** @inheritdoc */
  waitOn(): Wait {
    return this.k.locks.queue(this.device.lock);
  }

  /** Removes a range from the device's table and flushes its TLB if anything was there. The device's lock is held. */
  zap(a: number, start: number, end: number): void {
    const { k, device } = this, { deviceTables: tables, sim } = k;
    let gone = 0;
    for (let v = tables.nextLive(this.root, start, end); v < end; v = tables.nextLive(this.root, v, end)) {
      const leaf = tables.leaf(this.root, v), stop = Math.min(end, v - (v & 511) + 512);
      for (; v < stop; v++) {
        const e = leaf + (v & 511);
        if (tables.kind[e] === PTE_NONE) continue;
        tables.clear(e);
        gone++;
      }
    }
    if (gone === 0) return;
    sim.spend(a, device.phase.table, gone * device.spec.cost.pteUpdateNs);
    sim.spend(a, device.phase.flush, device.spec.cost.tlbInvalidateNs);
  }

  /**
   * Enters what hmm_range_fault() found. The device's lock is held and the sequence was checked under it.
   *
   * @param pfns HMM_PFN_ entries of the pages from `start` on
   * @param n how many
   * @returns how many entries were made; -1 when no table is left
   */
  map(a: number, start: number, pfns: Uint32Array, n: number): number {
    const { k, device } = this, { deviceTables: tables } = k;
    let made = 0;
    for (let i = 0; i < n; i++) {
      if (!(pfns[i] & HMM_PFN_VALID)) continue;
      const leaf = tables.leafAlloc(this.root, start + i);
      if (leaf < 0) return -1;
      tables.set(
        leaf + ((start + i) & 511),
        PTE_PRESENT | (pfns[i] & HMM_PFN_WRITE ? PTE_WRITE : 0),
        pfns[i] & HMM_PFN_MASK,
      );
      made++;
    }
    k.sim.spend(a, device.phase.table, made * device.spec.cost.pteUpdateNs);
    return made;
  }

  /** The frame that the device's table has for a page, or -1; -2 when it must not write there. */
  translate(vpn: number, write: boolean): number {
    const { deviceTables: tables } = this.k, e = tables.entry(this.root, vpn);
    if (e < 0 || (tables.kind[e] & PTE_KIND) !== PTE_PRESENT) return -1;
    return write && !(tables.kind[e] & PTE_WRITE) ? -2 : tables.pfn[e];
  }

  /** The mirror of a range as the transcripts write it: `.` nothing, `r` readable, `w` writable. */
  text(start: number, pages: number): string {
    return Array.from({ length: pages }, (_, i) => {
      if (this.translate(start + i, false) < 0) return ".";
      return this.translate(start + i, true) < 0 ? "r" : "w";
    }).join("");
  }
}
