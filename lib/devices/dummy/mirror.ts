/**
 * The dummy device's mirror of one address space: a table of its own, kept in step by an interval notifier.
 * @module
 */
import type { Kernel } from "../../mm/kernel.ts";
import { type Invalidation, MMU_NOTIFY_MIGRATE, type NotifierOps } from "../../mm/notifier.ts";
import { VPN_END } from "../../mm/pagetable.ts";
import type { Wait } from "../../sim/sim.ts";
import { DeviceTable } from "../table.ts";
import type { DummyDevice } from "./device.ts";

/** What one device knows of one address space. */
export class DummyMirror implements NotifierOps {
  /** The device's table. */
  readonly table: DeviceTable;
  /** Subscription over the whole address space. */
  readonly sub: number;

  /**
   * @param k the machine
   * @param device whose mirror it is
   * @param mm mirrored address space
   */
  constructor(private readonly k: Kernel, readonly device: DummyDevice, readonly mm: number) {
    this.table = new DeviceTable(k);
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
    const { k, device, table } = this, gone = table.zap(start, end);
    if (gone === 0) return;
    table.flush(start, end);
    k.sim.spend(a, device.phase.table, gone * device.spec.cost.pteUpdateNs);
    k.sim.spend(a, device.phase.flush, device.spec.cost.tlbInvalidateNs);
  }

  /**
   * Enters what hmm_range_fault() found. The device's lock is held and the sequence was checked under it.
   *
   * @returns how many entries were made; -1 when no table is left
   */
  map(a: number, start: number, pfns: Uint32Array, n: number): number {
    const { k, device } = this, made = this.table.map(start, pfns, n);
    k.sim.spend(a, device.phase.table, Math.max(0, made) * device.spec.cost.pteUpdateNs);
    return made;
  }

  /** The mirror of a range as the transcripts write it. */
  text(start: number, pages: number): string {
    return this.table.text(start, pages);
  }
}
