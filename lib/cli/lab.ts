/** `deno task lab`: JupyterLab with both kernels on the notebooks of the project. */
import { spawn } from "node:child_process";
import process from "node:process";
import { parseArgs } from "node:util";
import { UsageError } from "../errors.ts";
import { NOTEBOOKS } from "./notebooks.ts";
import { checkPort, ensureJupyter, jupyterEnv, labCommand } from "./notebooks/jupyter.ts";
import { ROOT } from "./setup.ts";

const USAGE = "usage: deno task lab -- [--port N] [--no-browser]";

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65535) return port;
  throw new UsageError(`Cannot take --port ${text}; allowed are whole numbers from 1 to 65535`);
}

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: args.filter((arg) => arg !== "--"),
    options: {
      port: { type: "string", default: "8888" },
      "no-browser": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const port = portOf(values.port);
  await checkPort(port);
  await ensureJupyter((line) => console.log(line));
  const [command, ...rest] = labCommand({ port, browser: !values["no-browser"], folder: NOTEBOOKS });
  const lab = spawn(command, rest, { cwd: ROOT, env: { ...process.env, ...jupyterEnv() }, stdio: "inherit" });
  // Ctrl-C reaches JupyterLab as well, which ends its kernels before itself.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => lab.kill("SIGTERM"));
  return await new Promise<number>((done, failed) => {
    lab.once("error", failed);
    lab.once("exit", (code) => done(code ?? 1));
  });
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
