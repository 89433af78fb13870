/**
 * The tree prefetcher as it was measured on a GTX 1080 (Ganguly et al., ISCA 2019, section 3): one allocation of 2 MiB,
 * blocks of 64 KiB touched one after another, and what the profiler saw move at each touch.
 * @module
 */
import published from "../../../datasets/published/gtx1080-tree.json" with { type: "json" };
import { popcount } from "../../devices/gpu/bitmap.ts";
import { playPolicies } from "../../devices/gpu/play.ts";
import { PAGE_SIZE } from "../../units.ts";
import { linesOf, type PublishedFigure } from "./published.ts";
import type { FigureRow } from "./row.ts";

const WORK = "Ganguly et al., ISCA 2019: tree prefetcher of a GTX 1080";
const BLOCK = 64 * 1024 / PAGE_SIZE;
const PAGES = 2 * 1024 * 1024 / PAGE_SIZE;

const figureOf = (blocks: readonly number[], block: number) =>
  `blocks ${blocks.join(", ")}: moved at block ${block}, KiB`;

/** What they measured, touch by touch. */
export const GTX1080_TREE_FIGURES: readonly PublishedFigure[] = published.sequences.flatMap((
  { blocks, movedKiB },
) => blocks.map((block, i) => ({ figure: figureOf(blocks, block), value: movedKiB[i] })));

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
  const line = linesOf(WORK, GTX1080_TREE_FIGURES);
  return published.sequences.flatMap(({ blocks }) => {
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
      line(
        figureOf(blocks, block),
        // A touch that did not fault moved nothing.
        moved.length === blocks.length ? moved[i] : 0,
        "prefetch tree50, one fault at a time",
        { verdict: "reproduces" },
      )
    );
  });
}
