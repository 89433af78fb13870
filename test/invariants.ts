/** The rules at rest by their former name, for tests that still ask so; new tests take test/rest.ts. */
import { forEachEntry } from "../lib/check/census.ts";
import { Checkers, checkersOf } from "../lib/check/mod.ts";
import type { Batches } from "../lib/hmm/batches.ts";
import type { Kernel } from "../lib/mm/kernel.ts";
import type { PageTables } from "../lib/mm/pagetable.ts";
import { AT_REST } from "./rest.ts";

/** What is looked at: address spaces and mirrors are found by themselves. */
export interface Machinery {
  readonly kernel: Kernel;
  readonly spaces?: readonly number[];
  readonly mirrors?: readonly unknown[];
  readonly batches?: Batches;
  /** References that a test holds itself, by frame. */
  readonly held?: ReadonlyMap<number, number>;
}

const attached = new WeakMap<Kernel, Checkers>();

/** Names every rule that is broken; empty when all is well. */
export function brokenRules({ kernel, batches, held }: Machinery): string[] {
  let checkers = attached.get(kernel);
  if (checkers === undefined) {
    const watch = kernel.watch;
    checkers = new Checkers(kernel, 0, checkersOf(AT_REST), batches);
    kernel.watchWith(watch);
    attached.set(kernel, checkers);
  }
  return checkers.brokenAtRest(held).map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}

/** The entries of a tree that are not empty, in order. */
export function leaves(tables: PageTables, root: number): { vpn: number; kind: number; pfn: number }[] {
  const found: { vpn: number; kind: number; pfn: number }[] = [];
  forEachEntry(tables, root, (vpn, kind, pfn) => found.push({ vpn, kind, pfn }));
  return found;
}
