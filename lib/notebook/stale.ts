/** Whether the package that tslab loads is what the sources beside it have become. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

function filesUnder(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path).sort().flatMap((name) => filesUnder(join(path, name)));
}

/**
 * A digest of everything that the npm package is made of: another digest, another package.
 *
 * @param root the repository, in which deno.json says what is published
 * @returns hexadecimal SHA-256 over names and contents
 */
export function sourceStamp(root: string): string {
  const manifest = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as {
    publish: { include: readonly string[]; exclude?: readonly string[] };
  };
  const { include, exclude = [] } = manifest.publish, hash = createHash("sha256");
  for (const path of include.map((name) => join(root, name)).filter((path) => existsSync(path))) {
    for (const file of filesUnder(path)) {
      const name = relative(root, file);
      if (!exclude.some((e) => name.startsWith(e))) hash.update(`${name}\0`).update(readFileSync(file));
    }
  }
  return hash.digest("hex");
}

/**
 * Compares a package with the sources that it was made of.
 *
 * @param folder the package, which is `node_modules/hmmlab` of a repository, or lies elsewhere
 * @returns what to do when the sources have changed since; undefined when they have not, or are not there
 */
export function staleness(folder: string): string | undefined {
  const root = join(folder, "..", "..");
  if (!existsSync(join(root, "lib", "mod.ts"))) return undefined;
  const { hmmlab } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
    hmmlab?: { stamp?: string };
  };
  if (hmmlab?.stamp === undefined || hmmlab.stamp === sourceStamp(root)) return undefined;
  return `hmmlab: ${join(root, "lib")} has changed since this kernel's package was made of it. ` +
    `Run \`npx --yes deno@2.9.6 task pack\` in ${root}, then restart the kernel.`;
}

let asked = false;

/** Says once, on standard error, that the package of this tslab kernel is stale, if it is. */
export function warnIfStale(): void {
  if (asked) return;
  asked = true;
  try {
    const warning = staleness(fileURLToPath(new URL("../../", import.meta.url)));
    if (warning !== undefined) console.error(warning);
  } catch {
    // A package that cannot be compared is not a reason to stop.
  }
}
