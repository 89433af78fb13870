/**
 * One line of a table of published figures: what was published, what comes out here, and what that is worth.
 * @module
 */
import { UsageError } from "../../errors.ts";

/**
 * What a line is worth.
 * - `reproduces`: another simulator's arithmetic, to the digit;
 * - `predicted`: a measurement, near enough, and no parameter was fitted on it;
 * - `calibrated`: a measurement, near enough, on which parameters were fitted;
 * - `trend`: rank and rough size are right;
 * - `missed`: none of these.
 */
export type Verdict = "reproduces" | "predicted" | "calibrated" | "trend" | "missed";

/** All verdicts, best first. */
export const VERDICTS: readonly Verdict[] = ["reproduces", "predicted", "calibrated", "trend", "missed"];

/** One figure. */
export interface FigureRow {
  /** The publication, short: who, where, when. */
  readonly work: string;
  /** What was measured, with unit. */
  readonly figure: string;
  /** What they print. */
  readonly published: number;
  /** What comes out here. */
  readonly ours: number;
  /** Ours over published; 1 if both are 0. */
  readonly ratio: number;
  /** What that is worth. */
  readonly verdict: Verdict;
  /** Names of the parameters fitted on this figure, with "; " between them; empty if none was. */
  readonly fittedOn: string;
  /** What must be known to read the line: what was assumed, what was taken from whom. */
  readonly note: string;
}

/** What a figure must keep to deserve its verdict. */
export type Claim =
  /** Equal, after rounding to as many decimals as they print. */
  | { readonly verdict: "reproduces"; readonly decimals?: number }
  /** Within a share of the published value. */
  | { readonly verdict: "predicted"; readonly within: number }
  /** Not above the published value, which is a bound. */
  | { readonly verdict: "predicted"; readonly atMost: true }
  /** Within a share of the published value, after these parameters were fitted. */
  | { readonly verdict: "calibrated"; readonly within: number; readonly fittedOn: string }
  /** Within a factor, and ranked as published, which the experiment says of all its figures together. */
  | { readonly verdict: "trend"; readonly factor: number; readonly ranked: boolean };

function holds(published: number, ours: number, ratio: number, claim: Claim): boolean {
  switch (claim.verdict) {
    case "reproduces":
      return ours.toFixed(claim.decimals ?? 0) === published.toFixed(claim.decimals ?? 0);
    case "predicted":
      return "atMost" in claim ? ours <= published : Math.abs(ratio - 1) <= claim.within;
    case "calibrated":
      return Math.abs(ratio - 1) <= claim.within;
    case "trend":
      return claim.ranked && ratio <= claim.factor && ratio >= 1 / claim.factor;
  }
}

/**
 * Makes a line: its verdict is what it claims to be if that holds, and `missed` if not.
 *
 * @param line publication, figure, both values and a note
 * @param claim what must hold
 * @returns the line
 * @throws {UsageError} if a value is no number, which a missing measurement would be
 *
 * @example
 * ```ts
 * const line = { work: "A. Nyone 2020", figure: "fault, us", published: 20, ours: 21, note: "" };
 * console.log(figureRow(line, { verdict: "predicted", within: 0.1 }).verdict); // predicted
 * console.log(figureRow(line, { verdict: "reproduces" }).verdict); // missed
 * ```
 */
export function figureRow(
  line: Pick<FigureRow, "work" | "figure" | "published" | "ours" | "note">,
  claim: Claim,
): FigureRow {
  const { published, ours } = line;
  if (!Number.isFinite(published) || !Number.isFinite(ours)) {
    throw new UsageError(
      `Cannot compare "${line.figure}": got ${published} published and ${ours} ours; numbers are allowed; leave a ` +
        "figure that was not measured out and say so",
    );
  }
  const ratio = published === ours ? 1 : ours / published;
  return {
    ...line,
    ratio,
    verdict: holds(published, ours, ratio, claim) ? claim.verdict : "missed",
    fittedOn: claim.verdict === "calibrated" ? claim.fittedOn : "",
  };
}
