/**
 * The table of a driver's device, and the watch over the lock that must guard it.
 * @module
 */
import { DeviceTable } from "../devices/table.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { DeviceCosts } from "../profiles/parameters.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import type { DriverRange, DriverTable } from "./driver_spec.ts";

const AT_FLUSH = site("driver: table emptied, TLB not yet flushed");

/** Locks of a driver that the watch can tell apart. */
const MOST_LOCKS = 31;

/**
 * One driver's device table.
 *
 * Between the sequence check and `map` nothing stops, so a missing lock would not show as a race. The table therefore
 * keeps the set of driver locks that were held at every change so far (Eraser's lockset, Savage et al., SOSP 1997); once a
 * fault has mapped and an invalidation has zapped with none in common, that is a rule broken.
 */
export class WatchedTable implements DriverTable {
  /** What the device walks. */
  readonly table: DeviceTable;
  /** [0] locks held at every change so far, one bit each; [1] 1 once mapped, 2 once zapped */
  private readonly lockset: Uint32Array;

  /**
   * @param name the driver's name, for reports
   * @param k the machine
   * @param cost what changes of the table cost
   * @param locks the driver's locks, in the order of their making
   */
  constructor(
    private readonly name: string,
    private readonly k: Kernel,
    private readonly cost: DeviceCosts,
    private readonly locks: readonly number[],
  ) {
    this.table = new DeviceTable(k);
    this.lockset = k.sim.state.u32(k.sim.state.unique("driver lockset"), 2);
  }

  /** Notes the locks that the present actor holds. Throws when no lock guards both kinds of change. */
  private change(kind: number): void {
    const { lockset, locks, k: { locks: { owner }, sim } } = this;
    let held = 0;
    locks.forEach((l, i) => {
      if (i < MOST_LOCKS && owner[l] === sim.current + 1) held |= 1 << i;
    });
    lockset[0] = lockset[1] === 0 ? held : lockset[0] & held;
    lockset[1] |= kind;
    if (lockset[1] !== 3 || lockset[0] !== 0) return;
    throw new Error(
      `driver "${this.name}" maps and zaps its table without a lock in common: take the same mutex around ` +
        "mmuIntervalReadRetry() with map(), and around mmuIntervalSetSeq() with zapAndFlush()",
    );
  }

  /** @inheritdoc */
  map(range: DriverRange): void {
    this.change(1);
    const { k, cost } = this, made = this.table.map(range.start, range.pfns, range.end - range.start);
    k.sim.spend(k.sim.current, k.sim.spans.phase("device page table"), Math.max(0, made) * cost.pteUpdateNs);
  }

  /** @inheritdoc */
  *zapAndFlush(range: { readonly start: number; readonly end: number }): Proc {
    this.change(2);
    const { k, cost, table } = this, { sim } = k, a = sim.current, gone = table.zap(range.start, range.end);
    if (sim.due(a)) {
      sim.mark(a, AT_FLUSH, range.start, range.end, gone);
      yield DUE;
    }
    table.flush(range.start, range.end);
    if (gone === 0) return;
    sim.spend(a, sim.spans.phase("device page table"), gone * cost.pteUpdateNs);
    sim.spend(a, sim.spans.phase("device tlb invalidation"), cost.tlbInvalidateNs);
  }
}
