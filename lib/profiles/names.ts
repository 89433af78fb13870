/**
 * Guesses what was meant by a name that does not exist.
 *
 * @module
 */

/** Levenshtein's distance: insertions, deletions and substitutions that turn one name into the other. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}

/**
 * Finds the name that was probably meant.
 *
 * @param given What was written.
 * @param names The names that exist.
 * @returns The nearest name, the first of equals; undefined when less than half of every name is alike and
 * none contains what was written.
 *
 * @example
 * ```ts
 * console.log(nearestName("titanv", ["epyc-7551p", "titan-v"])); // titan-v
 * ```
 */
export function nearestName(given: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Infinity;
  for (const name of names) {
    const d = distance(given.toLowerCase(), name.toLowerCase());
    const partOf = given !== "" && name.toLowerCase().includes(given.toLowerCase());
    const near = partOf || 2 * d <= Math.max(given.length, name.length);
    if (near && d < least) [best, least] = [name, d];
  }
  return best;
}

/**
 * Asks whether another name was meant, as the end of an error message.
 *
 * @param given What was written.
 * @param names The names that exist.
 * @returns "; did you mean NAME?", or nothing when no name is near.
 */
export function didYouMean(given: string, names: readonly string[]): string {
  const name = nearestName(given, names);
  return name === undefined ? "" : `; did you mean ${name}?`;
}
