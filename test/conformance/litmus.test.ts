import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../lib/cli/setup.ts";
import { transcriptLines } from "../../lib/experiments/conformance/files.ts";
import { canonical, type LitmusTest, parseLitmus, parseLitmusOp } from "../../lib/experiments/litmus/file.ts";
import { Race } from "../../lib/experiments/litmus/race.ts";
import { isSameEnd, runLitmus } from "../../lib/experiments/litmus/run.ts";
import { replayModel } from "../../lib/explore/replay.ts";
import { sample } from "../../lib/explore/sample.ts";
import { Search } from "../../lib/explore/search.ts";

/** Three actors and many states: `deno task litmus` has them too. */
const LARGE = ["t26_mig_mig_fork", "t46_mig_dread_w", "t68_mig0_mig1_r", "t76_dread_dread_cpuw"];
/** What the test driver does wrong and HMM does not: README of the litmus set, the bold rows. */
const LOSES = ["t25d_mp_devpages", "t52_dwrite_devpage_cpuw", "t83_mig_dwrite0", "t85_dwrite_r_devpage"]
  .concat(
    ["t86_dwrite_sys_devpage", "t94_mig_dwrite_mirrored"],
  );
const STALE = ["t28_excl_dontneed", "t29_mighole_dontneed", "t79_mig2_dontneed1", "t83_mig_dwrite0"].concat(
  ["t88_mig_dontneed_w"],
);

const lines = (await transcriptLines(join(ROOT, "datasets/litmus/litmus.jsonl"))).filter((l) => l !== "");
const tests = lines.map(parseLitmus), small = tests.filter(({ id }) => !LARGE.includes(id));
const named = (id: string): LitmusTest => tests.find((t) => t.id === id)!;

/** Rows of LITMUS.md: by test, the ends that Linux showed and those that only the lab reaches. */
const beyond = new Map(
  readFileSync(join(ROOT, "test/conformance/LITMUS.md"), "utf8").split("\n").flatMap((line) => {
    const row = /^\| `(\w+)` *\| (\d+) *\| (\d+) *\|/.exec(line);
    return row === null ? [] : [[row[1], { shown: Number(row[2]), only: Number(row[3]) }] as const];
  }),
);

test("LITMUS.md names tests of the set with the ends that Linux showed", () => {
  expect(beyond.size).toBe(8);
  for (const [id, { shown }] of beyond) expect([id, named(id)?.observed.length]).toEqual([id, shown]);
});

test("the set is whole", () => {
  expect(tests).toHaveLength(69);
  expect(small).toHaveLength(65);
  expect(tests.reduce((n, t) => n + t.observed.length, 0)).toBe(
    lines.reduce((n, l) => n + JSON.parse(l).outcomes.length, 0),
  );
});

test.each(small.map((t) => [t.id, t] as const))("%s: every end that Linux showed is reached", (_id, t) => {
  const r = runLitmus(t, { limit: 20_000 });
  expect(r.exhaustive).toBe(true);
  expect(r.violations).toEqual([]);
  expect(r.observed.filter((o) => o.schedule === undefined).map((o) => o.text)).toEqual([]);
  expect(r.beyond.map((o) => o.text)).toHaveLength(beyond.get(t.id)?.only ?? 0);
});

test.each(LOSES)("%s: the test driver loses a device write, a driver without its oddities does not", (id) => {
  expect(Object.keys(runLitmus(named(id)).flags)).toContain("device_write_lost");
  const without = runLitmus(named(id), { quirks: false, limit: 20_000 });
  expect(without).toMatchObject({ exhaustive: true, flags: {}, violations: [] });
});

test.each(STALE)("%s: the test driver leaves a stale entry, a driver without its oddities does not", (id) => {
  const flags = Object.keys(runLitmus(named(id)).flags).filter((f) => f.startsWith("stale_"));
  expect(flags).not.toEqual([]);
  const without = runLitmus(named(id), { quirks: false, limit: 20_000 });
  expect(without).toMatchObject({ exhaustive: true, flags: {}, violations: [] });
});

test("an end that cannot be is not reached", () => {
  const t = named("t04_mig_r"),
    never = t.observed[0].text.replace(/"cpu":\{"P":\{"A":\[5\]/, '"cpu":{"P":{"A":[6]');
  expect(never).not.toBe(t.observed[0].text);
  const r = runLitmus({ ...t, observed: [...t.observed, { text: never, count: 1, flags: [] }] });
  expect(r.observed.map((o) => o.schedule !== undefined)).toEqual([true, true, true, false]);
});

test("an end's schedule leads there again", () => {
  const race = new Race(named("t83_mig_dwrite0")), search = new Search(race.model, { all: true });
  search.run();
  for (const [end, schedule] of search.result().outcomes) {
    const seen: string[] = [];
    const watched = { ...race.model, checkEnd: () => void seen.push(race.model.outcome!()) };
    expect(replayModel(watched, schedule).ended).toBe(true);
    expect(seen).toEqual([end]);
  }
});

test.each(["t13_mig0_mig1", "t38_dwrite_fork_r", "t79_mig2_dontneed1", "t92_dwrite_w_devpage_nomirror"])(
  "%s: random schedules end nowhere that the search with merged states has not been",
  (id) => {
    const race = new Race(named(id)), search = new Search(race.model, { all: true });
    search.run();
    const ends = search.result().outcomes, found = sample(race.model, { schedules: 1500, seed: 3 });
    expect(found.outcomes.size).toBeGreaterThan(1);
    expect([...found.outcomes.keys()].filter((end) => !ends.has(end))).toEqual([]);
    expect(found.violations).toEqual([]);
  },
);

test("words that were read from a freed page fit any", () => {
  const lab = canonical({ ret: { P0: ["ok:5,*"] }, md: { d0: { A: [5, "*"] } } });
  expect(isSameEnd(lab, canonical({ ret: { P0: ["ok:5,junk"] }, md: { d0: { A: [5, "junk"] } } }))).toBe(
    true,
  );
  expect(isSameEnd(lab, canonical({ ret: { P0: ["ok:5,0"] }, md: { d0: { A: [5, 7] } } }))).toBe(true);
  expect(isSameEnd(lab, canonical({ ret: { P0: ["ok:6,0"] }, md: { d0: { A: [5, 7] } } }))).toBe(false);
  expect(isSameEnd(lab, canonical({ ret: { P0: ["ok:5,0,1"] }, md: { d0: { A: [5, 7] } } }))).toBe(false);
  expect(isSameEnd(lab, canonical({ ret: { P0: ["ok:5,0"] }, md: { d0: { A: [5, null] } } }))).toBe(false);
});

test("lines on single words are read, and refused where they are wrong", () => {
  expect(parseLitmusOp("ww A 2 1 9")).toMatchObject({
    op: { name: "w", at: 2, pages: 1, value: 9 },
    word: 1,
  });
  expect(parseLitmusOp("C> rr B 0 3")).toMatchObject({
    op: { process: "C", name: "r" },
    word: 3,
    add: false,
  });
  expect(parseLitmusOp("inc A 1 4")).toMatchObject({ op: { name: "w", at: 1, pages: 4 }, add: true });
  expect(() => parseLitmusOp("ww A 2 1")).toThrow("column 1: ww is written as: ww REGION PAGE WORD VALUE");
  expect(() => parseLitmusOp("rr A 0 64")).toThrow("words 0 to 63");
});

test.each([
  [["mlock A 0 1"], /no operation mlock/],
  [["release 0"], /no operation release/],
  [["C> r A 0 1"], /there is no process C by then; fork it first/],
])("a race with %j is refused", (more, message) => {
  const t = named("t04_mig_r"), lines = more.map(parseLitmusOp);
  expect(() => runLitmus({ ...t, actors: { P0: lines, P1: t.actors.P1 } })).toThrow(message);
});

test("a race whose start fails is refused", () => {
  const t = named("t04_mig_r"), initial = [...t.initial, parseLitmusOp("dread 1 A 0 1")];
  expect(() => runLitmus({ ...t, initial })).toThrow(/initial line 4, "dread 1 A 0 1", gave EBADF/);
});

test.each([
  ["{", /^no JSON: /],
  ['{"id":"x"}', /^a race needs id, actors and outcomes$/],
  ['{"id":"x","actors":{"Q":[]},"outcomes":[]}', /^actor "Q"; there are P0, P1, P2 and C$/],
  [
    '{"id":"x","actors":{"P0":["r A 0"]},"outcomes":[]}',
    /^P0, line 1, column 6: r is missing its pages: .* of "r A 0"$/,
  ],
  [
    '{"id":"x","actors":{"P0":["w A 0 513 1"]},"outcomes":[]}',
    /^P0, line 1, column 1: w of 513 pages; a race has operations of at most 512 of "w A 0 513 1"$/,
  ],
  [
    '{"id":"x","words":0,"actors":{"P0":["r A 0 1"]},"outcomes":[]}',
    /^words is no whole number from 1 to 64$/,
  ],
])("a broken line %s is named", (line, message) => {
  expect(() => parseLitmus(line)).toThrow(message);
});
