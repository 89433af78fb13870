import { expect, test } from "vitest";
import {
  faultsOf,
  FIGURE_WORKS,
  type FigureWork,
  unnamedFits,
} from "../../../lib/experiments/figures/registry.ts";
import { type FigureRow, figureRow } from "../../../lib/experiments/figures/row.ts";
import { figureSummary, figureText } from "../../../lib/experiments/figures/tables.ts";

const parameter = { name: "p: rate", value: "1 GB/s", certainty: "calibrated", source: "chosen" } as const;
const work: FigureWork = {
  name: "w",
  title: "W",
  figures: [{ figure: "a", value: 1 }, { figure: "b", value: 2 }],
  parameters: [parameter],
  run: () => [],
};
const line = (figure: string, published: number): FigureRow =>
  figureRow({ work: "W", figure, published, ours: published, note: "n" }, {
    verdict: "predicted",
    within: 0.1,
  });
const fitted = (figure: string, published: number, fittedOn: string): FigureRow =>
  figureRow({ work: "W", figure, published, ours: published, note: "" }, {
    verdict: "calibrated",
    within: 0.1,
    fittedOn,
  });
const good = [line("a", 1), fitted("b", 2, "p: rate")];

test("lines that match the published figures one by one, with labelled parameters, are without fault", () => {
  expect(faultsOf(work, good)).toEqual([]);
});

test.each<[string, readonly FigureRow[], string]>([
  [
    "a figure without a line",
    [fitted("b", 2, "p: rate")],
    'w: 0 lines for the published figure "a"; one is due',
  ],
  ["a figure with two", [...good, line("a", 1)], 'w: 2 lines for the published figure "a"; one is due'],
  ["a line without a figure", [...good, line("c", 1)], 'w: line "c" belongs to no published figure'],
  ["another value", [line("a", 3), good[1]], 'w: "a" was published as 1 and is compared with 3'],
  ["no label", [good[1], fitted("a", 1, "q")], 'w: parameter "q" has no label'],
  [
    "a parameter that is not named",
    [line("a", 1), line("b", 2)],
    'w: parameter "p: rate" is named by no line',
  ],
  ["none named", [fitted("a", 1, ""), good[1]], 'w: "a" is calibrated and names no parameter'],
])("%s is a fault", (_, rows, fault) => {
  expect(faultsOf(work, rows)).toEqual([fault]);
});

test("a parameter without source is a fault", () => {
  expect(faultsOf({ ...work, parameters: [{ ...parameter, source: "" }] }, good)).toEqual([
    'w: parameter "p: rate" lacks value, certainty or source',
  ]);
});

test("what profiles call calibrated belongs to a published work", () => {
  expect(unnamedFits(FIGURE_WORKS)).toEqual([]);
  expect(unnamedFits([])).toContain(
    'parameter "titan-v: mixedBlocks" is calibrated and belongs to no published work',
  );
});

test("every work has a name and figures of its own", () => {
  expect(new Set(FIGURE_WORKS.map((w) => w.name)).size).toBe(FIGURE_WORKS.length);
  for (const { name, figures } of FIGURE_WORKS) {
    expect(figures.length, name).toBeGreaterThan(0);
    expect(new Set(figures.map((f) => f.figure)).size, name).toBe(figures.length);
    for (const { figure, value } of figures) expect(Number.isFinite(value), figure).toBe(true);
  }
});

test("short works run and are without fault", async () => {
  for (const w of FIGURE_WORKS.filter(({ name }) => !["sc21", "uvm-smart"].includes(name))) {
    expect(faultsOf(w, await w.run({})), w.name).toEqual([]);
  }
}, 60_000);

test("the defaults of NVIDIA's driver are those of a GPU here, but for a bound on batches", async () => {
  const rows = await FIGURE_WORKS.find((w) => w.name === "nvidia-uvm")!.run({});
  expect(rows.filter((r) => r.verdict !== "reproduces").map((r) => r.figure)).toEqual([
    "batches of one service, at most",
  ]);
});

test("the parts of a fault on Xe come out that parameters were fitted on, and get_pages does not", async () => {
  const rows = await FIGURE_WORKS.find((w) => w.name === "xe")!.run({});
  expect(rows.map((r) => [r.figure, r.verdict])).toEqual([
    ["svm_2M_pagefault_us", "calibrated"],
    ["svm_2M_migrate_us", "calibrated"],
    ["svm_2M_device_copy_us", "calibrated"],
    ["svm_2M_get_pages_us", "missed"],
    ["svm_2M_bind_us", "calibrated"],
  ]);
});

test("the summary counts verdicts and what parameters bought; notes stand once", () => {
  const { columns } = figureSummary([{ work, rows: good }]);
  expect([columns.work, [...columns.predicted], [...columns.calibrated], [...columns.bought]]).toEqual([
    ["w", "all"],
    [1, 1],
    [1, 1],
    [1, 1],
  ]);
  const { table, notes } = figureText("W", [line("a", 1), line("b", 2)]);
  expect([notes, table.columns.note]).toEqual([["n"], ["1", "1"]]);
});
