import { expect, test } from "vitest";
import { climbingImports } from "./floors.ts";
import { sourcesUnder } from "./source.ts";

test("imports in lib/ only go down the floors", () => {
  expect(climbingImports(sourcesUnder("lib"))).toEqual([]);
});

test("an import that goes up is found, in each form an import can take", () => {
  const text = [
    'import { run } from "../sim/clock.ts";',
    'import type { Machine } from "../machine/mod.ts";',
    'export { chart } from "../plot/chart.ts";',
    'export async function later() { return await import("../explore/mod.ts"); }',
    'export type M = import("../cli/demo.ts").M;',
    'import { machine } from "hmmlab";',
  ].join("\n");
  expect(climbingImports([{ path: "lib/mm/fault.ts", text }])).toEqual([
    "lib/mm/fault.ts:2: mm imports lib/machine/mod.ts, which stands above it",
    "lib/mm/fault.ts:3: mm imports lib/plot/chart.ts, which stands above it",
    "lib/mm/fault.ts:4: mm imports lib/explore/mod.ts, which stands above it",
    "lib/mm/fault.ts:5: mm imports lib/cli/demo.ts, which stands above it",
    "lib/mm/fault.ts:6: mm imports lib/mod.ts, which stands above it",
  ]);
});

test("imports within a room, of rooms below, of data and of packages are fine", () => {
  const text = [
    'import "./zones.ts"; import "./deep/walk.ts"; import "../units.ts"; import "../record/columns.ts";',
    'import p from "../../datasets/profiles/x.json" with { type: "json" }; import "node:fs"; import "arquero";',
  ].join("\n");
  expect(climbingImports([{ path: "lib/mm/fault.ts", text }])).toEqual([]);
  const all = 'export * from "./cli/x.ts"; export * from "./plot/mod.ts"; export * from "./errors.ts";';
  expect(climbingImports([{ path: "lib/mod.ts", text: all }])).toEqual([]);
});

test("a room without a floor and an import out of lib/ are found", () => {
  expect(climbingImports([
    { path: "lib/attic/box.ts", text: "" },
    { path: "lib/sim/clock.ts", text: 'import "../attic/box.ts";\nimport "../../test/needs.ts";' },
  ])).toEqual([
    'lib/attic/box.ts: "attic" has no floor; add it to FLOORS or move the file',
    'lib/sim/clock.ts:1: imports lib/attic/box.ts, and "attic" has no floor',
    "lib/sim/clock.ts:2: ../../test/needs.ts leaves lib/",
  ]);
});
