/**
 * A GPU's policies on a recorded trace alone: which references fault, what moves, what is evicted, and nothing of what it
 * costs. It has no kernel, no time and no batches: far faults are served one by one.
 * @module
 */
import { UsageError } from "../../errors.ts";
import { Sim } from "../../sim/sim.ts";
import { PAGE_SIZE } from "../../units.ts";
import { has, popcount, set } from "./bitmap.ts";
import { noPreEviction } from "./eviction/pre_eviction.ts";
import { ACT, layOut, nextUses, type PlayOptions } from "./play_layout.ts";
import { evictionPolicy, preEvictionPolicy, prefetchPolicy } from "./policies.ts";
import { BLOCK_PAGES, BLOCK_WORDS, type PrefetchBlock } from "./policy.ts";
import { none } from "./prefetch/none.ts";
import type { PageReferences } from "./references.ts";

/** What came of {@linkcode playPolicies}. */
export interface PolicyRun {
  /** References played. */
  readonly references: number;
  /** References to a page that was not on the GPU. */
  readonly farFaults: number;
  /** Those of them to a page that had been there and was evicted: thrash. */
  readonly refaults: number;
  /** Pages moved to the GPU, the faults among them. */
  readonly migratedPages: number;
  /** The same in bytes. */
  readonly migratedBytes: number;
  /** Pages moved to the GPU a second time or more. */
  readonly returnedPages: number;
  /** Evictions: how often a victim was chosen. */
  readonly evictions: number;
  /** Pages evicted. */
  readonly evictedPages: number;
  /** Those of them that had been written. */
  readonly evictedDirtyPages: number;
  /** Pages on the GPU at the end. */
  readonly residentPages: number;
}

/**
 * Plays a recorded trace against memory, prefetch and eviction, and counts.
 *
 * With prefetch "none" and a unit of one page, eviction "belady" gives the least far faults that any policy could.
 *
 * @param refs page references, for example a trace of a real program
 * @param options memory, policies and granularity
 * @returns what was counted
 * @throws {UsageError} for a trace that is none, an unknown policy or option, or memory of less than a unit
 *
 * @example
 * ```ts
 * import { builtinTrace, playPolicies } from "hmmlab";
 *
 * const trace = await builtinTrace("gzip-licenses");
 * const run = playPolicies(trace, { memory: "1 GiB", prefetch: "none" });
 * console.log(run.farFaults === run.migratedPages, run.refaults); // true 0
 * ```
 */
export function playPolicies(refs: PageReferences, options: PlayOptions): PolicyRun {
  const at = layOut(refs, options), { unitShift, byUnit, slotOf, valid } = at;
  const unitPages = 1 << unitShift, units = (at.blocks * BLOCK_PAGES) >>> unitShift;
  const whole = prefetchPolicy(options.prefetch ?? "tree51");
  const whenFull = prefetchPolicy(options.prefetchWhenFull ?? whole);
  const eviction = evictionPolicy(options.eviction ?? "lru-allocation");
  if (eviction.needsFuture && at.inFlight > 1) {
    throw new UsageError(
      `Cannot ${ACT}: got ${at.inFlight} references in flight with eviction ${
        JSON.stringify(eviction.name)
      }; 1 is ` +
        "allowed where the future must be known in order; leave inFlight out",
    );
  }
  const preEviction = preEvictionPolicy(options.preEviction ?? "none");
  const { watch } = options;
  const sim = new Sim(options.seed ?? 1, 1), draw = (n: number) => sim.choose(0, n);

  const resident = new Uint32Array(at.blocks * BLOCK_WORDS), dirty = new Uint32Array(resident.length);
  const evicted = new Uint32Array(resident.length); // Pages that have been here before.
  const held = new Uint16Array(units), busy = new Uint8Array(units);
  const future = new Float64Array(eviction.needsFuture ? units : 0).fill(Infinity);
  const next = eviction.needsFuture ? nextUses(refs, at, future) : new Float64Array(0);
  const order = eviction.make({
    arena: sim.state,
    prefix: "play",
    chunks: units,
    busy,
    chunksPerBlock: BLOCK_PAGES >>> unitShift,
    nextUse: eviction.needsFuture ? (c) => future[c] : undefined,
  });
  const b: PrefetchBlock = {
    firstVpn: 0,
    valid: new Uint32Array(BLOCK_WORDS),
    resident: new Uint32Array(BLOCK_WORDS),
    faulted: new Uint32Array(BLOCK_WORDS),
    thrashing: new Uint32Array(BLOCK_WORDS),
    wanted: new Uint32Array(BLOCK_WORDS),
  };
  const leaving = new Uint32Array(BLOCK_WORDS), here = new Uint32Array(BLOCK_WORDS);
  const mapped = new Uint32Array(BLOCK_WORDS), stays = new Uint32Array(BLOCK_WORDS);
  let prefetch = whole, free = at.memoryPages;
  let farFaults = 0, refaults = 0, migratedPages = 0, returnedPages = 0, residentPages = 0;
  let evictions = 0, evictedPages = 0, evictedDirtyPages = 0;

  /** Takes a unit off the GPU. */
  function leave(unit: number): void {
    const slot = unit << unitShift, n = held[unit];
    const mask = unitShift < 5 ? ((1 << unitPages) - 1) << (slot & 31) : -1;
    for (let w = slot >>> 5, end = (slot + unitPages + 31) >>> 5; w < end; w++) {
      const out = resident[w] & mask;
      if (out === 0) continue;
      if (dirty[w] !== 0) evictedDirtyPages += popcount(out & dirty[w]);
      resident[w] &= ~mask;
      dirty[w] &= ~mask;
      evicted[w] |= out;
    }
    evictedPages += n;
    residentPages -= n;
    free += byUnit ? unitPages : n;
    held[unit] = 0;
    order.freed(unit);
  }

  /** Evicts one unit and what leaves with it; false if all that is there must stay. */
  function evict(): boolean {
    const victim = order.victim(draw);
    if (victim < 0) return false;
    evictions++;
    prefetch = whenFull;
    if (preEviction !== noPreEviction) {
      const slot = victim << unitShift, first = slot & ~(BLOCK_PAGES - 1), base = first >>> 5;
      for (let w = 0; w < BLOCK_WORDS; w++) {
        mapped[w] = valid[base + w];
        here[w] = resident[base + w];
        leaving[w] = stays[w] = 0;
      }
      for (let i = 0; i < BLOCK_PAGES; i++) {
        const unit = (first + i) >>> unitShift;
        if (unit === victim && has(here, i)) set(leaving, i);
        if (busy[unit] === 1) set(stays, i);
      }
      preEviction.spread(mapped, here, stays, leaving);
      for (let i = 0; i < BLOCK_PAGES; i++) {
        const unit = (first + i) >>> unitShift;
        if (unit !== victim && held[unit] > 0 && has(leaving, i)) leave(unit);
      }
    }
    leave(victim);
    return true;
  }

  /** The unit of the lowest bit of a word. */
  const unitOf = (word: number, bits: number) => (word * 32 + 31 - Math.clz32(bits & -bits)) >>> unitShift;

  /** Marks the units that wanted pages go to as busy, or not busy any more, and counts the frames that they need. */
  function claim(base: number, mark: 0 | 1): number {
    let need = 0;
    for (let w = 0; w < BLOCK_WORDS; w++) {
      const want = b.wanted[w];
      if (want === 0) continue;
      if (!byUnit) need += popcount(want);
      for (let left = want; left !== 0; left = unitShift >= 5 ? 0 : left & (left - 1)) {
        const unit = unitOf(base + w, left);
        if (byUnit && held[unit] === 0 && busy[unit] === 0) need += unitPages;
        busy[unit] = mark;
      }
    }
    return need;
  }

  /** Lets pages of one word come; their frames have been taken. */
  function come(word: number, bits: number): void {
    const n = popcount(bits);
    migratedPages += n;
    residentPages += n;
    if (evicted[word] !== 0) returnedPages += popcount(bits & evicted[word]);
    resident[word] |= bits;
    if (unitShift >= 5) {
      const unit = unitOf(word, bits);
      if (held[unit] === 0) order.allocated(unit);
      held[unit] += n;
    } else {
      for (let left = bits; left !== 0; left &= left - 1) {
        const unit = unitOf(word, left);
        if (held[unit]++ === 0) order.allocated(unit);
      }
    }
  }

  /** Serves a fault that brings nothing along. */
  function faultAlone(slot: number, unit: number): void {
    const need = !byUnit ? 1 : held[unit] === 0 ? unitPages : 0;
    busy[unit] = 1;
    // If only its own unit is left to go, that must.
    while (free < need) if (!evict()) busy[unit] = 0;
    busy[unit] = 0;
    free -= need;
    come(slot >>> 5, 1 << (slot & 31));
  }

  function farFault(slot: number, unit: number): void {
    const word = slot >>> 5, base = word & ~(BLOCK_WORDS - 1);
    farFaults++;
    if ((evicted[word] >>> (slot & 31) & 1) === 1) refaults++;
    if (prefetch === none && watch === undefined) {
      faultAlone(slot, unit);
      return;
    }
    b.firstVpn = at.firstVpn[slot >>> 9];
    for (let w = 0; w < BLOCK_WORDS; w++) {
      b.valid[w] = valid[base + w];
      b.resident[w] = resident[base + w];
      b.faulted[w] = b.wanted[w] = 0;
    }
    b.faulted[word - base] = b.wanted[word - base] = 1 << (slot & 31);
    prefetch.grow(b, draw);
    const need = claim(base, 1);
    let fits = true;
    while (fits && free < need) fits = evict();
    claim(base, 0);
    if (!fits) {
      // All that is there belongs to this fault: then it moves alone.
      b.wanted.set(b.faulted);
      watch?.(b);
      faultAlone(slot, unit);
      return;
    }
    watch?.(b);
    free -= need;
    for (let w = 0; w < BLOCK_WORDS; w++) if (b.wanted[w] !== 0) come(base + w, b.wanted[w]);
  }

  const { rows, page, write } = refs, { watchesAccess } = order, { needsFuture } = eviction;
  const waiting = new Uint32Array(at.inFlight);
  let last = -1;

  function access(slot: number, unit: number, isWrite: number): void {
    if (unit !== last) {
      if (watchesAccess) order.accessed(unit);
      last = unit;
    }
    if (isWrite === 1) dirty[slot >>> 5] |= 1 << (slot & 31);
  }

  for (let from = 0; from < rows; from += at.inFlight) {
    let faults = 0;
    for (let i = from, end = Math.min(rows, from + at.inFlight); i < end; i++) {
      const slot = slotOf[page[i]], unit = slot >>> unitShift;
      if (needsFuture) future[unit] = next[i];
      if ((resident[slot >>> 5] >>> (slot & 31) & 1) === 0) waiting[faults++] = i;
      else access(slot, unit, write[i]);
    }
    for (let k = 0; k < faults; k++) {
      const i = waiting[k], slot = slotOf[page[i]], unit = slot >>> unitShift;
      if ((resident[slot >>> 5] >>> (slot & 31) & 1) === 0) {
        farFault(slot, unit);
        last = -1;
      }
      access(slot, unit, write[i]);
    }
  }
  return {
    references: rows,
    farFaults,
    refaults,
    migratedPages,
    migratedBytes: migratedPages * PAGE_SIZE,
    returnedPages,
    evictions,
    evictedPages,
    evictedDirtyPages,
    residentPages,
  };
}
