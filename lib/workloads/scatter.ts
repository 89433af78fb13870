/**
 * Programs on a CPU: accesses to random pages of a region.
 * @module
 */
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { UsageError } from "../errors.ts";
import { type Proc, site } from "../sim/sim.ts";
import type { TouchOptions } from "./touch.ts";

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
 * @param accesses how many
 * @param options write or read (default: read), and the words: page `i` of the region holds `value` + i
 */
export function scatter(region: Region, accesses: number, options: TouchOptions = {}): Workload {
  if (!Number.isInteger(accesses) || accesses < 1) {
    throw new UsageError(`Cannot scatter ${accesses} accesses: give a whole number, 1 or more.`);
  }
  const write = options.write ?? false, { process } = region;
  return {
    name: `${write ? "write" : "read"} ${accesses} random pages`,
    process,
    start(m, a) {
      const out = new AccessResult(false, options.check ?? false);
      const proc = batches(m.kernel, a, region, accesses, write, options.value ?? 1, out);
      return { proc, out, total: accesses, done: () => out.pages };
    },
  };
}
