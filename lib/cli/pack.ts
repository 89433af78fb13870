/** `deno task pack`: the npm package, for tslab in this repository and as a tarball for anywhere else. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { UsageError } from "../errors.ts";
import { formatBytes } from "../units.ts";
import { INSTALLED, refreshPackage } from "./notebooks/package.ts";
import { checkTypes } from "./pack/types.ts";
import { ROOT } from "./setup.ts";

/**
 * Makes the tarball that `npm install` takes.
 *
 * @param out the folder in which it shall lie
 * @returns its path
 * @throws {UsageError} If lib/ does not compile, or its declarations cannot be read by TypeScript 5.0.4
 */
export function pack(out: string): string {
  refreshPackage();
  const types = checkTypes(INSTALLED);
  if (types.faults.length > 0) {
    throw new UsageError(
      `Cannot pack: TypeScript ${types.version}, which tslab uses, cannot read the declarations:\n` +
        types.faults.map((fault) => `  ${fault}`).join("\n"),
    );
  }
  mkdirSync(out, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", out];
  const { status, error, stdout, stderr } = spawnSync("npm", args, { cwd: INSTALLED, encoding: "utf8" });
  if (error) throw error;
  if (status !== 0) throw new UsageError(`Cannot pack: npm pack failed:\n${stderr}`);
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  return join(out, filename.replace(/^@/, "").replaceAll("/", "-"));
}

if (import.meta.main) {
  try {
    const out = join(ROOT, "out", "package");
    rmSync(out, { recursive: true, force: true });
    const path = pack(out);
    console.log(`${path} (${formatBytes(statSync(path).size)})`);
    console.log(`Elsewhere: npm install hmmlab@file:${path}`);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
