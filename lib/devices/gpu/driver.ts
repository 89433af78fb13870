/**
 * The driver's loop: it fetches faults in batches, services their VA blocks, and replays.
 * @module
 */
import { VPN_END } from "../../mm/pagetable.ts";
import { DUE, type Proc, site, type Wait } from "../../sim/sim.ts";
import type { Gpu } from "./device.ts";
import { BLOCK_PAGES } from "./policy.ts";
import { type BatchRow, emptyBatch } from "./records.ts";
import { nothingServiced } from "./calls.ts";
import { serviceNotifications } from "./notifications.ts";
import { serviceBlock } from "./service.ts";
import { CAUSE_FAULT } from "./work.ts";

const AT_IDLE = site("gpu driver: waiting for faults");
const AT_FETCH = site("gpu driver: before it fetches a batch");
const AT_BLOCK = site("gpu driver: a block of the batch");
const AT_UNPIN = site("gpu driver: before a page is unpinned");
const AT_REPLAY = site("gpu driver: before a replay");

/** Faults of a batch are sorted as one number: page, then place in the fault buffer. */
const PLACES = 0x1_0000;

/** The bottom half of one GPU's driver. */
export class GpuDriver {
  /** The queue that a fault wakes. */
  readonly faulted: Wait;
  /** The batch: pages in order, each with its faults' rows of the uTLBs. */
  private readonly key: Float64Array;
  private readonly write: Uint8Array;
  private readonly row: Uint16Array;
  /** [0] faults of the batch; [1] kernels that run or will; [2] address space of the batch + 1 */
  private readonly count: Uint32Array;
  private readonly counter: Readonly<Record<"batches" | "duplicates" | "blocks" | "replays", number>>;
  private readonly kindBatch: number;

  /**
   * Makes an idle driver.
   *
   * @param gpu whose it is
   */
  constructor(private readonly gpu: Gpu) {
    const { k: { sim }, name, spec: { cost: { faultBatch } } } = gpu, { counters } = sim;
    this.faulted = sim.queue("gpu faults", () => `the multiprocessors of ${name}`, true);
    this.key = sim.state.f64(`gpu.${name}.batchKey`, faultBatch, () => this.count[0]);
    this.write = sim.state.u8(`gpu.${name}.batchWrite`, faultBatch, () => this.count[0]);
    this.row = sim.state.u16(`gpu.${name}.batchRow`, faultBatch, () => this.count[0]);
    this.count = sim.state.u32(`gpu.${name}.batch`, 3);
    this.counter = {
      batches: counters.define("gpu_fault_batches"),
      duplicates: counters.define("gpu_duplicate_faults"),
      blocks: counters.define("gpu_blocks_serviced"),
      replays: counters.define("gpu_replays"),
    };
    this.kindBatch = sim.spans.kind("fault batch");
  }

  /** Whether any kernel runs or will. */
  get expected(): boolean {
    return this.count[1] > 0;
  }

  /** Says that a kernel will run: the loop does not end before it has. */
  expect(): void {
    this.count[1]++;
  }

  /** Says that a kernel has ended. */
  ended(): void {
    this.count[1]--;
    this.gpu.k.sim.wake(this.faulted);
  }

  /** The loop; it ends when no kernel is expected any more. */
  *run(a: number): Proc {
    const { gpu } = this, { sim } = gpu.k, { buffer } = gpu;
    for (;;) {
      if (sim.due(a)) {
        sim.mark(a, AT_FETCH);
        yield DUE;
      }
      const { counters } = gpu;
      if (counters !== undefined && counters.waiting > 0) {
        sim.call(a, AT_FETCH, 1);
        yield* serviceNotifications(gpu, a, gpu.front.replays[2] - 1);
        sim.ret(a);
        sim.progress++;
        continue;
      }
      if (buffer.length > 0) {
        sim.call(a, AT_FETCH);
        yield* this.batch(a);
        sim.ret(a);
        continue;
      }
      if (!this.expected) return;
      sim.mark(a, AT_IDLE);
      yield this.faulted;
    }
  }

  /** Services one batch. */
  private *batch(a: number): Proc {
    const { gpu, counter } = this, { sim } = gpu.k, { replay, cost } = gpu.spec, { values } = sim.counters;
    const row = emptyBatch(), startNs = row.startNs = sim.nowNs[a];
    sim.spans.begin(a, this.kindBatch, 0);
    sim.call(a, AT_FETCH, 2);
    yield* this.unpin(a);
    sim.ret(a);
    sim.spend(a, gpu.phase.batch, cost.batchServiceNs);
    this.fetch(a, row);
    row.fetchNs = sim.nowNs[a] - startNs;
    const n = this.count[0];
    for (let i = 0; i < n;) {
      const first = this.block(i);
      sim.call(a, AT_BLOCK, i, row.blocks, row.duplicates);
      i = yield* this.blockOf(a, i, first, row);
      if (replay === "block") yield* this.replay(a, row);
      sim.ret(a);
    }
    values[counter.batches]++;
    values[counter.duplicates] += row.duplicates;
    values[counter.blocks] += row.blocks;
    if (replay === "batch-flush") gpu.buffer.flush();
    if (replay === "batch" || replay === "batch-flush" || (replay === "once" && gpu.buffer.length === 0)) {
      sim.call(a, AT_REPLAY);
      yield* this.replay(a, row);
      sim.ret(a);
    }
    this.count[0] = this.count[2] = 0;
    row.durationNs = sim.nowNs[a] - startNs;
    row.otherNs = row.durationNs - row.fetchNs - row.evictNs - row.migrateNs - row.mapNs - row.replayNs;
    gpu.log.batch(row);
    sim.spans.end(a, this.kindBatch, row.faults);
    sim.progress++;
  }

  /** Unmaps pages whose pin has run out, so that the GPU faults on them again. */
  private *unpin(a: number): Proc {
    const { gpu } = this, { thrash, lock, k: { locks, sim } } = gpu;
    if (thrash === undefined) return;
    for (let at = thrash.expire(a); at >= 0; at = thrash.expire(a)) {
      const mirror = gpu.opened(Math.floor(at / VPN_END)), vpn = at % VPN_END;
      if (mirror === undefined) continue;
      if (!locks.lockNow(a, lock)) {
        sim.call(a, AT_UNPIN, at);
        yield* locks.lock(a, lock);
        sim.ret(a);
      }
      mirror.zap(a, vpn, vpn + 1);
      locks.unlock(a, lock);
    }
  }

  /** The first page of the VA block of fault `i`. */
  private block(i: number): number {
    const vpn = Math.floor(this.key[i] / PLACES);
    return vpn - (vpn % BLOCK_PAGES);
  }

  /** Takes faults out of the buffer, sorts them by page. */
  private fetch(a: number, into: BatchRow): void {
    const { gpu, key, write, row } = this, { buffer, front: { farFaults }, k: { sim }, phase, spec } = gpu;
    const n = Math.min(buffer.length, key.length);
    for (let i = 0; i < n; i++) {
      const at = buffer.take();
      key[i] = buffer.vpn[at] * PLACES + i;
      write[i] = buffer.write[at];
      row[i] = buffer.row[at];
    }
    key.subarray(0, n).sort();
    sim.spend(a, phase.parse, n * spec.cost.faultServiceNs);
    for (let i = 0; i < n; i++) farFaults.fetched(a, row[i]);
    this.count[0] = n;
    this.count[2] = gpu.front.replays[2];
    into.faults = n;
  }

  /** Services the block to which fault `i` of the batch belongs. Returns the first fault after it. */
  private *blockOf(a: number, i: number, first: number, into: BatchRow): Proc<number> {
    const { gpu, key, write, row } = this, { work, front: { farFaults, utlbs }, k: { sim, locks } } = gpu;
    const mirror = gpu.latest(this.count[2] - 1), n = this.count[0];
    if (!locks.lockNow(a, gpu.blockLock)) {
      sim.call(a, AT_BLOCK, i, first);
      yield* locks.lock(a, gpu.blockLock);
      sim.ret(a);
    }
    work.begin(first, CAUSE_FAULT);
    let last = -1, j = i;
    for (; j < n && this.block(j) === first; j++) {
      const vpn = Math.floor(key[j] / PLACES), place = key[j] % PLACES;
      if (vpn === last) into.duplicates++;
      last = vpn;
      work.fault(vpn - first, write[place]);
      farFaults.turn(a, row[place]);
    }
    const did = nothingServiced();
    sim.call(a, AT_BLOCK, i, j, first);
    yield* serviceBlock(gpu, a, mirror, did);
    sim.ret(a);
    for (let f = i; f < j; f++) {
      const vpn = Math.floor(key[f] / PLACES), r = row[key[f] % PLACES];
      farFaults.served(a, r);
      // The access that waits there may be another one by now.
      if (work.error[vpn - first] !== 0 && utlbs.vpn[r] === vpn) utlbs.error[r] = work.error[vpn - first];
    }
    locks.unlock(a, gpu.blockLock);
    into.blocks++;
    into.migratedPages += did.pages;
    into.evictedPages += did.evicted;
    into.evictNs += did.evictNs;
    into.migrateNs += did.migrateNs;
    into.mapNs += did.mapNs;
    return j;
  }

  /** Lets the GPU try again what waits. */
  private *replay(a: number, into: BatchRow): Proc {
    const { gpu, counter } = this, { sim } = gpu.k, { front } = gpu, from = sim.nowNs[a];
    if (sim.due(a)) {
      sim.mark(a, AT_REPLAY, 1);
      yield DUE;
    }
    front.farFaults.replays(a);
    sim.spend(a, gpu.phase.replay, gpu.spec.cost.replayNs);
    front.replays[0]++;
    sim.wake(front.replayed);
    sim.counters.values[counter.replays]++;
    into.replayNs += sim.nowNs[a] - from;
  }
}
