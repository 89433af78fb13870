/**
 * Checkers: rules of memory management that are looked after while a machine runs.
 *
 * A checker is an object with a name, the hard case that it stands for, a sentence that says what must hold, and hooks
 * ({@linkcode Hooks}): on events as a kernel tells of them (lib/mm/watch.ts), at stops, and at rest, when every actor
 * has ended and everything is counted anew from outside. One file holds one family of rules.
 *
 * To add a rule: write the object in the file of its family (or a new one), and put it into the file's exported list;
 * a new file's list goes into ALL below. `make(scene)` is called once a machine. What the rule must remember between
 * events lies in columns of `scene.memory`: they are saved, restored and hashed with the machine's state, so that the
 * explorer neither loses nor invents a finding; columns by frame take `() => pages.extents(1)` as their rows. A rule
 * reports with `scene.broken(what, { mm, vpn, pfn })` and changes nothing of the machine. A point that is missing is
 * added to `Watch` with one call `k.watch?.point(…)` in the code, by range or batch, never in a loop over pages.
 * A device shows its tables by adding a function to `kernel.mirrors`.
 * @module
 */
import { describe, didYouMean } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Checker } from "./checker.ts";
import { CONSERVATION } from "./conservation.ts";
import { DEVICE_FAULT } from "./device_fault.ts";
import { DEVMEM } from "./devmem.ts";
import { LOCKS } from "./lock_order.ts";
import { MIGRATION } from "./migration.ts";
import { NOTIFIER } from "./notifier.ts";
import { REST } from "./rest.ts";
import { SHARING } from "./sharing.ts";
import { V13 } from "./v13.ts";

export { type Checker, Checkers, type Hooks, type Scene, type Where } from "./checker.ts";
export { forgetLockOrder, lockOrder } from "./lock_graph.ts";
export { type BrokenRule, InvariantError } from "./violation.ts";

/** Every rule, by family. */
const ALL: readonly Checker[] = [
  ...CONSERVATION,
  ...REST,
  ...DEVMEM,
  ...SHARING,
  ...MIGRATION,
  ...NOTIFIER,
  ...DEVICE_FAULT,
  ...LOCKS,
  ...V13,
];

/**
 * The rules that can be looked after, for `machine({ checkers })` and `explore(race, { checkers })`.
 *
 * @returns for each name what must hold, with the hard case that it stands for
 *
 * @example
 * ```ts
 * import { checkerNames } from "hmmlab";
 *
 * console.log(checkerNames()["dirty bit"]);
 * ```
 */
export function checkerNames(): Readonly<Record<string, string>> {
  return Object.fromEntries(ALL.map(({ name, fact, says }) => [name, `${says} [${fact}]`]));
}

/**
 * Checks the names of checkers.
 *
 * @param act what is done, for the message
 * @param asked "all", or names
 * @returns the names, in the order of the rules
 * @throws {UsageError} for a name that no rule has
 */
export function checkCheckers(act: string, asked: unknown): readonly string[] {
  const all = ALL.map(({ name }) => name);
  if (asked === "all") return all;
  if (!Array.isArray(asked)) {
    throw new UsageError(
      `Cannot ${act}: got ${describe(asked)} for checkers; "all" and an array of names are allowed; ` +
        'write for example checkers: "all"',
    );
  }
  for (const name of asked) {
    if (all.includes(name)) continue;
    throw new UsageError(
      `Cannot ${act}: got checker ${describe(name)}; allowed are ${
        all.map((n) => JSON.stringify(n)).join(", ")
      }${didYouMean(String(name), all)}`,
    );
  }
  return all.filter((name) => asked.includes(name));
}

/** The rules of some names, as {@linkcode checkCheckers} returned them. */
export function checkersOf(names: readonly string[]): readonly Checker[] {
  return ALL.filter(({ name }) => names.includes(name));
}
