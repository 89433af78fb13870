/**
 * Switches that take a known fix or check out of the model, so that the explorer can show what it is good for.
 * @module
 */
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
 * Checks the names of switches.
 *
 * @param names what a user asked to revert
 * @returns the same as a set
 * @throws UsageError for a name that no file declares
 */
export function reverts(names: readonly string[]): ReadonlySet<string> {
  for (const name of names) {
    if (!known.has(name)) {
      throw new UsageError(
        `Cannot revert "${name}": no such switch; there are ${
          [...known].map(([n, why]) => `"${n}" (${why})`).join(", ")
        }.`,
      );
    }
  }
  return new Set(names);
}
