/** Runs a program under valgrind's lackey and folds what it prints, out of a pipe, into rows. */
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { UsageError } from "../../errors.ts";
import { formatCount } from "../../units.ts";
import { aptLine, isInstalled, SYSTEM_PROGRAMS } from "../setup.ts";
import { LackeyParser } from "./lackey.ts";
import type { TraceOptions } from "./options.ts";
import { type FoldedRuns, PageRuns } from "./runs.ts";

/** The environment of a program traced with `--clean-env`: a stack depends on the length of its environment. */
export const CLEAN_ENV: Readonly<Record<string, string>> = {
  HOME: "/",
  LC_ALL: "C",
  PATH: "/usr/local/bin:/usr/bin:/bin",
};

/** What came of a run. */
export interface Capture {
  /** The columns. */
  readonly runs: FoldedRuns;
  /** What the parser counted. */
  readonly counts: Readonly<
    Record<"references" | "loads" | "stores" | "modifies" | "straddles" | "fetches", number>
  >;
  /** Whether the run was cut off at the limit. */
  readonly truncated: boolean;
  /** The program's exit status; meaningless when the run was truncated. */
  readonly exitStatus: number;
}

/** A program that was started but whose trace did not come to its end. */
export class CaptureError extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "CaptureError";
}

/** Ctrl-C, or a request to end. */
export class Interrupted extends Error {
  /** The name that a stack trace shows. */
  override readonly name: string = "Interrupted";
}

/** How long the pipe may stay open after the program's end, held by a child that it left behind. */
const LEFT_BEHIND_MS = 2_000;
const PROGRESS_MS = 500;
const CHUNK_BYTES = 1 << 16;

// lackey's log gets a pipe of its own, so nothing that the program prints can be taken for a reference; the number is the
// largest that a shell promises, out of the way of what the program itself opens.
const SCRIPT = 'exec "$@" 9>&1 1>"$0"';
// A shell adds the folder that it was started in, and so does the one that Debian wraps around valgrind.bin.
const CLEAN_SCRIPT = `unset PWD OLDPWD; ${SCRIPT}`;

/**
 * Captures the page references of one run of a program.
 *
 * @param options The command and how to trace it.
 * @param progress Gets a line now and then.
 * @returns Rows and counts.
 * @throws UsageError when valgrind or the program is not there, CaptureError when the program is too long, dies by a
 *   signal or does not run under valgrind, Interrupted on SIGINT or SIGTERM.
 */
export async function capture(options: TraceOptions, progress: (line: string) => void): Promise<Capture> {
  checkProgram(options.command[0], pathOf(options));
  const shown = options.command[0];
  const runs = new PageRuns(options.filter);
  const parser = new LackeyParser(runs, options.limit);
  const child = new Deno.Command("sh", {
    args: [
      "-c",
      options.cleanEnv ? CLEAN_SCRIPT : SCRIPT,
      options.output,
      options.cleanEnv && isInstalled("valgrind.bin") ? "valgrind.bin" : "valgrind",
      "--tool=lackey",
      "--trace-mem=yes",
      "--basic-counts=no",
      "--child-silent-after-fork=yes",
      "--vgdb=no",
      "--log-fd=9",
      ...options.command,
    ],
    stdin: "inherit",
    stdout: "piped",
    stderr: "inherit",
    clearEnv: options.cleanEnv,
    env: { ...(options.cleanEnv ? CLEAN_ENV : {}), ...options.env },
  }).spawn();

  const reader = child.stdout.getReader({ mode: "byob" });
  let interrupted = false;
  const stop = () => {
    interrupted = true;
    kill(child);
    void reader.cancel();
  };
  const startMs = performance.now();
  const ticker = setInterval(() => {
    const seconds = (performance.now() - startMs) / 1000;
    const rate = formatCount(Math.round(parser.references / seconds));
    progress(`${formatCount(parser.references)} references, ${rate}/s, ${formatCount(runs.rows)} rows`);
  }, PROGRESS_MS);
  let leftBehind: ReturnType<typeof setTimeout> | undefined;
  const ended = child.status.then((status) => {
    leftBehind = setTimeout(() => void reader.cancel(), LEFT_BEHIND_MS);
    return status;
  });
  Deno.addSignalListener("SIGINT", stop);
  Deno.addSignalListener("SIGTERM", stop);
  try {
    await readAll(reader, parser);
    if (interrupted) throw new Interrupted(`${shown}: interrupted`);
    if (parser.full && !options.truncate) {
      const limit = formatCount(options.limit);
      throw new CaptureError(
        `Cannot trace ${shown}: got more than ${limit} references and stopped it there; ` +
          "give it a smaller input, raise --limit, or keep the first part with --truncate",
      );
    }
    if (parser.full) kill(child);
    const status = await ended;
    // At a terminal Ctrl-C reaches the program too, which may be gone before the news of it comes here.
    if (interrupted || status.signal === "SIGINT") throw new Interrupted(`${shown}: interrupted`);
    if (!parser.full) checkEnd(shown, status, parser);
    const { references, loads, stores, modifies, straddles, fetches } = parser;
    return {
      runs: runs.finish(),
      counts: { references, loads, stores, modifies, straddles, fetches },
      truncated: parser.full,
      exitStatus: status.code,
    };
  } finally {
    kill(child);
    await ended;
    clearInterval(ticker);
    clearTimeout(leftBehind);
    Deno.removeSignalListener("SIGINT", stop);
    Deno.removeSignalListener("SIGTERM", stop);
  }
}

/** The first line of what a program prints about its version. */
export function programVersion(options: TraceOptions): string {
  if (options.versionArgs === undefined) return "not asked (--version-args)";
  const program = findProgram(options.command[0], pathOf(options)) ?? options.command[0];
  return firstLineOf(program, options.versionArgs);
}

/** The version of valgrind, as it prints it. */
export function valgrindVersion(): string {
  return firstLineOf("valgrind", ["--version"]);
}

/**
 * Says where a script's interpreter will be traced instead of what the user may think of.
 *
 * @param options The command.
 * @returns The interpreter line without `#!`, or null when the program is no script.
 */
export function interpreterOf(options: TraceOptions): string | null {
  const path = findProgram(options.command[0], pathOf(options));
  if (path === null) return null;
  const head = readFileSync(path).subarray(0, 128).toString("latin1");
  return head.startsWith("#!") ? head.slice(2).split("\n", 1)[0].trim() : null;
}

async function readAll(reader: ReadableStreamBYOBReader, parser: LackeyParser): Promise<void> {
  let buffer = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const { value, done } = await reader.read(buffer);
    if (done || value === undefined) break;
    if (!parser.push(value)) {
      void reader.cancel();
      return;
    }
    buffer = new Uint8Array(value.buffer);
  }
}

function checkEnd(shown: string, status: Deno.CommandStatus, parser: LackeyParser): void {
  const got = formatCount(parser.references);
  if (status.signal !== null) {
    throw new CaptureError(
      `Cannot trace ${shown}: got ${status.signal} after ${got} references; a trace is of a program that comes to its ` +
        "end; nothing was written",
    );
  }
  if (parser.references === 0) {
    throw new CaptureError(
      `Cannot trace ${shown}: got no reference and exit status ${status.code} from valgrind ` +
        `(${
          parser.messages.at(-1) ?? "it says why above"
        }); valgrind runs programs of its own architecture that are not setuid`,
    );
  }
  parser.end();
}

function checkProgram(program: string, path: string): void {
  if (!isInstalled("valgrind")) {
    const rows = SYSTEM_PROGRAMS.filter((p) => p.program === "valgrind");
    throw new UsageError(`Cannot trace ${program}: valgrind is missing; install it with: ${aptLine(rows)}`);
  }
  if (findProgram(program, path) === null) {
    throw new UsageError(
      `Cannot trace ${program}: got no such program` +
        (program.includes("/") ? "; the path of an executable file is wanted" : ` in PATH (${path})`),
    );
  }
}

function pathOf(options: TraceOptions): string {
  return options.env.PATH ?? (options.cleanEnv ? CLEAN_ENV.PATH : process.env.PATH ?? "");
}

function findProgram(program: string, path: string): string | null {
  const folders = program.includes("/") ? [""] : path.split(delimiter).filter((folder) => folder !== "");
  for (const folder of folders) {
    const file = folder === "" ? program : join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      if (statSync(file).isFile()) return file;
    } catch (error) {
      if (!(error instanceof Error) || !("code" in error)) throw error;
    }
  }
  return null;
}

function firstLineOf(program: string, args: readonly string[]): string {
  const { stdout, stderr } = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).outputSync();
  const text = new TextDecoder().decode(stdout) + "\n" + new TextDecoder().decode(stderr);
  return text.split("\n").map((line) => line.trim()).find((line) => line !== "") ?? "prints nothing";
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof TypeError)) throw error;
  }
}
