/**
 * Mirrors and range monitors of patchset v13, as they were meant to be.
 *
 * The books that are kept here are of what was asked for and who was called; what `struct hmm` itself has noted is not
 * looked at.
 * @module
 */
import type { Checker } from "./checker.ts";

/** Mirrors, and ranges that are linked, at once, of a whole machine. */
const MOST_ROWS = 64;

const toldMirrors: Checker = {
  name: "v13 mirror",
  fact: "F29",
  says:
    "An invalidation reaches every mirror of its address space, whether it had to wait for a range lock or not.",
  make({ kernel: { sim }, memory, broken }) {
    // By row of a mirror: address space + 1. By actor: a bit for each mirror that its invalidation has not reached.
    const mirrorMm = memory.u16("v13 mirrors", MOST_ROWS), words = MOST_ROWS / 32;
    const left = memory.u32("v13 mirrors left", sim.maxActors * words);
    const reached = (a: number, row: number) => {
      left[a * words + (row >>> 5)] &= ~(1 << (row & 31));
    };
    return {
      mirrorLinked13(row, mm) {
        mirrorMm[row] = mm + 1;
      },
      mirrorUnlinked13(row) {
        mirrorMm[row] = 0;
        // Nobody has to call one that is gone, nor the next at its row, which was linked after the invalidation began.
        for (let a = 0; a < sim.maxActors; a++) reached(a, row);
      },
      invalidationStarts13(a, { mm }) {
        for (let row = 0; row < MOST_ROWS; row++) {
          if (mirrorMm[row] === mm + 1) left[a * words + (row >>> 5)] |= 1 << (row & 31);
          else reached(a, row);
        }
      },
      mirrorTold13: reached,
      invalidationTold13(a, e) {
        for (let row = 0; row < MOST_ROWS; row++) {
          if (!((left[a * words + (row >>> 5)] >>> (row & 31)) & 1)) continue;
          broken(`an invalidation goes on without a call of mirror ${row}`, { mm: e.mm, vpn: e.start });
        }
      },
    };
  },
};

const monitoredRange: Checker = {
  name: "v13 monitor",
  fact: "F29",
  says: "A range monitor reports each invalidation that overlaps its range, and no other.",
  make({ memory, broken }) {
    // By row of a monitor: address space + 1, the range that was asked for, whether an invalidation met it.
    const space = memory.u16("v13 monitor.mm", MOST_ROWS), met = memory.u8("v13 monitor.met", MOST_ROWS);
    const start = memory.f64("v13 monitor.start", MOST_ROWS), end = memory.f64("v13 monitor.end", MOST_ROWS);
    return {
      monitorStarts13(row, mm, from, to) {
        [space[row], start[row], end[row]] = [mm + 1, from, to];
      },
      invalidationStarts13(_a, e) {
        for (let row = 0; row < MOST_ROWS; row++) {
          if (space[row] === e.mm + 1 && e.start < end[row] && start[row] < e.end) met[row] = 1;
        }
      },
      monitorEnds13(row, valid) {
        const where = { mm: space[row] - 1, vpn: start[row] };
        if (valid && met[row] !== 0) {
          broken("a range monitor does not report an invalidation that met its range", where);
        }
        if (!valid && met[row] === 0) broken("a range monitor reports what did not meet its range", where);
        space[row] =
          met[row] =
          start[row] =
          end[row] =
            0;
      },
    };
  },
};

/** The rules of patchset v13. */
export const V13: readonly Checker[] = [toldMirrors, monitoredRange];
