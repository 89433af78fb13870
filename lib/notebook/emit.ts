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

/**
 * The Deno kernel sends outputs and the end of a cell from two queues of another thread, and a client misses what comes
 * after the end. It acknowledges nothing, so we wait: 20 ms do on an idle computer, and where our own timers are late
 * because it is busy, that thread is late too.
 */
const SETTLE_MS = 40;
const LATE_MS = 4;
const MOST_SETTLE_MS = 500;

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
    // tslab sends at once; one turn lets an interrupt through.
    const enough = jupyterKernel() === "deno" ? SETTLE_MS : 1, begin = performance.now();
    for (let before = begin, calm = 0; calm < enough && before - begin < MOST_SETTLE_MS;) {
      await new Promise<void>((resolve) => setTimeout(resolve, 10));
      const now = performance.now();
      // Only time in which this thread got its turns counts.
      if (now - before < 10 + LATE_MS) calm += now - before;
      before = now;
      if (interrupts.raised) throw new InterruptedError("The cell was interrupted.");
    }
  } finally {
    interrupts.release();
  }
}

/**
 * Hands a value that hmmlab knows nothing of to the kernel, to be shown as the value of a cell.
 *
 * @param x the value
 */
export async function sendUnknown(x: unknown): Promise<void> {
  if (jupyterKernel() === "deno") await kernels().Deno!.jupyter.display(x);
  else console.log(x);
}
