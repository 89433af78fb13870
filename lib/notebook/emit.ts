/** One MIME bundle, on whichever kernel this is. */
import { setTimeout } from "node:timers";
import { UsageError } from "../errors.ts";
import { InterruptedError, jupyterKernel, watchInterrupts } from "../sim/interrupt.ts";

/** A display in several forms, of which the reader's program takes the richest that it knows: data by MIME type. */
export type Bundle = Readonly<Record<string, unknown>>;

/** How a bundle is displayed. */
export interface EmitOptions {
  /** A name under which it can be replaced later. */
  readonly displayId?: string;
  /** Whether it replaces the display of that name instead of standing on its own. */
  readonly update?: boolean;
}

/** What the two kernels offer; neither is imported. */
interface Kernels {
  readonly Deno?: {
    readonly jupyter: {
      broadcast(type: string, content: object): Promise<void> | void;
      display(x: unknown): Promise<void>;
    };
  };
  readonly __tslab__?: {
    readonly require: { readonly cache?: Readonly<Record<string, { readonly exports: TslabModule }>> };
  };
}

interface TslabModule {
  readonly lastWriteDisplayData?: ((content: object, update: boolean) => void) | null;
}

/** The Deno kernel may tell that a cell has ended before its last output is out, and a client then misses it. */
const SETTLE_MS = 20;

function kernels(): Kernels {
  return globalThis as Kernels;
}

/** tslab's own module in the instance that runs: it may lie anywhere, so it is found among what is loaded. */
function tslabWriter(): (content: object, update: boolean) => void {
  const cache = kernels().__tslab__?.require.cache ?? {};
  for (const [path, module] of Object.entries(cache)) {
    if (!/[\\/]tslab[\\/]dist[\\/]jupyter\.js$/.test(path)) continue;
    const { lastWriteDisplayData: write } = module.exports;
    if (write) return write;
  }
  throw new UsageError(
    "Cannot display: this tslab has no display that hmmlab knows; versions 1.0.20 to 1.0.22 are known; " +
      "write npm install tslab@1.0.22",
  );
}

/**
 * Hands a bundle to the kernel without waiting.
 *
 * @param bundle the display
 * @param options whether it can be replaced, or replaces one
 * @returns when the kernel has taken it
 * @throws UsageError in a script, where there is none to take it
 */
export async function send(bundle: Bundle, options: EmitOptions = {}): Promise<void> {
  const { displayId, update = false } = options;
  const content = {
    data: bundle,
    metadata: {},
    transient: displayId === undefined ? {} : { display_id: displayId },
  };
  if (jupyterKernel() === "deno") {
    await kernels().Deno!.jupyter.broadcast(update ? "update_display_data" : "display_data", content);
  } else tslabWriter()(content, update);
}

/**
 * Waits until what was displayed cannot be lost any more, and lets an interrupt through.
 *
 * @throws InterruptedError when the notebook's user stops the cell meanwhile
 */
export async function settle(): Promise<void> {
  const interrupts = watchInterrupts();
  try {
    await new Promise<void>((resolve) => setTimeout(resolve, SETTLE_MS));
    if (interrupts.raised) throw new InterruptedError("The cell was interrupted.");
  } finally {
    interrupts.release();
  }
}

/**
 * Displays a bundle in the cell that runs.
 *
 * @param bundle the display
 * @param options whether it can be replaced, or replaces one
 * @returns when it cannot be lost any more
 */
export async function emit(bundle: Bundle, options: EmitOptions = {}): Promise<void> {
  await send(bundle, options);
  await settle();
}

/**
 * Displays a value that hmmlab knows nothing of, as the kernel shows the value of a cell.
 *
 * @param x the value
 */
export async function emitUnknown(x: unknown): Promise<void> {
  if (jupyterKernel() === "deno") await kernels().Deno!.jupyter.display(x);
  else console.log(x);
  await settle();
}
