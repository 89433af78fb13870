import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { copyFile, mkdir, readdir, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { parquetWriteBuffer } from "hyparquet-writer";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { UsageError } from "../../lib/errors.ts";
import {
  builtinTrace,
  type PageTrace,
  readTraceFile,
  touchedPages,
  traceNames,
  writeTraceFile,
} from "../../lib/workloads/trace_file.ts";
import { encodeTrace, TRACE_FORMAT } from "../../lib/workloads/trace_parquet.ts";

const folder = mkdtempSync(join(tmpdir(), "hmmlab-trace-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TRACES = join(ROOT, "datasets/traces");

const small: PageTrace = {
  name: "small",
  rows: 4,
  page: Uint32Array.of(0, 2, 2, 1),
  write: Uint8Array.of(0, 1, 0, 1),
  count: Uint32Array.of(1, 7, 2 ** 31 - 1, 3),
  pages: 3,
  regions: [{ startVpn: 0x4a3c, pages: 2, firstPage: 0 }, { startVpn: 2 ** 35, pages: 1, firstPage: 2 }],
  source: { program: "made up", filter: "1", prototype: "kept", constructor: "kept" },
};

/** A Parquet file as encodeTrace makes it, but with any content. */
function parquet(
  columns: Record<string, number[]>,
  meta: unknown,
  key: string = TRACE_FORMAT,
): Uint8Array {
  return new Uint8Array(parquetWriteBuffer({
    columnData: Object.entries(columns).map(([name, data]) => ({
      name,
      data: Int32Array.from(data),
      type: "INT32" as const,
      nullable: false,
    })),
    kvMetadata: [{ key, value: typeof meta === "string" ? meta : JSON.stringify(meta) }],
  }));
}

const columns = { page: [0, 1, 1], write: [0, 1, 0], count: [5, 1, 2] };
const meta = {
  version: 1,
  name: "x",
  rows: 3,
  references: 8,
  pages: 2,
  regions: [{ startVpn: 16, pages: 2, firstPage: 0 }],
  source: {},
};

/** What readTraceFile says of a file, which must be a UsageError that names it. */
async function complaint(file: string | Uint8Array): Promise<string> {
  const error = await readTraceFile(file).then(() => null, (error) => error);
  expect(error).toBeInstanceOf(UsageError);
  expect(error.message).toContain(
    `Cannot read trace ${typeof file === "string" ? file : "from bytes"}: got `,
  );
  return error.message;
}

const traces: fc.Arbitrary<PageTrace> = fc.record({
  regions: fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 256, max: 2 ** 33 })), {
    minLength: 1,
    maxLength: 6,
  }),
  rows: fc.array(
    fc.tuple(fc.nat(), fc.integer({ min: 0, max: 1 }), fc.integer({ min: 1, max: 2 ** 31 - 1 })),
    {
      maxLength: 200,
    },
  ),
  source: fc.dictionary(fc.string(), fc.string(), { maxKeys: 4, noNullPrototype: true }),
}).map(({ regions, rows, source }) => {
  let firstPage = 0;
  let vpn = 1;
  const placed = regions.map(([pages, gap]) => {
    const region = { startVpn: vpn, pages, firstPage };
    firstPage += pages;
    vpn += pages + gap;
    return region;
  });
  return {
    name: "any",
    rows: rows.length,
    page: Uint32Array.from(rows, ([page]) => page % firstPage),
    write: Uint8Array.from(rows, ([, write]) => write),
    count: Uint32Array.from(rows, ([, , count]) => count),
    pages: firstPage,
    regions: placed,
    source,
  };
});

test("what is written is read back, from bytes and from disk", async () => {
  await fc.assert(
    fc.asyncProperty(traces, async (trace) => {
      expect(await readTraceFile(await encodeTrace(trace))).toEqual(trace);
      const path = join(folder, "any.parquet");
      const info = await writeTraceFile(path, trace, { date: "2016-11-18", loads: 3 });
      expect(await readTraceFile(path)).toEqual(trace);
      expect((await stat(path)).size).toBe(info.lengthBytes);
      const sidecar = JSON.parse(readFileSync(join(folder, "any.json"), "utf8"));
      expect(sidecar).toMatchObject({ rows: trace.rows, sha256: info.sha256, date: "2016-11-18", loads: 3 });
    }),
    { numRuns: 50 },
  );
  expect(await readdir(folder)).toEqual(["any.json", "any.parquet"]);
});

test("bytes may lie anywhere in a larger buffer", async () => {
  const bytes = await encodeTrace(small);
  const larger = new Uint8Array(bytes.length + 13).fill(0x50);
  larger.set(bytes, 7);
  expect(await readTraceFile(larger.subarray(7, 7 + bytes.length))).toEqual(small);
});

test("every trace that comes with hmmlab loads, adds up and is what its sidecar says", async () => {
  const names = await traceNames();
  expect(names).toEqual(expect.arrayContaining(["cc1-wordcount", "gzip-licenses", "sqlite3-join"]));
  const sidecars = (await readdir(TRACES)).filter((file) => file.endsWith(".json"));
  expect(sidecars.sort()).toEqual(names.map((name) => `${name}.json`));
  for (const name of names) {
    const trace = await builtinTrace(name);
    const sidecar = JSON.parse(readFileSync(join(TRACES, `${name}.json`), "utf8"));
    const { size } = await stat(join(TRACES, `${name}.parquet`));
    expect(size).toBeLessThan(2_000_000);
    expect(sidecar).toMatchObject({
      ...trace.source,
      name,
      rows: trace.rows,
      regions: trace.regions.length,
      pagesInRegions: trace.pages,
      pagesTouched: touchedPages(trace),
      references: trace.count.reduce((sum, n) => sum + n, 0),
      writes: trace.count.reduce((sum, n, row) => sum + n * trace.write[row], 0),
      lengthBytes: size,
    });
    const { references, loads, stores, modifies, straddles } = sidecar;
    expect(references).toBeGreaterThanOrEqual(loads + stores + 2 * modifies + straddles);
    expect(references).toBeLessThanOrEqual(loads + stores + 2 * modifies + 2 * straddles);
    expect(trace.source.complete).toBe("yes: exit status 0");
    for (
      const key of ["program", "programVersion", "command", "capturedWith", "valgrind", "filter", "input"]
    ) {
      expect(trace.source[key], `${name}: ${key}`).toBeTruthy();
    }
    if (trace.source.filter === "1") {
      for (let row = 1; row < trace.rows; row++) {
        if (trace.page[row] === trace.page[row - 1] && trace.write[row] === trace.write[row - 1]) {
          throw new Error(`${name}: rows ${row - 1} and ${row} are one run`);
        }
      }
    }
  }
});

test("a name that is not there is answered with those that are", async () => {
  await expect(builtinTrace("firefox")).rejects.toThrow(/firefox.*sqlite3-join/);
  await expect(builtinTrace("../traces/true")).rejects.toThrow(UsageError);
});

test("a missing file, a folder and files of other kinds are named with their cause", async () => {
  expect(await complaint(join(folder, "nowhere.parquet"))).toContain("no such file or folder");
  await mkdir(join(folder, "dir.parquet"), { recursive: true });
  expect(await complaint(join(folder, "dir.parquet"))).toContain("a folder");
  expect(await complaint(new Uint8Array(0))).toContain("an empty file");
  expect(await complaint(new TextEncoder().encode("ARROW1\0\0 and so on"))).toContain("an Arrow file");
  expect(await complaint(new TextEncoder().encode("page,write,count\n0,1,2\n"))).toContain("not Parquet");
  expect(await complaint(parquet(columns, "", "something else"))).toContain("columns page, write, count");
});

test("a file cut anywhere is refused", async () => {
  const bytes = await encodeTrace(small);
  for (let length = 4; length < bytes.length; length++) {
    expect(await complaint(bytes.slice(0, length))).toContain(`cut at ${length} bytes`);
  }
});

test("a damaged file is refused or reads as what it was", async () => {
  const bytes = await encodeTrace(small);
  // The columns lie before the metadata; there each byte counts.
  const metadataBytes = new DataView(bytes.buffer).getUint32(bytes.length - 8, true);
  for (let at = 4; at < bytes.length - 8 - metadataBytes; at++) {
    const damaged = bytes.slice();
    damaged[at] ^= 0xff;
    const outcome = await readTraceFile(damaged).then((trace) => trace, (error) => error);
    if (outcome instanceof Error) expect(outcome).toBeInstanceOf(UsageError);
    else expect(outcome).toEqual(small);
  }
});

test.each<[string, Record<string, number[]>, unknown, RegExp]>([
  ["another version", columns, { ...meta, version: 2 }, /version 2; this hmmlab reads version 1/],
  ["metadata that is no JSON", columns, "{", /not JSON/],
  ["metadata without a name", columns, { ...meta, name: undefined }, /metadata with name wrong/],
  [
    "counts that do not add up",
    columns,
    { ...meta, references: 9 },
    /add up to 8 references; the file states 9/,
  ],
  ["other rows than stated", columns, { ...meta, rows: 4 }, /a table of 3 rows; its metadata states 4/],
  ["a page out of the regions", { ...columns, page: [0, 2, 1] }, meta, /page 2 in row 1.*0 to 1/],
  ["a negative page", { ...columns, page: [0, -1, 1] }, meta, /page -1 in row 1/],
  ["neither read nor write", { ...columns, write: [0, 1, 2] }, meta, /write 2 in row 2/],
  ["a write out of range", { ...columns, write: [0, 1, 256] }, meta, /write 256 in row 2/],
  ["a count of none", { ...columns, count: [5, 3, 0] }, meta, /count 0 in row 2/],
  ["a column missing", { page: [0, 1, 1], write: [0, 1, 0] }, meta, /0 rows in column count/],
  ["regions that leave pages out", columns, { ...meta, pages: 3 }, /regions of 2 pages.*have 3/],
  [
    "regions that overlap",
    columns,
    {
      ...meta,
      regions: [{ startVpn: 16, pages: 1, firstPage: 0 }, { startVpn: 16, pages: 1, firstPage: 1 }],
    },
    /region 1 at page 1, vpn 16.*vpn 17 or later/,
  ],
])("refused: %s", async (_, columns, meta, says) => {
  expect(await complaint(parquet(columns, meta))).toMatch(says);
});

test("columns and metadata of the refused files are well but for their one fault", async () => {
  expect((await readTraceFile(parquet(columns, meta))).rows).toBe(3);
});

test("a sidecar of another file is told", async () => {
  const path = join(folder, "pair.parquet");
  const sidecar = join(folder, "pair.json");
  await writeTraceFile(path, small);
  const text = readFileSync(sidecar, "utf8");
  await writeTraceFile(path, { ...small, source: {} });
  writeFileSync(sidecar, text);
  expect(await complaint(path)).toMatch(/sha256 .*pair\.json says/);
  writeFileSync(sidecar, text.replace('"rows": 4', '"rows": 5'));
  expect(await complaint(path)).toMatch(/rows 4; .* says 5/);
  writeFileSync(sidecar, text.replace('"rows"', '"lines"'));
  expect(await complaint(path)).toMatch(/pair\.json with rows wrong/);
  writeFileSync(sidecar, "{");
  expect(await complaint(path)).toMatch(/pair\.json that is not JSON/);
  rmSync(sidecar);
  expect((await readTraceFile(path)).source).toEqual({});
  await copyFile(path, join(folder, "no-ending"));
  expect((await readTraceFile(join(folder, "no-ending"))).name).toBe("small");
});

test("a trace that does not add up is not written, and a failed write leaves nothing", async () => {
  const path = join(folder, "never.parquet");
  await expect(writeTraceFile(path, { ...small, pages: 2 })).rejects.toThrow(/regions of 3 pages/);
  await expect(writeTraceFile(path, { ...small, count: Uint32Array.of(1, 1, 2 ** 31, 1) })).rejects.toThrow(
    /count 2147483648/,
  );
  await expect(writeTraceFile(join(folder, "never.arrow"), small)).rejects.toThrow(/never\.arrow\.parquet/);
  await expect(writeTraceFile(join(folder, "absent", "never.parquet"), small)).rejects.toThrow();
  // The sidecar cannot take its place: the data file must not take its own.
  await mkdir(join(folder, "never.json"), { recursive: true });
  await expect(writeTraceFile(path, small)).rejects.toThrow();
  expect((await readdir(folder)).filter((file) => file.startsWith("never"))).toEqual(["never.json"]);
});
