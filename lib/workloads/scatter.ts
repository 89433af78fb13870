/**
 * Programs on a CPU: accesses to random pages of a region.
 * @module
 */
import { wholeNumber } from "../arguments.ts";
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import type { Kernel } from "../mm/kernel.ts";
import { checkRegion, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { type Proc, site } from "../sim/sim.ts";
import { checkTouch, type TouchOptions } from "./touch.ts";

const BATCH = 1024;
const AT_BATCH = site("scatter: in a batch");

function* batches(
  k: Kernel,
  a: number,
  region: Region,
  accesses: number,
  write: boolean,
  value: number,
  out: AccessResult,
): Proc {
  const acc: Accesses & { readonly value: Uint32Array } = {
    n: 0,
    vpn: new Float64Array(BATCH),
    pages: new Uint32Array(BATCH).fill(1),
    write: new Uint8Array(BATCH).fill(write ? 1 : 0),
    value: new Uint32Array(BATCH),
  };
  for (let done = 0; done < accesses; done += acc.n) {
    acc.n = Math.min(BATCH, accesses - done);
    for (let i = 0; i < acc.n; i++) {
      const page = k.sim.choose(a, region.pages);
      acc.vpn[i] = region.vpn + page;
      acc.value[i] = value + page;
    }
    k.sim.call(a, AT_BATCH, done);
    yield* cpuAccess(k, a, region.process.mm, acc, out);
    k.sim.ret(a);
    k.sim.progress++;
  }
}

/**
 * A program that accesses pages of a region drawn at random from the machine's seed, one after the other.
 *
 * @param region where it accesses
 * @param accesses how many, 1 or more
 * @param options write or read (default: read), and the words: page `i` of the region holds `value` + i
 * @returns the workload
 * @throws {UsageError} for what is no region, no number of accesses, or an option that is none
 *
 * @example
 * ```ts
 * import { machine, scatter } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", seed: 2 });
 * const heap = m.process().mmap("1 MiB");
 * const run = await m.run({ cpu: scatter(heap, 1000, { write: true }) });
 * console.log(run.actors[0].pages, run.cpuFaults.count < 256); // 1000 true
 * ```
 */
export function scatter(region: Region, accesses: number, options: TouchOptions = {}): Workload {
  const { process } = checkRegion("scatter accesses", region);
  wholeNumber("scatter accesses", "accesses", accesses, 1, Number.MAX_SAFE_INTEGER);
  const { write, value, check, node } = checkTouch("scatter accesses", options, false);
  return {
    name: `${write ? "write" : "read"} ${accesses} random pages`,
    process,
    node,
    start(m, a) {
      const out = new AccessResult(false, check);
      const proc = batches(m.kernel, a, region, accesses, write, value, out);
      return { proc, out, total: accesses, done: () => out.pages };
    },
  };
}
