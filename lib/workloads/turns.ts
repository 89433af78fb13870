/**
 * Parties that take turns over a region, piece by piece: a CPU fills, a device computes, a CPU reads back.
 * @module
 */
import { describe, during } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Machine } from "../machine/machine.ts";
import { checkRegion, type Region } from "../machine/process.ts";
import type { Started, Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { type Proc, site, type Wait } from "../sim/sim.ts";
import { formatBytes, PAGE_SIZE, pages } from "../units.ts";

const AT_TURN = site("waiting for its turn");
const AT_WORK = site("in its turn");

interface Baton {
  /** [0] how many turns have been taken */
  readonly taken: Uint32Array;
  readonly queue: Wait;
}

/**
 * What a party does with a piece of the region: makes the workload for piece number `i`, from 0. It is called anew for
 * each piece, and once more before the run, for the workload's name.
 */
export type Turn = (piece: Region, i: number) => Workload;

/** The largest divisor of the region's pages that is not above `n`; 1 at least. */
function nearestPiece(regionPages: number, n: number): number {
  let piece = Math.max(1, Math.min(n, regionPages));
  while (regionPages % piece !== 0) piece--;
  return piece;
}

/** The workload of a party for one piece. */
function turnOf(party: string, make: Turn, piece: Region, i: number): Workload {
  const w: unknown = make(piece, i);
  if (typeof (w as Workload | undefined)?.start === "function") return w as Workload;
  throw new UsageError(
    `Cannot take turns: party "${party}" made ${describe(w)} for piece ${i}; a workload is needed; ` +
      `write for example ${party}: (piece) => touch(piece)`,
  );
}

function checkParties(parties: unknown): void {
  const ok = typeof parties === "object" && parties !== null && !Array.isArray(parties);
  if (!ok || Object.keys(parties).length === 0) {
    throw new UsageError(
      `Cannot take turns: got ${
        describe(parties)
      } for the parties; a function for each party, by name, is allowed; ` +
        "write for example { cpu: (piece) => touch(piece), gpu: (piece) => stream(m.gpu, piece) }",
    );
  }
  for (const [name, make] of Object.entries(parties)) {
    if (typeof make === "function") continue;
    throw new UsageError(
      `Cannot take turns: got ${
        describe(make)
      } for party "${name}"; a function that makes a workload for a piece is ` +
        `allowed; write for example ${name}: (piece) => touch(piece)`,
    );
  }
}

/**
 * Lets parties go over the pieces of a region in turns: for each piece, every party once, in the order given.
 *
 * @param region what they go over
 * @param length of a piece, for example "64 MiB"; must divide the region
 * @param parties what each does with a piece, by name
 * @returns one workload for each party, all of them for the same `m.run`
 * @throws {UsageError} for a length that does not divide the region, and for parties that make no workloads
 *
 * @example
 * ```ts
 * import { inTurns, machine, stream, touch } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: "titan-v" } });
 * const heap = m.process().mmap("4 MiB");
 * const parties = inTurns(heap, "1 MiB", {
 *   fill: (piece) => touch(piece),
 *   gpu: (piece) => stream(m.gpu, piece, { write: true, value: 1000 }),
 *   back: (piece) => touch(piece, { write: false, value: 1000, check: true }),
 * });
 * const run = await m.run(parties);
 * console.log(run.pagesToDevice, run.pagesToSystem, run.mismatches); // 1024 1024 0
 * ```
 */
export function inTurns<P extends string>(
  region: Region,
  length: string | number,
  parties: Readonly<Record<P, Turn>>,
): Record<P, Workload> {
  checkRegion("take turns", region);
  checkParties(parties);
  const n = during("take turns", () => pages(length)), names = Object.keys(parties) as P[];
  if (n < 1 || region.pages % n !== 0) {
    throw new UsageError(
      `Cannot take turns: got pieces of ${describe(length)}; a length that divides the region's ` +
        `${region.lengthBytes} bytes (${formatBytes(region.lengthBytes)}) is allowed; ` +
        `write for example ${JSON.stringify(formatBytes(nearestPiece(region.pages, n) * PAGE_SIZE))}`,
    );
  }
  const pieces = Array.from({ length: region.pages / n }, (_, i) => region.slice(i * n * PAGE_SIZE, length));
  const batons = new WeakMap<Machine, Baton>();
  const batonOf = (m: Machine): Baton => {
    let b = batons.get(m);
    if (b === undefined) {
      const { sim } = m.kernel;
      b = {
        taken: sim.state.u32(sim.state.unique("turn"), 1),
        queue: sim.queue("its turn", undefined, true),
      };
      batons.set(m, b);
    }
    return b;
  };
  const workloads: Workload[] = [];
  const one = (party: P, place: number): Workload => {
    const turn = (i: number) => turnOf(party, parties[party], pieces[i], i), first = turn(0);
    return {
      together: workloads,
      name: `in turns, ${pieces.length} times: ${first.name}`,
      process: first.process,
      start(m, a) {
        const { sim } = m.kernel, { taken, queue } = batonOf(m), out = new AccessResult();
        if (place === 0) taken[0] = 0;
        let running: Started | undefined, before = 0;
        function* proc(): Proc {
          for (let i = 0; i < pieces.length; i++) {
            while (taken[0] !== i * names.length + place) {
              sim.mark(a, AT_TURN, i);
              yield queue;
            }
            running = turn(i).start(m, a);
            sim.call(a, AT_WORK, i);
            yield* running.proc;
            sim.ret(a);
            out.add(running.out);
            before = out.pages;
            running = undefined;
            taken[0]++;
            sim.wake(queue);
          }
        }
        const total = turn(0).start(m, a).total * pieces.length;
        return { proc: proc(), out, total, done: () => before + (running?.done() ?? 0) };
      },
    };
  };
  names.forEach((party, place) => workloads.push(one(party, place)));
  return Object.fromEntries(names.map((party, place) => [party, workloads[place]])) as Record<P, Workload>;
}
