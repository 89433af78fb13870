// @ts-check
/**
 * Starts tslab's kernel on the package as lib/ is now: `node tslab.mjs CONNECTION_FILE DENO`.
 *
 * So an edit of lib/ is taken up by restarting the kernel, as on the Deno kernel.
 */
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const [configPath, deno] = process.argv.slice(2);

const made = spawnSync(deno, ["run", "-A", fileURLToPath(new URL("./package.ts", import.meta.url))], {
  cwd: root,
  stdio: ["ignore", "inherit", "inherit"],
});
// A lib/ that does not compile leaves the package of before, and `show` says that it is stale.
if (made.error) console.error(`hmmlab: ${made.error.message}`);

const say = console.error;
console.error = (...args) => {
  say(...args);
  if (args.some((arg) => /Cannot find module 'hmmlab'/.test(String(arg)))) {
    say(
      `hmmlab is not installed for ${process.cwd()}: open the notebook from a folder of ${root}, ` +
        "or install the package there, as the README says under «Elsewhere».",
    );
  }
};

/** @type {{ startKernel(options: { configPath: string, jsKernel: boolean, enableFindLocal: boolean }): void }} */
const tslab = createRequire(import.meta.url)("tslab/dist/main.js");
tslab.startKernel({ configPath, jsKernel: false, enableFindLocal: false });
