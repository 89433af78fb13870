/**
 * How an object says in one line what it is, where a console or a notebook prints it.
 * @module
 */

/**
 * The key of the method that consoles and notebooks of Deno and Node ask for a line in place of an object's insides.
 *
 * What it returns is short; {@linkcode DISPLAY} is what `show` prints.
 *
 * @example
 * ```ts
 * import { INSPECT } from "hmmlab";
 *
 * class Answer {
 *   [INSPECT](): string {
 *     return "Answer: 42";
 *   }
 * }
 * console.log(new Answer()); // Answer: 42
 * ```
 */
export const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;
