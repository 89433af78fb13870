/**
 * Parties that take turns over a region, piece by piece: a CPU fills, a device computes, a CPU reads back.
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Machine } from "../machine/machine.ts";
import type { Region } from "../machine/process.ts";
import type { Started, Workload } from "../machine/workload.ts";
import { AccessResult } from "../mm/access.ts";
import { type Proc, site, type Wait } from "../sim/sim.ts";
import { PAGE_SIZE, pages } from "../units.ts";

const AT_TURN = site("waiting for its turn");
const AT_WORK = site("in its turn");

interface Baton {
  /** [0] turns taken */
  readonly turn: Uint32Array;
  readonly queue: Wait;
}

/** What a party does with piece number `i`. */
export type Turn = (piece: Region, i: number) => Workload;

/**
 * Lets parties go over the pieces of a region in turns: for each piece, every party once, in the order given.
 *
 * @param region what they go over
 * @param length of a piece, for example "64 MiB"; must divide the region
 * @param parties what each does with a piece
 * @returns one workload for each party, for `m.run`
 * @throws UsageError for a length that does not divide the region
 */
export function inTurns<P extends string>(
  region: Region,
  length: string | number,
  parties: Readonly<Record<P, Turn>>,
): Record<P, Workload> {
  const n = pages(length), names = Object.keys(parties) as P[];
  if (n < 1 || region.pages % n !== 0) {
    throw new UsageError(
      `Cannot take turns over pieces of ${length}: the region of ${region.pages} pages is not a whole number of them; ` +
        `choose a length that divides ${region.pages * PAGE_SIZE} bytes.`,
    );
  }
  const pieces = Array.from({ length: region.pages / n }, (_, i) => region.slice(i * n * PAGE_SIZE, length));
  const batons = new WeakMap<Machine, Baton>();
  const batonOf = (m: Machine): Baton => {
    let b = batons.get(m);
    if (b === undefined) {
      const { sim } = m.kernel;
      b = { turn: sim.state.u32(sim.state.unique("turn"), 1), queue: sim.queue("its turn") };
      batons.set(m, b);
    }
    return b;
  };
  const one = (party: P, place: number): Workload => {
    const make = parties[party], first = make(pieces[0], 0);
    return {
      name: `in turns, ${pieces.length} times: ${first.name}`,
      process: first.process,
      start(m, a) {
        const { sim } = m.kernel, { turn, queue } = batonOf(m), out = new AccessResult();
        if (place === 0) turn[0] = 0;
        let running: Started | undefined, before = 0;
        function* proc(): Proc {
          for (let i = 0; i < pieces.length; i++) {
            while (turn[0] !== i * names.length + place) {
              sim.mark(a, AT_TURN, i);
              yield queue;
            }
            running = make(pieces[i], i).start(m, a);
            sim.call(a, AT_WORK, i);
            yield* running.proc;
            sim.ret(a);
            const { signals, pages: done, mismatches, firstMismatch } = running.out;
            out.signals.push(...signals);
            out.pages = before += done;
            out.mismatches += mismatches;
            out.firstMismatch ??= firstMismatch;
            running = undefined;
            turn[0]++;
            sim.wake(queue);
          }
        }
        const total = make(pieces[0], 0).start(m, a).total * pieces.length;
        return { proc: proc(), out, total, done: () => before + (running?.done() ?? 0) };
      },
    };
  };
  return Object.fromEntries(names.map((p, i) => [p, one(p, i)])) as Record<P, Workload>;
}
