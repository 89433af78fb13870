/**
 * What {@linkcode playPolicies} of play.ts is given, checked and laid out by VA block.
 * @module
 */
import { checkOptions, describe, during, wholeNumber } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { bytes, formatBytes, PAGE_SIZE, pages } from "../../units.ts";
import {
  BLOCK_PAGES,
  BLOCK_WORDS,
  type EvictionPolicy,
  type PreEvictionPolicy,
  type PrefetchBlock,
  type PrefetchPolicy,
} from "./policy.ts";
import type { PageReferences } from "./references.ts";

/** What can be varied in `playPolicies`. */
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
  /**
   * References in flight at once (default 1): of so many in a row those that hit go ahead of those that fault, as the
   * resident thread blocks of a GPU do. Not with an eviction policy that needs the future.
   */
  readonly inFlight?: number;
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
  inFlight: true,
  seed: true,
  watch: true,
};

/** What is done, as error messages say it. */
export const ACT = "play policies on a trace";

/** Options and trace of one call, checked and laid out by VA block. */
export interface Layout {
  readonly memoryPages: number;
  readonly unitShift: number;
  readonly byUnit: boolean;
  readonly inFlight: number;
  readonly blocks: number;
  /** First virtual page of each block. */
  readonly firstVpn: Float64Array;
  /** For each page of the trace its slot: block times BLOCK_PAGES plus page in the block. */
  readonly slotOf: Uint32Array;
  /** Bitmap of the mapped pages by slot. */
  readonly valid: Uint32Array;
}

/**
 * Checks options and trace, and gives each page its place in a VA block.
 *
 * @throws {UsageError} naming what was given and what is allowed
 */
export function layOut(refs: PageReferences, o: PlayOptions): Layout {
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
    inFlight: wholeNumber(ACT, "inFlight", o.inFlight ?? 1, 1, 1 << 24),
    blocks: firstVpn.length,
    firstVpn: Float64Array.from(firstVpn),
    slotOf,
    valid,
  };
}

/** For each reference the number of the next one to its unit, the run that it stands in left out; Infinity for none. */
export function nextUses(refs: PageReferences, at: Layout, future: Float64Array): Float64Array {
  const { rows, page } = refs, next = new Float64Array(rows);
  for (let i = rows - 1, after = -1; i >= 0; i--) {
    const unit = at.slotOf[page[i]] >>> at.unitShift;
    next[i] = unit === after ? next[i + 1] : future[unit];
    future[unit] = i;
    after = unit;
  }
  return next;
}
