/** What a wrong use of the library gets: a UsageError that helps, before anything has happened. */
import { expect, test } from "vitest";
import { UsageError } from "../lib/errors.ts";

/** Anything in place of an argument: types keep a user of TypeScript from most of what is tried with it. */
// deno-lint-ignore no-explicit-any -- the point of such tests
export const wrong = (x: unknown): any => x;

/**
 * The message with which something is refused.
 *
 * @param f What shall be refused, at once or by a promise.
 * @returns The message; fails if there is none, if the error is not one for users, or if it does not say what was to be
 * done and, after a semicolon, what is allowed or what to write instead.
 */
export async function refusal(f: () => unknown): Promise<string> {
  let error: unknown;
  try {
    await f();
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(UsageError);
  const { message } = error as UsageError;
  expect(message).toMatch(/^Cannot [^;]+; \S/);
  expect(message).not.toMatch(/\.$|\[object|undefined is|is not a function|Cannot read prop/);
  return message;
}

/** A wrong use: what it is, the use itself, and all that its message must say. */
export type Case = readonly [what: string, use: () => unknown, ...says: (string | RegExp)[]];

/**
 * One test for each wrong use.
 *
 * @param cases The uses.
 */
export function refuses(cases: readonly Case[]): void {
  for (const [what, use, ...says] of cases) {
    test(what, async () => {
      const message = await refusal(use);
      for (const part of says as (string | RegExp)[]) expect(message).toMatch(part);
    });
  }
}
