import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { DEFAULT_LIMIT, parseOptions, shellQuote } from "../../lib/cli/trace/options.ts";
import { UsageError } from "../../lib/errors.ts";
import { readTraceFile } from "../../lib/workloads/trace_file.ts";
import { needs } from "../needs.ts";

const folder = mkdtempSync(join(tmpdir(), "hmmlab-trace-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const TASK = ["run", "-A", "lib/cli/trace.ts"];

/** Runs the task in a process of its own, as `deno task trace` does. */
function task(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...TASK, ...args], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

test("options stand before the command, and all after it belongs to it", () => {
  const options = parseOptions([
    "--",
    "--out",
    "a/b",
    "--limit=1_000",
    "--truncate",
    "gzip",
    "--force",
    "-c",
  ]);
  expect(options).toMatchObject({
    command: ["gzip", "--force", "-c"],
    name: "b",
    path: "a/b.parquet",
    limit: 1000,
    truncate: true,
    force: false,
    filter: 1,
    output: "/dev/null",
  });
  expect(parseOptions(["/bin/true"])).toMatchObject({
    limit: DEFAULT_LIMIT,
    path: "out/traces/true.parquet",
  });
  expect(parseOptions(["--out", "odd", "--", "-odd"])).toMatchObject({ command: ["-odd"], name: "odd" });
  expect(parseOptions(["--env", "A=1=2", "--env=B=", "x"])).toMatchObject({ env: { A: "1=2", B: "" } });
  expect(parseOptions(["-h"])).toBe("help");
});

test.each([
  [[], "no command"],
  [["--"], "no command"],
  [["--bogus", "x"], "--bogus"],
  [["--truncate=yes", "x"], "--truncate=yes"],
  [["--limit"], "--limit"],
  [["--limit", "-1", "x"], "-1"],
  [["--limit", "0", "x"], "from 1"],
  [["--limit", "1e6", "x"], "1e6"],
  [["--limit", "3000000000", "x"], "2147483647"],
  [["--filter", "_", "x"], "_"],
  [["--env", "A", "x"], "NAME=VALUE"],
  [["--", "--", "-odd"], "--out NAME"],
  [["--out", "a/", "x"], "--out NAME"],
  [["--out", "..", "x"], "--out NAME"],
])("a wrong command line is refused: %j", (args, says) => {
  expect(() => parseOptions(args)).toThrow(UsageError);
  expect(() => parseOptions(args)).toThrow(says);
});

test("a quoted command is read back by a shell as it was", () => {
  const words = ["printf", "%s|", "plain", "two words", "it's", "a\nb", "", "$HOME", "`x`", "--a=b", "*"];
  const { stdout } = spawnSync("sh", ["-c", shellQuote(words)], { encoding: "utf8" });
  expect(stdout).toBe(words.slice(2).map((word) => `${word}|`).join(""));
});

test("a program is captured, and its trace read back", async (t) => {
  needs(t, "valgrind");
  const out = join(folder, "true");
  const { status, stdout, stderr } = task(["--out", out, "--version-args", "--version", "/bin/true"]);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  expect(stdout).toContain(`${out}.parquet`);
  const trace = await readTraceFile(`${out}.parquet`);
  const sidecar = JSON.parse(readFileSync(`${out}.json`, "utf8"));
  expect(trace.source).toMatchObject({ command: "/bin/true", filter: "1", complete: "yes: exit status 0" });
  expect(trace.source.programVersion).toMatch(/true/);
  expect(trace.source.valgrind).toMatch(/^valgrind-\d/);
  expect(sidecar.reads + sidecar.writes).toBe(sidecar.references);
  // Each straddling load or store is one reference more, each straddling modify two.
  const straddling = sidecar.references - sidecar.loads - sidecar.stores - 2 * sidecar.modifies;
  expect(straddling).toBeGreaterThanOrEqual(sidecar.straddles);
  expect(straddling).toBeLessThanOrEqual(2 * sidecar.straddles);
  // Starting a dynamically linked program writes its stack and its data and reads its tables.
  expect(sidecar.references).toBeGreaterThan(10_000);
  expect(sidecar.pagesTouched).toBeGreaterThan(20);
  expect(sidecar.instructions).toBeGreaterThan(sidecar.loads);
  expect(trace.regions.length).toBeGreaterThan(1);
});

test("the same run has the same digits, whatever the caller's environment", (t) => {
  needs(t, "valgrind");
  const sums = ["", "x".repeat(5000)].map((text, i) => {
    const out = join(folder, `same${i}`, "trace");
    expect(task(["--clean-env", "--out", out, "/bin/true"], { HMMLAB_TEST: text }).stderr).toBe("");
    const { references, rows, pagesTouched } = JSON.parse(readFileSync(`${out}.json`, "utf8"));
    return { references, rows, pagesTouched };
  });
  expect(sums[1]).toEqual(sums[0]);
});

test("what the program prints cannot be taken for references", async (t) => {
  needs(t, "valgrind");
  const [quiet, loud] = [join(folder, "quiet"), join(folder, "loud")];
  const program = ["/bin/printf", "%s\\n", " S deadbeef000,8", "I broken", "==1== no"];
  expect(task(["--clean-env", "--out", quiet, ...program]).status).toBe(0);
  const said = join(folder, "said");
  expect(task(["--clean-env", "--out", loud, "--output", said, ...program]).status).toBe(0);
  expect(readFileSync(said, "utf8")).toBe(" S deadbeef000,8\nI broken\n==1== no\n");
  const trace = await readTraceFile(`${loud}.parquet`);
  const start = 0xdeadbeef000 / 4096;
  expect(trace.regions.some((r) => r.startVpn <= start && start < r.startVpn + r.pages)).toBe(false);
  expect(trace.rows).toBeGreaterThan(1000);
});

test("a program that is too long is stopped and said to be, and kept in part only if asked", async (t) => {
  needs(t, "valgrind");
  const out = join(folder, "endless");
  const endless = ["--limit", "50_000", "--out", out, "sh", "-c", "while :; do :; done"];
  const refused = task(endless);
  expect(refused.status).toBe(1);
  expect(refused.stderr).toMatch(/^trace: Cannot trace sh: got more than 50,000 references.*--truncate\n$/);
  expect(existsSync(`${out}.parquet`)).toBe(false);
  const kept = task(["--truncate", ...endless]);
  expect(kept.status).toBe(0);
  expect(kept.stderr).toContain("longer than 50,000 references");
  const trace = await readTraceFile(`${out}.parquet`);
  const references = trace.count.reduce((sum, n) => sum + n, 0);
  expect(references).toBeGreaterThan(50_000 - 4);
  expect(trace.source.complete).toBe(`no: the first ${references} references of a longer run`);
});

test("what cannot be traced is one clear line, and nothing is written", (t) => {
  needs(t, "valgrind");
  const out = join(folder, "nothing", "trace");
  const plain = join(folder, "plain");
  writeFileSync(plain, "");
  for (
    const [command, status, says] of [
      [["no-such-program"], 2, /no such program in PATH/],
      [[plain], 2, /an executable file is wanted/],
      [[folder], 2, /an executable file is wanted/],
      [["sh", "-c", "kill -SEGV $$"], 1, /got SIGSEGV after [\d,]+ references/],
    ] as const
  ) {
    const result = task(["--out", out, ...command]);
    expect(result.stderr).toMatch(says);
    expect(result.stderr.trimEnd().split("\n")).toHaveLength(1);
    expect(result.status).toBe(status);
  }
  const under = task(["--out", join(plain, "trace"), "/bin/true"]);
  expect(under.stderr).toMatch(/plain, which is no folder that can be written to/);
  expect(under.status).toBe(2);
  expect(existsSync(join(folder, "nothing"))).toBe(false);
});

test("without valgrind the line to install it is given", () => {
  const { status, stderr } = task(["/bin/true"], { PATH: folder });
  expect(stderr).toMatch(/valgrind is missing; install it with: apt-get install .*valgrind/);
  expect(status).toBe(2);
});

test("a trace is not replaced unless asked", (t) => {
  needs(t, "valgrind");
  const out = join(folder, "kept");
  expect(task(["--out", out, "/bin/true"]).status).toBe(0);
  const before = readFileSync(`${out}.parquet`);
  const again = task(["--out", out, "/bin/false"]);
  expect(again.stderr).toMatch(/name that is taken.*--force/);
  expect(again.status).toBe(2);
  expect(readFileSync(`${out}.parquet`)).toEqual(before);
  const forced = task(["--force", "--out", out, "/bin/false"]);
  expect(forced.status).toBe(0);
  expect(forced.stderr).toContain("ended with exit status 1");
  expect(JSON.parse(readFileSync(`${out}.json`, "utf8")).complete).toBe("yes: exit status 1");
});

test("Ctrl-C ends it, and nothing half done is left", async (t) => {
  needs(t, "valgrind");
  const started = join(folder, "started");
  const out = join(folder, "stopped");
  const endless = `: > ${shellQuote([started])}; while :; do :; done`;
  const child = spawn(process.execPath, [...TASK, "--out", out, "sh", "-c", endless], {
    cwd: ROOT,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (text) => stderr += text);
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  while (!existsSync(started) && child.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // Not child.kill, after which Deno reports the signal whatever the exit status was.
  process.kill(child.pid!, "SIGINT");
  expect(await ended).toBe(130);
  expect(stderr).toContain("trace: sh: interrupted, nothing was written\n");
  expect(readdirSync(folder).filter((file) => file.startsWith("stopped"))).toEqual([]);
});
