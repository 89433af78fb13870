import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sourceStamp, staleness } from "../../lib/notebook/stale.ts";

let root: string, folder: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "hmmlab-stale-"));
  folder = join(root, "node_modules", "hmmlab");
  for (const name of ["lib/cli", "datasets", "node_modules/hmmlab"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  const publish = { include: ["lib/", "datasets/", "README.md"], exclude: ["lib/cli/"] };
  writeFileSync(join(root, "deno.json"), JSON.stringify({ publish }));
  writeFileSync(join(root, "lib/mod.ts"), "export {};\n");
  writeFileSync(join(root, "datasets/a.json"), "{}\n");
  writeFileSync(join(folder, "package.json"), JSON.stringify({ hmmlab: { stamp: sourceStamp(root) } }));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("a package is fresh until something that is published changes", () => {
  expect(staleness(folder)).toBeUndefined();
  writeFileSync(join(root, "lib/cli/task.ts"), "1;\n");
  expect(staleness(folder)).toBeUndefined();
  writeFileSync(join(root, "datasets/a.json"), '{"a": 1}\n');
  expect(staleness(folder)).toContain(
    `Run \`npx --yes deno@2.9.6 task pack\` in ${root}, then restart the kernel.`,
  );
});

test("a file more, a file less and another name are changes too", () => {
  writeFileSync(join(root, "lib/b.ts"), "");
  expect(staleness(folder)).toBeDefined();
  rmSync(join(root, "lib/b.ts"));
  expect(staleness(folder)).toBeUndefined();
  rmSync(join(root, "datasets/a.json"));
  writeFileSync(join(root, "datasets/b.json"), "{}\n");
  expect(staleness(folder)).toBeDefined();
});

test("a package that lies elsewhere, or was not made here, is not compared", () => {
  rmSync(join(root, "lib"), { recursive: true });
  expect(staleness(folder)).toBeUndefined();
  mkdirSync(join(root, "lib"));
  writeFileSync(join(root, "lib/mod.ts"), "");
  writeFileSync(join(folder, "package.json"), "{}");
  expect(staleness(folder)).toBeUndefined();
});
