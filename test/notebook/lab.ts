/** JupyterLab and a headless browser, as tests drive them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Browser, chromium, type Page } from "playwright-core";
import { ensureJupyter, jupyterEnv, labCommand } from "../../lib/cli/notebooks/jupyter.ts";
import { ROOT } from "../../lib/cli/setup.ts";

const TOKEN = "hmmlab-test";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

async function until<T>(what: string, seconds: number, probe: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
    const found = await probe().catch(() => undefined);
    if (found !== undefined) return found;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`${what} took more than ${seconds} s`);
}

async function end(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  const ended = new Promise((done) => child.once("exit", done));
  process.kill(child.pid, signal);
  const kill = setTimeout(() => process.kill(child.pid!, "SIGKILL"), 25_000);
  await ended;
  clearTimeout(kill);
}

/** A JupyterLab that serves one folder, as `task lab` would start it. */
export class Lab {
  private constructor(private readonly child: ChildProcess, private readonly port: number) {}

  /** Starts it on a folder under the root, with parameters for its notebooks. */
  static async start(folder: string, parameters: object): Promise<Lab> {
    await ensureJupyter(() => {});
    const port = await freePort(), settings = join(folder, ".settings");
    const tracker = join(settings, "@jupyterlab", "notebook-extension");
    mkdirSync(tracker, { recursive: true });
    // Cells outside the window would not be in the page.
    writeFileSync(join(tracker, "tracker.jupyterlab-settings"), JSON.stringify({ windowingMode: "none" }));
    const [command, ...args] = labCommand({ port, browser: false, folder, token: TOKEN });
    const env = {
      ...process.env,
      ...jupyterEnv(),
      JUPYTERLAB_SETTINGS_DIR: settings,
      JUPYTERLAB_WORKSPACES_DIR: join(folder, ".workspaces"),
      HMMLAB_PARAMETERS: JSON.stringify(parameters),
    };
    const lab = new Lab(spawn(command, args, { cwd: ROOT, env, stdio: "ignore" }), port);
    const status = `http://127.0.0.1:${port}/api/status?token=${TOKEN}`;
    await until("the start of JupyterLab", 60, async () => (await fetch(status)).ok || undefined);
    return lab;
  }

  /** The address at which a notebook of the folder opens, alone in a workspace of its own. */
  url(notebook: string): string {
    const workspace = notebook.replace(/\W/g, "-");
    return `http://127.0.0.1:${this.port}/lab/workspaces/${workspace}/tree/${notebook}?token=${TOKEN}`;
  }

  /** Ends it and its kernels. */
  async close(): Promise<void> {
    // Not SIGINT, which a shell's background job ignores together with its children.
    await end(this.child, "SIGTERM");
  }
}

/** A headless Chromium with a profile of its own. */
export class Chromium {
  private constructor(
    private readonly child: ChildProcess,
    private readonly profile: string,
    private readonly browser: Browser,
  ) {}

  /** Starts it; nothing of it reaches the network or the home folder. */
  static async start(): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), "hmmlab-chromium-")), port = await freePort();
    const child = spawn("chromium", [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--user-data-dir=${profile}`,
      `--remote-debugging-port=${port}`,
      "about:blank",
    ], { stdio: "ignore", env: { ...process.env, HOME: profile } });
    const browser = await until(
      "the start of Chromium",
      60,
      () => chromium.connectOverCDP(`http://127.0.0.1:${port}`),
    );
    return new Chromium(child, profile, browser);
  }

  /** Opens a page in a window of some size. */
  async page(width: number, height: number): Promise<Page> {
    const page = await this.browser.contexts()[0].newPage();
    await page.setViewportSize({ width, height });
    return page;
  }

  /** Ends it. */
  async close(): Promise<void> {
    await this.browser.close().catch(() => {});
    await end(this.child, "SIGKILL");
    // Its helper processes outlive it for a moment and still write there.
    const removed = () => rm(this.profile, { recursive: true, force: true }).then(() => true);
    await until("the removal of Chromium's profile", 20, removed);
  }
}
