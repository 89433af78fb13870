/** `deno task notebooks`: executes the notebooks on both kernels side by side and writes them back with outputs. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { digestsOf, executeNotebook, type NotebookRun, smallParameters } from "./notebooks/execute.ts";
import { type Kernel, KERNELS, writeKernelspecs } from "./notebooks/kernels.ts";
import { type Notebook, readNotebook, withoutClock, writeNotebook } from "./notebooks/notebook.ts";
import { refreshPackage } from "./notebooks/package.ts";
import { ROOT } from "./setup.ts";

const USAGE = `usage: deno task notebooks -- [--check] [--small] [--kernel deno|tslab] [NAME…]
  NAME      a notebook by its name or the beginning of it, such as 01; all without one
  --check   writes nothing, and fails where a committed notebook's digests are not those of today
  --small   executes with the small parameters that tests use, and writes nothing
  --kernel  only on this kernel; nothing is written unless it is deno`;

/** The folder of the notebooks. */
export const NOTEBOOKS: string = join(ROOT, "notebooks");

/** The names of all notebooks, in order, without their ending. */
export function notebookNames(): string[] {
  return readdirSync(NOTEBOOKS).filter((name) => name.endsWith(".ipynb")).map((name) => name.slice(0, -6))
    .sort();
}

/** The names of the notebooks that are part of the project: they are numbered, and a user's own seldom are. */
export function storyNames(): string[] {
  return notebookNames().filter((name) => /^\d\d-/.test(name));
}

/**
 * The notebooks that names stand for.
 *
 * @param wanted names or beginnings of names; none for all
 * @param names those that there are
 * @returns full names in order
 * @throws {UsageError} If one stands for none; the message lists them all
 */
export function chooseNotebooks(wanted: readonly string[], names: readonly string[]): string[] {
  const chosen = new Set<string>();
  for (const want of wanted) {
    const name = want.replace(/^.*[\\/]/, "").replace(/\.ipynb$/, "");
    const found = names.filter((n) => n === name || n.startsWith(name));
    if (found.length === 0) {
      throw new UsageError(
        `Cannot find notebook ${JSON.stringify(want)}; in notebooks/ there are ${
          names.join(", ") || "none"
        }; ` +
          "write one of these names, or its number",
      );
    }
    found.forEach((n) => chosen.add(n));
  }
  return wanted.length === 0 ? [...names] : [...chosen].sort();
}

function committedDigests(notebook: Notebook): string[] {
  return notebook.cells.flatMap((cell) => digestsOf(cell.outputs ?? []));
}

/** What is wrong with a notebook as a whole, once it has been executed. */
export function comparison(runs: readonly NotebookRun[], committed?: readonly string[]): string[] {
  const faults: string[] = [], [first, ...others] = runs;
  for (const other of others) {
    if (other.digests.join() !== first.digests.join()) {
      faults.push(
        `the digests differ: ${first.kernel} printed ${first.digests.join(", ") || "none"}, ` +
          `${other.kernel} ${other.digests.join(", ") || "none"}`,
      );
    }
  }
  if (committed !== undefined && committed.join() !== first.digests.join()) {
    faults.push(
      `the committed digests are ${committed.join(", ") || "none"}, today's ${
        first.digests.join(", ") || "none"
      }; ` +
        "execute it again without --check",
    );
  }
  return faults;
}

async function one(
  name: string,
  kernels: readonly Kernel[],
  check: boolean,
  small: boolean,
): Promise<boolean> {
  const path = join(NOTEBOOKS, `${name}.ipynb`), notebook = readNotebook(path);
  const options = { cwd: NOTEBOOKS, ...(small && { parameters: smallParameters(notebook) }) };
  const runs = await Promise.all(kernels.map((kernel) => executeNotebook(notebook, kernel, options)));
  for (const run of runs) {
    const cells = run.notebook.cells.filter((cell) => cell.execution_count).length;
    const how = run.faults.length === 0 ? "ok" : "FAILED";
    console.log(`${name}  ${run.kernel.padEnd(5)}  ${how}  ${cells} cells, ${run.seconds.toFixed(1)} s`);
    for (const fault of run.faults) console.log(`  ${run.kernel}: ${fault.replaceAll("\n", "\n  ")}`);
  }
  if (runs.some((run) => run.faults.length > 0)) return false;
  const faults = comparison(runs, check && !small ? committedDigests(notebook) : undefined);
  for (const fault of faults) console.log(`  ${fault}`);
  if (faults.length > 0) return false;
  const kept = runs.find((run) => run.kernel === "deno");
  // An execution that says nothing new is no change to be reviewed.
  const isNew = kept !== undefined && withoutClock(kept.notebook) !== withoutClock(notebook);
  if (isNew && !check && !small) writeNotebook(path, kept.notebook);
  return true;
}

async function main(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    allowPositionals: true,
    options: {
      check: { type: "boolean", default: false },
      small: { type: "boolean", default: false },
      kernel: { type: "string", multiple: true },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const kernels = (values.kernel ?? KERNELS) as readonly Kernel[];
  for (const kernel of kernels) {
    if (KERNELS.includes(kernel)) continue;
    throw new UsageError(`Cannot use kernel ${JSON.stringify(kernel)}; allowed are ${KERNELS.join(" and ")}`);
  }
  const names = chooseNotebooks(positionals, notebookNames());
  writeKernelspecs();
  if (kernels.includes("tslab")) refreshPackage();
  let failed = 0;
  for (const name of names) if (!await one(name, kernels, values.check, values.small)) failed++;
  console.log(
    failed === 0 ? `notebooks: all ${names.length} ok` : `notebooks: ${failed} of ${names.length} failed`,
  );
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    const { code } = error as { code?: string };
    if (!(error instanceof UsageError) && !code?.startsWith("ERR_PARSE_ARGS")) throw error;
    console.error(error instanceof UsageError ? error.message : `${(error as Error).message}\n${USAGE}`);
    process.exitCode = 2;
  }
}
