import { expect, test } from "vitest";
import { columnsOf } from "../../lib/record/columns.ts";
import { Timeline } from "../../lib/record/timeline.ts";
import { MAX_SPEC_BYTES } from "../../lib/plot/chart.ts";
import { plot } from "../../lib/plot/mod.ts";
import { shareText, valueText } from "../../lib/plot/scale.ts";
import { histogram, invalidations, migration, phaseTable, programs, sweep } from "./samples.ts";

const repeat = (n: number, ns: number) => Array<number>(n).fill(ns);

test("a latency chart says half and tail, as far as the data say them", () => {
  const title = (name: string, ns: number[]) => plot.latency(histogram(name, ns)).title;
  expect(title("invalidation", [...repeat(980, 1000), ...repeat(15, 20_000), ...repeat(5, 90_000)]))
    .toBe("Invalidation: 98 % take at most 1.01 µs, 0.5 % over 20.5 µs");
  expect(title("map", [...repeat(990, 1000), ...repeat(10, 90_000)])).toBe(
    "Map: 99 % take at most 1.01 µs, the longest 90 µs",
  );
  expect(title("map", [...repeat(500, 1000), ...repeat(500, 2000)])).toBe(
    "Map: half take at most 1.01 µs, the longest 2 µs",
  );
  expect(title("map", repeat(50, 1400))).toBe("Map: all take 1.4 µs");
  expect(title("map", [7])).toBe("Map: the only one takes 7 ns");
  expect(title("map", [0, 0])).toBe("Map: all take 0 ns");
});

test("a title of one's own stands instead of the finding", () => {
  expect(plot.latency(invalidations(), { title: "Mine" }).title).toBe("Mine");
  expect(plot.latency(histogram("x", []), { title: "Mine" }).title).toBe("Mine");
  expect(plot.phases(phaseTable, { title: "Mine" }).spec.title).toEqual({ text: ["Mine"] });
});

test("several histograms are compared by their 99th percentile", () => {
  const chart = plot.latency([
    histogram("slow", repeat(9, 50_000)),
    histogram("fast", repeat(9, 900)),
    histogram("none", []),
  ]);
  expect(chart.title).toBe("99 % end within 900 ns (fast) to 50 µs (slow)");
  expect(chart.subtitle).toContain("nothing recorded for none");
  expect(chart.summary.columns.kind).toEqual(["slow", "fast", "none"]);
  expect(() => plot.latency(Array.from({ length: 8 }, (_, i) => histogram(`h${i}`, [1])))).toThrow(
    /got 8 distributions/,
  );
});

test("a throughput chart says mean and peak of what moved, and its bins add up to it", () => {
  const t = migration();
  const chart = plot.throughput(t);
  // The last transfer ends within the last bin, and a bin is the finest that the timeline knows.
  const endNs = t.bins * t.binNs;
  const [mean] = chart.summary.columns.meanPerSecond as Float64Array;
  expect(mean).toBeCloseTo((t.total * 1e9) / endNs, 6);
  expect(chart.title).toBe(
    `Migration to the device: ${valueText(mean, "bytes/s")} on average, ` +
      `${valueText(chart.summary.columns.peakPerSecond[0] as number, "bytes/s")} at its peak`,
  );
  const time = chart.table.columns.time as Float64Array, rate = chart.table.columns.rate as Float64Array;
  expect(chart.table.units).toEqual({ time: "ms", rate: "GB/s" });
  let bytes = 0;
  for (let i = 0; i + 1 < time.length; i++) bytes += (time[i + 1] - time[i]) * 1e6 * rate[i];
  expect(bytes / t.total).toBeCloseTo(1, 3);
});

test("the end of the run shortens the last bin, and gaps in a table are zero", () => {
  const c = {
    title: "moved",
    numRows: 2,
    columns: { startNs: Float64Array.of(0, 4000), amount: Float64Array.of(2000, 1000) },
    units: { startNs: "ns", amount: "pages" },
  };
  const gap = {
    ...c,
    numRows: 3,
    columns: { startNs: Float64Array.of(0, 1000, 4000), amount: Float64Array.of(2000, 0, 1000) },
  };
  const rates = plot.throughput(gap, { endNs: 4500 }).table;
  expect([...rates.columns.time as Float64Array]).toEqual([0, 1, 2, 3, 4, 4.5]);
  expect([...rates.columns.rate as Float64Array]).toEqual([2e9, 0, 0, 0, 2e9, 2e9]);
  expect(rates.units).toEqual({ time: "µs", rate: "pages/s" });
  expect(() => plot.throughput([c, migration()])).toThrow(/2 timelines in pages and bytes/);
  expect(() => plot.throughput({ ...c, columns: { ...c.columns, startNs: Float64Array.of(4, 0) } })).toThrow(
    /got startNs 0 after 4/,
  );
});

test("several timelines are compared by their means", () => {
  const half = new Timeline("back", "bytes");
  half.addSpan(0, 1 << 20, 1 << 20);
  const all = new Timeline("out", "bytes");
  all.addSpan(0, 1 << 20, 2 << 20);
  expect(plot.throughput([half, all], { endNs: 1 << 20 }).title).toBe("Out 2 GB/s, back 1 GB/s on average");
});

test("phases add up to their kind, whatever is drawn", () => {
  for (const options of [{}, { shares: true }, { counts: { "cpu fault": 4, invalidation: 2 } }]) {
    const chart = plot.phases(phaseTable, options);
    const { kind, ns } = chart.table.columns;
    const each = "counts" in options
      ? { "cpu fault": 3000, invalidation: 2000 }
      : { "cpu fault": 12_000, invalidation: 4000 };
    for (const [name, total] of Object.entries(each)) {
      const sum = (kind as string[]).reduce((s, k, i) => k === name ? s + (ns[i] as number) : s, 0);
      expect(sum).toBeCloseTo(total, 9);
    }
    // What is drawn: every bar begins where the one before it ends.
    const layer =
      (chart.spec.layer as { data: { values: { kind: string; from: number; to: number }[] } }[])[0];
    const ends = new Map<string, number>();
    for (const bar of layer.data.values) {
      expect(bar.from).toBeCloseTo(ends.get(bar.kind) ?? 0, 9);
      ends.set(bar.kind, bar.to);
    }
    if ("shares" in options) expect([...ends.values()].map(Math.round)).toEqual([100, 100]);
  }
  expect(plot.phases(phaseTable).title).toBe("CPU fault: 75 % of 12 µs in all is copy");
  expect(plot.phases(phaseTable, { counts: { "cpu fault": 4, invalidation: 2 } }).title).toBe(
    "CPU fault: 75 % of 3 µs each is copy",
  );
});

test("more phases than colours: the smallest are joined, named, and still add up", () => {
  const rows = Array.from(
    { length: 11 },
    (_, i) => ({ kind: "fault", phase: `step ${i}`, ns: 100 * (i + 1) }),
  );
  const chart = plot.phases(columnsOf("p", rows, { ns: "ns" }));
  expect(new Set(chart.table.columns.phase as string[]).size).toBe(7);
  expect(chart.subtitle).toBe("other: step 4, step 3, step 2, step 1, step 0");
  expect((chart.table.columns.ns as Float64Array).reduce((a, b) => a + b, 0)).toBe(6600);
});

test("bars and lines say their largest and their ends", () => {
  expect(plot.bars(programs, { x: "program", y: "faults" }).title).toBe(
    "Faults by program: largest for sqlite3, 1,234,567",
  );
  expect(plot.lines(sweep, { x: "pages", y: "p50Ns", series: "mirrors", xLog: true }).title).toBe(
    "Invalidation latency: p50 ends at 24.6 µs (16 mirrors) to 11.1 µs (1 mirrors)",
  );
});

test("what has no rows says so instead of drawing", () => {
  expect(plot.latency(histogram("invalidation", [])).title).toBe("Invalidation: no events were recorded");
  expect(plot.throughput(new Timeline("migration", "bytes")).title).toBe("Migration: nothing was moved");
  expect(plot.phases(columnsOf("Phases", [])).title).toBe("Phases: no time was spent");
  const none = { ...programs, numRows: 0, columns: { program: [], faults: new Float64Array(0) } };
  expect(plot.bars(none, { x: "program", y: "faults" }).title).toBe("Faults by program: no rows");
  expect(
    plot.lines({ ...none, columns: { x: new Float64Array(0), y: new Float64Array(0) } }, { x: "x", y: "y" })
      .title,
  )
    .toBe("Faults by program: no rows");
});

test("no chart is larger than a notebook should hold", () => {
  let seed = 1;
  const draw = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const names = Array.from({ length: 7 }, (_, i) => `a kind of event with a rather long name ${i}`);
  const wide = names.map((name) =>
    histogram(name, Array.from({ length: 20_000 }, () => Math.floor(2 ** (draw() * 40))))
  );
  const lines = names.map((name) => {
    const t = new Timeline(name, "bytes");
    for (let i = 0; i < 5000; i++) t.addSpan(i * 1e6, i * 1e6 + 9e5, Math.floor(draw() * 1e7));
    return t;
  });
  const n = 200_000;
  const rows = {
    title: "Rows",
    numRows: n,
    columns: {
      t: Float64Array.from({ length: n }, (_, i) => i * 1.234567),
      y: Float64Array.from({ length: n }, draw),
      series: Array.from({ length: n }, (_, i) => names[i % 7]),
    },
    units: {},
  };
  const charts = [
    plot.latency(wide),
    plot.latency(wide[0]),
    plot.throughput(lines),
    plot.lines(rows, { x: "t", y: "y", series: "series" }),
  ];
  for (const chart of charts) {
    expect(new TextEncoder().encode(JSON.stringify(chart.spec)).length).toBeLessThan(MAX_SPEC_BYTES);
  }
  expect(charts[3].subtitle).toBe("mean of 200,000 rows in 400 bins");
});

test("too many rows are refused with what to do", () => {
  const n = 61;
  const many = {
    title: "Many",
    numRows: n,
    columns: { x: Array.from({ length: n }, (_, i) => `x${i}`), y: new Float64Array(n) },
    units: {},
  };
  expect(() => plot.bars(many, { x: "x", y: "y" })).toThrow(
    /^Cannot draw bars: got 61 of them .*orderby\(desc\("y"\)\) and slice/,
  );
  expect(() =>
    plot.lines({ ...many, columns: { x: new Float64Array(n), y: new Float64Array(n), s: many.columns.x } }, {
      x: "x",
      y: "y",
      series: "s",
    })
  )
    .toThrow(/got 61 series in s; at most 7/);
  const long = {
    ...phaseTable,
    columns: {
      ...phaseTable.columns,
      phase: phaseTable.columns.phase as string[],
      kind: Array(5).fill("x".repeat(70_000)),
    },
  };
  expect(() => plot.phases(long)).toThrow(/kB of chart; at most 300 kB are allowed; bin or group/);
});

test("columns that are not there or not numbers are named", () => {
  expect(() => plot.bars(programs, { x: "program", y: "bytes" })).toThrow(
    /got column "bytes"; the table "Faults by program" has program, faults/,
  );
  expect(() => plot.lines(programs, { x: "program", y: "faults" })).toThrow(
    /"program", which holds strings; .* write one of faults/,
  );
  expect(() => plot.phases(columnsOf("t", [{ kind: "a", phase: "b", ns: -1 }]))).toThrow(
    /got -1 ns in row 0/,
  );
  expect(() => plot.phases(phaseTable, { counts: { "cpu fault": 1 } })).toThrow(
    /got a count of undefined for "invalidation"/,
  );
});

test("what cannot be drawn on a logarithmic axis is left out, and that is said", () => {
  const c = columnsOf("t", [{ x: 0, y: 1 }, { x: 1, y: 2 }, { x: 10, y: NaN }, { x: 100, y: 3 }]);
  const chart = plot.lines(c, { x: "x", y: "y", xLog: true });
  expect(chart.subtitle).toBe("2 rows without a usable value left out");
  expect(chart.table.numRows).toBe(2);
});

test("numbers in titles: three digits, and never 0 or 100 % of what is not", () => {
  expect([0, 0.00000001, 0.004, 0.0123, 0.626, 0.9999, 1].map(shareText)).toEqual([
    "0 %",
    "under 0.001 %",
    "0.4 %",
    "1 %",
    "63 %",
    "over 99 %",
    "100 %",
  ]);
  expect([
    valueText(1234567, ""),
    valueText(6.45e9, "bytes/s"),
    valueText(1500, "ns"),
    valueText(3 << 20, "bytes"),
    valueText(4.79e8, "bytes/s"),
    valueText(3e6, "bytes/s"),
    valueText(999.9e3, "ns"),
  ])
    .toEqual(["1,234,567", "6.45 GB/s", "1.5 µs", "3 MiB", "0.479 GB/s", "3 MB/s", "1 ms"]);
});
