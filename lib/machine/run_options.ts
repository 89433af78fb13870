/**
 * How a run is driven: its options, checked.
 * @module
 */
import { checkOptions, describe, wholeNumber } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Progress } from "./workload.ts";

/** How a run is driven, and what it keeps. */
export interface RunOptions {
  /**
   * "clock" (default): in virtual time, side by side; "complete": one after the other; "steps": a turn each at every
   * stop. Only the clock looks at progress, budget and signal.
   */
  readonly runner?: "clock" | "complete" | "steps";
  /** Called some twenty times a second of wall time. */
  readonly progress?: (p: Progress) => void;
  /** Ends the run after so many seconds of wall time, with what it has; the machine cannot go on after that. */
  readonly budgetSeconds?: number;
  /** Ends the run when aborted, with what it has; the machine cannot go on after that. */
  readonly signal?: AbortSignal;
  /**
   * Keeps up to so many single spans as rows of `run.events`, 35 bytes each, and of what devices record in `run.records`
   * (default 0, at most 100,000,000).
   */
  readonly events?: number;
  /**
   * Keeps up to so many stretches of one phase within spans as rows of `run.slices`, 19 bytes each (default 0, at most
   * 100,000,000); a fault has some four, one with a migration ten.
   */
  readonly slices?: number;
}

const RUN_OPTIONS: Readonly<Record<keyof RunOptions, true>> = {
  runner: true,
  progress: true,
  budgetSeconds: true,
  signal: true,
  events: true,
  slices: true,
};
const RUNNERS = ["clock", "complete", "steps"];
const MOST_EVENTS = 100_000_000;

/**
 * Refuses options of a run that are none.
 *
 * @param o what the user gave
 * @throws {UsageError} naming the option, what was given and what is allowed
 */
export function checkRunOptions(o: RunOptions): void {
  checkOptions("run", o, RUN_OPTIONS, "{ budgetSeconds: 10 }");
  const { runner = "clock", progress, budgetSeconds = 1, signal, events = 0, slices = 0 } = o;
  if (!RUNNERS.includes(runner)) {
    throw new UsageError(
      `Cannot run: got ${describe(runner)} for runner; "clock", "complete" and "steps" are allowed; ` +
        "leave runner out for virtual time",
    );
  }
  if (progress !== undefined && typeof progress !== "function") {
    throw new UsageError(
      `Cannot run: got ${describe(progress)} for progress; a function is allowed; ` +
        "write for example progress: ({ done, total }) => console.log(done, total)",
    );
  }
  if (typeof budgetSeconds !== "number" || !(budgetSeconds > 0)) {
    throw new UsageError(
      `Cannot run: got ${describe(budgetSeconds)} for budgetSeconds; a number above 0 is allowed; ` +
        "write for example budgetSeconds: 10",
    );
  }
  if (signal !== undefined && typeof signal?.aborted !== "boolean") {
    throw new UsageError(
      `Cannot run: got ${describe(signal)} for signal; an AbortSignal is allowed; write for example ` +
        "signal: AbortSignal.timeout(1000)",
    );
  }
  wholeNumber("run", "events", events, 0, MOST_EVENTS);
  wholeNumber("run", "slices", slices, 0, MOST_EVENTS);
}
