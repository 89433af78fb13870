/**
 * What a file of datasets/published/ lists, and the parameters that an experiment fitted on it.
 * @module
 */
import { UsageError } from "../../errors.ts";
import type { Certainty } from "../../profiles/parameters.ts";
import { profile } from "../../profiles/profile.ts";
import { type Claim, type FigureRow, figureRow } from "./row.ts";

/** One figure that somebody published. */
export interface PublishedFigure {
  /** What was measured, with unit; unique in its work. */
  readonly figure: string;
  /** What they print, or the quotient of two numbers that they print. */
  readonly value: number;
}

/** A parameter that was fitted on published figures, or taken from them. */
export interface FigureParameter {
  /** Its name, as rows name it. */
  readonly name: string;
  /** Its amount with unit. */
  readonly value: string;
  /** How far it can be trusted. */
  readonly certainty: Certainty;
  /** Where it comes from. */
  readonly source: string;
}

/** A list of figures as the JSON files of datasets/published/ hold it. */
interface FigureList {
  readonly figures: readonly {
    readonly figure: string;
    readonly value: number;
    /** What `value` is divided by. */
    readonly over?: number;
    readonly where: string;
  }[];
}

/**
 * The figures of a file.
 *
 * @param list its content
 * @returns each with its value, quotients worked out
 *
 * @example
 * ```ts
 * const list = { figures: [{ figure: "time without over with, s", value: 6, over: 3, where: "Table 1" }] };
 * console.log(figuresOf(list)[0].value); // 2
 * ```
 */
export function figuresOf(list: FigureList): readonly PublishedFigure[] {
  return list.figures.map(({ figure, value, over = 1 }) => ({ figure, value: value / over }));
}

/**
 * Makes lines that take their published value from a list.
 *
 * @param work the publication, short
 * @param figures what it published
 * @returns a function that makes the line of one figure
 * @throws {UsageError} from that function, for a figure that is not in the list
 *
 * @example
 * ```ts
 * const line = linesOf("A. Nyone 2020", [{ figure: "fault, us", value: 20 }]);
 * console.log(line("fault, us", 21, "", { verdict: "predicted", within: 0.1 }).published); // 20
 * ```
 */
export function linesOf(
  work: string,
  figures: readonly PublishedFigure[],
): (figure: string, ours: number, note: string, claim: Claim) => FigureRow {
  return (figure, ours, note, claim) => {
    const found = figures.find((f) => f.figure === figure);
    if (found === undefined) {
      throw new UsageError(
        `Cannot make a line of "${figure}": ${work} has no such figure; those of datasets/published/ are allowed; ` +
          "add it there with its source",
      );
    }
    return figureRow({ work, figure, published: found.value, ours, note }, claim);
  };
}

/**
 * Parameters of a profile that one figure fits together, as one.
 *
 * @param name the profile's
 * @param keys the parameters; several share one fit, split by assumption
 * @returns what the profile says of them
 *
 * @example
 * ```ts
 * console.log(fittedIn("titan-v", "mixedBlocks").certainty); // calibrated
 * ```
 */
export function fittedIn(name: string, ...keys: readonly string[]): FigureParameter {
  const { parameters } = profile(name), first = parameters[keys[0]];
  return {
    name: `${name}: ${keys.join("+")}`,
    value: keys.map((key) => `${parameters[key].value} ${parameters[key].unit}`).join(" + "),
    certainty: first.certainty,
    source: first.source,
  };
}

/**
 * The names of parameters as a row has them.
 *
 * @param parameters what was fitted
 * @returns their names, with "; " between them
 */
export function namesOf(...parameters: readonly FigureParameter[]): string {
  return parameters.map((p) => p.name).join("; ");
}
