/** The npm package that is made out of lib/: for tslab, which cannot read the sources, and for users elsewhere. */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { UsageError } from "../../errors.ts";
import { sourceStamp } from "../../notebook/stale.ts";
import { ROOT } from "../setup.ts";

/** Where tslab finds `hmmlab` when a notebook of this repository imports it. */
export const INSTALLED: string = join(ROOT, "node_modules", "hmmlab");

/** Packages that deno does not find: read by path, or pinned because what arquero would take does not install. */
const ALSO_NEEDED = ["@uwdata/flechette", "dejavu-fonts-ttf", "vega-embed"];

interface Manifest {
  readonly imports: Readonly<Record<string, string>>;
}

function manifest(): Manifest {
  return JSON.parse(readFileSync(join(ROOT, "deno.json"), "utf8")) as Manifest;
}

function filesUnder(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().flatMap((name) => filesUnder(join(path, name)));
}

/** The stamp of the package that lies in a folder; undefined when there is none of ours. */
export function stampOf(folder: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { hmmlab?: { stamp?: string } })
      .hmmlab?.stamp;
  } catch {
    return undefined;
  }
}

function run(command: string, args: readonly string[], what: string): void {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  if (error) throw error;
  if (status !== 0) {
    throw new UsageError(
      `Cannot make the package: ${what} failed:\n${stdout}${stderr.replace(/\n\nStack backtrace:[^]*/, "")}`,
    );
  }
}

/**
 * Makes the package in a folder: JavaScript, declarations, profiles and a package.json with exact versions.
 *
 * @param folder where it shall lie; nothing may be there
 * @throws {UsageError} with what deno said if it cannot be made, for example because lib/ does not compile
 */
export function makePackage(folder: string): void {
  const scratch = mkdtempSync(join(tmpdir(), "hmmlab-pack-"));
  try {
    const tarball = join(scratch, "hmmlab.tgz"), unpacked = join(scratch, "package");
    run(process.execPath, ["pack", "--allow-dirty", "--no-source-maps", "-o", tarball], "deno pack");
    run("tar", ["-xzf", tarball, "-C", scratch], "unpacking what deno packed");
    for (const path of filesUnder(unpacked)) {
      // What nothing imports comes as it is: sources that neither Node nor TypeScript could load.
      if (/\.ts$/.test(path) && !/\.d\.ts$/.test(path)) rmSync(path);
    }
    writeFileSync(join(unpacked, "package.json"), JSON.stringify(packageJson(unpacked), null, 2) + "\n");
    mkdirSync(dirname(folder), { recursive: true });
    run("cp", ["-R", unpacked, folder], "copying the package");
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** deno writes ranges, and what they come to today does not install: each becomes the version of deno.json. */
function packageJson(unpacked: string): Record<string, unknown> {
  const packed = JSON.parse(readFileSync(join(unpacked, "package.json"), "utf8")) as Record<string, unknown>;
  const { imports } = manifest(), dependencies: Record<string, string> = {};
  for (const name of new Set([...Object.keys(packed.dependencies as object), ...ALSO_NEEDED].sort())) {
    const version = /^npm:(?:@[^/]+\/)?[^@]+@(\d[^/]*)$/.exec(imports[name] ?? "")?.[1];
    if (version === undefined) {
      throw new UsageError(`Cannot make the package: deno.json gives no exact version of ${name}`);
    }
    dependencies[name] = version;
  }
  return {
    ...packed,
    description: "A lab bench for heterogeneous memory: Linux memory management with HMM, timed and explored",
    engines: { node: ">=20.19" },
    dependencies,
    hmmlab: { stamp: sourceStamp(ROOT) },
  };
}

/**
 * Sees to it that the package in node_modules is what lib/ is now.
 *
 * @returns whether it had to be made
 * @throws {UsageError} with what deno said if it cannot be made, for example because lib/ does not compile
 */
export function refreshPackage(): boolean {
  const stamp = sourceStamp(ROOT);
  if (stampOf(INSTALLED) === stamp) return false;
  const scratch = mkdtempSync(join(ROOT, "node_modules", ".hmmlab-"));
  try {
    makePackage(join(scratch, "new"));
    // Several kernels may start at once: the first to have it puts it there, for the others to read.
    if (stampOf(INSTALLED) === stamp) return false;
    for (let tries = 0;; tries++) {
      try {
        if (existsSync(INSTALLED)) renameSync(INSTALLED, join(scratch, `old-${tries}`));
        renameSync(join(scratch, "new"), INSTALLED);
        return true;
      } catch (error) {
        if (tries >= 5) throw error;
      }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  try {
    if (refreshPackage()) console.error("hmmlab: made node_modules/hmmlab out of lib/, for tslab");
  } catch (error) {
    console.error(`hmmlab: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  }
}
