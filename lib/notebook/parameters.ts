/** What a notebook can be asked from outside: defaults in its cell, other values in the environment. */
import process from "node:process";
import { UsageError } from "../errors.ts";
import { describe, didYouMean } from "../arguments.ts";

/** A value that a parameter can have. */
export type ParameterValue = string | number | boolean | readonly string[] | readonly number[];

/** The type of a parameter, which is wider than its default. */
export type Widened<V> = V extends string ? string
  : V extends number ? number
  : V extends boolean ? boolean
  : V extends readonly string[] ? readonly string[]
  : V extends readonly number[] ? readonly number[]
  : never;

const VARIABLE = "HMMLAB_PARAMETERS";

/**
 * The parameters of a notebook: the defaults that stand in its cell, or what the environment variable
 * HMMLAB_PARAMETERS says in their place, as a JSON object.
 *
 * @param defaults name and default of each parameter; a value from outside has to be of the default's type
 * @returns all parameters, frozen
 * @throws {UsageError} If HMMLAB_PARAMETERS is no JSON object, names a parameter that is not there, or has a value of
 * another type
 *
 * @example
 * ```ts
 * const { heap, seed } = parameters({ heap: "1 GiB", seed: 1 });
 * console.log(heap, seed); // 1 GiB 1
 * ```
 */
export function parameters<D extends Readonly<Record<string, ParameterValue>>>(
  defaults: D,
): { readonly [K in keyof D]: Widened<D[K]> } {
  const given = fromOutside(), names = Object.keys(defaults);
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(defaults, name)) {
      throw new UsageError(
        `Cannot set a parameter: ${VARIABLE} has ${JSON.stringify(name)}; this notebook knows ${
          names.length > 0 ? names.join(", ") : "none"
        }; write one of these${didYouMean(name, names)}`,
      );
    }
    const kind = kindOf(defaults[name]), is = kindOf(value);
    if (is !== kind && !(is === EMPTY && Array.isArray(defaults[name]))) {
      throw new UsageError(
        `Cannot set parameter ${name}: ${VARIABLE} has ${describe(value)}; ${kind} is allowed; ` +
          `write for example ${JSON.stringify({ [name]: defaults[name] })}`,
      );
    }
  }
  return Object.freeze({ ...defaults, ...given }) as unknown as {
    readonly [K in keyof D]: Widened<D[K]>;
  };
}

function fromOutside(): Record<string, unknown> {
  const text = process.env[VARIABLE];
  if (text === undefined || text.trim() === "") return {};
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
    return parsed as Record<string, unknown>;
  }
  throw new UsageError(
    `Cannot read ${VARIABLE}: got ${describe(text)}; a JSON object is allowed; ` +
      `write for example ${VARIABLE}='{"seed": 2}'`,
  );
}

const EMPTY = "an empty list";

/** The type of a value in words, so that two can be compared. */
function kindOf(value: unknown): string {
  if (!Array.isArray(value)) return typeof value === "boolean" ? "true or false" : `a ${typeof value}`;
  const kinds = new Set(value.map((x) => typeof x));
  return kinds.size === 0 ? EMPTY : `a list of ${[...kinds].map((k) => `${k}s`).join(" and ")}`;
}
