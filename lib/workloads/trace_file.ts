/**
 * Page traces of real programs: the files of datasets/traces/ and those that `deno task trace` writes.
 *
 * A trace is a Parquet file `NAME.parquet` and a sidecar `NAME.json` that says where it comes from. The replay on a simulated
 * machine is another matter: here a trace is only columns.
 * @module
 */
import { createHash } from "node:crypto";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as v from "valibot";
import { UsageError } from "../errors.ts";
import { PAGE_SIZE } from "../units.ts";
import { cannotRead, decodeTrace, encodeTrace, TRACE_FORMAT, TRACE_VERSION } from "./trace_parquet.ts";

/** A group of neighbouring pages that a replay maps in one piece, wherever it likes. */
export interface TraceRegion {
  /** The virtual page number of its first page in the traced program. */
  readonly startVpn: number;
  /** Its length in pages, those included that the program never touched. */
  readonly pages: number;
  /** The index of its first page in {@link PageTrace.page}: the pages of all regions before it. */
  readonly firstPage: number;
}

/** The page references of one run of a program, in program order. */
export interface PageTrace {
  /** The name of the trace, as in `builtinTrace(name)`. */
  readonly name: string;
  /** Rows: the length of each column. */
  readonly rows: number;
  /** For each row the page, counted through the regions: 0 to `pages - 1`. */
  readonly page: Uint32Array;
  /** For each row 1 if its references are writes, 0 if they are reads. */
  readonly write: Uint8Array;
  /** For each row the number of references, at least 1. */
  readonly count: Uint32Array;
  /** Pages of all regions together. */
  readonly pages: number;
  /** The regions by ascending address, at least 256 untouched pages apart. */
  readonly regions: readonly TraceRegion[];
  /** Where the trace comes from: program, programVersion, command, filter and so on. */
  readonly source: Readonly<Record<string, string>>;
}

/** What a sidecar says beyond what the data file holds, such as a date or counts. */
export type SidecarExtras = Readonly<Record<string, string | number | boolean>>;

/** The length and the checksum of a trace's data file. */
export interface TraceFileInfo {
  /** The length of the data file in bytes. */
  readonly lengthBytes: number;
  /** SHA-256 of the data file, in hexadecimal digits. */
  readonly sha256: string;
}

const ENDING = ".parquet";

const SIDECAR = v.object({
  format: v.literal(TRACE_FORMAT),
  name: v.string(),
  rows: v.number(),
  references: v.number(),
  sha256: v.string(),
});

/**
 * Reads a trace and checks that everything in it adds up; with a path also that it is the file its sidecar describes.
 *
 * @param file The path of a `.parquet` file, or its bytes.
 * @returns The trace.
 * @throws UsageError naming file and cause when the file is missing, cut, of another kind or another version, when its
 *   counts do not add up, a page lies outside the regions, or a sidecar lies beside it that tells of another file.
 *
 * @example
 * ```ts
 * // A path as `deno task trace` wrote it; where nothing lies, the error says so.
 * await readTraceFile("make.parquet").catch((error) => console.log(error.name)); // UsageError
 * ```
 */
export async function readTraceFile(file: string | Uint8Array): Promise<PageTrace> {
  if (typeof file !== "string") return (await decodeTrace(file, "from bytes")).trace;
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw cannotRead(
      file,
      reasonOf(error),
      "the path of a .parquet file is wanted",
      "traceNames() lists the traces that come with hmmlab, `deno task trace` captures one",
    );
  }
  const sidecar = await readSidecar(file);
  const { trace, references } = await decodeTrace(bytes, file);
  if (sidecar !== null) {
    for (const key of ["name", "rows", "references", "sha256"] as const) {
      const found = { name: trace.name, rows: trace.rows, references, sha256: sha256Of(bytes) }[key];
      if (sidecar[key] !== found) {
        throw cannotRead(
          file,
          `${key} ${found}`,
          `its sidecar ${sidecarOf(file)} says ${sidecar[key]}, so one of the two was changed or replaced`,
          "put back the two files that belong together, or capture the trace again with `deno task trace`",
        );
      }
    }
  }
  return trace;
}

/**
 * Writes a trace and its sidecar; on failure neither.
 *
 * @param path Where to, ending in `.parquet`; the sidecar takes the same path ending in `.json`.
 * @param trace The trace.
 * @param extras What the sidecar shall say besides the trace's source and its counts.
 * @returns Length and checksum of the data file.
 * @throws UsageError when the path ends otherwise or the trace does not add up.
 */
export async function writeTraceFile(
  path: string,
  trace: PageTrace,
  extras: SidecarExtras = {},
): Promise<TraceFileInfo> {
  const sidecarPath = sidecarOf(path);
  const bytes = await encodeTrace(trace);
  const info = { lengthBytes: bytes.length, sha256: sha256Of(bytes) };
  let reads = 0;
  let writes = 0;
  for (let row = 0; row < trace.rows; row++) {
    if (trace.write[row] === 1) writes += trace.count[row];
    else reads += trace.count[row];
  }
  const sidecar = {
    format: TRACE_FORMAT,
    version: TRACE_VERSION,
    name: trace.name,
    ...trace.source,
    ...extras,
    references: reads + writes,
    reads,
    writes,
    rows: trace.rows,
    pageBytes: PAGE_SIZE,
    pagesTouched: touchedPages(trace),
    pagesInRegions: trace.pages,
    regions: trace.regions.length,
    file: basename(path),
    ...info,
  };
  const part = `.part-${process.pid}`;
  for (const target of [path, sidecarPath]) {
    // The one thing over which a file cannot be moved: found before either file has taken its place.
    const inTheWay = await stat(target).catch(() => null);
    if (inTheWay?.isDirectory()) {
      throw new UsageError(
        `Cannot write ${target}: got a folder of that name; a file is written; choose another name`,
      );
    }
  }
  try {
    await writeFile(path + part, bytes);
    await writeFile(sidecarPath + part, JSON.stringify(sidecar, null, 2) + "\n");
    await rename(path + part, path);
    await rename(sidecarPath + part, sidecarPath);
  } finally {
    await rm(path + part, { force: true });
    await rm(sidecarPath + part, { force: true });
  }
  return info;
}

/**
 * Counts the pages that a trace touches; its regions also hold pages in between that it never does.
 *
 * @param trace The trace.
 * @returns Distinct pages.
 */
export function touchedPages(trace: PageTrace): number {
  const seen = new Uint8Array(trace.pages);
  for (const page of trace.page) seen[page] = 1;
  return seen.reduce((sum, one) => sum + one, 0);
}

/**
 * Lists the traces that come with hmmlab.
 *
 * @returns Their names, sorted.
 * @throws UsageError when this copy of hmmlab came without its datasets.
 *
 * @example
 * ```ts
 * console.log((await traceNames()).includes("gzip-licenses")); // true
 * ```
 */
export async function traceNames(): Promise<string[]> {
  let files: string[];
  try {
    files = await readdir(tracesFolder());
  } catch (error) {
    throw new UsageError(
      `Cannot list traces: got ${
        reasonOf(error)
      } at ${tracesFolder()}; they are part of the repository, and this copy of ` +
        "hmmlab came without; clone the repository, or capture one with `deno task trace` and read it with " +
        "readTraceFile(path)",
    );
  }
  return files.filter((file) => file.endsWith(ENDING)).map((file) => basename(file, ENDING)).sort();
}

/**
 * Reads a trace that comes with hmmlab.
 *
 * @param name One of {@link traceNames}, such as "sqlite3-join".
 * @returns The trace.
 * @throws UsageError when there is no such trace.
 *
 * @example
 * ```ts
 * const { rows, pages, source } = await builtinTrace("gzip-licenses");
 * console.log(rows > 0, pages > 0, source.command !== undefined); // true true true
 * ```
 */
export async function builtinTrace(name: string): Promise<PageTrace> {
  const names = await traceNames();
  if (!names.includes(name)) {
    throw new UsageError(
      `Cannot find trace ${name}: got a name that datasets/traces does not have; it has ${
        names.join(", ")
      }; ` +
        "a trace of one's own is read with readTraceFile(path)",
    );
  }
  return await readTraceFile(tracesFolder() + name + ENDING);
}

/** The folder of the traces, with a slash at its end. */
function tracesFolder(): string {
  return fileURLToPath(new URL("../../datasets/traces/", import.meta.url));
}

function sidecarOf(path: string): string {
  if (path.endsWith(ENDING)) return path.slice(0, -ENDING.length) + ".json";
  throw new UsageError(
    `Cannot name the sidecar of ${path}: got a path that does not end in ${ENDING}; a trace file does; ` +
      `write ${path}${ENDING}`,
  );
}

async function readSidecar(file: string): Promise<v.InferOutput<typeof SIDECAR> | null> {
  // A trace that was renamed is still a trace, only without a sidecar.
  if (!file.endsWith(ENDING)) return null;
  const path = sidecarOf(file);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw cannotRead(file, `${reasonOf(error)} for its sidecar ${path}`, "it is a file that can be read");
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw cannotRead(file, `a sidecar ${path} that is not JSON`, "it is one JSON object");
  }
  const sidecar = v.safeParse(SIDECAR, json);
  if (sidecar.success) return sidecar.output;
  const [issue] = sidecar.issues;
  throw cannotRead(
    file,
    `a sidecar ${path} with ${v.getDotPath(issue) ?? "no object"} wrong`,
    issue.message.toLowerCase(),
  );
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? error.code : undefined;
  if (code === "ENOENT") return "no such file or folder";
  if (code === "EISDIR") return "a folder";
  if (code === "EACCES") return "no leave to read it";
  return error.message;
}
