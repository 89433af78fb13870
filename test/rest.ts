/** What is broken of a machine in which nothing is under way, for tests of all rooms. */
import { forEachEntry } from "../lib/check/census.ts";
import { Checkers, checkersOf } from "../lib/check/mod.ts";
import { Machine } from "../lib/machine/machine.ts";
import type { Kernel } from "../lib/mm/kernel.ts";
import { PTE_DEVICE, PTE_KIND } from "../lib/mm/pagetable.ts";

/** The rules that look only at rest: those that watch events would find a switched-off fix before its consequences show. */
const AT_REST = [
  "rss",
  "page-table entry",
  "page counts",
  "zone",
  "swap slot",
  "page tables",
  "vma tree",
  "left behind",
  "mirror",
  "cpu tlb",
];
const looking = new WeakMap<Kernel, Checkers>();

/**
 * Counts everything.
 *
 * @param of a machine; with checkers of its own these are asked, else all that look only at rest. Or a kernel
 * @param held references that the test itself holds, by frame
 * @returns what is broken; empty when all is well
 */
export function brokenAtRest(of: Machine | Kernel, held?: ReadonlyMap<number, number>): string[] {
  const m = of instanceof Machine ? of : undefined, k = of instanceof Machine ? of.kernel : of;
  let checkers = m?.checkers ?? looking.get(k);
  if (checkers === undefined) {
    const { watch } = k;
    checkers = new Checkers(k, m?.spec.kernel.seed ?? 0, checkersOf(AT_REST), m?.batches);
    // Those that watch a kernel already go on to.
    k.watchWith(watch);
    looking.set(k, checkers);
  }
  return checkers.brokenAtRest(held).map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}

/** Entries of device-private pages, of all address spaces. */
export function deviceEntries(k: Kernel): number {
  let n = 0;
  for (const mm of k.spaces()) {
    forEachEntry(k.tables, k.root[mm], (_vpn, kind) => {
      if ((kind & PTE_KIND) === PTE_DEVICE) n++;
    });
  }
  return n;
}
