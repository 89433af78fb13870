import * as vegaLite from "vega-lite";
import { expect, test } from "vitest";
import { plot } from "../../lib/plot/mod.ts";
import { columnsOf } from "../../lib/record/columns.ts";

const figures = columnsOf("Figures", [
  { figure: "fault", published: 45, ours: 45, verdict: "predicted" },
  { figure: "copy", published: 100, ours: 120, verdict: "trend" },
  { figure: "rate", published: 5, ours: 50, verdict: "missed" },
  { figure: "walk", published: 9, ours: 0, verdict: "missed" },
]);
const columns = { x: "published", y: "ours", name: "figure", series: "verdict" };

test("plot.agreement() says how near most are, and counts what has no place on its axes", () => {
  const chart = plot.agreement(figures, columns);
  expect(chart.title).toBe(
    "Figures: half of them within 20 %, 67 % within a factor of 2 (1 figure of 0 not drawn)",
  );
  expect(chart.table.columns.figure).toEqual(["fault", "copy", "rate"]);
  const equal = columnsOf("F", [{ figure: "a", published: 3, ours: 3 }]);
  expect(plot.agreement(equal, { x: "published", y: "ours", name: "figure" }).title).toBe(
    "F: half of them equal, 100 % within a factor of 2",
  );
  const far = columnsOf("F", [{ figure: "a", published: 3, ours: 30 }]);
  expect(plot.agreement(far, { x: "published", y: "ours", name: "figure" }).title).toBe(
    "F: half of them within a factor of 10, 0 % within a factor of 2",
  );
  const none = columnsOf("F", [{ figure: "a", published: 3, ours: 0 }]);
  expect(plot.agreement(none, { x: "published", y: "ours", name: "figure" }).title).toBe(
    "F: no rows above 0",
  );
});

test("plot.agreement() draws one scale on both axes, and compiles", () => {
  const spec = JSON.parse(JSON.stringify(plot.agreement(figures, columns).spec)) as vegaLite.TopLevelSpec;
  const domains = [...JSON.stringify(spec).matchAll(/"domain":(\[[\d.,]+\])/g)].map((m) => m[1]);
  expect(new Set(domains).size).toBe(1);
  expect(vegaLite.compile(spec).spec.marks?.length).toBeGreaterThan(0);
});

test("plot.agreement() refuses columns that are missing and more series than can be told apart", () => {
  expect(() => plot.agreement(figures, { ...columns, x: "theirs" })).toThrow('got column "theirs"');
  const many = columnsOf("F", Array.from({ length: 8 }, (_, i) => ({ f: "a", x: 1, y: 1, s: `s${i}` })));
  expect(() => plot.agreement(many, { x: "x", y: "y", name: "f", series: "s" })).toThrow("got 8 series");
});
