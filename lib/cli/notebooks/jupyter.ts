/** JupyterLab in a virtual environment of the project: nothing of it touches the home folder. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { UsageError } from "../../errors.ts";
import { aptLine, isUsable, ROOT, SYSTEM_PROGRAMS } from "../setup.ts";
import { JUPYTER, KERNELS, writeKernelspecs } from "./kernels.ts";

/** What is installed into the environment, exactly. */
const REQUIREMENTS: readonly string[] = ["jupyterlab==4.6.6", "nbclient==0.11.0"];
const VENV = join(ROOT, ".venv");
const MARKER = join(VENV, "hmmlab-requirements.txt");
const LOCK = join(JUPYTER, "venv.lock");

/** A program of the environment. */
export function venvProgram(name: string): string {
  return join(VENV, "bin", name);
}

function installed(): boolean {
  try {
    return readFileSync(MARKER, "utf8") === REQUIREMENTS.join("\n");
  } catch {
    return false;
  }
}

/** Whether the process that wrote a lock still runs; one that was stopped leaves its lock behind. */
function heldBySomeone(): boolean {
  try {
    process.kill(Number(readFileSync(LOCK, "utf8")), 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Takes the lock on `.venv`, or waits until whoever makes it is done. */
async function lock(): Promise<void> {
  mkdirSync(JUPYTER, { recursive: true });
  for (;;) {
    try {
      writeFileSync(LOCK, String(process.pid), { flag: "wx" });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    if (heldBySomeone()) await new Promise((done) => setTimeout(done, 200));
    else rmSync(LOCK, { force: true });
  }
}

async function python(command: string, args: readonly string[], what: string): Promise<void> {
  try {
    await promisify(execFile)(command, [...args], { cwd: ROOT });
  } catch (error) {
    const { stderr = "", message } = error as { stderr?: string; message: string };
    throw new UsageError(`Cannot ${what}:\n${stderr.trim() || message}`);
  }
}

/**
 * Makes `.venv` with JupyterLab, unless it is there.
 *
 * @param say takes a line about what takes long
 * @throws {UsageError} If python3 or its venv is missing (one line with the command that installs it), or PyPI cannot be
 * reached
 */
export async function ensureJupyter(say: (line: string) => void): Promise<void> {
  if (installed()) return;
  const python3 = SYSTEM_PROGRAMS.filter((p) => p.program === "python3");
  if (!python3.every(isUsable)) {
    throw new UsageError(
      `Cannot make .venv for JupyterLab: python3 with venv (3.10 or newer) is missing; as root: ${
        aptLine(python3)
      }`,
    );
  }
  await lock();
  try {
    if (installed()) return;
    rmSync(VENV, { recursive: true, force: true });
    say("Installing JupyterLab into .venv (once, some 200 MB)");
    await python("python3", ["-m", "venv", VENV], "make .venv");
    const quiet = ["--quiet", "--disable-pip-version-check", "--no-cache-dir", "--no-input"];
    const install = ["-m", "pip", "install", ...quiet, ...REQUIREMENTS];
    await python(venvProgram("python"), install, "install JupyterLab from PyPI");
    writeFileSync(MARKER, REQUIREMENTS.join("\n"));
  } finally {
    rmSync(LOCK, { force: true });
  }
}

/** The environment in which Jupyter runs: kernels, settings, workspaces, everything in `.jupyter/`. */
export function jupyterEnv(): Record<string, string> {
  return {
    JUPYTER_PATH: [JUPYTER, process.env.JUPYTER_PATH ?? ""].filter(Boolean).join(":"),
    JUPYTER_CONFIG_DIR: join(JUPYTER, "config"),
    JUPYTER_DATA_DIR: join(JUPYTER, "data"),
    JUPYTER_RUNTIME_DIR: join(JUPYTER, "runtime"),
    JUPYTERLAB_SETTINGS_DIR: join(JUPYTER, "settings"),
    JUPYTERLAB_WORKSPACES_DIR: join(JUPYTER, "workspaces"),
    IPYTHONDIR: join(JUPYTER, "ipython"),
  };
}

/** How JupyterLab is started. */
export interface LabOptions {
  /** The port on this computer. */
  readonly port: number;
  /** Whether it opens a browser. */
  readonly browser: boolean;
  /** The folder that it shows. */
  readonly folder: string;
  /** A token instead of a random one. */
  readonly token?: string;
}

/**
 * The command that starts JupyterLab with both kernels; it is to run with {@link jupyterEnv}.
 *
 * @param options port, folder
 * @returns program and arguments, after writing what it reads
 */
export function labCommand(options: LabOptions): string[] {
  writeKernelspecs();
  const config = join(JUPYTER, "config", "labconfig");
  mkdirSync(config, { recursive: true });
  // The news want a network and a click before anything else can be done.
  const page = { disabledExtensions: { "@jupyterlab/apputils-extension:announcements": true } };
  writeFileSync(join(config, "page_config.json"), JSON.stringify(page, null, 2) + "\n");
  return [
    venvProgram("jupyter-lab"),
    `--ServerApp.root_dir=${options.folder}`,
    `--ServerApp.port=${options.port}`,
    "--ServerApp.port_retries=0",
    "--ServerApp.answer_yes=True",
    "--log-level=WARN",
    // It starts npm and others to look for language servers, and those write into the home folder.
    "--LanguageServerManager.autodetect=False",
    `--KernelSpecManager.allowed_kernelspecs={${KERNELS.map((kernel) => `'${kernel}'`).join(",")}}`,
    "--KernelSpecManager.ensure_native_kernel=False",
    `--MultiKernelManager.default_kernel_name=${KERNELS[0]}`,
    ...(options.browser ? [] : ["--no-browser"]),
    ...(options.token === undefined ? [] : [`--IdentityProvider.token=${options.token}`]),
    // In a container one is root, and Jupyter would not start.
    ...(process.getuid?.() === 0 ? ["--allow-root"] : []),
  ];
}

/**
 * Makes sure that a port is free.
 *
 * @param port on this computer
 * @throws {UsageError} If something listens there already
 */
export async function checkPort(port: number): Promise<void> {
  const server = createServer();
  try {
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(port, "127.0.0.1", done);
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "is in use" : code === "EACCES" ? "is not allowed" : message;
    throw new UsageError(
      `Cannot start JupyterLab: port ${port} ${why}; write npx --yes deno@2.9.6 task lab -- --port ${
        port + 1
      }`,
    );
  }
  await new Promise((done) => server.close(done));
}
