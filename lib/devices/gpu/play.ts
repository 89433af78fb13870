/**
 * A GPU's policies on a recorded trace alone: which references fault, what moves, what is evicted, and nothing of what it
 * costs. It has no kernel, no time and no batches: each far fault is served before the next reference.
 * @module
 */
import { checkOptions, describe, during } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { Sim } from "../../sim/sim.ts";
import { bytes, formatBytes, PAGE_SIZE, pages } from "../../units.ts";
import { has, popcount, set } from "./bitmap.ts";
import { noPreEviction } from "./eviction/pre_eviction.ts";
import { evictionPolicy, preEvictionPolicy, prefetchPolicy } from "./policies.ts";
import {
  BLOCK_PAGES,
  BLOCK_WORDS,
  type EvictionPolicy,
  type PreEvictionPolicy,
  type PrefetchBlock,
  type PrefetchPolicy,
} from "./policy.ts";
import { none } from "./prefetch/none.ts";
import type { PageReferences } from "./references.ts";

/** What can be varied in {@linkcode playPolicies}. */
export interface PlayOptions {
  /** Memory of the GPU, in whole pages; at least one unit. */
  readonly memory: string | number;
  /** Prefetch policy or its name (default "tree51"). */
  readonly prefetch?: string | PrefetchPolicy;
  /** Prefetch policy from the first eviction on (default: the same). */
  readonly prefetchWhenFull?: string | PrefetchPolicy;
  /** Eviction policy or its name (default "lru-allocation"). */
  readonly eviction?: string | EvictionPolicy;
  /** What leaves with an evicted unit (default "none"). */
  readonly preEviction?: string | PreEvictionPolicy;
  /** What is evicted at once: 4 KiB times a power of two, up to "2 MiB" (default). */
  readonly unit?: string | number;
  /**
   * What memory is given out by: "unit" (default), a whole unit for its first page, as NVIDIA's root chunks of 2 MiB; or
   * "page", as in UVM Smart.
   */
  readonly frames?: "unit" | "page";
  /** Seed of what is left to chance (default 1). */
  readonly seed?: number;
  /** Called at each far fault with what it moves; the block is used again for the next. */
  readonly watch?: (block: PrefetchBlock) => void;
}

const OPTIONS: Readonly<Record<keyof PlayOptions, true>> = {
  memory: true,
  prefetch: true,
  prefetchWhenFull: true,
  eviction: true,
  preEviction: true,
  unit: true,
  frames: true,
  seed: true,
  watch: true,
};

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

const ACT = "play policies on a trace";

/** Options and trace of one call, checked and laid out by VA block. */
interface Layout {
  readonly memoryPages: number;
  readonly unitShift: number;
  readonly byUnit: boolean;
  readonly blocks: number;
  /** First virtual page of each block. */
  readonly firstVpn: Float64Array;
  /** For each page of the trace its slot: block times BLOCK_PAGES plus page in the block. */
  readonly slotOf: Uint32Array;
  /** Bitmap of the mapped pages by slot. */
  readonly valid: Uint32Array;
}

function layOut(refs: PageReferences, o: PlayOptions): Layout {
  checkOptions(ACT, o, OPTIONS, '{ memory: "1 GiB" }');
  if (!Array.isArray(refs?.regions) || !ArrayBuffer.isView(refs.page)) {
    throw new UsageError(
      `Cannot ${ACT}: got ${describe(refs)} for the trace; page references are allowed; write for example ` +
        'playPolicies(await builtinTrace("gzip-licenses"), { memory: "1 MiB" })',
    );
  }
  for (let i = 0; i < refs.rows; i++) {
    if (refs.page[i] < refs.pages) continue;
    throw new UsageError(
      `Cannot ${ACT}: got page ${refs.page[i]} in row ${i}; 0 to ${
        refs.pages - 1
      } are allowed; count pages through the ` +
        "regions",
    );
  }
  const memoryPages = during(`${ACT}: memory`, () => pages(o.memory));
  const unitBytes = during(`${ACT}: unit`, () => bytes(o.unit ?? "2 MiB")), unitPages = unitBytes / PAGE_SIZE;
  const unitShift = Math.log2(unitPages);
  if (!Number.isInteger(unitShift) || unitPages > BLOCK_PAGES) {
    throw new UsageError(
      `Cannot ${ACT}: got ${formatBytes(unitBytes)} for unit; 4 KiB, 8 KiB, … 2 MiB are allowed`,
    );
  }
  if (memoryPages < unitPages) {
    throw new UsageError(
      `Cannot ${ACT}: got memory of ${formatBytes(memoryPages * PAGE_SIZE)} for units of ${
        formatBytes(unitBytes)
      }; one unit or more is allowed; write a smaller unit or more memory`,
    );
  }
  const frames = o.frames ?? "unit";
  if (frames !== "unit" && frames !== "page") {
    throw new UsageError(`Cannot ${ACT}: got ${describe(frames)} for frames; "unit" and "page" are allowed`);
  }
  const slotOf = new Uint32Array(refs.pages), firstVpn: number[] = [];
  for (const r of refs.regions) {
    for (let i = 0; i < r.pages; i++) {
      const vpn = r.startVpn + i, inBlock = vpn % BLOCK_PAGES;
      if (firstVpn[firstVpn.length - 1] !== vpn - inBlock) firstVpn.push(vpn - inBlock);
      slotOf[r.firstPage + i] = (firstVpn.length - 1) * BLOCK_PAGES + inBlock;
    }
  }
  const valid = new Uint32Array(firstVpn.length * BLOCK_WORDS);
  for (const slot of slotOf) valid[slot >>> 5] |= 1 << (slot & 31);
  return {
    memoryPages,
    unitShift,
    byUnit: frames === "unit",
    blocks: firstVpn.length,
    firstVpn: Float64Array.from(firstVpn),
    slotOf,
    valid,
  };
}

/** For each reference the number of the next one to its unit, the run that it stands in left out; Infinity for none. */
function nextUses(refs: PageReferences, at: Layout, future: Float64Array): Float64Array {
  const { rows, page } = refs, next = new Float64Array(rows);
  for (let i = rows - 1, after = -1; i >= 0; i--) {
    const unit = at.slotOf[page[i]] >>> at.unitShift;
    next[i] = unit === after ? next[i + 1] : future[unit];
    future[unit] = i;
    after = unit;
  }
  return next;
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
  for (let i = 0, last = -1; i < rows; i++) {
    const slot = slotOf[page[i]], word = slot >>> 5, unit = slot >>> unitShift;
    if (needsFuture) future[unit] = next[i];
    if ((resident[word] >>> (slot & 31) & 1) === 0) {
      farFault(slot, unit);
      last = -1;
    }
    if (unit !== last) {
      if (watchesAccess) order.accessed(unit);
      last = unit;
    }
    if (write[i] === 1) dirty[word] |= 1 << (slot & 31);
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
