/**
 * Programs on a CPU: a pass over a region.
 * @module
 */
import { AccessResult, cpuAccess } from "../mm/access.ts";
import { oneRun, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";

/** How {@link touch} goes over the region. */
export interface TouchOptions {
  /** Write (default) or read. */
  readonly write?: boolean;
  /** Word written to, or expected in, the first page; each next page's is one more (default 1). */
  readonly value?: number;
  /** Whether reads check the word. */
  readonly check?: boolean;
}

/**
 * A program that touches every page of a region once, in order.
 *
 * @param region what it touches
 * @param options write or read, and the words
 */
export function touch(region: Region, options: TouchOptions = {}): Workload {
  const write = options.write ?? true, { process } = region;
  return {
    name: `${write ? "write" : "read"} ${region.pages} pages in order`,
    process,
    start(m, a) {
      const out = new AccessResult(false, options.check ?? false);
      const proc = cpuAccess(m.kernel, a, process.mm, oneRun(region, write, options.value ?? 1), out);
      return { proc, out, total: region.pages, done: () => out.pages };
    },
  };
}
