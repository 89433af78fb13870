import * as aq from "arquero";
import { expect, test } from "vitest";
import { fromArquero, toArquero } from "../../lib/tables/arquero.ts";
import { agg, desc } from "../../lib/tables/data_table.ts";
import { mixed } from "./tables.ts";

const faults = {
  title: "Faults",
  numRows: 5,
  columns: {
    kind: ["cpu", "gpu", "cpu", "gpu", "cpu"],
    ns: Uint32Array.of(5, 40, 7, 20, 9),
    bytes: Float64Array.of(1, 2, 3, 4, 5),
  },
  units: { ns: "ns", bytes: "bytes" },
};
type Fault = { kind: string; ns: number; bytes: number };

test("rows are filtered by an ordinary function, which may use variables around it", async () => {
  const least = 8;
  const table = (await toArquero<Fault>(faults)).filter((row) => row.ns > least && row.kind === "cpu");
  expect(table.numRows).toBe(1);
  expect(table.objects()).toEqual([{ kind: "cpu", ns: 9, bytes: 5 }]);
});

test("units stay with their columns through every verb", async () => {
  const table = await toArquero<Fault>(faults);
  expect(table.derive({ us: (row) => row.ns / 1000 }, { us: "us" }).units).toEqual({
    ns: "ns",
    bytes: "bytes",
    us: "us",
  });
  expect(table.derive({ ns: (row) => row.ns * 2 }).units).toEqual({ bytes: "bytes" });
  expect(table.rename({ ns: "latencyNs" }).units).toEqual({ latencyNs: "ns", bytes: "bytes" });
  expect(table.select("kind", "bytes").units).toEqual({ bytes: "bytes" });
  const rolled = table.groupby("kind").rollup({
    n: agg.count(),
    total: agg.sum("ns"),
    kinds: agg.distinct("ns"),
  });
  expect(rolled.units).toEqual({ total: "ns" });
});

test("groups are rolled up", async () => {
  const table = await toArquero<Fault>(faults);
  const rolled = table.groupby("kind").rollup({
    n: agg.count(),
    total: agg.sum("ns"),
    mean: agg.mean("ns"),
    median: agg.median("ns"),
    least: agg.min("ns"),
    most: agg.max("ns"),
    different: agg.distinct("ns"),
    half: agg.quantile("ns", 0.5),
  }).orderby(desc("total"));
  expect(rolled.objects()).toEqual([
    { kind: "gpu", n: 2, total: 60, mean: 30, median: 30, least: 20, most: 40, different: 2, half: 30 },
    { kind: "cpu", n: 3, total: 21, mean: 7, median: 7, least: 5, most: 9, different: 3, half: 7 },
  ]);
  expect(table.rollup({ sd: agg.stdev("bytes") }).get("sd")).toBeCloseTo(Math.sqrt(2.5), 12);
});

test("sorted, sliced and joined tables keep rows together and types apart", async () => {
  const table = await toArquero<Fault>(faults);
  const sorted = table.orderby("kind", desc("ns"));
  expect(sorted.array("ns")).toEqual(Uint32Array.of(9, 7, 5, 40, 20));
  expect(sorted.get("bytes")).toBe(5);
  expect(sorted.groupby("kind").slice(0, 1).ungroup().objects()).toEqual([
    { kind: "cpu", ns: 9, bytes: 5 },
    { kind: "gpu", ns: 40, bytes: 2 },
  ]);
  const names = await toArquero<{ kind: string; label: string }>({
    title: "Names",
    numRows: 2,
    columns: { kind: ["cpu", "gpu"], label: ["Zen", "Volta"] },
    units: {},
  });
  expect(table.join(names, "kind").objects(2)).toEqual([
    { kind: "cpu", ns: 5, bytes: 1, label: "Zen" },
    { kind: "gpu", ns: 40, bytes: 2, label: "Volta" },
  ]);
});

test("a table comes back as the columns it was made of", async () => {
  expect((await toArquero(mixed)).toColumns()).toEqual(mixed);
  expect(fromArquero(await toArquero(mixed), { title: "again", units: { delta: "pages" } })).toEqual({
    ...mixed,
    title: "again",
    units: { ...mixed.units, delta: "pages" },
  });
  const empty = (await toArquero<Fault>(faults)).filter(() => false).toColumns();
  expect(empty.columns.ns).toEqual(new Uint32Array(0));
});

test("arquero's own tables become columns: big integers and booleans as numbers, missing numbers NaN", () => {
  const table = aq.table({ a: [1, null, 3], b: [true, false, true], c: [1n, 2n, 3n], d: ["x", null, "z"] });
  expect(fromArquero(table, { units: { a: "ns" } })).toEqual({
    title: "Table",
    numRows: 3,
    columns: {
      a: Float64Array.of(1, NaN, 3),
      b: Float64Array.of(1, 0, 1),
      c: Float64Array.of(1, 2, 3),
      d: ["x", "", "z"],
    },
    units: { a: "ns" },
  });
  expect(() => fromArquero({ a: [1] })).toThrow(
    /^Cannot read a table: got an object with a; an Arquero table/,
  );
});

test("a wrong name or argument is named, with what there is", async () => {
  const table = await toArquero<Fault>(faults);
  expect(() => table.select("latency")).toThrow(
    /^Cannot select: got column "latency"; the table has kind, ns, bytes/,
  );
  expect(() => table.orderby(desc("x"))).toThrow(/^Cannot order: got column "x"/);
  expect(() => table.rollup({ t: agg.sum("x") })).toThrow(/^Cannot roll up: got column "x"/);
  expect(() => table.rollup({ t: agg.quantile("ns", 99) })).toThrow(
    /^Cannot take a quantile: got 99; a fraction in 0 .. 1/,
  );
  expect(() => table.filter("d => d.ns > 1" as never)).toThrow(
    /^Cannot filter: got "d => d.ns > 1"; a function of a row/,
  );
  await expect(toArquero(undefined as never)).rejects.toThrow(/^Cannot open a table: got undefined/);
});
