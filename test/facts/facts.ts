/** What the tests of the hard cases have in common: a race that holds, and the switch that breaks it. */
import { expect } from "vitest";
import type { DummyDevice } from "../../lib/devices/dummy/device.ts";
import {
  type Exploration,
  explore,
  type ExploreOptions,
  type Litmus,
  replay,
} from "../../lib/explore/litmus.ts";
import type { Region } from "../../lib/machine/process.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { PTE_KIND, PTE_NONE } from "../../lib/mm/pagetable.ts";

/** Explores a race in which every interleaving must end well and no checker complains; prints how many there were. */
export async function holds(race: Litmus, options: ExploreOptions = {}): Promise<Exploration> {
  const found = await explore(race, { checkers: "all", ...options });
  expect(found.found.violations).toEqual([]);
  expect(found.found.exhaustive).toBe(true);
  const { states, transitions } = found.found, without = options.revert ?? [];
  const what = without.length > 0 ? `${race.name}, without ${without.join(", ")}` : race.name;
  console.log(`${what}: exhaustive, ${states} states, ${transitions} transitions`);
  return found;
}

/** Explores a race that some schedule must break, and sees that this schedule breaks the same rule again. */
export async function breaks(
  race: Litmus,
  rule: string | RegExp,
  options: ExploreOptions = {},
): Promise<Exploration> {
  const found = await explore(race, options);
  expect(found.violated).toMatch(rule);
  const again = replay(race, found).violated;
  // A deadlock's report names who waits; a replay says only that it is one.
  if (found.violated?.startsWith("deadlock")) expect(again).toBe("deadlock");
  else expect(again).toBe(found.violated);
  const without = options.revert ?? [];
  console.log(
    `${race.name}${
      without.length > 0 ? `, without ${without.join(", ")}` : ""
    }: ${found.violated}, by ${found.schedule}`,
  );
  return found;
}

/** A race that holds, and in which without a fix some schedule breaks a rule. */
export async function needs(race: Litmus, revert: string, rule: string | RegExp): Promise<void> {
  await holds(race);
  await breaks(race, rule, { revert: [revert] });
}

/** Kind (with its bits) and frame of the entry of a page; kind 0 for none. */
export function entryOf(k: Kernel, mm: number, vpn: number): { kind: number; pfn: number; bits: number } {
  const e = k.tables.entry(k.root[mm], vpn);
  if (e < 0) return { kind: PTE_NONE, pfn: 0, bits: 0 };
  return { kind: k.tables.kind[e] & PTE_KIND, pfn: k.tables.pfn[e], bits: k.tables.kind[e] };
}

/** The word of a page wherever it is, without an access. */
export function wordOf(r: Region): number {
  const { kernel: k } = r.process.machine;
  return k.pages.word[entryOf(k, r.process.mm, r.vpn).pfn * k.pages.wordsPerPage];
}

/** The first frame of a device's memory. */
export function firstFrame(d: DummyDevice): number {
  return d.memory!.zone.start;
}
