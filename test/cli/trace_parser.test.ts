import fc from "fast-check";
import { expect, test } from "vitest";
import { LackeyError } from "../../lib/cli/trace/lackey.ts";
import { PageRuns, REGION_GAP_PAGES } from "../../lib/cli/trace/runs.ts";
import { UsageError } from "../../lib/errors.ts";
import { expand, logs, parse, type Reference, referencesOf, textOf, vpnsOf } from "./lackey.ts";

const cuts = fc.array(fc.nat(), { maxLength: 40 });

test("exact rows are the references, wherever the log is cut into pieces", () => {
  fc.assert(fc.property(logs, cuts, (log, cuts) => {
    const { parser, folded } = parse(textOf(log), { cuts });
    const references = referencesOf(log);
    expect(expand(folded)).toEqual(references);
    expect(parser.references).toBe(references.length);
    // Maximal runs: two neighbours differ.
    for (let row = 1; row < folded.count.length; row++) {
      expect([folded.page[row], folded.write[row]]).not.toEqual([
        folded.page[row - 1],
        folded.write[row - 1],
      ]);
    }
  }));
});

test("one byte at a time gives what one piece gives", () => {
  fc.assert(
    fc.property(logs, (log) => {
      const text = textOf(log);
      expect(parse(text, { cuts: Array.from(text, (_, i) => i) }).folded).toEqual(parse(text).folded);
    }),
    { numRuns: 20 },
  );
});

test("each kind of line is counted", () => {
  const { parser } = parse(
    "I  0401ab70,3\nI  0401ab73,5\n L 1ffc,4\n S 1ffe,4\n M 1000,8\n M 1fff,2\n==1== done\n",
  );
  const { fetches, loads, stores, modifies, straddles, references, messages } = parser;
  expect({ fetches, loads, stores, modifies, straddles, references, messages }).toEqual({
    fetches: 2,
    loads: 1,
    stores: 1,
    modifies: 2,
    straddles: 2,
    references: 1 + 2 + 2 + 4,
    messages: ["done"],
  });
});

/** The filter by its definition: a list of the last K distinct pairs, newest first. */
function foldSlowly(references: readonly Reference[], filter: number, window: number) {
  const rows: { vpn: number; write: number; count: number; began: number }[] = [];
  let last: string[] = [];
  references.forEach(([vpn, write], at) => {
    const pair = `${vpn} ${write}`;
    const row = last.includes(pair)
      ? rows.findLast((row) => row.vpn === vpn && row.write === write)
      : undefined;
    if (row !== undefined && at - row.began < window) row.count++;
    else rows.push({ vpn, write, count: 1, began: at });
    last = [pair, ...last.filter((other) => other !== pair)].slice(0, filter);
  });
  return rows.map(({ vpn, write, count }) => [vpn, write, count]);
}

test("a filter folds what its definition folds and loses no first touch", () => {
  const filter = fc.integer({ min: 2, max: 20 });
  const window = fc.integer({ min: 1, max: 300 });
  fc.assert(fc.property(logs, filter, window, (log, filter, window) => {
    const references = referencesOf(log);
    const { folded } = parse(textOf(log), { filter, window });
    const vpns = vpnsOf(folded);
    const rows = vpns.map((vpn, row) => [vpn, folded.write[row], folded.count[row]]);
    expect(rows).toEqual(foldSlowly(references, filter, window));
    const firsts = (
      pairs: readonly (readonly number[])[],
    ) => [...new Set(pairs.map(([v, w]) => `${v} ${w}`))];
    expect(firsts(rows)).toEqual(firsts(references));
  }));
});

test("a page that stays hot shows again after a window", () => {
  const runs = new PageRuns(4, { window: 100 });
  for (let i = 0; i < 1000; i++) runs.touch(7, 0);
  expect([...runs.finish().count]).toEqual(Array(10).fill(100));
  const exact = new PageRuns(1, { window: 100 });
  for (let i = 0; i < 1000; i++) exact.touch(7, 0);
  expect([...exact.finish().count]).toEqual([1000]);
});

test("pages and rows beyond the first columns keep their place", () => {
  const runs = new PageRuns(3, { window: 1 });
  const n = 200_000;
  const vpn = (i: number) => (i * 7919) % 50_000 + (i % 2) * 2 ** 34;
  for (let i = 0; i < n; i++) runs.touch(vpn(i), i % 3 === 0 ? 1 : 0);
  const folded = runs.finish();
  expect(runs.pages).toBe(50_000);
  expect(expand(folded)).toEqual(Array.from({ length: n }, (_, i) => [vpn(i), i % 3 === 0 ? 1 : 0]));
});

test("pages far apart belong to different regions, and regions add up", () => {
  const runs = new PageRuns();
  const far = 1000 + REGION_GAP_PAGES;
  for (const vpn of [2 ** 35, far, 1000, 5, far + REGION_GAP_PAGES + 1, 6, 5]) runs.touch(vpn, 0);
  const { page, pages, regions } = runs.finish();
  expect(regions).toEqual([
    { startVpn: 5, pages: 2, firstPage: 0 },
    // The gap of 255 untouched pages is kept, one of 256 is not.
    { startVpn: 1000, pages: REGION_GAP_PAGES + 1, firstPage: 2 },
    { startVpn: far + REGION_GAP_PAGES + 1, pages: 1, firstPage: REGION_GAP_PAGES + 3 },
    { startVpn: 2 ** 35, pages: 1, firstPage: REGION_GAP_PAGES + 4 },
  ]);
  expect(pages).toBe(REGION_GAP_PAGES + 5);
  expect([...page]).toEqual([pages - 1, REGION_GAP_PAGES + 2, 2, 0, REGION_GAP_PAGES + 3, 1, 0]);
});

test.each([
  " L 1000\n",
  " L ,4\n",
  " L 1000,\n",
  " L 1000,0\n",
  " L 1000,4x\n",
  " L 1000,99999\n",
  " L 10g0,4\n",
  " L 12345678901234567,4\n",
  " X 1000,4\n",
  "L 1000,4\n",
  "I 0401ab70,3\n",
  "hello\n",
  "=4184= hello\n",
])("a line that lackey does not print is an error that shows it: %j", (line) => {
  const text = ` S 1fff000668,8\n${line} S 1fff000660,8\n`;
  expect(() => parse(text)).toThrow(LackeyError);
  expect(() => parse(text)).toThrow(line.trim());
  expect(() => parse(text, { cuts: [17, 18] })).toThrow(line.trim());
});

test("a log that stops within a line is cut", () => {
  expect(() => parse(" S 1fff000668,8\n L 04")).toThrow(/cut.* L 04/);
});

test("the limit holds exactly and never splits an access", () => {
  fc.assert(fc.property(logs, cuts, fc.integer({ min: 1, max: 300 }), (log, cuts, limit) => {
    const references = referencesOf(log);
    const { parser, folded } = parse(textOf(log), { cuts, limit });
    expect(parser.references).toBeLessThanOrEqual(limit);
    expect(expand(folded)).toEqual(references.slice(0, parser.references));
    expect(parser.full).toBe(references.length > limit);
    // An access makes at most four references: no more than three can be missing.
    if (parser.full) expect(parser.references).toBeGreaterThan(limit - 4);
  }));
});

test("memory is bounded: too many rows are refused with a filter to try", () => {
  const runs = new PageRuns(2, { maxRows: 1 << 16 });
  const many = () => {
    for (let i = 0; i <= 1 << 16; i++) runs.touch(i % 7, 0);
  };
  expect(many).toThrow(UsageError);
  expect(() => runs.touch(100, 0)).toThrow("--filter 32");
  expect(() => new PageRuns(0)).toThrow(UsageError);
});
