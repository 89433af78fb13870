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

/** Pages that are somewhere, as ranges; small sets of large ranges are fast. */
export class PageSet {
  /** First page of each range, ascending. */
  private readonly starts: number[] = [];
  /** Page past the last of each range. */
  private readonly ends: number[] = [];

  /** The first range that ends after `page`. */
  private after(page: number): number {
    let low = 0, high = this.ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ends[middle] <= page) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Puts pages in; `each` hears of every range of them that was not there. */
  add(start: number, end: number, each: (start: number, end: number) => void): void {
    const first = this.after(start);
    let i = first, from = start;
    for (; i < this.starts.length && this.starts[i] < end; i++) {
      if (this.starts[i] > from) each(from, this.starts[i]);
      from = Math.max(from, this.ends[i]);
    }
    if (from < end) each(from, end);
    const low = i > first ? Math.min(start, this.starts[first]) : start;
    const high = i > first ? Math.max(end, this.ends[i - 1]) : end;
    this.starts.splice(first, i - first, low);
    this.ends.splice(first, i - first, high);
  }

  /** Takes pages out; `each` hears of every range of them that was there. */
  remove(start: number, end: number, each: (start: number, end: number) => void): void {
    const first = this.after(start), starts: number[] = [], ends: number[] = [];
    let i = first;
    for (; i < this.starts.length && this.starts[i] < end; i++) {
      const [low, high] = [this.starts[i], this.ends[i]];
      each(Math.max(low, start), Math.min(high, end));
      if (low < start) {
        starts.push(low);
        ends.push(start);
      }
      if (high > end) {
        starts.push(end);
        ends.push(high);
      }
    }
    this.starts.splice(first, i - first, ...starts);
    this.ends.splice(first, i - first, ...ends);
  }
}
