import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { show } from "../../lib/notebook/show.ts";
import { plot } from "../../lib/plot/mod.ts";
import { columnsOf } from "../../lib/record/columns.ts";
import { DISPLAY } from "../../lib/record/display.ts";
import { LatencyHistogram } from "../../lib/record/histogram.ts";
import { toArquero } from "../../lib/tables/arquero.ts";

const table = columnsOf("Moved", [{ way: "to the device", pages: 1024 }], { pages: "pages" });
const asText = ["Moved", "way            pages", "─────────────  ─────", "to the device  1,024"].join("\n");

let printed: unknown[][];
beforeEach(() => {
  printed = [];
  vi.spyOn(console, "log").mockImplementation((...args) => void printed.push(args));
});
afterEach(() => void vi.restoreAllMocks());

test("a table is printed as text, whichever form it has", async () => {
  await show(table, await toArquero(table));
  expect(printed).toEqual([[asText], [asText]]);
});

test("a chart is printed as its finding and a few figures, never as its spec", async () => {
  const h = new LatencyHistogram("invalidation");
  for (const ns of [900, 1000, 70_000]) h.record(ns);
  const chart = plot.latency(h);
  await show(chart);
  const [[text]] = printed as string[][];
  const lines = text.split("\n");
  expect(lines[0]).toBe("Invalidation: 67 % take at most 1.01 µs, the longest 70 µs");
  expect(lines[1]).toBe(chart.subtitle);
  expect(lines).toHaveLength(2 + 4);
  expect(lines.at(-1)).toMatch(/^invalidation +3 +23,967 /);
  expect(text).not.toContain("schema");
});

test("what says itself what to show is asked", async () => {
  const run = { secret: 1, [DISPLAY]: () => ({ text: "1,024 pages moved", tables: [table, table] }) };
  const bare = { [DISPLAY]: () => ({ text: "nothing more" }) };
  await show(run, bare);
  expect(printed).toEqual([[`1,024 pages moved\n\n${asText}\n\n${asText}`], ["nothing more"]]);
});

test("anything else is the console's to print", async () => {
  const thing = { a: 1 };
  await show(thing, 5, "text", undefined, [table]);
  expect(printed).toEqual([[thing], [5], ["text"], [undefined], [[table]]]);
  printed.length = 0;
  await show();
  expect(printed).toEqual([]);
});
