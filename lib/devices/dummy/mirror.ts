/**
 * The dummy device's mirror of one address space: a table of its own, kept in step by an interval notifier.
 *
 * It is what an open file of the kernel's test driver is. It stands for the address space of whoever opened it, and is
 * left with nothing when that is gone.
 * @module
 */
import { mmput } from "../../mm/exit.ts";
import type { Kernel } from "../../mm/kernel.ts";
import {
  type Invalidation,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_RELEASE,
  type NotifierOps,
} from "../../mm/notifier.ts";
import { VPN_END } from "../../mm/pagetable.ts";
import { defineRevert } from "../../sim/revert.ts";
import { DUE, type Proc, site, type Wait } from "../../sim/sim.ts";
import { DeviceTable } from "../table.ts";
import type { DummyDevice } from "./device.ts";

/**
 * Without it a callback takes a reference to its address space and drops it at its end, which can be the last one: what
 * a29e067bd389 is about.
 */
export const REVERT_CALLBACK_REFERENCE: string = defineRevert(
  "no mm reference in a callback",
  "a notifier callback tears down the address space whose invalidation it is called for",
);

const AT_HELD = site("dummy mirror: in a callback, with a reference to the address space");
const AT_REMOVE = site("dummy mirror: waiting for invalidations before it goes");

/** Why a mirror hears no more. */
const SPACE_GONE = 1, DEVICE_GONE = 2;

/** Mirrors that one device can have at once. */
export const MAX_MIRRORS = 64;

/** Columns of a device's mirrors: what decides behaviour and changes when a mirror is opened or closed. */
export interface MirrorColumns {
  /** Mirrored address space + 1; 0 for a mirror that is not open. */
  readonly mm: Uint16Array;
  /** Its subscription. */
  readonly sub: Uint32Array;
  /** Whether it hears no more: the address space is gone, or the device is. */
  readonly orphan: Uint8Array;
}

/** What one device knows of one address space. */
export class DummyMirror implements NotifierOps {
  /** The device's table. */
  readonly table: DeviceTable;
  /** The sleeping form of the callback, which the dummy device has only to show what it must not do. */
  readonly invalidate: ((a: number, e: Invalidation) => Proc<boolean>) | undefined;

  /**
   * Makes a mirror that is not open yet.
   *
   * @param k the machine
   * @param device whose mirror it is
   * @param columns the mirrors of that device
   * @param row which of them
   */
  constructor(
    private readonly k: Kernel,
    readonly device: DummyDevice,
    private readonly columns: MirrorColumns,
    private readonly row: number,
  ) {
    this.table = new DeviceTable(k);
    this.invalidate = k.revert.has(REVERT_CALLBACK_REFERENCE)
      ? (a, e) => this.invalidateHolding(a, e)
      : undefined;
  }

  /** Mirrored address space, or -1 when the mirror is closed. */
  get mm(): number {
    return this.columns.mm[this.row] - 1;
  }

  /** Subscription over the whole address space. */
  get sub(): number {
    return this.columns.sub[this.row];
  }

  /** Whether it mirrors an address space that is still there. */
  get alive(): boolean {
    return this.columns.mm[this.row] !== 0 && this.columns.orphan[this.row] === 0;
  }

  /** Whether the device went while it was open; it can be opened again when the device is back. */
  get severed(): boolean {
    return this.columns.orphan[this.row] === DEVICE_GONE;
  }

  /** Begins to mirror an address space, or at once is as {@link sever} leaves it where the device is not there. */
  open(mm: number): void {
    const { columns, row } = this;
    columns.mm[row] = mm + 1;
    columns.orphan[row] = this.device.presence.usable ? 0 : DEVICE_GONE;
    if (columns.orphan[row] === 0) columns.sub[row] = this.k.notifiers.insert(mm, 0, VPN_END, this);
  }

  /** Takes its subscription and its table away because the device goes; waits for invalidations that are under way. */
  *sever(a: number): Proc {
    const { sim, notifiers } = this.k, { columns, row } = this;
    if (this.severed) return;
    sim.call(a, AT_REMOVE, row, this.mm);
    yield* notifiers.remove(a, this.sub);
    sim.ret(a);
    this.table.reset();
    columns.sub[row] = 0;
    columns.orphan[row] = DEVICE_GONE;
  }

  /** Ends it; waits for invalidations that are under way. */
  *close(a: number): Proc {
    const { sim, notifiers } = this.k;
    if (!this.severed) {
      sim.call(a, AT_REMOVE, this.row, this.mm);
      yield* notifiers.remove(a, this.sub);
      sim.ret(a);
      this.table.reset();
    }
    this.columns.mm[this.row] = this.columns.sub[this.row] = this.columns.orphan[this.row] = 0;
  }

  /** Removes a range from the device's table, unless the device's own migration invalidates it. */
  tryInvalidate(a: number, e: Invalidation): boolean {
    const { device, k } = this;
    const own = e.owner === device.owner;
    if (own && e.event === MMU_NOTIFY_EXCLUSIVE) return true;
    // The kernel's test driver lets its own migration pass and updates its table after the copy: what the device stores
    // meanwhile is lost, and a fault that has seen the page where it was is not told that it moved.
    if (own && e.event === MMU_NOTIFY_MIGRATE && device.spec.quirks) return true;
    if (!k.locks.trylock(a, device.lock)) return false;
    k.notifiers.setSeq(this.sub, e.seq);
    // The kernel's test driver takes the end of the range for its last page.
    this.zap(a, e.start, device.spec.quirks ? Math.min(e.end + 1, VPN_END) : e.end);
    if (e.event === MMU_NOTIFY_RELEASE) this.columns.orphan[this.row] = SPACE_GONE;
    k.locks.unlock(a, device.lock);
    return true;
  }

  /** {@link tryInvalidate} with a reference to the address space, from its beginning to its end. */
  private *invalidateHolding(a: number, e: Invalidation): Proc<boolean> {
    const { k } = this, { sim } = k, held = k.mmgetNotZero(e.mm);
    let done = this.tryInvalidate(a, e);
    while (!done && e.blockable) {
      sim.mark(a, AT_HELD, e.mm, held ? 1 : 0);
      yield this.waitOn();
      done = this.tryInvalidate(a, e);
    }
    if (sim.due(a)) {
      sim.mark(a, AT_HELD, e.mm, held ? 1 : 0, done ? 1 : 0);
      yield DUE;
    }
    sim.call(a, AT_HELD, e.mm);
    if (held) yield* mmput(k, a, e.mm);
    sim.ret(a);
    return done;
  }

  /** The queue of the driver's lock. */
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
