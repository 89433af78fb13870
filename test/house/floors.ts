/** The floors of the house: which room of lib/ may import which. */
import { posix } from "node:path";
import { importsOf, type SourceText } from "./source.ts";

/** The rooms from the top down: a room may import itself and what stands below it. */
export const FLOORS: readonly string[] = [
  "mod.ts",
  "cli",
  "experiments",
  "notebook",
  "plot",
  "lab",
  "explore",
  "tables",
  "workloads",
  "machine",
  "check",
  "devices",
  "hmm",
  "bus",
  "mm",
  "profiles",
  "sim",
  "record",
  "units.ts",
  "arguments.ts",
  "errors.ts",
];

/** The room that a path like `lib/mm/fault.ts` belongs to. */
function roomOf(path: string): string {
  return path.split("/")[1];
}

/**
 * What is wrong with the imports of some files.
 *
 * @param sources Files of lib/.
 * @returns One line for each import that goes up, leaves lib/ or names a room that has no floor.
 */
export function climbingImports(sources: readonly SourceText[]): string[] {
  const faults: string[] = [];
  for (const source of sources) {
    const from = roomOf(source.path);
    const fromFloor = FLOORS.indexOf(from);
    if (fromFloor < 0) {
      faults.push(`${source.path}: "${from}" has no floor; add it to FLOORS or move the file`);
      continue;
    }
    for (const { specifier, line } of importsOf(source)) {
      const isOwn = specifier === "hmmlab" || specifier.startsWith("hmmlab/");
      if (!isOwn && !specifier.startsWith(".")) continue;
      const target = isOwn ? "lib/mod.ts" : posix.join(posix.dirname(source.path), specifier);
      const where = `${source.path}:${line}`;
      if (!target.startsWith("lib/")) {
        // Data that the library ships lies beside lib/, not in it.
        if (!target.startsWith("datasets/")) faults.push(`${where}: ${specifier} leaves lib/`);
        continue;
      }
      const to = roomOf(target);
      const toFloor = FLOORS.indexOf(to);
      if (toFloor < 0) faults.push(`${where}: imports ${target}, and "${to}" has no floor`);
      else if (toFloor < fromFloor) faults.push(`${where}: ${from} imports ${target}, which stands above it`);
    }
  }
  return faults;
}
