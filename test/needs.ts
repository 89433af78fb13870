/** For tests that need a program from outside npm. */
import type { TestContext } from "vitest";
import { isUsable, SYSTEM_PROGRAMS } from "../lib/cli/setup.ts";

/**
 * Skips the running test when a program is missing; `task test` then prints `skipped: needs X`, and in CI
 * (where .ci/run has installed everything) the skip counts as a failure.
 *
 * @param t The context that vitest hands to the test.
 * @param program A program of SYSTEM_PROGRAMS: one that setup does not name could never be installed by it.
 */
export function needs(t: TestContext, program: string): void {
  const row = SYSTEM_PROGRAMS.find((p) => p.program === program);
  if (row === undefined) {
    throw new Error(`Cannot need ${program}: it has no row in SYSTEM_PROGRAMS (lib/cli/setup.ts)`);
  }
  if (!isUsable(row)) t.skip(`needs ${program}`);
}
