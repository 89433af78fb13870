/** One running kernel: started, given code, interrupted, shut down. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";

/** What a kernel says on iopub or in reply. */
export interface Message {
  /** The channel it came on. */
  readonly channel: "shell" | "control" | "iopub";
  /** Its type, for example `display_data`. */
  readonly type: string;
  /** The id of the request that it belongs to. */
  readonly parent: string;
  /** What it carries, by type. */
  readonly content: Record<string, unknown>;
}

/** What came of a piece of code. */
export interface Execution {
  /** "ok", or "error" when the code threw, did not compile or was interrupted. */
  readonly status: string;
  /** The number that the kernel gave it. */
  readonly executionCount: number | null;
  /** Everything that it put out, in order, as it came: streams, displays, updates, errors. */
  readonly messages: readonly Message[];
  /** How many outputs came after the kernel said that it was idle: a plain client loses them. */
  readonly late: number;
}

/** How a kernel is started. */
export interface KernelStart {
  /** The command; `{connection_file}` stands for the file's path. */
  readonly argv: readonly string[];
  /** The folder in which it runs. */
  readonly cwd: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The Deno kernel may say idle before the last output is out: this long nothing more must come. */
const QUIET_MS = 150;
const START_MS = 60_000;
const BRIDGE = fileURLToPath(new URL("./bridge.mjs", import.meta.url));

interface Pending {
  readonly messages: Message[];
  reply: Message | undefined;
  idle: boolean;
  late: number;
  timer: ReturnType<typeof setTimeout> | undefined;
  readonly done: (execution: Execution) => void;
  readonly failed: (error: Error) => void;
}

/** A kernel that runs. */
export class KernelSession {
  private readonly kernel: ChildProcess;
  private readonly bridge: ChildProcess;
  private readonly folder: string;
  private readonly pending = new Map<string, Pending>();
  private stderr = "";
  private dead: string | undefined;

  private constructor(kernel: ChildProcess, bridge: ChildProcess, folder: string) {
    this.kernel = kernel;
    this.bridge = bridge;
    this.folder = folder;
    kernel.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr = (this.stderr + text).slice(-4000);
    });
    kernel.stdout?.resume();
    kernel.on("exit", (code, signal) => this.fail(`the kernel ended (${signal ?? `exit status ${code}`})`));
    kernel.on("error", (error) => this.fail(`the kernel could not be started (${error.message})`));
    bridge.on("exit", (code) => this.fail(`the connection to the kernel ended (exit status ${code})`));
    bridge.on("error", (error) => this.fail(`node could not be started (${error.message})`));
    bridge.stdin?.on("error", () => {}); // its exit says more
    createInterface({ input: bridge.stdout! }).on("line", (line) => this.take(JSON.parse(line) as Message));
  }

  /**
   * Starts a kernel and waits until it answers.
   *
   * @param start command, folder, environment
   * @returns the session
   * @throws Error if it does not answer within a minute, with what it printed
   */
  static async start(start: KernelStart): Promise<KernelSession> {
    const folder = mkdtempSync(join(tmpdir(), "hmmlab-kernel-"));
    const file = join(folder, "connection.json");
    const [shell, control, iopub, stdin, hb] = await freePorts(5);
    writeFileSync(
      file,
      JSON.stringify({
        transport: "tcp",
        ip: "127.0.0.1",
        shell_port: shell,
        control_port: control,
        iopub_port: iopub,
        stdin_port: stdin,
        hb_port: hb,
        key: randomUUID(),
        signature_scheme: "hmac-sha256",
        kernel_name: "",
      }),
      { mode: 0o600 },
    );
    const [command, ...args] = start.argv.map((arg) => arg.replace("{connection_file}", file));
    const kernel = spawn(command, args, {
      cwd: start.cwd,
      env: { ...process.env, ...start.env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const bridge = spawn("node", [BRIDGE, file], { stdio: ["pipe", "pipe", "inherit"] });
    const session = new KernelSession(kernel, bridge, folder);
    try {
      await session.answers();
    } catch (error) {
      await session.close();
      throw error;
    }
    return session;
  }

  /** Asks until the kernel answers on shell and is heard on iopub: a subscription takes effect only after a while. */
  private async answers(): Promise<void> {
    const until = Date.now() + START_MS;
    for (;;) {
      const answer = this.request("kernel_info_request", {}, "shell");
      const waited = new Promise<undefined>((r) => setTimeout(r, 1000, undefined));
      if (await Promise.race([answer, waited]) !== undefined) return;
      answer.catch(() => {});
      if (this.dead === undefined && Date.now() > until) {
        throw new Error(`the kernel did not answer within ${START_MS / 1000} s${this.said()}`);
      }
    }
  }

  /** The process that runs the kernel. */
  get pid(): number {
    return this.kernel.pid ?? -1;
  }

  /** Whether the kernel still runs. */
  get alive(): boolean {
    return this.dead === undefined;
  }

  /**
   * Runs code as a cell and waits for all that it puts out.
   *
   * @param code the cell's text
   * @param limitMs after this long it is interrupted, and if that does not help, killed
   * @returns status and outputs; code that fails is no exception
   * @throws Error if the kernel ends or cannot be stopped
   */
  async execute(code: string, limitMs = 600_000): Promise<Execution> {
    const content = {
      code,
      silent: false,
      store_history: true,
      user_expressions: {},
      allow_stdin: false,
      stop_on_error: true,
    };
    const interrupt = setTimeout(() => this.interrupt(), limitMs);
    const kill = setTimeout(() => {
      this.fail(`the cell ran past ${Math.round(limitMs / 1000)} s and did not stop when interrupted`);
      process.kill(this.pid, "SIGKILL");
    }, limitMs + 10_000);
    try {
      return await this.request("execute_request", content, "shell");
    } finally {
      clearTimeout(interrupt);
      clearTimeout(kill);
    }
  }

  /** Interrupts what the kernel does, as the stop button of a notebook does. */
  interrupt(): void {
    // Not ChildProcess.kill: Deno's sends one signal and no second.
    if (this.alive) process.kill(this.pid, "SIGINT");
  }

  /** Shuts the kernel down and removes what was written for it. */
  async close(): Promise<void> {
    if (this.alive) {
      const ended = new Promise<void>((done) => this.kernel.once("exit", () => done()));
      this.send(randomUUID(), "shutdown_request", { restart: false }, "control");
      const kill = setTimeout(() => this.kernel.kill("SIGKILL"), 2000);
      await ended;
      clearTimeout(kill);
    }
    this.bridge.stdin?.end();
    this.bridge.kill();
    if (this.kernel.exitCode === null) this.kernel.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }

  private request(type: string, content: object, channel: "shell" | "control"): Promise<Execution> {
    return new Promise((done, failed) => {
      if (this.dead !== undefined) return failed(new Error(this.dead));
      const id = randomUUID();
      const none = { messages: [], reply: undefined, idle: false, late: 0, timer: undefined };
      this.pending.set(id, { ...none, done, failed });
      this.send(id, type, content, channel);
    });
  }

  private send(id: string, type: string, content: object, channel: string): void {
    this.bridge.stdin?.write(JSON.stringify({ id, channel, type, content }) + "\n");
  }

  private take(message: Message): void {
    const pending = this.pending.get(message.parent);
    if (pending === undefined) return;
    if (message.channel !== "iopub") pending.reply = message;
    else if (message.type === "status") {
      if (message.content.execution_state === "idle") pending.idle = true;
    } else if (message.type !== "execute_input") {
      pending.messages.push(message);
      if (pending.idle) pending.late++;
    }
    if (pending.reply === undefined || !pending.idle) return;
    clearTimeout(pending.timer);
    const { reply, messages } = pending;
    const finish = () => {
      this.pending.delete(message.parent);
      const { status, execution_count: count } = reply.content;
      const executionCount = typeof count === "number" ? count : null;
      pending.done({ status: String(status), executionCount, messages, late: pending.late });
    };
    pending.timer = setTimeout(finish, QUIET_MS);
  }

  private said(): string {
    const text = stripVTControlCharacters(this.stderr).trim();
    return text === "" ? "" : `; it said:\n${text}`;
  }

  private fail(why: string): void {
    if (this.dead !== undefined) return;
    this.dead = why + this.said();
    const error = new Error(this.dead);
    for (const [, pending] of this.pending) pending.failed(error);
    this.pending.clear();
  }
}

/** Ports that nothing listens on at this moment. */
async function freePorts(n: number): Promise<number[]> {
  const servers = Array.from({ length: n }, () => createServer());
  const ports = await Promise.all(servers.map((server) =>
    new Promise<number>((done, failed) => {
      server.once("error", failed);
      server.listen(0, "127.0.0.1", () => done((server.address() as { port: number }).port));
    })
  ));
  await Promise.all(servers.map((server) => new Promise((done) => server.close(done))));
  return ports;
}
