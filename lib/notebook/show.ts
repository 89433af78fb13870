/** One verb for every kind of result: `await show(x)`. */
import { jupyterKernel } from "../sim/interrupt.ts";
import { bundleOf } from "./bundle.ts";
import { send, sendUnknown, settle } from "./emit.ts";
import { warnIfStale } from "./stale.ts";
import { textOf } from "./text.ts";

/** A place where results are shown: a terminal, or a notebook of some kernel. */
interface Face {
  /** Shows one value after what was shown before. */
  show(x: unknown): void | Promise<void>;
  /** Waits until nothing of what was shown can be lost any more. */
  settle?(): Promise<void>;
}

/** A script or a test: text on the console, and what hmmlab does not know as the console prints it. */
const terminal: Face = {
  show(x) {
    const text = textOf(x);
    if (text === undefined) console.log(x);
    else console.log(text);
  },
};

/** A cell of a notebook: one bundle a thing, and what hmmlab does not know as the kernel prints it. */
const notebook: Face = {
  async show(x) {
    if (jupyterKernel() === "tslab") warnIfStale();
    const bundle = await bundleOf(x);
    if (bundle === undefined) await sendUnknown(x);
    else await send(bundle);
  },
  settle,
};

/** Asked at every call: a kernel may come into being after this module. */
function currentFace(): Face {
  return jupyterKernel() === undefined ? terminal : notebook;
}

/**
 * Shows charts, tables, machines, runs, profiles and anything else, one after the other.
 *
 * In a notebook, on the Deno and the tslab kernel alike, a chart is drawn (as Vega-Lite, with an image and text for
 * those who read it elsewhere), a table shows head, tail and row count, a run or a machine what it says of itself, a
 * string its text, and anything else what the kernel prints of it. In a script all of it is text.
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
  if (things.length > 0) await face.settle?.();
}
