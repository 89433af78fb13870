/**
 * The stop button of a notebook: long work asks here whether it was pressed.
 * @module
 */
import process from "node:process";
import { setTimeout } from "node:timers";

/** Thrown when a notebook's user stops long work. */
export class InterruptedError extends Error {
  /** Tells it from other errors without `instanceof`. */
  override readonly name: string = "InterruptedError";
}

/** Which Jupyter kernel this process is, if any. */
export type JupyterKernel = "deno" | "tslab";

/**
 * Tells in which Jupyter kernel this code runs, without importing anything of it.
 *
 * @returns its name, or undefined in a script
 */
export function jupyterKernel(): JupyterKernel | undefined {
  const { Deno, __tslab__ } = globalThis as {
    Deno?: { readonly jupyter?: unknown };
    __tslab__?: { readonly require?: unknown };
  };
  if (typeof __tslab__?.require === "function") return "tslab";
  try {
    return Deno?.jupyter ? "deno" : undefined;
  } catch {
    return undefined; // so it is said outside of the kernel
  }
}

/** A watch over interrupts, from {@linkcode watchInterrupts}. */
export interface InterruptWatch {
  /** Whether the user has interrupted since the watch began. */
  readonly raised: boolean;
  /** Ends the watch. */
  release(): void;
}

/** A second press of the button must not end the kernel just because the first one has already had its effect. */
const GRACE_MS = 2000;

class Watch implements InterruptWatch {
  raised = false;

  release(): void {
    if (!watches.delete(this) || watches.size > 0) return;
    const timer = setTimeout(() => {
      if (watches.size === 0) process.off("SIGINT", raise);
    }, GRACE_MS);
    timer.unref();
  }
}

const watches = new Set<Watch>();

function raise(): void {
  for (const watch of watches) watch.raised = true;
}

function listen(): void {
  if (watches.size > 0 && !process.listeners("SIGINT").includes(raise)) process.on("SIGINT", raise);
}

/**
 * Watches for a notebook's interrupt (SIGINT) while long work goes on in slices.
 *
 * Without a listener an interrupt ends the Deno kernel; tslab lets the cell go, but the work would go on behind the
 * cells that follow. In a script Ctrl-C keeps its meaning and nothing is ever raised.
 *
 * @returns the watch, to be released when the work ends
 */
export function watchInterrupts(): InterruptWatch {
  const watch = new Watch(), kernel = jupyterKernel();
  if (kernel === undefined) return watch;
  watches.add(watch);
  // tslab runs a cell up to its first await with node:vm's breakOnSigint. That puts SIGINT back to ending the process
  // when it is over, under a listener that came meanwhile; so none may come then.
  if (kernel === "tslab") setTimeout(listen, 0);
  else listen();
  return watch;
}

let lastBreathMs = 0;

/**
 * Lets interrupts, displays and timers through: nothing of these happens while a cell computes.
 *
 * @param afterMs only if that was last done so long ago, in milliseconds of wall time
 */
export async function breathe(afterMs: number = 0): Promise<void> {
  if (performance.now() - lastBreathMs < afterMs) return;
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
  lastBreathMs = performance.now();
}
