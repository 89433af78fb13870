/**
 * Detection of thrashing: pages that move to and fro between processors, which are then throttled, and in the end pinned
 * where all of them can reach.
 *
 * The rules are those of NVIDIA's open driver (595.45.04, kernel-open/nvidia-uvm/uvm_perf_thrashing.c): a page counts an
 * event each time it moves within a lapse of its last move; at the threshold it thrashes. While it does, one processor is
 * served and the others nap; after enough naps it is pinned for some time. A block that has been quiet for an epoch
 * forgets, a few times. Left out is the driver's slow growth of the lapse when most events come later than it.
 *
 * Time is told by the caller. In the explorer, which has none, tell 0 always: then no lapse ever ends.
 * @module
 */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import type { Arena } from "../../sim/arena.ts";
import { BLOCK_PAGES, BLOCK_WORDS } from "./policy.ts";

/** The driver's module parameters uvm_perf_thrashing_*, all of them whole numbers. */
export interface ThrashingOptions {
  /** Events in a row that make a page thrash, 1 to 7 (default 3). */
  readonly threshold?: number;
  /** Longest time between two events in a row, in ns (default 500,000). */
  readonly lapseNs?: number;
  /** Naps after which a page is pinned, 1 to 255 (default 10). */
  readonly pinThreshold?: number;
  /** Length of a nap, in lapses (default 1). */
  readonly napLapses?: number;
  /** How long a page stays pinned, in lapses (default 300; 0 for ever). */
  readonly pinLapses?: number;
  /** Quiet time after which a block forgets, in lapses (default 2000). */
  readonly epochLapses?: number;
  /** How often a block may forget (default 4). */
  readonly maxResets?: number;
}

/** NVIDIA's defaults. */
export const THRASHING_DEFAULTS: Readonly<Required<ThrashingOptions>> = {
  threshold: 3,
  lapseNs: 500_000,
  pinThreshold: 10,
  napLapses: 1,
  pinLapses: 300,
  epochLapses: 2000,
  maxResets: 4,
};

/** {@linkcode Thrashing.hint}: serve the fault as if nothing were. */
export const HINT_NONE = 0;
/** {@linkcode Thrashing.hint}: leave the page where it is; the processor faults again when its nap is over. */
export const HINT_THROTTLE = 1;
/** {@linkcode Thrashing.hint}: this plus a processor's number: move the page there and map it remotely for the others. */
export const HINT_PIN = 2;

/** Where a thrashing detector lays its columns, and what it watches. */
export interface ThrashingSetup {
  /** The machine's state. */
  readonly arena: Arena;
  /** First part of the columns' names, unique in the arena. */
  readonly prefix: string;
  /** VA blocks there can be; a block is a number below, its owner's. */
  readonly blocks: number;
  /** Blocks whose pages can be watched at once; one more is taken for not thrashing, as when the driver has no memory. */
  readonly watched: number;
  /** By processor (0 is the CPU): bit `p` is set if processor `p` can map memory of this one. Up to 32 processors. */
  readonly reachableBy: Uint32Array;
}

const MOST_EVENTS = 7;
const MOST_NAPS = 255;

/** The thrashing state of the VA blocks of one address space. */
export class Thrashing {
  private readonly o: Required<ThrashingOptions>;
  private readonly reachableBy: Uint32Array;
  private readonly watchedMost: number;
  // By block.
  private readonly pool: Uint32Array; // Its group of rows, plus 1; 0 if its pages are not watched.
  private readonly last: Uint8Array; // Processor of the last event, plus 1.
  private readonly lastNs: Float64Array; // When, plus 1; 0 for never. So are all times here.
  private readonly thrashedNs: Float64Array;
  private readonly resets: Uint8Array;
  private readonly everPinned: Uint8Array;
  // By page of a watched block.
  private readonly eventNs: Float64Array;
  private readonly events: Uint8Array;
  private readonly revoked: Uint8Array;
  private readonly processors: Uint32Array;
  private readonly napping: Uint32Array;
  private readonly napEndNs: Float64Array;
  private readonly naps: Uint8Array;
  private readonly spared: Uint8Array; // Processor that does not nap, plus 1.
  private readonly pinnedAt: Uint8Array; // Processor, plus 1; 0 if it is not pinned.
  private readonly pinnedUntilNs: Float64Array;
  private readonly nextPinned: Uint32Array; // Pinned pages in the order of their pinning; row + 1, 0 ends.
  private readonly map: Uint32Array; // By watched block: the bitmap of its thrashing pages.
  private readonly owner: Uint32Array; // By watched block: its number plus 1, or 0 if it is free.
  private readonly ends: Uint32Array; // First and last pinned page, groups of rows ever used.

  /**
   * @param setup where the columns go, how many blocks and processors there are
   * @param options the driver's parameters; its defaults if left out
   * @throws {UsageError} for an option that is none or out of range
   */
  constructor(setup: ThrashingSetup, options: ThrashingOptions = {}) {
    const act = "watch for thrashing", most = Number.MAX_SAFE_INTEGER;
    checkOptions(act, options, THRASHING_DEFAULTS, "{ threshold: 3 }");
    const o = this.o = { ...THRASHING_DEFAULTS, ...options };
    wholeNumber(act, "threshold", o.threshold, 1, MOST_EVENTS);
    wholeNumber(act, "lapseNs", o.lapseNs, 1, most);
    wholeNumber(act, "pinThreshold", o.pinThreshold, 1, MOST_NAPS);
    for (const k of ["napLapses", "pinLapses", "epochLapses"] as const) wholeNumber(act, k, o[k], 0, 1e9);
    wholeNumber(act, "maxResets", o.maxResets, 0, 255);
    const { arena, prefix, blocks, watched } = setup;
    this.reachableBy = setup.reachableBy;
    this.watchedMost = watched;
    const rows = watched * BLOCK_PAGES, used = () => this.ends[2] * BLOCK_PAGES;
    this.ends = arena.u32(`${prefix}.ends`, 3);
    this.pool = arena.u32(`${prefix}.pool`, blocks);
    this.last = arena.u8(`${prefix}.last`, blocks);
    this.lastNs = arena.f64(`${prefix}.lastNs`, blocks);
    this.thrashedNs = arena.f64(`${prefix}.thrashedNs`, blocks);
    this.resets = arena.u8(`${prefix}.resets`, blocks);
    this.everPinned = arena.u8(`${prefix}.everPinned`, blocks);
    this.eventNs = arena.f64(`${prefix}.eventNs`, rows, used);
    this.events = arena.u8(`${prefix}.events`, rows, used);
    this.revoked = arena.u8(`${prefix}.revoked`, rows, used);
    this.processors = arena.u32(`${prefix}.processors`, rows, used);
    this.napping = arena.u32(`${prefix}.napping`, rows, used);
    this.napEndNs = arena.f64(`${prefix}.napEndNs`, rows, used);
    this.naps = arena.u8(`${prefix}.naps`, rows, used);
    this.spared = arena.u8(`${prefix}.spared`, rows, used);
    this.pinnedAt = arena.u8(`${prefix}.pinnedAt`, rows, used);
    this.pinnedUntilNs = arena.f64(`${prefix}.pinnedUntilNs`, rows, used);
    this.nextPinned = arena.u32(`${prefix}.nextPinned`, rows, used);
    this.map = arena.u32(`${prefix}.map`, watched * BLOCK_WORDS, () => this.ends[2] * BLOCK_WORDS);
    this.owner = arena.u32(`${prefix}.owner`, watched, () => this.ends[2]);
  }

  /**
   * Pages have moved to a processor for a fault, by prefetch or by access counters.
   *
   * @param block their VA block
   * @param first first page in it
   * @param end one past the last
   * @param to processor they moved to
   * @param nowNs virtual time, in ns
   * @returns pages that begin to thrash with this
   */
  migrated(block: number, first: number, end: number, to: number, nowNs: number): number {
    return this.event(block, first, end, to, nowNs, 0);
  }

  /** Mappings of a processor were taken away for another's system-wide atomic; else as {@link migrated}. */
  revocation(block: number, first: number, end: number, from: number, nowNs: number): number {
    return this.event(block, first, end, from, nowNs, 1);
  }

  private event(b: number, first: number, end: number, p: number, nowNs: number, revocation: 0 | 1): number {
    const { lapseNs, threshold } = this.o, now = nowNs + 1;
    let began = 0;
    if (this.pool[b] === 0) {
      const fight = this.lastNs[b] !== 0 && this.last[b] !== p + 1 && now - this.lastNs[b] <= lapseNs;
      if (fight) this.watch(b);
    }
    if (this.pool[b] !== 0) {
      const base = (this.pool[b] - 1) * BLOCK_PAGES;
      for (let i = first; i < end; i++) {
        const row = base + i, was = this.eventNs[row];
        this.processors[row] |= 1 << p;
        this.eventNs[row] = now;
        if (was === 0) continue;
        if (now - was <= lapseNs) {
          if (this.events[row] < MOST_EVENTS && ++this.events[row] === threshold) {
            this.map[row >>> 5] |= 1 << (row & 31);
            began++;
          }
          if (this.events[row] >= threshold) this.thrashedNs[b] = now;
          if (revocation === 1) this.revoked[row] = 1;
        } else if (this.events[row] >= threshold && this.pinnedAt[row] === 0) this.forgetRow(row);
      }
    }
    this.lastNs[b] = now;
    this.last[b] = p + 1;
    return began;
  }

  /**
   * What to do with a fault; asked once for each page and processor of a batch, before it is served.
   *
   * @param block VA block of the page
   * @param page the page in it
   * @param p processor that faulted
   * @param residence processor whose memory holds the page
   * @param preferred the page's preferred location, or -1
   * @param nowNs virtual time, in ns
   * @returns {@link HINT_NONE}, {@link HINT_THROTTLE}, or {@link HINT_PIN} plus the processor to pin it at
   */
  hint(
    block: number,
    page: number,
    p: number,
    residence: number,
    preferred: number,
    nowNs: number,
  ): number {
    const { lapseNs, threshold, epochLapses, maxResets, napLapses } = this.o, now = nowNs + 1;
    if (this.pool[block] === 0) return HINT_NONE;
    const quiet = this.thrashedNs[block] !== 0 && now - this.thrashedNs[block] > epochLapses * lapseNs;
    if (quiet && this.everPinned[block] === 0 && this.resets[block] < maxResets) {
      this.resets[block]++;
      this.unwatch(block);
      return HINT_NONE;
    }
    const row = (this.pool[block] - 1) * BLOCK_PAGES + page, bit = 1 << p;
    if (this.events[row] < threshold) return HINT_NONE;
    if ((this.napping[row] & bit) !== 0) {
      if (now < this.napEndNs[row] && this.spared[row] !== p + 1) return HINT_THROTTLE;
      this.endNap(row, bit);
    }
    if (now - this.eventNs[row] > lapseNs && this.pinnedAt[row] === 0) return HINT_NONE;
    this.processors[row] |= bit;
    if (now > this.napEndNs[row]) {
      this.napEndNs[row] = now + napLapses * lapseNs;
      // Not the same one in two periods on end.
      this.spared[row] = this.spared[row] === p + 1 ? 0 : p + 1;
    } else if (this.spared[row] === 0) this.spared[row] = p + 1;
    const isSpared = this.spared[row] === p + 1;
    const hint = this.pinnedAt[row] !== 0 && this.revoked[row] === 1 && !isSpared
      ? HINT_THROTTLE
      : this.choose(row, p, residence, preferred, isSpared);
    if (hint >= HINT_PIN) this.pin(block, row, hint - HINT_PIN, residence, now);
    else if (hint === HINT_THROTTLE && (this.napping[row] & bit) === 0) {
      this.napping[row] |= bit;
      if (this.pinnedAt[row] === 0 && this.naps[row] < MOST_NAPS) this.naps[row]++;
    }
    return hint;
  }

  /** Whether every processor that fights for the page can map memory of processor `at`. */
  private allReach(row: number, at: number): boolean {
    return at >= 0 && (this.processors[row] & ~this.reachableBy[at]) === 0;
  }

  /** A processor whose memory all can map, `p` if that is one, else the lowest; -1 if there is none. */
  private common(row: number, p: number): number {
    if (this.allReach(row, p)) return p;
    for (let at = 0; at < this.reachableBy.length; at++) if (this.allReach(row, at)) return at;
    return -1;
  }

  private choose(row: number, p: number, residence: number, preferred: number, isSpared: boolean): number {
    if (this.allReach(row, preferred)) return HINT_PIN + preferred;
    const pinned = this.pinnedAt[row] - 1, enough = this.naps[row] >= this.o.pinThreshold;
    if (pinned >= 0) {
      if (p === preferred) return pinned === p || isSpared ? HINT_PIN + p : HINT_THROTTLE;
      if (isSpared) return HINT_PIN + Math.max(this.common(row, p), 0);
      return (this.reachableBy[pinned] >>> p & 1) === 1 && residence === pinned
        ? HINT_PIN + pinned
        : HINT_THROTTLE;
    }
    if (!isSpared) return HINT_THROTTLE;
    return enough ? HINT_PIN + p : HINT_NONE;
  }

  private pin(block: number, row: number, at: number, residence: number, now: number): void {
    const wakeAll = this.pinnedAt[row] === 0 || residence !== at;
    if (wakeAll && this.napping[row] !== 0) this.napping[row] = this.napEndNs[row] = 0;
    if (this.pinnedAt[row] === 0) {
      this.pinnedUntilNs[row] = this.o.pinLapses === 0 ? Infinity : now + this.o.pinLapses * this.o.lapseNs;
      this.naps[row] = 0;
      this.everPinned[block] = 1;
      if (this.ends[1] === 0) this.ends[0] = row + 1;
      else this.nextPinned[this.ends[1] - 1] = row + 1;
      this.ends[1] = row + 1;
    }
    this.pinnedAt[row] = at + 1;
  }

  /**
   * The page that has been pinned long enough, longest first; unmap it where it is mapped remotely, then {@link release}.
   *
   * @param nowNs virtual time, in ns
   * @returns block times {@linkcode BLOCK_PAGES} plus page, or -1 if no pin has run out
   */
  expired(nowNs: number): number {
    const row = this.ends[0] - 1;
    if (row < 0 || this.pinnedUntilNs[row] > nowNs + 1) return -1;
    return (this.owner[Math.floor(row / BLOCK_PAGES)] - 1) * BLOCK_PAGES + row % BLOCK_PAGES;
  }

  /**
   * Unpins and forgets thrashing pages: their pin ran out, or a user moved them.
   *
   * @param block their VA block
   * @param first first page in it
   * @param end one past the last
   */
  release(block: number, first: number, end: number): void {
    if (this.pool[block] === 0) return;
    const base = (this.pool[block] - 1) * BLOCK_PAGES;
    for (let i = first; i < end; i++) {
      if ((this.map[(base + i) >>> 5] >>> (i & 31) & 1) === 1) this.forgetRow(base + i);
    }
  }

  /** Forgets a block that is no more. */
  drop(block: number): void {
    if (this.pool[block] !== 0) this.unwatch(block);
    this.resets[block] = this.everPinned[block] = 0;
  }

  /** Where a page is pinned: a processor, or -1. */
  pinnedOn(block: number, page: number): number {
    return this.pool[block] === 0 ? -1 : this.pinnedAt[(this.pool[block] - 1) * BLOCK_PAGES + page] - 1;
  }

  /** Virtual time at which a napping processor may fault again, in ns; 0 if nobody naps on this page. */
  napEnd(block: number, page: number): number {
    if (this.pool[block] === 0) return 0;
    return Math.max(0, this.napEndNs[(this.pool[block] - 1) * BLOCK_PAGES + page] - 1);
  }

  /**
   * Copies which pages of a block thrash into a bitmap.
   *
   * @param block the VA block
   * @param out {@linkcode BLOCK_WORDS} words, overwritten
   */
  copyTo(block: number, out: Uint32Array): void {
    if (this.pool[block] === 0) out.fill(0, 0, BLOCK_WORDS);
    else {
      const from = (this.pool[block] - 1) * BLOCK_WORDS;
      for (let w = 0; w < BLOCK_WORDS; w++) out[w] = this.map[from + w];
    }
  }

  /** Begins to watch a block's pages, in the lowest free group of rows; does nothing if there is none. */
  private watch(block: number): void {
    let group = 0;
    while (group < this.ends[2] && this.owner[group] !== 0) group++;
    if (group === this.watchedMost) return;
    if (group === this.ends[2]) this.ends[2]++;
    this.owner[group] = block + 1;
    this.pool[block] = group + 1;
  }

  private unwatch(block: number): void {
    const group = this.pool[block] - 1;
    for (let i = 0; i < BLOCK_PAGES; i++) this.forgetRow(group * BLOCK_PAGES + i);
    this.owner[group] = 0;
    this.pool[block] = this.last[block] = 0;
    this.lastNs[block] = this.thrashedNs[block] = 0;
  }

  private endNap(row: number, bit: number): void {
    this.napping[row] &= ~bit;
    if (this.napping[row] === 0) this.napEndNs[row] = 0;
  }

  private forgetRow(row: number): void {
    if (this.pinnedAt[row] !== 0) this.unlink(row);
    this.eventNs[row] = this.napEndNs[row] = this.pinnedUntilNs[row] = 0;
    this.events[row] =
      this.revoked[row] =
      this.naps[row] =
      this.spared[row] =
      this.pinnedAt[row] =
        0;
    this.processors[row] = this.napping[row] = 0;
    this.map[row >>> 5] &= ~(1 << (row & 31));
  }

  /** Takes a page out of the list of pinned ones; the driver's list is searched in the same way. */
  private unlink(row: number): void {
    let before = 0, at = this.ends[0];
    while (at !== row + 1) {
      before = at;
      at = this.nextPinned[at - 1];
    }
    const next = this.nextPinned[row];
    if (before === 0) this.ends[0] = next;
    else this.nextPinned[before - 1] = next;
    if (next === 0) this.ends[1] = before;
    this.nextPinned[row] = 0;
  }
}
