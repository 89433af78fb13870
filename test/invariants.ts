/** The rules at rest by their former name, for tests that still ask so; new tests take test/rest.ts. */
import { forEachEntry } from "../lib/check/census.ts";
import type { Kernel } from "../lib/mm/kernel.ts";
import type { PageTables } from "../lib/mm/pagetable.ts";
import { brokenAtRest } from "./rest.ts";

/** Names every rule that is broken; address spaces and mirrors are found by themselves. */
export function brokenRules({ kernel, held }: {
  readonly kernel: Kernel;
  readonly spaces?: readonly number[];
  readonly mirrors?: readonly unknown[];
  readonly batches?: unknown;
  readonly held?: ReadonlyMap<number, number>;
}): string[] {
  return brokenAtRest(kernel, held);
}

/** The entries of a tree that are not empty, in order. */
export function leaves(tables: PageTables, root: number): { vpn: number; kind: number; pfn: number }[] {
  const found: { vpn: number; kind: number; pfn: number }[] = [];
  forEachEntry(tables, root, (vpn, kind, pfn) => found.push({ vpn, kind, pfn }));
  return found;
}
