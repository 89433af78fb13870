/** A small kernel for tests, and its operations run to completion. */
import { checkCheckers, Checkers, checkersOf } from "../lib/check/mod.ts";
import { checkMachine, type MachineOptions } from "../lib/machine/spec.ts";
import { AccessResult, cpuAccess } from "../lib/mm/access.ts";
import { Kernel } from "../lib/mm/kernel.ts";
import { reverts } from "../lib/sim/revert.ts";
import { complete } from "../lib/sim/runners.ts";
import type { Proc } from "../lib/sim/sim.ts";

const attached = new WeakMap<Kernel, Checkers>();

/** Builds the memory management of a small machine without devices, with all checkers attached. */
export function smallKernel(options: MachineOptions = {}): Kernel {
  const spec = checkMachine({
    memory: "1 MiB",
    processes: 6,
    actors: 6,
    vmas: 64,
    pageTables: 64,
    ...options,
  });
  const k = new Kernel(spec.kernel, spec.cost, reverts(spec.revert));
  attached.set(k, new Checkers(k, spec.kernel.seed, checkersOf(checkCheckers("test", "all"))));
  return k;
}

/** What is broken in a kernel of {@link smallKernel} in which nothing is under way. */
export function brokenIn(k: Kernel): string[] {
  return attached.get(k)!.brokenAtRest().map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}

/** Runs one operation to completion on actor `a` and returns what it returns. */
export function run<R>(k: Kernel, proc: Proc<R>, a = 0): R {
  let result: R | undefined;
  function* keep(): Proc {
    result = yield* proc;
  }
  complete(k.sim, [{ a, proc: keep() }]);
  return result as R;
}

/** CPU accesses to consecutive pages, one word each: the words read, and the causes of signals by page. */
export function access(
  k: Kernel,
  mm: number,
  vpn: number,
  pages: number,
  value: number | undefined,
  a = 0,
): { words: number[]; signals: Map<number, number> } {
  const out = new AccessResult(true), write = value !== undefined;
  const batch = {
    n: 1,
    vpn: Float64Array.of(vpn),
    pages: Uint32Array.of(pages),
    write: Uint8Array.of(write ? 1 : 0),
    value: Uint32Array.of(value ?? 0),
  };
  run(k, cpuAccess(k, a, mm, batch, out), a);
  return { words: out.words, signals: new Map(out.signals.map((s) => [s.vpn, s.cause])) };
}
