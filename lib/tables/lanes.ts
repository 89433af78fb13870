/**
 * Tracks for stretches of time: on one track a stretch lies in another or beside it, never across its end.
 * @module
 */

/** Stretches in the order in which a reader draws them, each with its track. */
export interface Lanes {
  /** Row numbers: by start, the longer first, then by their order in the table. */
  readonly order: Uint32Array;
  /** Track by row number, from 0. */
  readonly lane: Uint32Array;
  /** How many tracks there are. */
  readonly lanes: number;
}

/**
 * Lays stretches on as few tracks as come first: each on the first one on which it crosses nothing.
 *
 * @param startNs start by row
 * @param durationNs length by row
 * @param rows the rows that share tracks
 * @param nest whether a stretch may lie in another; if not, those of a track follow each other
 * @returns the order, and the track of each of `rows`
 */
export function lanesOf(
  startNs: ArrayLike<number>,
  durationNs: ArrayLike<number>,
  rows: readonly number[],
  nest = true,
): Lanes {
  const order = Uint32Array.from(rows).sort((a, b) =>
    startNs[a] - startNs[b] || durationNs[b] - durationNs[a] || a - b
  );
  const lane = new Uint32Array(startNs.length);
  // Ends of the stretches that are open on each track, outermost first.
  const open: number[][] = [];
  for (const row of order) {
    const end = startNs[row] + durationNs[row];
    let l = 0;
    for (;; l++) {
      const ends = open[l] ??= [];
      while (ends.length > 0 && ends[ends.length - 1] <= startNs[row]) ends.pop();
      if (ends.length === 0 || (nest && end <= ends[ends.length - 1])) break;
    }
    open[l].push(end);
    lane[row] = l;
  }
  return { order, lane, lanes: open.length };
}
