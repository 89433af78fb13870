/** The package as a stranger gets it: installed with npm in an empty folder, used on Node and on tslab there. */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { digestsOf } from "../../lib/cli/notebooks/execute.ts";
import { Outputs } from "../../lib/cli/notebooks/notebook.ts";
import { INSTALLED } from "../../lib/cli/notebooks/package.ts";
import { KernelSession } from "../../lib/cli/notebooks/session.ts";
import { pack } from "../../lib/cli/pack.ts";
import { checkTypes } from "../../lib/cli/pack/types.ts";
import { ROOT } from "../../lib/cli/setup.ts";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "hmmlab-elsewhere-"));
const deps = join(folder, "node_modules", "hmmlab");
let tarball = "";

/** The first example of README. */
function tenLines(): string {
  const [, code] = /## Ten lines[^]*?```ts\n([^]*?)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8")) ??
    [];
  expect(code).toContain('from "hmmlab"');
  return code;
}

const digestsIn = (text: string) => digestsOf([{ output_type: "stream", name: "stdout", text }]);

beforeAll(async () => {
  tarball = pack(join(folder, "packed"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }\n');
  const args = ["install", "--no-audit", "--no-fund", "--prefer-offline", `hmmlab@file:${tarball}`];
  await run("npm", args, { cwd: folder });
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));

function filesUnder(path: string): string[] {
  return readdirSync(path, { recursive: true, encoding: "utf8" });
}

test("it holds what is used and nothing else, at exact versions", () => {
  const manifest = JSON.parse(readFileSync(join(deps, "package.json"), "utf8"));
  expect(manifest.name).toBe("@hmmlab/hmmlab");
  for (const version of Object.values(manifest.dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(Object.keys(manifest.dependencies)).toEqual(
    expect.arrayContaining([
      "@uwdata/flechette",
      "arquero",
      "dejavu-fonts-ttf",
      "vega",
      "vega-lite",
      "vega-embed",
    ]),
  );
  expect(Object.keys(manifest.dependencies)).not.toContain("vitest");
  const files = filesUnder(deps);
  expect(files).toContain(join("datasets", "profiles", "titan-v.json"));
  expect(files).toContain(join("lib", "mod.d.ts"));
  expect(files.filter((f) => /\.ts$/.test(f) && !/\.d\.ts$/.test(f))).toEqual([]);
  expect(files.filter((f) => /(^|\/)(test|cli|\.git|deno\.lock)(\/|$)/.test(f))).toEqual([]);
  expect(statSync(tarball).size).toBeLessThan(10_000_000);
});

test("the README's ten lines run on Node with the digests of Deno", async () => {
  writeFileSync(join(folder, "ten.mjs"), tenLines());
  const node = await run("node", ["ten.mjs"], { cwd: folder });
  mkdirSync(join(ROOT, "out"), { recursive: true });
  const scratch = mkdtempSync(join(ROOT, "out", "ten-lines-"));
  try {
    writeFileSync(join(scratch, "ten.ts"), tenLines());
    const deno = await run(process.execPath, ["run", "-A", "--quiet", join(scratch, "ten.ts")], {
      cwd: ROOT,
    });
    expect(digestsIn(node.stdout)).toEqual(digestsIn(deno.stdout));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  expect(digestsIn(node.stdout)).toHaveLength(3);
  expect(node.stderr).toBe("");
}, 60_000);

test("charts can be saved in every form from the package", async () => {
  const code = `
    import { LatencyHistogram, plot } from "hmmlab";
    const h = new LatencyHistogram("invalidation");
    for (const ns of [900, 1000, 70_000]) h.record(ns);
    for (const form of ["svg", "png", "html", "json"]) await plot.latency(h).save("chart." + form);`;
  writeFileSync(join(folder, "charts.mjs"), code);
  await run("node", ["charts.mjs"], { cwd: folder });
  expect(readFileSync(join(folder, "chart.svg"), "utf8")).toMatch(/^<svg /);
  expect(readFileSync(join(folder, "chart.png")).subarray(1, 4).toString()).toBe("PNG");
  expect(statSync(join(folder, "chart.html")).size).toBeGreaterThan(500_000);
  expect(JSON.parse(readFileSync(join(folder, "chart.json"), "utf8")).$schema).toContain("vega-lite/v5");
}, 60_000);

const TSLAB = join(ROOT, "node_modules", "tslab", "bin", "tslab");

test.each([
  ["tslab", ["node", TSLAB, "kernel", "--config-path", "{connection_file}"]],
  ["the Deno kernel", [process.execPath, "jupyter", "--kernel", "--conn", "{connection_file}"]],
])("they run in a notebook of %s there, with the same digests", async (_name, argv) => {
  const cwd = join(folder, "notebooks");
  mkdirSync(cwd, { recursive: true });
  const session = await KernelSession.start({ argv, cwd });
  try {
    const { status, messages, late } = await session.execute(tenLines()), all = new Outputs();
    all.add(messages);
    expect(all.cells[0].filter((o) => o.output_type === "stream" && o.name === "stderr")).toEqual([]);
    expect([status, late]).toEqual(["ok", 0]);
    const { stdout } = await run("node", ["ten.mjs"], { cwd: folder });
    expect(all.cells[0].flatMap((o) => digestsOf([o]))).toEqual(digestsIn(stdout));
    expect(all.cells[0].every((o) => o.output_type === "display_data" && "text/html" in o.data)).toBe(true);
  } finally {
    await session.close();
  }
}, 90_000);

test(
  "TypeScript 5.0.4 reads its declarations with library checks on, and finds no type of another package",
  () => {
    const { version, files, faults } = checkTypes(INSTALLED);
    expect(version).toBe("5.0.4");
    expect(files).toBeGreaterThan(20);
    expect(faults).toEqual([]);
  },
  60_000,
);

test("declarations that it cannot read are found", () => {
  const bad = join(folder, "bad");
  mkdirSync(join(bad, "lib"), { recursive: true });
  writeFileSync(
    join(bad, "lib", "mod.d.ts"),
    'import type { Table } from "arquero";\n' +
      "export declare const bytes: Uint8Array<ArrayBuffer>;\nexport type X = NoInfer<string>;\nexport type T = Table;\n",
  );
  const { faults } = checkTypes(bad);
  expect(faults).toContain("lib/mod.d.ts: names types of arquero");
  expect(faults).toContain("lib/mod.d.ts:2: Type 'Uint8Array' is not generic.");
  expect(faults).toContain("lib/mod.d.ts:3: Cannot find name 'NoInfer'.");
}, 60_000);
