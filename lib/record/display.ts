/**
 * How a result says what it wants shown, without knowing who shows it.
 * @module
 */
import type { Columns } from "./columns.ts";

/**
 * The key of the method that `show` looks for: an object with it says itself what it wants shown.
 *
 * @example
 * ```ts
 * import { columnsOf, DISPLAY, type Displayable, show } from "hmmlab";
 *
 * const answer: Displayable = {
 *   [DISPLAY]: () => ({ text: "two seeds", tables: [columnsOf("Runs", [{ seed: 1 }, { seed: 2 }])] }),
 * };
 * await show(answer);
 * ```
 */
export const DISPLAY: unique symbol = Symbol.for("hmmlab.display") as never;

/** What an object wants shown: a few lines of text and the tables behind them. */
export interface Display {
  /** Plain text, without a trailing newline. */
  readonly text: string;
  /** Tables to print under the text, in order. */
  readonly tables?: readonly Columns[];
}

/** Anything that `show` can print beyond charts and tables: a run, a machine, a profile. */
export interface Displayable {
  /** Returns what to show; called once a `show`. */
  [DISPLAY](): Display;
}

/**
 * Tells whether a value implements {@linkcode Displayable}.
 *
 * @param x any value
 * @returns true if `show` can print it by its own text and tables
 *
 * @example
 * ```ts
 * console.log(isDisplayable({ [DISPLAY]: () => ({ text: "two seeds" }) })); // true
 * ```
 */
export function isDisplayable(x: unknown): x is Displayable {
  return typeof x === "object" && x !== null && DISPLAY in x;
}
