/** `deno task trace -- CMD ARGS…`: the page trace of a real program, captured with valgrind's lackey. */
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { machine } from "node:os";
import { dirname } from "node:path";
import process from "node:process";
import { UsageError } from "../errors.ts";
import { formatBytes, formatCount } from "../units.ts";
import { type PageTrace, touchedPages, writeTraceFile } from "../workloads/trace_file.ts";
import {
  type Capture,
  capture,
  CaptureError,
  CLEAN_ENV,
  interpreterOf,
  Interrupted,
  programVersion,
  valgrindVersion,
} from "./trace/capture.ts";
import { LackeyError } from "./trace/lackey.ts";
import { FILTER_WINDOW } from "./trace/runs.ts";
import { parseOptions, shellQuote, type TraceOptions, USAGE } from "./trace/options.ts";

/** Without a terminal a line that overwrites itself would be noise: then one in so many is printed. */
const LINES_WITHOUT_TERMINAL = 20;

/**
 * Runs the task.
 *
 * @param args What follows `task trace`.
 * @returns The exit status: 0 when the trace was written, 130 after Ctrl-C, 2 for wrong use, else 1.
 */
export async function main(args: readonly string[]): Promise<number> {
  const say = sayer();
  try {
    const options = parseOptions(args);
    if (options === "help") {
      console.log(USAGE);
      return 0;
    }
    await trace(options, args, say);
    return 0;
  } catch (error) {
    say.end();
    if (error instanceof Interrupted) {
      console.error(`trace: ${error.message}, nothing was written`);
      return 130;
    }
    if (error instanceof UsageError || error instanceof CaptureError || error instanceof LackeyError) {
      console.error(`trace: ${error.message}`);
      return error instanceof UsageError ? 2 : 1;
    }
    if (error instanceof Error && "code" in error) {
      console.error(`trace: nothing was written: ${error.message}`);
      return 1;
    }
    throw error;
  }
}

async function trace(options: TraceOptions, args: readonly string[], say: Sayer): Promise<void> {
  if (!options.force && existsSync(options.path)) {
    throw new UsageError(
      `Cannot write ${options.path}: got a name that is taken; a trace is not replaced unasked; ` +
        "write --force, or another --out NAME",
    );
  }
  checkFolder(dirname(options.path));
  const interpreter = interpreterOf(options);
  if (interpreter !== null) {
    console.error(
      `trace: ${
        options.command[0]
      } is a script: what is traced is ${interpreter}, not the programs it starts`,
    );
  }
  const captured = await capture(options, say.progress);
  say.end();
  const trace: PageTrace = {
    name: options.name,
    rows: captured.runs.count.length,
    ...captured.runs,
    source: sourceOf(options, args, captured),
  };
  const lengthBytes = await unbroken(() => write(options, trace, captured));
  const { references } = captured.counts;
  if (captured.truncated) {
    console.error(
      `trace: ${options.command[0]} is longer than ${
        formatCount(options.limit)
      } references: only the first were kept`,
    );
  } else if (captured.exitStatus !== 0) {
    console.error(`trace: ${options.command[0]} ended with exit status ${captured.exitStatus}`);
  }
  console.log(
    `${options.path}: ${formatCount(references)} references in ${formatCount(trace.rows)} rows, ` +
      `${formatCount(touchedPages(trace))} pages in ${trace.regions.length} regions, ${
        formatBytes(lengthBytes)
      }`,
  );
}

/** Finds out before the program runs, not after, that its trace could not be written. */
function checkFolder(folder: string): void {
  let existing = folder;
  while (!existsSync(existing)) existing = dirname(existing);
  try {
    accessSync(existing, constants.W_OK);
    if (statSync(existing).isDirectory()) return;
  } catch {
    // Said below.
  }
  throw new UsageError(
    `Cannot write into ${folder}: got ${existing}, which is no folder that can be written to; write another --out NAME`,
  );
}

async function write(options: TraceOptions, trace: PageTrace, captured: Capture): Promise<number> {
  await mkdir(dirname(options.path), { recursive: true });
  const { fetches: instructions, loads, stores, modifies, straddles } = captured.counts;
  const { lengthBytes } = await writeTraceFile(options.path, trace, {
    date: new Date().toISOString().slice(0, 10),
    loads,
    stores,
    modifies,
    straddles,
    instructions,
  });
  return lengthBytes;
}

/** Lets Ctrl-C wait for the second that writing takes, so that it leaves no half-written file. */
async function unbroken<T>(work: () => Promise<T>): Promise<T> {
  const wait = () => {};
  Deno.addSignalListener("SIGINT", wait);
  try {
    return await work();
  } finally {
    Deno.removeSignalListener("SIGINT", wait);
  }
}

function sourceOf(options: TraceOptions, args: readonly string[], captured: Capture): Record<string, string> {
  const source: Record<string, string> = {
    program: options.command[0],
    programVersion: programVersion(options),
    command: shellQuote(options.command),
    capturedWith: `deno task trace ${shellQuote(args)}`,
    valgrind: valgrindVersion(),
    architecture: machine(),
    filter: String(options.filter),
    ...(options.filter > 1 ? { filterWindow: String(FILTER_WINDOW) } : {}),
    complete: captured.truncated
      ? `no: the first ${captured.counts.references} references of a longer run`
      : `yes: exit status ${captured.exitStatus}`,
  };
  const env = Object.entries({ ...(options.cleanEnv ? CLEAN_ENV : {}), ...options.env });
  if (env.length > 0) {
    const set = env.map(([name, value]) => `${name}=${value}`);
    source.environment = (options.cleanEnv ? "" : "the caller's and ") + shellQuote(set);
  }
  if (options.input !== undefined) source.input = options.input;
  if (options.make !== undefined) source.makeInput = options.make;
  return source;
}

/** Prints progress on standard error. */
interface Sayer {
  readonly progress: (line: string) => void;
  readonly end: () => void;
}

function sayer(): Sayer {
  const terminal = process.stderr.isTTY;
  let lines = 0;
  return {
    progress: (line) => {
      lines++;
      if (terminal) process.stderr.write(`\r${line}\x1b[K`);
      else if (lines % LINES_WITHOUT_TERMINAL === 0) process.stderr.write(`${line}\n`);
    },
    end: () => {
      if (terminal && lines > 0) process.stderr.write("\r\x1b[K");
    },
  };
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
