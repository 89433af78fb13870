/**
 * What may be given to a run.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import type { Machine } from "./machine.ts";
import { checkNode } from "./nodes.ts";
import type { Workload } from "./workload.ts";

/**
 * Refuses what is not one workload or more of a machine, by name.
 *
 * @param m the machine
 * @param given what a user gave
 * @throws {UsageError} naming the workload, what was given and what is allowed
 */
export function checkWorkloads(
  m: Machine,
  given: unknown,
): asserts given is Readonly<Record<string, Workload>> {
  const example = "write for example m.run({ cpu: touch(heap) })";
  if (typeof given !== "object" || given === null || Array.isArray(given) || "start" in given) {
    const what = typeof given === "object" && given !== null && "start" in given
      ? "a workload"
      : describe(given);
    throw new UsageError(`Cannot run: got ${what}; workloads by name are allowed; ${example}`);
  }
  const workloads = Object.values(given), most = m.kernel.sim.maxActors - 1;
  if (workloads.length === 0) {
    throw new UsageError(`Cannot run: got no workloads; one or more by name are allowed; ${example}`);
  }
  if (workloads.length > most) {
    throw new UsageError(
      `Cannot run: got ${workloads.length} workloads; this machine was built for ${most}; ` +
        `write machine({ actors: ${workloads.length + 1} })`,
    );
  }
  for (const [name, w] of Object.entries(given) as [string, Workload | undefined][]) {
    if (typeof w?.start !== "function") {
      throw new UsageError(
        `Cannot run "${name}": got ${describe(w)}; a workload is allowed; ` +
          `write for example ${name}: touch(heap) or ${name}: stream(m.gpu, heap)`,
      );
    }
    if (w.process !== undefined && w.process.machine !== m) {
      throw new UsageError(
        `Cannot run "${name}": its process belongs to another machine; processes of this one are allowed; ` +
          "map its memory with this machine's process()",
      );
    }
    if (w.node !== undefined) checkNode(`run "${name}"`, "node", w.node, m.kernel.nodes.count);
    if (w.together?.some((other) => workloads.filter((x) => x === other).length !== 1)) {
      throw new UsageError(
        `Cannot run "${name}": it takes turns with others; all workloads that inTurns returned are needed, each once; ` +
          "write for example m.run({ ...parties })",
      );
    }
  }
}
