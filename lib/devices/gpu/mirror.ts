/**
 * A GPU's page table of one address space, kept in step by an interval notifier.
 * @module
 */
import {
  type Invalidation,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_RELEASE,
  type NotifierOps,
} from "../../mm/notifier.ts";
import { VPN_END } from "../../mm/pagetable.ts";
import type { Proc, Wait } from "../../sim/sim.ts";
import { DeviceTable } from "../table.ts";
import type { Gpu } from "./device.ts";

/** What one GPU knows of one address space. */
export class GpuMirror implements NotifierOps {
  /** The GPU's page table. */
  readonly table: DeviceTable;
  /** Subscription over the whole address space. */
  readonly sub: number;
  /** [0] 1 when the address space is gone, or the GPU went */
  private readonly orphan: Uint8Array;

  /**
   * Begins to mirror an address space.
   *
   * @param gpu whose mirror it is
   * @param mm the address space
   */
  constructor(readonly gpu: Gpu, readonly mm: number) {
    const { k } = gpu;
    this.table = new DeviceTable(k);
    this.orphan = k.sim.state.u8(k.sim.state.unique(`gpu.${gpu.name}.orphan`), 1);
    this.sub = k.notifiers.insert(mm, 0, VPN_END, this);
  }

  /** Whether its address space is still there. */
  get alive(): boolean {
    return this.orphan[0] === 0;
  }

  /** Ends it because the GPU goes; waits for invalidations that are under way. */
  *sever(a: number): Proc {
    const { gpu } = this;
    yield* gpu.k.notifiers.remove(a, this.sub);
    this.table.reset();
    gpu.front.flush(0, VPN_END);
    this.orphan[0] = 1;
  }

  /** Removes a range from the GPU's table, also where the GPU's own migration takes the pages away. */
  tryInvalidate(a: number, e: Invalidation): boolean {
    const { gpu } = this, { k } = gpu;
    if (!k.locks.trylock(a, gpu.lock)) return false;
    // The event of its own exclusive access is no reason to begin that again.
    if (e.event !== MMU_NOTIFY_EXCLUSIVE || e.owner !== gpu.owner) k.notifiers.setSeq(this.sub, e.seq);
    this.zap(a, e.start, e.end);
    if (e.event === MMU_NOTIFY_RELEASE) this.orphan[0] = 1;
    k.locks.unlock(a, gpu.lock);
    return true;
  }

  /** The queue of the driver's lock. */
  waitOn(): Wait {
    return this.gpu.k.locks.queue(this.gpu.lock);
  }

  /** Removes a range from the table and from all TLBs if anything was there. The GPU's lock is held. */
  zap(a: number, start: number, end: number): void {
    const { gpu, table } = this, { sim } = gpu.k, gone = table.zap(start, end);
    if (gone === 0) return;
    table.flush(start, end);
    gpu.front.flush(start, end);
    sim.spend(a, gpu.phase.table, gone * gpu.spec.cost.pteUpdateNs);
    sim.spend(a, gpu.phase.flush, gpu.spec.cost.tlbInvalidateNs);
  }
}
