/**
 * How many page frames things have.
 * @module
 */

/** Frames of a large folio: 2 MiB. */
export const HUGE_PAGES = 512;

/** The shared page of zeros. */
export const ZERO_PFN = 0;
/** Pages in a memory section, the unit in which memory is added: 128 MiB. */
export const SECTION_PAGES = 32768;
/** Most page frames of a machine: a frame number and six flag bits fit 32 bits. */
export const MAX_PAGES = 1 << 26;

/** Sections that the memory of some NUMA nodes takes: each node's begins with one of its own. */
export function ramSections(nodes: readonly number[]): number {
  return nodes.reduce((n, pages) => n + Math.ceil(pages / SECTION_PAGES), 0);
}
