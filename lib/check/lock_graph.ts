/**
 * The order in which classes of locks are taken, over all runs of this process with the checker "lock order".
 *
 * As lockdep does: an edge from each class that an actor holds to the one that it wants. A circle of edges means that
 * some schedule deadlocks, whether or not a run has met it.
 * @module
 */
import { type Columns, columnsOf } from "../record/columns.ts";
import { lockClassName } from "../sim/locks.ts";
import { LOCK_NOTIFIER, LOCK_RECLAIM } from "../mm/watch.ts";

/** Classes that are told apart. */
export const MOST_CLASSES = 256;

interface Edge {
  readonly held: number;
  readonly wanted: number;
  /** Who took them so first, and where. */
  readonly chain: string;
  /** "taken"; "inversion" for an edge that would close a circle; "given" for what lockdep knows from the start. */
  readonly kind: "taken" | "inversion" | "given";
}

const edges = new Map<number, Edge>(), inversions = new Map<number, Edge>();
const known = new Uint8Array(MOST_CLASSES * MOST_CLASSES);

function add(edge: Edge): void {
  const key = edge.held * MOST_CLASSES + edge.wanted;
  known[key] = 1;
  edges.set(key, edge);
}

/** What holds before anything has run: reclaim calls notifiers, so whoever allocates may. */
function begin(): void {
  add({
    held: LOCK_RECLAIM,
    wanted: LOCK_NOTIFIER,
    chain: "reclaim unmaps pages, and so calls notifiers (mm/mmu_notifier.c tells lockdep so at the start)",
    kind: "given",
  });
}
begin();

/** The edges of a path from one class to another, or undefined. */
function path(from: number, to: number, visited = new Set<number>()): Edge[] | undefined {
  if (from === to) return [];
  visited.add(from);
  for (const edge of edges.values()) {
    if (edge.held !== from || visited.has(edge.wanted)) continue;
    const rest = path(edge.wanted, to, visited);
    if (rest !== undefined) return [edge, ...rest];
  }
  return undefined;
}

/** Whether it is known that `wanted` is taken under `held`. */
export function isKnown(held: number, wanted: number): boolean {
  return known[held * MOST_CLASSES + wanted] !== 0;
}

/**
 * Notes that a class was wanted while another was held.
 *
 * @param held class that is held
 * @param wanted class that is wanted
 * @param chain who, and where
 * @returns the chains of the opposite order, if there is one: an inversion; the edge then is not added
 */
export function noteOrder(held: number, wanted: number, chain: string): readonly string[] | undefined {
  const back = path(wanted, held), key = held * MOST_CLASSES + wanted;
  if (back === undefined) {
    add({ held, wanted, chain, kind: "taken" });
    return undefined;
  }
  if (!inversions.has(key)) inversions.set(key, { held, wanted, chain, kind: "inversion" });
  return back.map((e) => e.chain);
}

/**
 * The order in which locks were taken, over all runs of this process that the checker "lock order" has seen.
 *
 * @returns columns held, wanted (classes of locks), kind ("taken", "given" for what is known from the start, "inversion"
 * for an order that closes a circle), firstSeen (who took them so first, and where)
 *
 * @example
 * ```ts
 * import { lockOrder, machine, stream, touch } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: "titan-v" }, checkers: ["lock order"] }), heap = m.process().mmap("64 KiB");
 * await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
 * const { kind } = lockOrder().columns;
 * console.log((kind as readonly string[]).includes("inversion")); // false
 * ```
 */
export function lockOrder(): Columns {
  const rows = [...edges.values(), ...inversions.values()].map(({ held, wanted, kind, chain }) => ({
    held: lockClassName(held),
    wanted: lockClassName(wanted),
    kind,
    firstSeen: chain,
  }));
  return columnsOf("Lock order", rows);
}

/**
 * Forgets the order of locks that was seen so far: for a driver that was changed since, and takes its locks in another
 * order now.
 *
 * @example
 * ```ts
 * import { forgetLockOrder, lockOrder } from "hmmlab";
 *
 * forgetLockOrder();
 * console.log(lockOrder().numRows); // 1
 * ```
 */
export function forgetLockOrder(): void {
  edges.clear();
  inversions.clear();
  known.fill(0);
  begin();
}
