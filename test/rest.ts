/** What is broken of a machine in which nothing is under way, for tests of all rooms. */
import { Checkers, checkersOf } from "../lib/check/mod.ts";
import { DummyDevice } from "../lib/devices/dummy/device.ts";
import type { Machine } from "../lib/machine/machine.ts";

/** The rules that look only at rest: those that watch events would find a switched-off fix before its consequences show. */
export const AT_REST: readonly string[] = [
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
const attached = new WeakMap<Machine, Checkers>();

/**
 * Counts everything.
 *
 * @param m a machine; with checkers of its own these are asked, else all that look only at rest
 * @param held references that the test itself holds, by frame
 * @returns what is broken; empty when all is well
 */
export function brokenAtRest(m: Machine, held?: ReadonlyMap<number, number>): string[] {
  let checkers = m.checkers ?? attached.get(m);
  if (checkers === undefined) {
    const dummy = m.deviceList.find((d) => d instanceof DummyDevice);
    checkers = new Checkers(m.kernel, m.spec.kernel.seed, checkersOf(AT_REST), dummy?.batches);
    attached.set(m, checkers);
  }
  return checkers.brokenAtRest(held).map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}
