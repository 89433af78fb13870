import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { closing } from "../../lib/cli/test.ts";
import { aptLine, isInstalled, missingPrograms, ROOT, SYSTEM_PROGRAMS } from "../../lib/cli/setup.ts";

const read = (name: string) => readFileSync(join(ROOT, name), "utf8");

/** Each `npx … task NAME` in a text. */
function commandsIn(text: string): { command: string; task: string }[] {
  const found = text.matchAll(/npx --yes (?:--\S+ )*deno@[\d.]+ task(?: ([a-z]+))?/g);
  return [...found].map(([command, task]) => ({ command, task: task ?? "" }));
}

test("README, CI and deno.json name the same two commands", (t) => {
  if (!existsSync(join(ROOT, "README.md"))) t.skip("needs README.md");
  const readme = commandsIn(read("README.md"));
  const tasks = Object.keys((JSON.parse(read("deno.json")) as { tasks: object }).tasks);
  const named = readme.map((c) => c.command);
  expect(named).toContain("npx --yes deno@2.9.6 task demo");
  expect(named).toContain("npx --yes deno@2.9.6 task test");
  for (const { task } of readme) if (task !== "") expect(tasks).toContain(task);
  const ci = commandsIn(read(".ci/run")).map((c) => c.command);
  expect(ci).toEqual(["npx --yes deno@2.9.6 task check", "npx --yes deno@2.9.6 task test"]);
});

test("every task says what it does and starts a file that sets up first", () => {
  const { tasks } = JSON.parse(read("deno.json")) as {
    tasks: Record<string, { description?: string; command: string }>;
  };
  for (const [name, { description, command }] of Object.entries(tasks)) {
    expect(description, name).toMatch(/\w/);
    if (name !== "list") expect(command, name).toMatch(/^deno run -A lib\/cli\/setup\.ts/);
  }
});

test("programs that are missing are named with the line that installs them", () => {
  expect(isInstalled("sh")).toBe(true);
  expect(isInstalled("no-such-program-anywhere")).toBe(false);
  for (const p of missingPrograms()) expect(SYSTEM_PROGRAMS).toContain(p);
  const row = (debianPackage: string) => ({ program: "x", debianPackage, neededBy: "y" });
  expect(aptLine([row("valgrind"), row("gcc"), row("valgrind")])).toBe(
    "apt-get install --yes --no-install-recommends gcc valgrind",
  );
});

test("the closing line counts what failed, and in CI what was skipped", () => {
  const skipped = [{ test: "a", why: "needs x" }];
  const run = (status: number, passed: number, failed: number, skips = [] as typeof skipped) => ({
    status,
    summary: { passed, failed, skipped: skips },
  });
  expect(closing(run(0, 3, 0), true)).toEqual({ lines: ["3 passed, 0 failed"], status: 0 });
  expect(closing(run(1, 3, 2), false)).toEqual({ lines: ["3 passed, 2 failed"], status: 1 });
  expect(closing(run(0, 3, 0, skipped), false)).toEqual({
    lines: ["skipped: needs x (a)", "3 passed, 0 failed, 1 skipped"],
    status: 0,
  });
  expect(closing(run(0, 3, 0, skipped), true).lines.at(-1)).toBe("3 passed, 1 failed");
  expect(closing(run(0, 3, 0, skipped), true).status).toBe(1);
  // Vitest's own refusals, such as a filter that matches no file, and its death.
  expect(closing(run(1, 0, 0), false)).toEqual({ lines: ["0 passed, 1 failed"], status: 1 });
  expect(closing({ status: 0, summary: null }, false).status).toBe(1);
  expect(closing({ status: 0, summary: null }, false).lines.at(-1)).toBe("0 passed, 1 failed");
});
