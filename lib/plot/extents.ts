/**
 * Addresses that a chart can show: the touched ranges one after the other, the gaps between them left out.
 * @module
 */

/** Ranges of pages, ascending, without overlap, and where each begins on the chart. */
export interface Extents {
  /** First page of each range. */
  readonly starts: readonly number[];
  /** Page past the last of each range. */
  readonly ends: readonly number[];
  /** Pages of the ranges before each. */
  readonly before: readonly number[];
  /** Pages of all ranges. */
  readonly pages: number;
}

/**
 * Joins ranges of pages that touch or overlap.
 *
 * @param first first page by row
 * @param pages length by row
 * @returns the ranges that the rows cover
 */
export function extentsOf(first: ArrayLike<number>, pages: ArrayLike<number>): Extents {
  const rows = Array.from(first, (start, i) => ({ start, end: start + pages[i] })).sort((a, b) =>
    a.start - b.start
  );
  const starts: number[] = [], ends: number[] = [], before: number[] = [];
  let total = 0;
  for (const { start, end } of rows) {
    const last = ends.length - 1;
    if (last >= 0 && start <= ends[last]) {
      total += Math.max(0, end - ends[last]);
      ends[last] = Math.max(ends[last], end);
      continue;
    }
    starts.push(start);
    ends.push(end);
    before.push(total);
    total += end - start;
  }
  return { starts, ends, before, pages: total };
}

/** Where a page is on the chart, in pages from its beginning; the page must lie in a range. */
export function placeOf(e: Extents, page: number): number {
  let low = 0, high = e.starts.length;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (e.starts[middle] <= page) low = middle;
    else high = middle;
  }
  return e.before[low] + page - e.starts[low];
}
