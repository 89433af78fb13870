/**
 * The tree prefetcher of NVIDIA's open driver (595.45.04, kernel-open/nvidia-uvm/uvm_perf_prefetch.c).
 *
 * The tree's leaves are single pages. First every fault grows to its 64 KiB page, unless a page in there thrashes; then
 * each page that faulted takes the largest region around it of which more than 51 % is on the GPU or on its way. The
 * regions are aligned to 64 KiB even where the vma does not begin there.
 * @module
 */
import { has, isEmpty, set } from "../bitmap.ts";
import { BLOCK_PAGES, type PrefetchBlock, type PrefetchPolicy } from "../policy.ts";

const BIG_PAGES = 16;

/** What can be set of {@linkcode tree51}; the driver's module parameters of these names. */
export interface Tree51Options {
  /** Share of a region that must be present before the rest is fetched, in percent, 1 to 100 (default 51). */
  readonly thresholdPercent?: number;
}

/** Prefix sums over the tree's leaves: how many of the leaves before each are present; scratch of one call. */
const before = new Uint16Array(BLOCK_PAGES + BIG_PAGES + 1);
const present = new Uint8Array(BLOCK_PAGES + BIG_PAGES);

/** First page that is valid, and one past the last: what the driver calls the largest prefetch region. */
function validRange(b: PrefetchBlock): [number, number] {
  let first = 0, end = BLOCK_PAGES;
  while (first < end && !has(b.valid, first)) first++;
  while (end > first && !has(b.valid, end - 1)) end--;
  return [first, end];
}

/** Counts pages from `from` to `to` as present if one of them faulted and none thrashes. */
function growFault(b: PrefetchBlock, from: number, to: number, shift: number): void {
  let faulted = false;
  for (let i = from; i < to; i++) {
    if (has(b.thrashing, i)) return;
    faulted ||= has(b.faulted, i);
  }
  if (faulted) present.fill(1, from + shift, to + shift);
}

/**
 * Makes the policy with another threshold.
 *
 * @param options see {@linkcode Tree51Options}
 * @returns the policy
 */
export function tree51With({ thresholdPercent = 51 }: Tree51Options = {}): PrefetchPolicy {
  return {
    name: thresholdPercent === 51 ? "tree51" : `tree51 at ${thresholdPercent} %`,
    grow(b) {
      if (isEmpty(b.faulted)) return;
      const [first, end] = validRange(b);
      const bigFirst = Math.ceil(first / BIG_PAGES) * BIG_PAGES;
      const bigEnd = Math.floor(end / BIG_PAGES) * BIG_PAGES;
      const anyBig = bigEnd > bigFirst;
      // Tree leaf of a page: regions are aligned to 64 KiB of address, not to the start of the vma.
      const offset = anyBig && bigFirst > first ? BIG_PAGES - (bigFirst - first) : 0;
      const shift = offset - first, leaves = end - first + offset;
      present.fill(0, 0, leaves);
      for (let i = first; i < end; i++) if (has(b.resident, i) || has(b.faulted, i)) present[i + shift] = 1;
      if (!anyBig) growFault(b, first, end, shift);
      else {
        if (bigFirst > first) growFault(b, first, bigFirst, shift);
        for (let i = bigFirst; i < bigEnd; i += BIG_PAGES) growFault(b, i, i + BIG_PAGES, shift);
        if (end > bigEnd) growFault(b, bigEnd, end, shift);
      }
      for (let i = 0; i < leaves; i++) before[i + 1] = before[i] + present[i];
      let done = 0; // Pages before this one have been taken by an earlier fault's region.
      for (let page = first; page < end; page++) {
        if (!has(b.faulted, page) || has(b.thrashing, page)) continue;
        let from = 0, to = 0;
        for (let width = 1;; width *= 2) {
          const start = Math.floor((page + shift) / width) * width, stop = Math.min(start + width, leaves);
          if ((before[stop] - before[start]) * 100 > (stop - start) * thresholdPercent) {
            [from, to] = [start, stop];
          }
          if (width >= leaves) break;
        }
        from = Math.max(first, from - shift, done);
        to = Math.min(end, to - shift);
        for (let i = from; i < to; i++) {
          if (has(b.valid, i) && !has(b.resident, i) && !has(b.thrashing, i)) set(b.wanted, i);
        }
        done = Math.max(done, to);
        if (to === end) break;
      }
    },
  };
}

/** What NVIDIA's driver does by default: 51 %, from the first fault of a block on. */
export const tree51: PrefetchPolicy = tree51With();
