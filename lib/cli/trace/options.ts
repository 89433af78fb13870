/** The command line of `deno task trace`. */
import { basename, join } from "node:path";
import { UsageError } from "../../errors.ts";

/** References after which a program is too long, unless `--limit` says otherwise. */
export const DEFAULT_LIMIT = 100_000_000;

/** A row's count must fit however long the run. */
const MOST_LIMIT = 2 ** 31 - 1;

/** What the command line asks for. */
export interface TraceOptions {
  /** The program as it was written, and its arguments. */
  readonly command: readonly string[];
  /** The name of the trace. */
  readonly name: string;
  /** The path of the data file. */
  readonly path: string;
  /** References after which the program is too long. */
  readonly limit: number;
  /** Whether the first `limit` references are kept when it is. */
  readonly truncate: boolean;
  /** How many distinct (page, kind) pairs are folded; 1 is exact. */
  readonly filter: number;
  /** Whether the program gets a fixed environment instead of the caller's. */
  readonly cleanEnv: boolean;
  /** Variables that the program gets besides. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether files of that name may be replaced. */
  readonly force: boolean;
  /** Where the program's standard output goes. */
  readonly output: string;
  /** Arguments with which the program says its version, if it is to be asked. */
  readonly versionArgs?: readonly string[];
  /** What the input is, for the sidecar. */
  readonly input?: string;
  /** A command that makes the input again, for the sidecar. */
  readonly make?: string;
}

/** The help text. */
export const USAGE = `usage: deno task trace [--] [OPTIONS] CMD [ARGS...]

Runs CMD under valgrind's lackey and writes the pages that it reads and writes as out/traces/NAME.parquet, with a sidecar
NAME.json that says where the trace comes from. Instruction fetches are counted, not traced. Programs that CMD
starts are not followed: name the program itself, not a script or a driver such as gcc.

  --out NAME           name of the trace, or a path without ending (default: the name of CMD)
  --limit N            references after which the program is too long (default 100_000_000)
  --truncate           keep the first N references of a program that is too long
  --filter K           fold a reference to one of the last K distinct (page, read/write) pairs into the row that is
                       there, if that began less than 65,536 references ago (default 1: exact runs)
  --clean-env          give CMD a fixed environment, so that the trace does not depend on the caller's
  --env NAME=VALUE     set a variable for CMD; may be given again
  --output FILE        where CMD's standard output goes (default: nowhere)
  --version-args ARGS  ask CMD for its version with these arguments, for the sidecar
  --input TEXT         what the input is, for the sidecar
  --make COMMAND       what makes the input again, for the sidecar
  --force              replace a trace of that name`;

const FLAGS = ["--truncate", "--clean-env", "--force"];
const VALUES = ["--out", "--limit", "--filter", "--env", "--output", "--version-args", "--input", "--make"];

/**
 * Reads the command line.
 *
 * @param args What follows `task trace`.
 * @returns The options, or "help" when they are asked for.
 * @throws UsageError for an option that is not known, a value that is missing or wrong, or no command.
 */
export function parseOptions(args: readonly string[]): TraceOptions | "help" {
  // `deno task trace -- CMD` hands the first `--` on.
  let at = args[0] === "--" ? 1 : 0;
  const flags = new Set<string>();
  const values = new Map<string, string>();
  const env: Record<string, string> = {};
  for (; at < args.length && args[at].startsWith("-"); at++) {
    const [option, inline] = splitOption(args[at]);
    if (option === "--") {
      at++;
      break;
    }
    if (option === "--help" || option === "-h") return "help";
    if (FLAGS.includes(option) && inline === undefined) flags.add(option);
    else if (VALUES.includes(option)) {
      const value = inline ?? args[++at];
      if (value === undefined) {
        throw new UsageError(`Cannot read ${option}: got no value; write ${option} VALUE`);
      }
      values.set(option, value);
      if (option === "--env") setVariable(env, value);
    } else {
      throw new UsageError(
        `Cannot read option ${args[at]}: got one that is not known; known are ${
          [...FLAGS, ...VALUES].join(" ")
        }; ` +
          "write options before CMD",
      );
    }
  }
  const command = args.slice(at);
  if (command.length === 0 || command[0] === "") {
    throw new UsageError("Cannot trace nothing: got no command; write deno task trace -- CMD ARGS...");
  }
  const out = values.get("--out") ?? basename(command[0]);
  const name = basename(out);
  if (!/^\w[\w.+-]*$/.test(name) || out.endsWith("/")) {
    throw new UsageError(
      `Cannot name a trace ${JSON.stringify(out)}: letters, digits and _ . + - are allowed; write --out NAME`,
    );
  }
  return {
    command,
    name,
    path: (out === name ? join("out", "traces", name) : out) + ".parquet",
    limit: wholeNumber("--limit", values.get("--limit"), DEFAULT_LIMIT, MOST_LIMIT),
    truncate: flags.has("--truncate"),
    filter: wholeNumber("--filter", values.get("--filter"), 1, 1 << 20),
    cleanEnv: flags.has("--clean-env"),
    env,
    force: flags.has("--force"),
    output: values.get("--output") ?? "/dev/null",
    versionArgs: values.get("--version-args")?.split(/\s+/).filter((arg) => arg !== ""),
    input: values.get("--input"),
    make: values.get("--make"),
  };
}

/**
 * Writes a command so that a shell reads it back as it was.
 *
 * @param words The program and its arguments.
 * @returns One line, or more where an argument has line breaks.
 */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)
    .join(" ");
}

function setVariable(env: Record<string, string>, text: string): void {
  const [, name, value] = /^([A-Za-z_]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined) {
    throw new UsageError(
      `Cannot read --env ${text}: a variable and its value are wanted; write --env NAME=VALUE`,
    );
  }
  env[name] = value;
}

function splitOption(arg: string): [string, string | undefined] {
  const equals = arg.indexOf("=");
  return equals < 0 ? [arg, undefined] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function wholeNumber(option: string, text: string | undefined, otherwise: number, most: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text.replaceAll("_", ""));
  if (!/^[0-9][0-9_]*$/.test(text) || value < 1 || value > most) {
    throw new UsageError(`Cannot read ${option} ${text}: a whole number from 1 to ${most} is wanted`);
  }
  return value;
}
