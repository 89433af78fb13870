/**
 * The bytes of a trace file: Parquet, because it holds a row in about one byte and every table tool reads it.
 * @module
 */
import { gunzipSync, gzipSync } from "node:zlib";
import * as v from "valibot";
import { UsageError } from "../errors.ts";
import type { PageTrace } from "./trace_file.ts";

/** The name in the metadata by which a Parquet file is known as a trace. */
export const TRACE_FORMAT = "hmmlab-page-trace";

/** The version of the format that this library writes, and the only one that it reads. */
export const TRACE_VERSION = 1;

const CAPTURE = "capture it again with `deno task trace`";
const COUNT = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** Parquet's INT32 has a sign, and the writer takes no larger unsigned number either. */
const MOST = 2 ** 31 - 1;

// Not v.record, which leaves out a key that is called "prototype" or "constructor".
const SOURCE = v.custom<Readonly<Record<string, string>>>((x) =>
  typeof x === "object" && x !== null && !Array.isArray(x) &&
  Object.values(x).every((s) => typeof s === "string")
);

const META = v.object({
  version: v.literal(TRACE_VERSION),
  name: v.string(),
  rows: COUNT,
  references: COUNT,
  pages: v.pipe(COUNT, v.maxValue(MOST)),
  regions: v.array(v.object({ startVpn: COUNT, pages: v.pipe(COUNT, v.minValue(1)), firstPage: COUNT })),
  source: SOURCE,
});

/** Builds the error of everything that can be wrong with a trace file. */
export function cannotRead(file: string, got: string, allowed: string, remedy: string = CAPTURE): UsageError {
  return new UsageError(`Cannot read trace ${file}: got ${got}; ${allowed}; ${remedy}`);
}

/**
 * Says what does not add up in a trace, so that neither a writer nor a reader lets it pass.
 *
 * @param trace The trace; its columns may have any content.
 * @param references What its counts must sum to, when that is known from elsewhere.
 * @returns What is wrong and what would be right, or null when all is well.
 */
export function faultOf(trace: PageTrace, references?: number): { got: string; allowed: string } | null {
  const { rows, page, write, count, pages, regions } = trace;
  for (const [name, column] of Object.entries({ page, write, count })) {
    if (column.length !== rows) {
      return { got: `${column.length} rows in column ${name}`, allowed: `each column has ${rows}` };
    }
  }
  let firstPage = 0;
  let endVpn = 0;
  for (const [i, region] of regions.entries()) {
    if (region.firstPage !== firstPage || region.startVpn < endVpn) {
      return {
        got: `region ${i} at page ${region.firstPage}, vpn ${region.startVpn}`,
        allowed:
          `regions follow each other by address, this one from page ${firstPage}, vpn ${endVpn} or later`,
      };
    }
    firstPage += region.pages;
    endVpn = region.startVpn + region.pages;
  }
  if (firstPage !== pages || pages > MOST) {
    return { got: `regions of ${firstPage} pages together`, allowed: `they have ${Math.min(pages, MOST)}` };
  }
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    if (page[row] >= pages) {
      return { got: `page ${page[row]} in row ${row}`, allowed: `the regions hold pages 0 to ${pages - 1}` };
    }
    if (write[row] > 1) return { got: `write ${write[row]} in row ${row}`, allowed: "it is 0 or 1" };
    if (count[row] === 0 || count[row] > MOST) {
      return {
        got: `count ${count[row]} in row ${row}`,
        allowed: `a row stands for 1 to ${MOST} references`,
      };
    }
    sum += count[row];
  }
  if (references !== undefined && sum !== references) {
    return { got: `counts that add up to ${sum} references`, allowed: `the file states ${references}` };
  }
  return null;
}

/**
 * Encodes a trace.
 *
 * @param trace A trace in which everything adds up.
 * @returns The bytes of a Parquet file: columns page, write, count, and the rest in the key-value metadata.
 */
export async function encodeTrace(trace: PageTrace): Promise<Uint8Array> {
  const fault = faultOf(trace);
  if (fault) throw new UsageError(`Cannot write trace ${trace.name}: got ${fault.got}; ${fault.allowed}`);
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  const { name, rows, page, write, count, pages, regions, source } = trace;
  const references = count.reduce((sum, n) => sum + n, 0);
  const meta: v.InferOutput<typeof META> = {
    version: TRACE_VERSION,
    name,
    rows,
    references,
    pages,
    regions: regions.map(({ startVpn, pages, firstPage }) => ({ startVpn, pages, firstPage })),
    source: { ...source },
  };
  const column = (name: string) => ({ name, type: "INT32", repetition_type: "REQUIRED" }) as const;
  return new Uint8Array(parquetWriteBuffer({
    columnData: [
      { name: "page", data: signed(page) },
      { name: "write", data: Int32Array.from(write) },
      { name: "count", data: signed(count) },
    ],
    schema: [
      { name: "trace", num_children: 3 },
      column("page"),
      column("write"),
      column("count"),
    ],
    codec: "GZIP",
    compressors: { GZIP: (bytes) => gzipSync(bytes, { level: 9 }) },
    rowGroupSize: Math.max(1, rows),
    statistics: false,
    createdBy: "hmmlab",
    kvMetadata: [{ key: TRACE_FORMAT, value: JSON.stringify(meta) }],
  }));
}

/**
 * Decodes and checks a trace.
 *
 * @param bytes The bytes of the file.
 * @param file What to call it in errors.
 * @returns The trace, everything in it added up, and the references that it stands for.
 * @throws UsageError naming file and cause when the bytes are not a whole trace.
 */
export async function decodeTrace(
  bytes: Uint8Array,
  file: string,
): Promise<{ trace: PageTrace; references: number }> {
  checkMagic(bytes, file);
  const { parquetMetadata, parquetRead } = await import("hyparquet");
  const metadata = attempt(file, () => parquetMetadata(bytes));
  const stated = metadata.key_value_metadata?.find(({ key }) => key === TRACE_FORMAT)?.value;
  if (stated === undefined) {
    const columns = metadata.schema.slice(1).map(({ name }) => name).join(", ");
    throw cannotRead(
      file,
      `a Parquet file with columns ${columns}`,
      `a trace says ${TRACE_FORMAT} in its metadata`,
    );
  }
  const meta = parseMeta(stated, file);
  if (Number(metadata.num_rows) !== meta.rows) {
    throw cannotRead(file, `a table of ${metadata.num_rows} rows`, `its metadata states ${meta.rows}`);
  }
  const { rows, pages, regions, source, name } = meta;
  const page = new Uint32Array(rows);
  const write = new Uint8Array(rows);
  const count = new Uint32Array(rows);
  const columns: Record<string, { into: Uint32Array | Uint8Array; rows: number }> = {
    page: { into: page, rows: 0 },
    write: { into: write, rows: 0 },
    count: { into: count, rows: 0 },
  };
  const wide: string[] = [];
  // A copy, so that what is read does not depend on where in a larger buffer the bytes lie.
  const whole = bytes.slice().buffer;
  try {
    await parquetRead({
      file: { byteLength: whole.byteLength, slice: (start, end) => whole.slice(start, end) },
      metadata,
      compressors: {
        GZIP: (input, length) => gunzipSync(input, { maxOutputLength: length || 1 }),
      },
      onChunk: ({ columnName, columnData, rowStart }) => {
        const column = columns[columnName];
        if (column === undefined || rowStart + columnData.length > rows) return;
        for (let i = 0; i < columnData.length; i++) {
          const value = Number(columnData[i]);
          column.into[rowStart + i] = value;
          if (column.into[rowStart + i] !== value && wide.length === 0) {
            wide.push(`${columnName} ${columnData[i]} in row ${rowStart + i}`);
          }
        }
        column.rows += columnData.length;
      },
    });
  } catch (error) {
    throw damaged(file, error);
  }
  for (const [name, column] of Object.entries(columns)) {
    if (column.rows !== rows) {
      throw cannotRead(file, `${column.rows} rows in column ${name}`, `each column of a trace has ${rows}`);
    }
  }
  if (wide.length > 0) throw cannotRead(file, wide[0], "page and count are not negative, write is 0 or 1");
  const trace: PageTrace = { name, rows, page, write, count, pages, regions, source };
  const fault = faultOf(trace, meta.references);
  if (fault) throw cannotRead(file, fault.got, fault.allowed);
  return { trace, references: meta.references };
}

function checkMagic(bytes: Uint8Array, file: string): void {
  const text = (from: number, to: number) => String.fromCharCode(...bytes.subarray(Math.max(0, from), to));
  const allowed = "a trace is a Parquet file, which begins and ends with PAR1";
  if (bytes.length === 0) throw cannotRead(file, "an empty file", allowed);
  if (text(0, 6) === "ARROW1") throw cannotRead(file, "an Arrow file", allowed);
  if (text(0, 4) !== "PAR1") throw cannotRead(file, "a file that is not Parquet", allowed);
  if (bytes.length < 12 || text(bytes.length - 4, bytes.length) !== "PAR1") {
    throw cannotRead(file, `a Parquet file cut at ${bytes.length} bytes`, allowed);
  }
}

function parseMeta(stated: string, file: string): v.InferOutput<typeof META> {
  let json: unknown;
  try {
    json = JSON.parse(stated);
  } catch {
    throw cannotRead(file, `metadata ${TRACE_FORMAT} that is not JSON`, "it is one JSON object");
  }
  const version = typeof json === "object" && json !== null && "version" in json ? json.version : undefined;
  if (version !== TRACE_VERSION) {
    throw cannotRead(
      file,
      `a trace of version ${JSON.stringify(version)}`,
      `this hmmlab reads version ${TRACE_VERSION}`,
      `${CAPTURE}, or take the hmmlab that wrote it`,
    );
  }
  const meta = v.safeParse(META, json);
  if (meta.success) return meta.output;
  const [issue] = meta.issues;
  throw cannotRead(
    file,
    `metadata with ${v.getDotPath(issue) ?? "no object"} wrong`,
    issue.message.toLowerCase(),
  );
}

function attempt<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw damaged(file, error);
  }
}

function damaged(file: string, error: unknown): UsageError {
  const why = error instanceof Error ? error.message : String(error);
  return cannotRead(file, `a damaged Parquet file (${why})`, "every byte counts");
}

/** The same values in the type that the writer takes; none reaches 2^31 here. */
function signed(column: Uint32Array): Int32Array {
  return new Int32Array(column.buffer, column.byteOffset, column.length);
}
