/** VA blocks for tests of prefetch policies: made, drawn at random and read as sets of pages. */
import fc from "fast-check";
import { has, set } from "../../../lib/devices/gpu/bitmap.ts";
import { BLOCK_PAGES, BLOCK_WORDS, type PrefetchBlock } from "../../../lib/devices/gpu/policy.ts";

/** The pages of a bitmap, ascending. */
export function pagesOf(map: Uint32Array): number[] {
  return Array.from({ length: BLOCK_PAGES }, (_, i) => i).filter((i) => has(map, i));
}

/** A bitmap of pages. */
export function bitmap(pages: Iterable<number>): Uint32Array {
  const map = new Uint32Array(BLOCK_WORDS);
  for (const i of pages) set(map, i);
  return map;
}

/** A range of numbers. */
export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

/** A block of which everything is valid unless said otherwise. */
export function block(
  faulted: Iterable<number>,
  resident: Iterable<number> = [],
  valid: Iterable<number> = range(0, BLOCK_PAGES),
  thrashing: Iterable<number> = [],
): PrefetchBlock {
  const f = bitmap(faulted);
  return {
    firstVpn: 512,
    valid: bitmap(valid),
    resident: bitmap(resident),
    faulted: f,
    thrashing: bitmap(thrashing),
    wanted: f.slice(),
  };
}

/** Any block that a driver may hand to a policy: one vma's range of it, faults on what is not resident. */
export const anyBlock: fc.Arbitrary<PrefetchBlock> = fc.record({
  from: fc.oneof(fc.constant(0), fc.nat({ max: BLOCK_PAGES - 1 })),
  length: fc.oneof(fc.constant(BLOCK_PAGES), fc.integer({ min: 1, max: BLOCK_PAGES })),
  resident: fc.array(fc.tuple(fc.nat({ max: BLOCK_PAGES - 1 }), fc.integer({ min: 1, max: 80 })), {
    maxLength: 8,
  }),
  faulted: fc.array(fc.nat({ max: BLOCK_PAGES - 1 }), { minLength: 1, maxLength: 12 }),
  thrashing: fc.array(fc.nat({ max: BLOCK_PAGES - 1 }), { maxLength: 6 }),
}).map(({ from, length, resident, faulted, thrashing }) => {
  const end = Math.min(BLOCK_PAGES, from + length), valid = range(from, end);
  const inside = (i: number) => i >= from && i < end;
  const there = new Set(resident.flatMap(([at, n]) => range(at, at + n)).filter(inside));
  return block(faulted.filter((i) => inside(i) && !there.has(i)), there, valid, thrashing.filter(inside));
});

/** The same block after what was wanted has moved, with the same faults taken again by whoever still misses a page. */
export function moved(b: PrefetchBlock, faulted: Iterable<number>): PrefetchBlock {
  const there = new Set([...pagesOf(b.resident), ...pagesOf(b.wanted)]);
  return block([...faulted].filter((i) => !there.has(i)), there, pagesOf(b.valid), pagesOf(b.thrashing));
}
