import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import {
  MOST_LINES,
  readingOutside,
  testsOfEverything,
  tooLong,
  topLevelAwaits,
  undeterministic,
} from "./habits.ts";
import { sourcesUnder } from "./source.ts";

const lib = sourcesUnder("lib");
const tests = sourcesUnder("test");
const madeUp = (path: string, text: string) => [{ path, text }];

/** Everything that may stand at the top, beside names that begin with a dot. */
const TOP = ["LICENSE", "README.md", "datasets", "deno.json", "deno.lock", "lib", "notebooks", "test"];

/** Names at the top that should not be there: neither in TOP, nor begun with a dot, nor ignored by git. */
function strangers(names: readonly string[], gitignore: string): string[] {
  const ignored = gitignore.split("\n").filter((line) => line.endsWith("/")).map((line) => line.slice(0, -1));
  return names.filter((name) => !name.startsWith(".") && !TOP.includes(name) && !ignored.includes(name));
}

test("nothing but the six names, LICENSE and the lock stands at the top", () => {
  const gitignore = readFileSync(join(ROOT, ".gitignore"), "utf8");
  expect(strangers(readdirSync(ROOT), gitignore)).toEqual([]);
  expect(strangers(["lib", "node_modules", "notes.md", "src"], gitignore)).toEqual(["notes.md", "src"]);
});

test("no file of lib/ is too long", () => {
  expect(tooLong(lib)).toEqual([]);
  expect(tooLong(madeUp("lib/a.ts", "x;\n".repeat(MOST_LINES)))).toEqual([]);
  expect(tooLong(madeUp("lib/a.ts", "x;\n".repeat(MOST_LINES + 1)))).toHaveLength(1);
});

test("lib/ draws no random numbers and asks no wall clock", () => {
  expect(undeterministic(lib)).toEqual([]);
  const text = [
    "Math.random();",
    'Math["random"]();',
    "const { random } = Math;",
    "Date.now();",
    "new Date();",
    "globalThis.Date.now();",
    "const d: Date = x;",
    "rng.random(); row.Date; const o = { Date: 1 };",
  ].join("\n");
  const lines = undeterministic(madeUp("lib/sim/a.ts", text)).map((line) => line.split(":")[1]);
  expect(lines).toEqual(["1", "2", "3", "4", "5", "6", "7"]);
  expect(undeterministic(madeUp("lib/cli/a.ts", text))).toEqual([]);
});

test("no module of lib/ awaits while it loads", () => {
  expect(topLevelAwaits(lib)).toEqual([]);
  const text = "await x;\nfor await (const y of z);\nasync () => { await x; };";
  expect(topLevelAwaits(madeUp("lib/sim/a.ts", text))).toHaveLength(2);
});

test("tests import the room that they test", () => {
  expect(testsOfEverything(tests)).toEqual([]);
  const text =
    'import { machine } from "hmmlab";\nimport { x } from "../../lib/mod.ts";\nimport "../../lib/mm/mod.ts";';
  expect(testsOfEverything(madeUp("test/mm/fault.test.ts", text))).toHaveLength(2);
  expect(testsOfEverything(madeUp("test/public/face.test.ts", text))).toEqual([]);
});

test("nothing reads a folder beside the repository", () => {
  expect(readingOutside([...lib, ...tests])).toEqual([]);
  expect(readingOutside(madeUp("test/a.ts", `read("../../${["..", "shared"].join("/")}/x")`))).toHaveLength(
    1,
  );
});
