/** `deno task setup`: installs the npm packages that deno.lock names and says which programs are missing. */
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** A program that does not come from npm: what it is called, which Debian package has it, what needs it. */
export interface SystemProgram {
  /** The command, as it is looked for in PATH. */
  readonly program: string;
  /** The Debian 12 package that has it. */
  readonly debianPackage: string;
  /** What does not work without it. */
  readonly neededBy: string;
  /** Arguments with which it must succeed, where being in PATH is not enough. */
  readonly probe?: readonly string[];
}

/** Every program outside npm that some part of the project starts: the one list that setup, tests and CI read. */
export const SYSTEM_PROGRAMS: readonly SystemProgram[] = [
  { program: "valgrind", debianPackage: "valgrind", neededBy: "task trace (page traces of real programs)" },
  { program: "gzip", debianPackage: "gzip", neededBy: "the test that captures a trace" },
  {
    program: "python3",
    debianPackage: "python3-venv",
    neededBy: "task lab (JupyterLab)",
    probe: ["-c", "import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 10))"],
  },
  { program: "chromium", debianPackage: "chromium", neededBy: "the tests that open notebooks in JupyterLab" },
];

/** The repository root, where deno.json lies. */
export const ROOT: string = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/**
 * Whether a program can be started from PATH.
 *
 * @param program Its name, without a folder.
 * @returns True when an executable file of that name lies in a folder of PATH.
 */
export function isInstalled(program: string): boolean {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    if (folder === "") continue;
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== "ENOENT" && code !== "EACCES" && code !== "ENOTDIR") throw error;
    }
  }
  return false;
}

/**
 * Whether a program of {@link SYSTEM_PROGRAMS} can do what it is needed for.
 *
 * @param p Its row.
 * @returns True when it is in PATH and its probe, if it has one, succeeds.
 */
export function isUsable(p: SystemProgram): boolean {
  return isInstalled(p.program) && (!p.probe || spawnSync(p.program, p.probe).status === 0);
}

/**
 * The programs of {@link SYSTEM_PROGRAMS} that this machine lacks.
 *
 * @returns The rows whose program is not usable, in the order of the table.
 */
export function missingPrograms(): SystemProgram[] {
  return SYSTEM_PROGRAMS.filter((p) => !isUsable(p));
}

/**
 * The line that installs what is missing.
 *
 * @param missing The missing programs, at least one.
 * @returns A command for a shell with root's rights.
 */
export function aptLine(missing: readonly SystemProgram[]): string {
  const names = [...new Set(missing.map((p) => p.debianPackage))].sort();
  return `apt-get install --yes --no-install-recommends ${names.join(" ")}`;
}

/** Installs the npm packages, exactly those of deno.lock when there is one; answers deno's exit status. */
function installPackages(quiet: boolean): number {
  const args = ["install"];
  if (existsSync(join(ROOT, "deno.lock"))) args.push("--frozen");
  // Build scripts are not needed for any package here, and deno's warning about them would read as a fault.
  args.push("--quiet");
  if (!quiet) console.log("Installing npm packages (node_modules/)");
  const { status, error } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (error) throw error;
  return status ?? 1;
}

function main(args: readonly string[]): number {
  if (args.includes("--missing")) {
    // For .ci/run: the Debian packages only, one a line, before anything is installed.
    for (const name of new Set(missingPrograms().map((p) => p.debianPackage))) console.log(name);
    return 0;
  }
  const quiet = args.includes("--quiet");
  const status = installPackages(quiet);
  if (status !== 0) {
    console.error("setup: npm packages could not be installed (see above); is the npm registry reachable?");
    return status;
  }
  const missing = quiet ? [] : missingPrograms();
  if (missing.length > 0) {
    console.log("Not installed (everything else works without):");
    for (const p of missing) console.log(`  ${p.program}: ${p.neededBy}`);
    console.log(`To install, as root: ${aptLine(missing)}`);
  }
  if (!quiet) console.log("Set-up done.");
  return 0;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
