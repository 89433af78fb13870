/** One verb for every kind of result: `await show(x)`. */
import { textOf } from "./text.ts";

/** A place where results are shown: a terminal, or a notebook of some kernel. */
interface Face {
  /** Shows one value after what was shown before. */
  show(x: unknown): void | Promise<void>;
}

/** A script or a test: text on the console, and what hmmlab does not know as the console prints it. */
const terminal: Face = {
  show(x) {
    const text = textOf(x);
    if (text === undefined) console.log(x);
    else console.log(text);
  },
};

/** Asked at every call: a kernel may come into being after this module. */
function currentFace(): Face {
  return terminal;
}

/**
 * Shows charts, tables, machines, runs, profiles and anything else, one after the other.
 *
 * In a script it prints text: of a chart its finding and a few figures, of a table its head and tail, of a run or a
 * machine what it says of itself, and anything else as `console.log` would.
 *
 * @param things what to show, in order
 * @returns when all of it has been shown
 *
 * @example
 * ```ts
 * await show({ title: "Moved", numRows: 1, columns: { pages: Uint32Array.of(512) }, units: {} }, "and a string");
 * ```
 */
export async function show(...things: readonly unknown[]): Promise<void> {
  const face = currentFace();
  for (const x of things) await face.show(x);
}
