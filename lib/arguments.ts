/**
 * Wrong arguments: how they are shown, what was probably meant, and how they are refused.
 *
 * @module
 */

import { UsageError } from "./errors.ts";

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

/**
 * What a wrong argument is, in a few words.
 *
 * @param x Anything.
 * @returns For example `"64 gib"`, `-1`, `null`, `a function`, `an array of 3`, `a Region`, `an object with host, seed`.
 *
 * @example
 * ```ts
 * console.log(describe([1, 2, 3])); // an array of 3
 * ```
 */
export function describe(x: unknown): string {
  if (x === null || x === undefined) return String(x);
  if (typeof x === "string") return JSON.stringify(x.length > 40 ? x.slice(0, 40) + "…" : x);
  if (typeof x === "number" || typeof x === "boolean" || typeof x === "bigint") return String(x);
  if (Array.isArray(x)) return `an array of ${x.length}`;
  if (ArrayBuffer.isView(x)) return `a ${x.constructor.name} of ${x.byteLength} bytes`;
  if (typeof x === "function") return "a function";
  if (typeof x === "symbol") return "a symbol";
  if (typeof (x as Iterator<unknown>).next === "function") return "a generator";
  if (x instanceof Promise) return "a Promise (was an await forgotten?)";
  const kind = (Object.getPrototypeOf(x) as { constructor?: { name?: string } } | null)?.constructor?.name;
  if (kind !== undefined && kind !== "" && kind !== "Object") {
    return `${/^[AEIO]/.test(kind) ? "an" : "a"} ${kind}`;
  }
  const keys = Object.keys(x);
  return `an object with ${keys.length > 0 ? keys.slice(0, 5).join(", ") : "no keys"}`;
}

/**
 * Refuses what is no object of options, an option that nobody reads, and null in place of an option left out.
 *
 * @param act What was to be done, as it follows "Cannot" in the message.
 * @param options What was given.
 * @param known The options there are, as keys.
 * @param example What could have been written instead.
 * @throws {UsageError} Naming the option and the one that was probably meant.
 *
 * @example
 * ```ts
 * checkOptions("build the machine", { seed: 1 }, { seed: true, host: true }, "{ seed: 1 }");
 * ```
 */
export function checkOptions(
  act: string,
  options: unknown,
  known: Readonly<Record<string, unknown>>,
  example: string,
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(options)
      } for the options; an object is allowed; write for example ${example}`,
    );
  }
  const names = Object.keys(known);
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(known, key)) {
      throw new UsageError(
        `Cannot ${act}: got option ${JSON.stringify(key)}; allowed are ${names.join(", ")}${
          didYouMean(key, names)
        }`,
      );
    }
    if (value === null) {
      throw new UsageError(`Cannot ${act}: got null for ${key}; leave ${key} out to have its default`);
    }
  }
}

/**
 * Refuses what is no whole number in a range.
 *
 * @param act What was to be done, as it follows "Cannot" in the message.
 * @param name The argument's or option's name.
 * @param x What was given.
 * @param least The smallest that is allowed.
 * @param most The largest that is allowed.
 * @returns The number.
 * @throws {UsageError} Naming what was given and the range.
 *
 * @example
 * ```ts
 * console.log(wholeNumber("build the machine", "actors", 8, 2, 1024)); // 8
 * ```
 */
export function wholeNumber(act: string, name: string, x: unknown, least: number, most: number): number {
  if (typeof x === "number" && Number.isInteger(x) && x >= least && x <= most) return x;
  const near = Math.min(most, Math.max(least, Math.round(Number(x)) || 0));
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
  throw new UsageError(
    `Cannot ${act}: got ${
      describe(x)
    } for ${name}; a whole number, ${range}, is allowed; write for example ${near}`,
  );
}

/**
 * Refuses what is no word: what one modelled cell of memory holds.
 *
 * @param act What was to be done, as it follows "Cannot" in the message.
 * @param name The argument's or option's name.
 * @param x What was given.
 * @returns The word.
 * @throws {UsageError} Naming what was given.
 */
export function checkWord(act: string, name: string, x: unknown): number {
  if (typeof x === "number" && x >>> 0 === x) return x;
  throw new UsageError(
    `Cannot ${act}: got ${
      describe(x)
    } for ${name}; a word is a whole number from 0 to 4294967295 (32 bits); ` +
      `write for example 1`,
  );
}

/**
 * Says in an error for which argument a value was read.
 *
 * @param act What was to be done and with which argument, as it follows "Cannot" in the message.
 * @param read Reads the value.
 * @returns What `read` returns.
 * @throws {UsageError} The one that `read` throws, told as part of `act`.
 *
 * @example
 * ```ts
 * console.log(during("build the machine: memory", () => 65536)); // 65536
 * ```
 */
export function during<R>(act: string, read: () => R): R {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`Cannot ${act}: ${error.message.replace(/^Cannot [^:]*: /, "")}`);
  }
}
