/** The two kernels of the project: how each is started, and how Jupyter is told. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { UsageError } from "../../errors.ts";
import { isInstalled, ROOT } from "../setup.ts";

/** A kernel on which every notebook runs. */
export type Kernel = "deno" | "tslab";

/** Both kernels, the one whose outputs are kept first. */
export const KERNELS: readonly Kernel[] = ["deno", "tslab"];

/** Where Jupyter looks for kernels and keeps what it writes: nothing of it lies in the home folder. */
export const JUPYTER: string = join(ROOT, ".jupyter");

/**
 * The command that starts a kernel.
 *
 * @param kernel which
 * @returns program and arguments; `{connection_file}` stands for the connection file, as in a kernelspec
 * @throws {UsageError} If what it needs is not installed
 */
export function kernelCommand(kernel: Kernel): string[] {
  if (kernel === "deno") {
    return [process.execPath, "jupyter", "--kernel", "--conn", "{connection_file}"];
  }
  if (!existsSync(join(ROOT, "node_modules", "tslab"))) {
    throw new UsageError("Cannot start tslab: it is not installed; write npx --yes deno@2.9.6 task setup");
  }
  if (!isInstalled("node")) {
    throw new UsageError("Cannot start tslab: node is not in PATH; it needs Node 20");
  }
  const start = fileURLToPath(new URL("./tslab.mjs", import.meta.url));
  return ["node", start, "{connection_file}", process.execPath];
}

const DISPLAY_NAMES: Readonly<Record<Kernel, string>> = { deno: "Deno", tslab: "TypeScript (tslab)" };

/** Writes a kernelspec for each kernel into `.jupyter/kernels/`. */
export function writeKernelspecs(): void {
  for (const kernel of KERNELS) {
    const folder = join(JUPYTER, "kernels", kernel);
    mkdirSync(folder, { recursive: true });
    const spec = {
      argv: kernelCommand(kernel),
      display_name: DISPLAY_NAMES[kernel],
      language: "typescript",
      interrupt_mode: "signal",
    };
    writeFileSync(join(folder, "kernel.json"), JSON.stringify(spec, null, 2) + "\n");
  }
}
