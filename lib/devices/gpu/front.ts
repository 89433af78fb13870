/**
 * The front of a GPU: its multiprocessors issue accesses, and what faults waits in the uTLBs for a replay.
 *
 * All multiprocessors are one actor. It goes in waves: in each, the uTLBs in turns let their blocks go on, the oldest first
 * and a few of them mixed, for some pages; a wave takes as long as the memory needs for all pages of it, or as the slowest uTLB's page walks and remote
 * accesses if that is longer. When no uTLB can go on, the actor sleeps until the driver replays.
 * @module
 */
import type { AccessResult } from "../../mm/access.ts";
import { PTE_KIND, PTE_PRESENT, PTE_WRITE } from "../../mm/pagetable.ts";
import { DUE, type Proc, site, type Wait } from "../../sim/sim.ts";
import { PAGE_SIZE } from "../../units.ts";
import { TO_DEVICE, TO_HOST } from "../../bus/way.ts";
import type { Gpu } from "./device.ts";
import { ACCESS_ADD, ACCESS_WRITE, type Grid } from "./launch.ts";
import type { GpuMirror } from "./mirror.ts";
import { FarFaults } from "./far_fault.ts";
import { Residents } from "./sm.ts";
import { Utlbs } from "./utlb.ts";

/** Pages and faults of one uTLB in a wave: few, so that faults come in time. */
const WAVE_PAGES = 32, WAVE_FAULTS = 8;

/** What an atomic operation on a page of system memory moves over the link, to the host: one sector. Assumed. */
const ATOMIC_BYTES = 32;

/** Leaf tables that a wave remembers. */
const LEAVES = 256;

const AT_ENGINE = site("gpu: waiting for the kernel before");
const AT_WAVE = site("gpu: before accesses");
const AT_LINK = site("gpu: accesses cross the link");
const AT_REPLAY = site("gpu: all blocks wait for a replay");

/** The multiprocessors and uTLBs of one GPU. */
export class Front {
  /** Outstanding accesses and translations. */
  readonly utlbs: Utlbs;
  /** Thread blocks. */
  readonly residents: Residents;
  /** Latencies of far faults. */
  readonly farFaults: FarFaults;
  /** The queue that a replay wakes. */
  readonly replayed: Wait;
  /** [0] replays so far; [1] those that the front has seen; [2] address space of the latest kernel + 1 */
  readonly replays: Uint32Array;
  /** By uTLB: nothing can go on before a replay. */
  private readonly stalled: Uint8Array;
  /** One kernel runs at a time. */
  private readonly engine: number;
  private readonly kindKernel: number;
  private readonly faults: number;
  private mirror!: GpuMirror;
  private out!: AccessResult;
  private mostWaiting = 0;
  /** Blocks of a uTLB whose accesses come mixed. */
  private readonly mixed: number;
  /** Pages and faults that the uTLB which issues has left. */
  private left = 0;
  private faultsLeft = 0;
  /** What the present wave has done: pages, bytes over the link in and out, whether anything went on; and one uTLB's time. */
  private pages = 0;
  private inBytes = 0;
  private outBytes = 0;
  private moved = false;
  private busyNs = 0;
  /** Time of each uTLB in the present wave. */
  private readonly busy: Float64Array;
  /** Leaf tables found in the present wave, by 2 MiB of address space: nothing stops in a wave, so none goes meanwhile. */
  private readonly leafOf = new Float64Array(LEAVES);
  private readonly leafIn = new Float64Array(LEAVES);
  private readonly leafAt = new Int32Array(LEAVES);
  private waves = 0;
  /** By slot: the wave in which its block was found unable to go on. In a wave nothing is mapped and no row is freed. */
  private readonly stuckIn: Float64Array;
  /** By slot: the wave in which its block's next access was found to fault. */
  private readonly faultsIn: Float64Array;

  /**
   * Makes an idle front.
   *
   * @param gpu whose it is
   */
  constructor(private readonly gpu: Gpu) {
    const { k: { sim, locks }, name, spec: { cost } } = gpu;
    const n = Math.ceil(cost.sms / cost.smsPerUtlb);
    this.utlbs = new Utlbs(sim, name, n, cost.outstandingFaults);
    this.residents = new Residents(sim, name, n, cost.smsPerUtlb * cost.blocksPerSm);
    this.stuckIn = new Float64Array(n * this.residents.slots);
    this.faultsIn = new Float64Array(n * this.residents.slots);
    this.farFaults = new FarFaults(sim, n * cost.outstandingFaults);
    this.replays = sim.state.u32(`gpu.${name}.replays`, 3);
    this.mixed = cost.smsPerUtlb * cost.mixedBlocks;
    this.busy = new Float64Array(n);
    this.stalled = sim.state.u8(`gpu.${name}.stalled`, n);
    this.replayed = sim.queue("gpu replay", () => `the driver of ${name}`, true);
    this.engine = locks.make("gpu kernel");
    this.kindKernel = sim.spans.kind("gpu kernel");
    this.faults = sim.counters.define("gpu_faults");
  }

  /** Drops the translations of a range from the uTLBs. */
  flush(start: number, end: number): void {
    this.utlbs.flush(start, end);
  }

  /**
   * Runs a grid to its end.
   *
   * @param a actor: the GPU's multiprocessors
   * @param mirror the address space in which its blocks run
   * @param grid what they do
   * @param out takes errors (as signals with an errno), words, mismatches and the pages done
   */
  *run(a: number, mirror: GpuMirror, grid: Grid, out: AccessResult): Proc {
    const { gpu, residents, replays, stalled } = this, { sim, locks } = gpu.k;
    sim.call(a, AT_ENGINE, mirror.mm);
    yield* locks.lock(a, this.engine);
    sim.ret(a);
    this.mirror = mirror;
    this.out = out;
    replays[2] = mirror.mm + 1;
    this.mostWaiting = Math.min(grid.faultsPerBlock ?? this.utlbs.rows, this.utlbs.rows);
    sim.spans.begin(a, this.kindKernel, 0);
    residents.forget();
    const { smsPerUtlb, blocksPerSm, threadsPerSm } = gpu.spec.cost;
    const fit = grid.threadsPerBlock === undefined
      ? blocksPerSm
      : Math.floor(threadsPerSm / grid.threadsPerBlock);
    residents.launch(grid, smsPerUtlb * Math.max(1, Math.min(blocksPerSm, fit)));
    stalled.fill(0);
    const before = out.pages;
    while (!residents.ended) {
      if (sim.due(a)) {
        sim.mark(a, AT_WAVE, out.pages, out.failed);
        yield DUE;
      }
      const wentOn = sim.grain === 1 ? this.step(a) : this.wave(a);
      if (this.inBytes + this.outBytes > 0 && !this.crosses(a)) {
        sim.call(a, AT_LINK, out.pages, out.failed, wentOn ? 1 : 0);
        yield* this.cross(a);
        sim.ret(a);
      }
      if (wentOn) continue;
      if (replays[0] !== replays[1]) continue;
      sim.mark(a, AT_REPLAY, out.pages, out.failed);
      yield this.replayed;
    }
    // What is left in the buffer are duplicates: nobody waits for them.
    gpu.buffer.flush();
    sim.spans.end(a, this.kindKernel, out.pages - before);
    locks.unlock(a, this.engine);
  }

  /** Lets every uTLB go on for a while. Returns false when none could. */
  private wave(a: number): boolean {
    const { utlbs, stalled } = this, { sim } = this.gpu.k;
    const again = this.takeReplay();
    this.waves++;
    this.pages = this.inBytes = this.outBytes = 0;
    this.moved = false;
    // Who comes first at the memory management unit is chance; from there on the uTLBs take turns, fault by fault.
    const from = sim.choose(a, utlbs.n);
    this.busy.fill(0);
    if (again) {
      for (let i = 0; i < utlbs.rows; i++) {
        for (let k = 0; k < utlbs.n; k++) {
          const g = (from + k) % utlbs.n;
          this.busyNs = 0;
          this.tryAgain(a, g, utlbs.rowAt(g, i));
          this.busy[g] += this.busyNs;
        }
      }
    }
    let slowestNs = 0, any = this.moved;
    for (let round = 0; round < WAVE_FAULTS; round++) {
      let going = false;
      for (let k = 0; k < utlbs.n; k++) {
        const g = (from + k) % utlbs.n;
        if (stalled[g]) continue;
        this.busyNs = 0;
        this.moved = false;
        this.issue(a, g, WAVE_PAGES / WAVE_FAULTS, 1);
        if (this.moved) going = any = true;
        else stalled[g] = 1;
        this.busy[g] += this.busyNs;
        if (this.busy[g] > slowestNs) slowestNs = this.busy[g];
      }
      if (!going) break;
    }
    this.moved = any;
    this.account(a, slowestNs);
    if (this.moved) sim.progress++;
    return this.moved;
  }

  /** Lets one uTLB do one thing. Returns false when none could. */
  private step(a: number): boolean {
    const { utlbs, stalled, residents } = this, { sim } = this.gpu.k;
    this.pages =
      this.inBytes =
      this.outBytes =
      this.busyNs =
        0;
    this.moved = false;
    // A replay is one event for the whole GPU: every waiting access is tried again at once, each through the table.
    if (this.takeReplay()) {
      for (let r = 0; r < utlbs.slot.length; r++) this.tryAgain(a, Math.floor(r / utlbs.rows), r);
      this.account(a, this.busyNs);
      return true;
    }
    this.waves++;
    let ready = 0;
    for (let g = 0; g < utlbs.n; g++) if (!stalled[g] && residents.resident[g] > 0) ready++;
    if (ready === 0) return false;
    let pick = sim.choose(a, ready), g = 0;
    for (;; g++) if (!stalled[g] && residents.resident[g] > 0 && pick-- === 0) break;
    this.issue(a, g, 1, 1);
    if (!this.moved) stalled[g] = 1;
    this.account(a, this.busyNs);
    return true;
  }

  /** Whether the driver has replayed since the front looked last; if so, nothing is stalled any more. */
  private takeReplay(): boolean {
    const { replays, stalled } = this;
    if (replays[0] === replays[1]) return false;
    replays[1] = replays[0];
    stalled.fill(0);
    return true;
  }

  /** Lets the time of a wave pass. */
  private account(a: number, slowestNs: number): void {
    const { gpu, pages } = this;
    gpu.k.sim.spend(a, gpu.phase.access, Math.max(pages * gpu.spec.cost.accessNs, slowestNs));
    this.out.pages += pages;
  }

  /** Takes what a wave moves over the link there at once, if that goes one way and nobody else is due before its end. */
  private crosses(a: number): boolean {
    const { gpu: { link }, inBytes, outBytes } = this;
    return inBytes === 0
      ? link.tryTransfer(a, TO_HOST, outBytes)
      : outBytes === 0 && link.tryTransfer(a, TO_DEVICE, inBytes);
  }

  /** Waits until what a wave moves over the link has crossed, loads and stores side by side. */
  private *cross(a: number): Proc {
    const { gpu: { link }, inBytes, outBytes } = this;
    if (inBytes > 0 && outBytes > 0) yield* link.transferBoth(a, inBytes, outBytes);
    else yield* link.transfer(a, inBytes > 0 ? TO_DEVICE : TO_HOST, inBytes + outBytes);
  }

  /** Tries a waiting access again after a replay. */
  private tryAgain(a: number, g: number, r: number): void {
    const { utlbs, residents, out, farFaults } = this, slot = utlbs.slot[r] - 1;
    if (slot < 0) return;
    const v = utlbs.vpn[r], kind = utlbs.write[r];
    if (this.access(g, v, v + 1, kind, kind === ACCESS_ADD ? utlbs.value[r] : utlbs.value[r] - v) === 0) {
      if (utlbs.error[r] === 0) {
        farFaults.again(r);
        this.report(v, kind, r);
        return;
      }
      out.fail(v, utlbs.error[r]);
    } else farFaults.end(a, r, v);
    utlbs.done(g, r);
    residents.waiting[slot]--;
    this.moved = true;
  }

  /** Writes a fault into the buffer and tells the driver. */
  private report(v: number, kind: number, r: number): void {
    const { gpu } = this, { sim } = gpu.k;
    sim.counters.values[this.faults]++;
    gpu.buffer.put(v, kind, r);
    sim.wake(gpu.driver.faulted);
  }

  /**
   * Lets the blocks of uTLB `g` go on for so many pages and faults: the oldest ones mixed, a younger one only when none of
   * those can.
   */
  private issue(a: number, g: number, pages: number, faults: number): void {
    const { residents } = this;
    this.left = pages;
    this.faultsLeft = faults;
    let mixed = Math.min(residents.resident[g], this.mixed);
    for (let at = residents.turn[g] % Math.max(1, mixed), idle = 0; idle < mixed && this.left > 0;) {
      if (this.goOn(a, g, at)) idle = 0;
      else idle++;
      mixed = Math.min(residents.resident[g], Math.max(mixed, this.mixed));
      if (idle === mixed && mixed < residents.resident[g] && this.faultsLeft > 0) {
        at = mixed++;
        idle--;
      } else at = at + 1 >= mixed ? 0 : at + 1;
      residents.turn[g] = at;
    }
  }

  /** Lets the block at place `at` of a uTLB go on until it faults or cannot. Returns whether anything happened. */
  private goOn(a: number, g: number, at: number): boolean {
    const { residents, utlbs, farFaults } = this;
    let did = false;
    while (at < residents.resident[g] && this.left > 0) {
      const slot = residents.order[g * residents.slots + at];
      if (this.stuckIn[slot] === this.waves) break;
      const known = this.faultsIn[slot] === this.waves;
      if (known && this.faultsLeft === 0) break;
      const runs = residents.runs(slot);
      const row = residents.row[slot];
      if (row >= runs.n) {
        if (residents.nextPart(slot)) continue;
        if (residents.waiting[slot] > 0) {
          this.stuckIn[slot] = this.waves; // only a replay, with which a wave begins, ends the waiting
          break;
        }
        residents.retire(g, at);
        this.moved = did = true;
        continue;
      }
      const done = residents.page[slot];
      if (runs.after[row] && done === 0 && residents.waiting[slot] > 0) {
        this.stuckIn[slot] = this.waves;
        break;
      }
      const first = runs.vpn[row], v = first + done;
      const kind = runs.write[row], value = runs.value[row] - (kind === ACCESS_ADD ? 0 : first);
      let n = known ? 0 : this.access(g, v, Math.min(first + runs.pages[row], v + this.left), kind, value);
      const fault = n === 0;
      if (fault) {
        this.faultsIn[slot] = this.waves;
        if (this.faultsLeft === 0) break;
        // A miss on a page that the uTLB waits for already makes no second fault.
        const full = residents.waiting[slot] >= this.mostWaiting || utlbs.count[g] === utlbs.rows;
        if (full || utlbs.waits(g, v, kind)) {
          this.stuckIn[slot] = this.waves;
          break;
        }
        const r = utlbs.wait(g, v, kind, (kind === ACCESS_ADD ? value : value + v) >>> 0, slot);
        residents.waiting[slot]++;
        this.faultsLeft--;
        this.faultsIn[slot] = 0;
        farFaults.begin(a, r);
        this.report(v, kind, r);
        n = 1;
      }
      this.left -= n;
      this.moved = did = true;
      if (done + n < runs.pages[row]) residents.page[slot] = done + n;
      else {
        residents.page[slot] = 0;
        residents.row[slot] = row + 1;
      }
      if (fault) break;
    }
    return did;
  }

  /**
   * Accesses pages as far as the page table lets it.
   *
   * @param how read, write or add
   * @param value word of page `v` minus `v`; what is added
   * @returns how many pages from `v` on; 0 means a fault
   */
  private access(g: number, from: number, end: number, how: number, value: number): number {
    if (how === ACCESS_ADD) return this.addTo(g, from, end, value);
    const { gpu, out } = this, { deviceTables: tables, pages, sim } = gpu.k, { kind, pfn } = tables;
    const write = how === ACCESS_WRITE;
    if (sim.grain === 1) return this.accessOne(from, write, value);
    const block = Math.floor(from / 512), stop = Math.min(end, 512 * block + 512), leaf = this.leaf(block);
    if (leaf < 0) return 0;
    const { chunks } = gpu, watched = chunks.evictor.watchesAccess, zone = gpu.memory.zone;
    let v = from, last = -1, remote = 0;
    for (; v < stop; v++) {
      const e = leaf + (v & 511), flags = kind[e];
      if ((flags & PTE_KIND) !== PTE_PRESENT || (write && !(flags & PTE_WRITE))) break;
      const frame = pfn[e], i = frame * pages.wordsPerPage;
      if (write) pages.word[i] = value + v;
      else if (out.keepWords || out.check) out.note(v, pages.word[i], (value + v) >>> 0);
      if (frame < zone.start || frame >= zone.end) {
        remote++;
        if (gpu.counters?.count(v, 1)) sim.wake(gpu.driver.faulted);
      } else if (watched) {
        const c = chunks.of(frame);
        if (c !== last) chunks.evictor.accessed(c);
        last = c;
      }
    }
    this.count(g, from, v - from, remote, write);
    return v - from;
  }

  /** Adds to the words of pages as far as this GPU may: as {@link access}. */
  private addTo(g: number, from: number, end: number, value: number): number {
    const { gpu, mirror: { table } } = this, { chunks, memory: { zone }, k: { sim } } = gpu;
    const stop = sim.grain === 1 ? from + 1 : end;
    let v = from, remote = 0;
    for (; v < stop; v++) {
      const frame = table.add(v, value, zone.start, zone.end);
      if (frame < 0) break;
      if (frame < zone.start || frame >= zone.end) remote++;
      else chunks.evictor.accessed(chunks.of(frame));
    }
    if (v === from) return 0;
    this.outBytes += remote * ATOMIC_BYTES;
    this.count(g, from, v - from, 0, true);
    this.busyNs += remote * gpu.spec.cost.remoteAccessNs;
    return v - from;
  }

  /** The leaf table of 2 MiB of address space, or -1. */
  private leaf(block: number): number {
    const { leafOf, leafIn, leafAt, waves } = this, i = block % LEAVES;
    if (leafIn[i] === waves && leafOf[i] === block) return leafAt[i];
    leafIn[i] = waves;
    leafOf[i] = block;
    return leafAt[i] = this.gpu.k.deviceTables.leaf(this.mirror.table.root, 512 * block);
  }

  /** One page through the TLB that keeps a translation until it is flushed, as the explorer needs it. */
  private accessOne(v: number, write: boolean, value: number): number {
    const { gpu, mirror: { table }, out } = this, { pages } = gpu.k, frame = table.walk(v, write);
    if (frame < 0) return 0;
    const word = (value + v) >>> 0;
    if (write) table.store(v, word);
    else if (out.keepWords || out.check) out.note(v, pages.word[frame * pages.wordsPerPage], word);
    const { zone } = gpu.memory, own = frame >= zone.start && frame < zone.end;
    if (own) gpu.chunks.evictor.accessed(gpu.chunks.of(frame));
    else if (gpu.counters?.count(v, 1)) gpu.k.sim.wake(gpu.driver.faulted);
    this.count(0, v, 1, own ? 0 : 1, write);
    return 1;
  }

  /** Counts accesses that were done, and what their translation and the link cost. */
  private count(g: number, v: number, n: number, remote: number, write: boolean): void {
    if (n === 0) return;
    const { cost } = this.gpu.spec;
    this.pages += n;
    if (write) this.outBytes += remote * PAGE_SIZE;
    else this.inBytes += remote * PAGE_SIZE;
    this.busyNs += remote * cost.remoteAccessNs;
    if (!this.utlbs.lookup(g, v)) this.busyNs += cost.pageWalkNs;
  }
}
