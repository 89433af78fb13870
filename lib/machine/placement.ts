/**
 * Where a process's pages are among the NUMA nodes, as a user says it: names, options and results of the system calls.
 * @module
 */
import { checkOptions, describe, didYouMean } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { CopyEngine } from "../mm/copy_engine.ts";
import { mbind } from "../mm/mempolicy.ts";
import {
  migrateProcess,
  movePages,
  MPOL_MF_MOVE,
  MPOL_MF_MOVE_ALL,
  MPOL_MF_STRICT,
  STATUS_UNTOLD,
} from "../mm/move_pages.ts";
import { MPOL_BIND, MPOL_DEFAULT, MPOL_INTERLEAVE, MPOL_PREFERRED } from "../mm/numa.ts";
import type { Proc } from "../sim/sim.ts";
import type { Process } from "./process.ts";
import { migrateRangeToNode } from "../hmm/migrate_range.ts";
import { checkNode } from "./nodes.ts";
import { checkRegion, type Region } from "./region.ts";

/** Where pages shall be: the kernel's name without MPOL_. */
export type Mempolicy = "default" | "preferred" | "bind" | "interleave";

/** What else a move of pages may say. */
export interface MoveOptions {
  /** Whether pages move that other processes map too: MPOL_MF_MOVE_ALL (default false). */
  readonly all?: boolean;
  /** What copies the pages (default: the CPU that asks, page by page). */
  readonly engine?: CopyEngine;
}

/** What else mbind() may say. */
export interface BindOptions extends MoveOptions {
  /** Whether pages that are elsewhere move: MPOL_MF_MOVE (default false). */
  readonly move?: boolean;
  /** Whether it fails if a page is, or stays, elsewhere: MPOL_MF_STRICT (default false). */
  readonly strict?: boolean;
}

/** What came of move_pages(). */
export interface Moved {
  /** What the system call returned: 0, the number of pages that were not moved, or a negated errno. */
  readonly result: number;
  /** For each page its node or a negated errno; undefined where the call gave up before it came to the page. */
  readonly status: readonly (number | undefined)[];
}

const POLICIES: Readonly<Record<Mempolicy, number>> = {
  default: MPOL_DEFAULT,
  preferred: MPOL_PREFERRED,
  bind: MPOL_BIND,
  interleave: MPOL_INTERLEAVE,
};

/**
 * The MPOL_ mode of a policy's name.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param policy the name
 * @returns the mode
 * @throws {UsageError} for no policy
 */
export function policyNumber(act: string, policy: Mempolicy): number {
  if (Object.hasOwn(POLICIES, policy)) return POLICIES[policy];
  const names = Object.keys(POLICIES);
  throw new UsageError(
    `Cannot ${act}: got ${describe(policy)} for the policy${didYouMean(String(policy), names)}; ` +
      `${names.join(", ")} are allowed; write for example "bind"`,
  );
}

/**
 * Nodes as a mask, a bit each. Whether the machine has them is for the kernel to say.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param nodes numbers of nodes
 * @returns the mask
 * @throws {UsageError} for what is no list of node numbers
 */
export function nodeMask(act: string, nodes: readonly number[]): number {
  if (Array.isArray(nodes) && nodes.every((n) => Number.isInteger(n) && n >= 0 && n < 31)) {
    return nodes.reduce((mask: number, n: number) => mask | (1 << n), 0);
  }
  throw new UsageError(
    `Cannot ${act}: got ${
      describe(nodes)
    } for the nodes; an array of node numbers is allowed; write for example [0, 1]`,
  );
}

/** Options of a move, checked. */
function checkMove(act: string, o: BindOptions, names: Readonly<Record<string, true>>): void {
  checkOptions(act, o, names, "{ all: true }");
  for (const key of ["all", "move", "strict"] as const) {
    if (o[key] === undefined || typeof o[key] === "boolean") continue;
    throw new UsageError(`Cannot ${act}: got ${describe(o[key])} for ${key}; true and false are allowed`);
  }
  if (o.engine !== undefined && typeof o.engine?.copy !== "function") {
    throw new UsageError(
      `Cannot ${act}: got ${describe(o.engine)} for the engine; a copy engine is allowed; ` +
        "write for example engine: dmaEngine(m, { channels: 4 })",
    );
  }
}

/** A number that differs where what move_pages() told its caller differs. */
export function movedNumber({ result, status }: Moved): number {
  return status.reduce((h: number, s) => (Math.imul(h, 31) + (s ?? STATUS_UNTOLD)) | 0, result);
}

/** move_pages() on a region of a process, as actor `a`. */
export function* moveRegion(
  process: Process,
  a: number,
  region: Region,
  nodes: number | readonly number[],
  options: MoveOptions = {},
): Proc<Moved> {
  const act = "move pages", { vpn, pages } = checkRegion(act, region, process), { machine, mm } = process;
  checkMove(act, options, { all: true, engine: true });
  const each: readonly number[] = typeof nodes === "number" ? new Array(pages).fill(nodes) : nodes;
  if (!Array.isArray(each) || each.length !== pages || !each.every(Number.isInteger)) {
    throw new UsageError(
      `Cannot ${act}: got ${
        describe(nodes)
      } for the nodes; one number, or an array of one for each of the ${pages} ` +
        "pages, is allowed; write for example p.movePages(heap, 1)",
    );
  }
  const op = {
    vpn: Float64Array.from({ length: pages }, (_, i) => vpn + i),
    nodes: Int32Array.from(each),
    status: new Int32Array(pages),
    all: options.all ?? false,
  };
  const result = yield* movePages(machine.kernel, a, mm, op, machine.batches, options.engine);
  return { result, status: Array.from(op.status, (s) => s === STATUS_UNTOLD ? undefined : s) };
}

/** Moves a region of a process to a node by migrate_vma, as actor `a`. */
export function migrateRegion(
  process: Process,
  a: number,
  region: Region,
  node: number,
  options: { readonly engine?: CopyEngine } = {},
): Proc<number> {
  const act = "migrate a range",
    { vpn, pages } = checkRegion(act, region, process),
    { machine, mm } = process;
  checkMove(act, options, { engine: true });
  checkNode(act, "node", node, machine.kernel.nodes.count);
  const { kernel, batches } = machine;
  return migrateRangeToNode(kernel, a, mm, vpn, vpn + pages, node, batches, options.engine);
}

/** migrate_pages() of a process, as actor `a`. */
export function migrateNodes(
  { machine, mm }: Process,
  a: number,
  from: readonly number[],
  to: readonly number[],
  options: MoveOptions,
): Proc<number> {
  const act = "migrate pages", source = nodeMask(act, from), target = nodeMask(act, to);
  checkMove(act, options, { all: true, engine: true });
  const { all = false, engine } = options;
  return migrateProcess(machine.kernel, a, mm, source, target, all, machine.batches, engine);
}

/** mbind() of a region of a process, as actor `a`. */
export function bindRegion(
  process: Process,
  a: number,
  region: Region,
  policy: Mempolicy,
  nodes: readonly number[],
  options: BindOptions = {},
): Proc<number> {
  const act = "bind memory", { vpn, pages } = checkRegion(act, region, process), { machine, mm } = process;
  checkMove(act, options, { all: true, engine: true, move: true, strict: true });
  const flags = (options.strict ? MPOL_MF_STRICT : 0) | (options.move ? MPOL_MF_MOVE : 0) |
    (options.all ? MPOL_MF_MOVE_ALL : 0);
  const mode = policyNumber(act, policy), mask = nodeMask(act, nodes);
  return mbind(machine.kernel, a, mm, vpn, pages, mode, mask, flags, machine.batches, options.engine);
}
