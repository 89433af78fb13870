/**
 * Switches that take a known fix or check out of the model, so that the explorer can show what it is good for.
 * @module
 */
import { describe, didYouMean } from "../arguments.ts";
import { UsageError } from "../errors.ts";

const known = new Map<string, string>();

/**
 * Declares a switch, at the top of the file whose code obeys it.
 *
 * @param name what is taken out, for example "sequence check"
 * @param why what then goes wrong
 * @returns the name
 */
export function defineRevert(name: string, why: string): string {
  known.set(name, why);
  return name;
}

/**
 * The fixes and checks that can be switched off, for `machine({ revert })` and `explore(race, { revert })`.
 *
 * @returns for each name what goes wrong without it
 *
 * @example
 * ```ts
 * import { revertNames } from "hmmlab";
 *
 * console.log(revertNames()["sequence check"]);
 * ```
 */
export function revertNames(): Readonly<Record<string, string>> {
  return Object.fromEntries(known);
}

/**
 * Checks the names of switches.
 *
 * @param names what a user asked to revert
 * @returns the same as a set
 * @throws {UsageError} for a name that no file declares
 */
export function reverts(names: readonly string[]): ReadonlySet<string> {
  for (const name of names) {
    if (known.has(name)) continue;
    const all = [...known.keys()];
    throw new UsageError(
      `Cannot revert: got ${describe(name)}; allowed are ${all.map((n) => JSON.stringify(n)).join(", ")}${
        didYouMean(String(name), all)
      }`,
    );
  }
  return new Set(names);
}
