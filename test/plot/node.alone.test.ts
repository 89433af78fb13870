import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import ts from "typescript";
import { expect, test } from "vitest";
import { plot } from "../../lib/plot/mod.ts";
import { LatencyHistogram } from "../../lib/record/histogram.ts";
import { toArrow } from "../../lib/tables/arrow.ts";
import { toCsv } from "../../lib/tables/csv.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** The rooms that a chart of a histogram needs: what stands here must run on Node as well. */
const ROOMS = ["errors.ts", "arguments.ts", "units.ts", "record", "tables", "plot"];

async function sources(path: string): Promise<string[]> {
  if (path.endsWith(".ts")) return [path];
  const names = await readdir(join(root, "lib", path), { recursive: true });
  return names.filter((name) => name.endsWith(".ts")).map((name) => join(path, name));
}

const sha = (x: string | Uint8Array) => createHash("sha256").update(x).digest("hex");

/** Runs on Node against the translated rooms; the test does the same here. */
const SCRIPT = `
import { createHash } from "node:crypto";
import { plot } from "./lib/plot/mod.js";
import { LatencyHistogram } from "./lib/record/histogram.js";
import { toArrow } from "./lib/tables/arrow.js";
import { toCsv } from "./lib/tables/csv.js";
const sha = (x) => createHash("sha256").update(x).digest("hex");
const h = new LatencyHistogram("invalidation");
for (let i = 1; i <= 5000; i++) h.record(700 + ((i * i) % 977) * (i % 50 === 0 ? 90 : 1));
const chart = plot.latency(h);
console.log(JSON.stringify([process.version, sha(JSON.stringify(chart.spec)), sha(await chart.svg()), sha(await chart.png()),
  sha(await chart.html()), sha(await toArrow(chart.table)), sha(await toCsv(chart.table))]));
`;

test("Node draws and writes the same bytes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hmmlab-node-"));
  try {
    for (const path of (await Promise.all(ROOMS.map(sources))).flat()) {
      const { outputText } = ts.transpileModule(await readFile(join(root, "lib", path), "utf8"), {
        compilerOptions: {
          module: ts.ModuleKind.ESNext,
          target: ts.ScriptTarget.ES2022,
          rewriteRelativeImportExtensions: true,
        },
      });
      const to = join(folder, "lib", path.replace(/\.ts$/, ".js"));
      await mkdir(dirname(to), { recursive: true });
      await writeFile(to, outputText);
    }
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    await writeFile(join(folder, "main.js"), SCRIPT);
    const { stdout } = await promisify(execFile)("node", ["main.js"], { cwd: folder, maxBuffer: 1 << 24 });
    const [version, ...there] = JSON.parse(stdout) as string[];
    expect(version).toMatch(/^v2\d\./);

    const h = new LatencyHistogram("invalidation");
    for (let i = 1; i <= 5000; i++) h.record(700 + ((i * i) % 977) * (i % 50 === 0 ? 90 : 1));
    const chart = plot.latency(h);
    expect(there).toEqual([
      sha(JSON.stringify(chart.spec)),
      sha(await chart.svg()),
      sha(await chart.png()),
      sha(await chart.html()),
      sha(await toArrow(chart.table)),
      sha(await toCsv(chart.table)),
    ]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
