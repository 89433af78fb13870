/**
 * What a broken rule is reported as.
 * @module
 */
import { type Columns, columnsOf } from "../record/columns.ts";

/** One broken rule. */
export interface BrokenRule {
  /** Name of the checker, as `checkerNames` lists it. */
  readonly rule: string;
  /** The hard case that it stands for, "F3", with the kernel's fix if there is one; "conservation" for counts. */
  readonly fact: string;
  /** What was found. */
  readonly what: string;
  /** Who ran when it was found; "nobody" at rest. */
  readonly actor: string;
  /** Virtual time of that actor, in ns; of the latest one at rest. */
  readonly atNs: number;
  /** The page in question; "" when it is about none. */
  readonly page: string;
  /** Seed of the machine. */
  readonly seed: number;
}

/**
 * Thrown when a checker finds a rule of memory management broken: the model, or a driver of one's own, is wrong.
 *
 * @example
 * ```ts
 * import { InvariantError, machine, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", checkers: "all" }), heap = m.process().mmap("64 KiB");
 * try {
 *   await m.run({ cpu: touch(heap) });
 * } catch (e) {
 *   if (!(e instanceof InvariantError)) throw e;
 *   console.log(e.rule, e.violations().numRows);
 * }
 * ```
 */
export class InvariantError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "InvariantError";

  /**
   * Reports broken rules; checkers make it.
   *
   * @param broken what was found, the first one first; at least one
   */
  constructor(readonly broken: readonly BrokenRule[]) {
    const { rule, fact, what, actor, atNs, page, seed } = broken[0];
    const more = broken.length > 1 ? ` (and ${broken.length - 1} more)` : "";
    super(
      `rule "${rule}" (${fact}) is broken: ${what}${
        page === "" ? "" : `, ${page}`
      }; found as ${actor} ran, ` +
        `at ${atNs} ns, seed ${seed}${more}`,
    );
  }

  /** The name of the first broken rule. */
  get rule(): string {
    return this.broken[0].rule;
  }

  /** Rule and finding in one text, without time and seed: what the explorer reports. */
  get text(): string {
    return `${this.rule}: ${this.broken[0].what}`;
  }

  /**
   * Everything that was found.
   *
   * @returns columns rule, fact, what, actor, atNs, page, seed
   */
  violations(): Columns {
    return columnsOf("Broken rules", this.broken.map((b) => ({ ...b })), { atNs: "ns" });
  }
}
