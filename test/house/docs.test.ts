import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { examplesOf, runExamples } from "./examples.ts";
import { sourcesUnder } from "./source.ts";

test("every example of lib/ and README type-checks and runs", async () => {
  const sources = sourcesUnder("lib");
  const readme = join(ROOT, "README.md");
  if (existsSync(readme)) sources.push({ path: "README.md", text: readFileSync(readme, "utf8") });
  const { ran, faults } = await runExamples(sources);
  expect(faults).toEqual([]);
  expect(ran).toBe(sources.flatMap(examplesOf).length);
  expect(ran).toBeGreaterThan(0);
}, 300_000);

/** A file with a docstring in front of an exported function `twice`. */
function documented(...example: string[]): string {
  const body = ["@example", "```ts", ...example, "```"].map((line) => ` * ${line}`.trimEnd());
  return [
    "/**",
    " * Twice a number.",
    ...body,
    " */",
    "export function twice(n: number): number {",
    "  return 2 * n;",
    "}",
  ]
    .join("\n");
}

test("examples are found with the line that they stand on", () => {
  const text = documented("const n = 1;", "", "  twice(n);");
  expect(examplesOf({ path: "lib/a.ts", text })).toEqual([
    { path: "lib/a.ts", line: 5, text: "const n = 1;\n\n  twice(n);" },
  ]);
  expect(examplesOf({ path: "README.md", text: "# x\n```sh\nls\n```\n```ts\nf();\n```\n" })).toEqual([
    { path: "README.md", line: 6, text: "f();" },
  ]);
});

test("an example with a wrong type is found, with its file and line", async () => {
  const { ran, faults } = await runExamples([
    { path: "README.md", text: "# x\n\n```ts\nconst unused = 1;\nconst n: number = 'one';\n```\n" },
  ]);
  expect(ran).toBe(0);
  expect(faults).toEqual([expect.stringMatching(/^README\.md:5: TS2322/)]);
}, 60_000);

test("an example that throws is found, with its file and line, and does not stop the others", async () => {
  const { ran, faults } = await runExamples([
    {
      path: "README.md",
      text: "```ts\nthrow new Error('first');\n```\n```ts\nPromise.reject(new Error('second'));\n```\n",
    },
    {
      path: "lib/units.ts",
      text: documented(
        "const twice = (n: number) => 2 * n;",
        "if (twice(2) !== 5) throw new Error('third');",
      ),
    },
    { path: "README.txt.md", text: "```ts\nconsole.log('fine');\n```" },
  ]);
  expect(ran).toBe(4);
  expect(faults).toEqual([
    expect.stringMatching(/^README\.md:2: Error: first[^]*README\.md:2:/),
    expect.stringMatching(/^README\.md:5: Error: second/),
    expect.stringMatching(/^lib\/units\.ts:5: Error: third[^]*lib\/units\.ts:6:/),
  ]);
}, 60_000);
