import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { PENDING } from "./pending.ts";

const folder = mkdtempSync(join(tmpdir(), "hmmlab-conformance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function conformance(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["run", "-A", "--quiet", "lib/cli/conformance.ts", ...args],
    { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 },
  );
  return { status, stdout, stderr, lines: stdout.trimEnd().split("\n") };
}

const empty = { p: "P", err: "", ev: [], pm: { P: {} }, sn: {}, mr: { P0: {} } };
const good = { id: "good", ops: [{ ...empty, op: "open 0" }] };
const bad = { id: "bad", ops: [{ ...empty, op: "open 0", err: "EPERM" }] };
const late = { id: "late", ops: [{ ...empty, op: "open 0", ev: ["S:CLEAR:P:A+0:1:-"] }] };
const lines = [JSON.stringify(good), "{", JSON.stringify(bad), "", JSON.stringify(late)].join("\n");
const plain = join(folder, "some.jsonl"), packed = join(folder, "some.jsonl.gz");
writeFileSync(plain, lines);
writeFileSync(packed, gzipSync(lines));

test("differences and broken lines are reported, and the rest goes on", () => {
  const { status, lines: said, stdout } = conformance(plain, packed);
  expect(said.slice(-2)).toEqual(["state: 4 of 6 programs agree", "events: 4 of 6 programs agree"]);
  expect(stdout).toContain("some.jsonl line 2: no JSON");
  expect(stdout).toContain("some.jsonl.gz line 3: bad: operation 1 of 1: open 0");
  expect(stdout).toContain("some.jsonl line 5: late: operation 1 of 1: open 0");
  expect(status).toBe(1);
});

test("one program, some fields, as JSON", () => {
  // A task hands on the "--" that stands before its options.
  const one = conformance("--", "--only", "bad", "--fields", "sn,mr", plain);
  expect(one.lines).toEqual([
    "events were not compared",
    "state: 1 of 1 programs agree",
    "events: 1 of 1 programs agree",
  ]);
  expect(one.status).toBe(0);
  const json = JSON.parse(conformance("--json", "--runner", "steps", plain).stdout);
  expect(json).toMatchObject({
    runner: "steps",
    programs: 3,
    state: { agree: 2, reasons: { "err after open": 1 } },
    events: { agree: 2, reasons: { "ev after open": 1 } },
    broken: [{ line: 2 }],
    differences: [{ id: "bad", line: 3, operation: "open", state: { op: 0, reason: "err" } }, { id: "late" }],
  });
});

test.for<[args: string[], what: RegExp]>([
  [["--runner", "step"], /no runner|runner "step"; did you mean steps/],
  [["--fields", "pn"], /field "pn"; did you mean pm/],
  [["--fields", ","], /no fields/],
  [["--only", "none", plain], /no program of that name/],
  [[join(folder, "absent.jsonl")], /absent\.jsonl, which is not there/],
  [["--frobnicate"], /usage: deno task conformance/],
])("wrong use %j is refused", ([args, what]) => {
  const { status, stderr } = conformance(...args);
  expect(stderr).toMatch(what);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(status).toBe(2);
});

/** Programs named in the rows of one part of DEVIATIONS.md. */
function deviations(part: "State" | "Events"): string[] {
  const text = readFileSync(join(ROOT, "test/conformance/DEVIATIONS.md"), "utf8");
  const section = text.split(/^## /m).find((s) => s.startsWith(part));
  expect(section).toBeDefined();
  return [...section!.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, ids]) =>
    [...ids.matchAll(/`(.*?)`/g)].map((m) => m[1])
  );
}

test("every transcript of the repository agrees but for the deviations", () => {
  const { stdout } = conformance("--json"), all = JSON.parse(stdout);
  expect(all.programs).toBe(6431);
  expect(all.broken).toEqual([]);
  for (const [part, key] of [["State", "state"], ["Events", "events"]] as const) {
    const wrong: { id: string }[] = all.differences.filter((d: Record<string, unknown>) =>
      d[key] !== undefined
    );
    const ids = wrong.map(({ id }) => id), known = deviations(part);
    expect(ids.filter((id) => !known.includes(id) && !(id in PENDING)), `${key} differs`).toEqual([]);
    // A row that is no longer true goes.
    expect(known.filter((id) => !ids.includes(id)), `${key} agrees after all`).toEqual([]);
    // The bar: 99 % of state, 99.5 % of events, whatever is in the table.
    expect(all[key].agree / all.programs).toBeGreaterThanOrEqual(key === "state" ? 0.99 : 0.995);
  }
}, 180_000);

test("task litmus takes options after the -- that a task hands on", () => {
  const args = ["run", "-A", "--quiet", "lib/cli/litmus.ts", "--", "--only", "nosuch"];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toMatch('Cannot race "nosuch"');
});
