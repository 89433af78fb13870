/**
 * Programs on a CPU: a pass over a region.
 * @module
 */
import { checkOptions, checkWord, describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { AccessResult, cpuAccess } from "../mm/access.ts";
import { checkRegion, oneRun, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";

/** How a workload goes over its region. */
export interface TouchOptions {
  /** Whether it writes or reads; `touch` writes, `stream` and `scatter` read if this is left out. */
  readonly write?: boolean;
  /** Word written to, or expected in, the region's first page; each next page's is one more (default 1). */
  readonly value?: number;
  /** Whether reads compare the word with the expected one; `run.mismatches` counts (default false). */
  readonly check?: boolean;
  /** NUMA node of the CPU that it runs on (default: that of its process). */
  readonly node?: number;
}

/** Checked options of a workload. */
export interface Touching extends Required<Omit<TouchOptions, "node">> {
  /** NUMA node of the CPU that it runs on; its process's if undefined. The machine checks it when it runs. */
  readonly node: number | undefined;
}

/**
 * Checks the options of a workload.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param options what was given
 * @param write whether it writes if they do not say so
 * @returns the options with their defaults
 * @throws {UsageError} naming the option
 */
export function checkTouch(act: string, options: TouchOptions, write: boolean): Touching {
  checkOptions(
    act,
    options,
    { write: true, value: true, check: true, node: true },
    "{ write: true, value: 1 }",
  );
  const o = {
    write: options.write ?? write,
    value: options.value ?? 1,
    check: options.check ?? false,
    node: options.node,
  };
  for (const key of ["write", "check"] as const) {
    if (typeof o[key] === "boolean") continue;
    throw new UsageError(`Cannot ${act}: got ${describe(o[key])} for ${key}; true and false are allowed`);
  }
  checkWord(act, "value", o.value);
  return o;
}

/**
 * A program that touches every page of a region once, in order.
 *
 * @param region what it touches
 * @param options write (default) or read, and the words
 * @returns the workload
 * @throws {UsageError} for what is no region, or an option that is none
 *
 * @example
 * ```ts
 * import { machine, touch } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" });
 * const heap = m.process().mmap("1 MiB");
 * await m.run({ cpu: touch(heap, { value: 7 }) });
 * const run = await m.run({ cpu: touch(heap, { write: false, value: 7, check: true }) });
 * console.log(run.cpuFaults.count, run.mismatches); // 0 0
 * ```
 */
export function touch(region: Region, options: TouchOptions = {}): Workload {
  const { process } = checkRegion("touch", region),
    { write, value, check, node } = checkTouch("touch", options, true);
  return {
    name: `${write ? "write" : "read"} ${region.pages} pages in order`,
    process,
    node,
    start(m, a) {
      const out = new AccessResult(false, check);
      const proc = cpuAccess(m.kernel, a, process.mm, oneRun(region, write, value), out);
      return { proc, out, total: region.pages, done: () => out.pages };
    },
  };
}
