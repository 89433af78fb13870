/**
 * The tree prefetcher as it was measured on a GTX 1080 (Ganguly et al., ISCA 2019, section 3): one allocation of 2 MiB,
 * blocks of 64 KiB touched one after another, and what the profiler saw move at each touch.
 * @module
 */
import { popcount } from "../../devices/gpu/bitmap.ts";
import { playPolicies } from "../../devices/gpu/play.ts";
import { PAGE_SIZE } from "../../units.ts";
import { type FigureRow, figureRow } from "./row.ts";

const WORK = "Ganguly et al., ISCA 2019: tree prefetcher of a GTX 1080";
const BLOCK = 64 * 1024 / PAGE_SIZE;
const PAGES = 2 * 1024 * 1024 / PAGE_SIZE;

/** Blocks touched, and KiB moved at each touch. */
const SEQUENCES: readonly { readonly blocks: readonly number[]; readonly movedKiB: readonly number[] }[] = [
  { blocks: [0, 1, 2, 4, 8, 16], movedKiB: [64, 64, 128, 256, 512, 1024] },
  { blocks: [1, 3, 0, 4, 8, 16], movedKiB: [64, 64, 128, 256, 512, 1024] },
];

/**
 * Plays both sequences with prefetch "tree50".
 *
 * @returns a line for each touch
 *
 * @example
 * ```ts
 * console.log(gtx1080Tree().every((row) => row.verdict === "reproduces")); // true
 * ```
 */
export function gtx1080Tree(): FigureRow[] {
  return SEQUENCES.flatMap(({ blocks, movedKiB }) => {
    const moved: number[] = [];
    playPolicies({
      rows: blocks.length,
      page: Uint32Array.from(blocks, (block) => block * BLOCK),
      write: new Uint8Array(blocks.length),
      pages: PAGES,
      regions: [{ startVpn: 0, pages: PAGES, firstPage: 0 }],
    }, {
      memory: "2 MiB",
      prefetch: "tree50",
      watch: (b) => moved.push(b.wanted.reduce((n, word) => n + popcount(word), 0) * PAGE_SIZE / 1024),
    });
    return blocks.map((block, i) =>
      figureRow({
        work: WORK,
        figure: `blocks ${blocks.join(", ")}: moved at block ${block}, KiB`,
        published: movedKiB[i],
        // A touch that did not fault moved nothing.
        ours: moved.length === blocks.length ? moved[i] : 0,
        note: "prefetch tree50, one fault at a time",
      }, { verdict: "reproduces" })
    );
  });
}
