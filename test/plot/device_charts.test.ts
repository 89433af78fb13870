/** Charts of devices: residency, fault batches, the cliff of over-subscription, link use, pages over time. */
import fc from "fast-check";
import * as vega from "vega";
import * as vegaLite from "vega-lite";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { machine } from "../../lib/machine/machine.ts";
import { extentsOf, placeOf } from "../../lib/plot/extents.ts";
import { plot } from "../../lib/plot/mod.ts";
import { columnsOf } from "../../lib/record/columns.ts";
import { Timeline } from "../../lib/record/timeline.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { faultBatches, lookMoments, oversubscribed, residencyMoves } from "./samples.ts";

describe("plot.residency()", () => {
  const change = fc.record({
    waitNs: fc.nat({ max: 500 }),
    first: fc.nat({ max: 300 }),
    pages: fc.integer({ min: 1, max: 90 }),
    onDevice: fc.constantFrom(0, 1, 1),
  });

  test("holds as many page-ns in its cells as the pages spend on the device, ranges overlapping or not", () => {
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 60 }),
        fc.nat({ max: 2000 }),
        (changes, after) => {
          const since = new Map<number, number>(), touched = new Set<number>(), rows = [];
          let nowNs = 0, pageNs = 0;
          for (const { waitNs, first, pages, onDevice } of changes) {
            nowNs += waitNs;
            rows.push({ timeNs: nowNs, firstVpn: first, pages, onDevice });
            for (let page = first; page < first + pages; page++) {
              if (onDevice === 1) {
                touched.add(page);
                if (!since.has(page)) since.set(page, nowNs);
              } else if (since.has(page)) {
                pageNs += nowNs - since.get(page)!;
                since.delete(page);
              }
            }
          }
          const endNs = nowNs + 1 + after;
          for (const sinceNs of since.values()) pageNs += endNs - sinceNs;
          const chart = plot.residency(columnsOf("Residency", rows), { endNs });
          if (touched.size === 0) return;
          const { columns, numRows } = chart.table;
          let drawn = 0;
          for (let i = 0; i < numRows; i++) {
            const ns = Number(columns.endNs[i]) - Number(columns.startNs[i]);
            const tall = (Number(columns.toBytes[i]) - Number(columns.fromBytes[i])) / 4096;
            drawn += (ns * tall * Number(columns.percent[i])) / 100;
          }
          // Percents are whole: half of one in each cell is lost.
          expect(Math.abs(drawn - pageNs)).toBeLessThanOrEqual(0.006 * touched.size * endNs + 1);
          if (numRows > 0) expect(chart.summary.columns.touchedBytes[0]).toBe(touched.size * 4096);
        },
      ),
    );
  });

  test("says how much is on the device at most, and how often a page came", () => {
    const chart = plot.residency(residencyMoves);
    expect(chart.title).toBe(
      "Residency: up to 4 MiB of 6 MiB are on the device, a page came 2.7 times on average",
    );
    expect(chart.subtitle).toMatch(/ % of the touched memory on average · a cell is .* and 128 KiB$/);
    expect(plot.residency(columnsOf("Residency", [])).title).toBe("Residency: no page came to the device");
  });

  test("leaves gaps out and says so", () => {
    const far = columnsOf("Residency", [
      { timeNs: 0, firstVpn: 0, pages: 16, onDevice: 1 },
      { timeNs: 10, firstVpn: 2 ** 35, pages: 16, onDevice: 1 },
    ]);
    const chart = plot.residency(far, { endNs: 100 });
    expect(chart.subtitle).toContain("2 ranges, gaps left out");
    expect(Math.max(...(chart.table.columns.toBytes as Float64Array))).toBe(32 * 4096);
  });

  test("refuses times that go back and other tables", () => {
    const row = { timeNs: 5, firstVpn: 8, pages: 4, onDevice: 1 };
    const draw = (...rows: object[]) => () =>
      plot.residency(columnsOf("R", rows.map((r) => ({ ...row, ...r }))));
    expect(draw({}, { timeNs: 4 })).toThrow("got timeNs 4 after 5 in row 1");
    expect(draw({ onDevice: 0 })().title).toBe("Residency: no page came to the device");
    expect(() => plot.residency(faultBatches)).toThrow('got column "timeNs"');
  });
});

test("placeOf() counts the pages of ranges before a page, whatever the ranges", () => {
  const range = fc.tuple(fc.nat({ max: 300 }), fc.integer({ min: 1, max: 20 }));
  fc.assert(fc.property(fc.array(range, { minLength: 1, maxLength: 30 }), (ranges) => {
    const all = new Set(
      ranges.flatMap(([start, pages]) => Array.from({ length: pages }, (_, i) => start + i)),
    );
    const e = extentsOf(ranges.map(([start]) => start), ranges.map(([, pages]) => pages));
    const sorted = [...all].sort((a, b) => a - b);
    expect(e.pages).toBe(sorted.length);
    expect(sorted.map((page) => placeOf(e, page))).toEqual(sorted.map((_, i) => i));
  }));
});

test("plot.batches() says size, blocks and duplicates, and averages many", () => {
  const chart = plot.batches(faultBatches);
  expect(chart.title).toBe(
    "500 batches: 199 faults in 5 VA blocks on average, 25 % of the faults are duplicates",
  );
  expect(chart.subtitle).toMatch(/^a point is the mean of the batches that began within /);
  expect(chart.table.numRows).toBeLessThanOrEqual(160);
  const { batches, faults } = chart.table.columns;
  const all = Array.from(batches as Float64Array, (n, i) => n * Number(faults[i])).reduce((a, b) => a + b, 0);
  expect(all / 500).toBeCloseTo(199, 0);
  const one = columnsOf("B", [{ startNs: 0, faults: 4, duplicates: 0, blocks: 1 }]);
  expect(plot.batches(one).title).toBe(
    "1 batch: 4 faults in 1 VA block on average, 0 % of the faults are duplicates",
  );
  expect(plot.batches(columnsOf("B", [])).title).toBe("No fault batches were recorded");
  expect(() => plot.batches(residencyMoves)).toThrow('got column "startNs"');
});

describe("plot.cliff()", () => {
  test("says what leaving memory costs, of a time and of a rate", () => {
    expect(plot.cliff(oversubscribed, { x: "x", y: "elapsedNs", series: "policy" }).title).toBe(
      "Three passes of stream: elapsed grows 28-fold (lru) from 100 % to 200 % of memory, 14-fold (random) at best",
    );
    const rates = columnsOf("Stream", [{ x: 0.5, rate: 9e9 }, { x: 1.5, rate: 3e9 }], { rate: "bytes/s" });
    expect(plot.cliff(rates, { x: "x", y: "rate" }).title).toBe(
      "Stream: rate falls 3-fold from 50 % to 150 % of memory",
    );
    const inside = columnsOf("Stream", [{ x: 0.5, ns: 9 }], { ns: "ns" });
    expect(plot.cliff(inside, { x: "x", y: "ns" }).title).toBe(
      "Stream: ns is 9 ns at the largest working set",
    );
  });

  test("refuses what has no place on a logarithmic axis", () => {
    const zero = columnsOf("S", [{ x: 1, ns: 0 }]);
    expect(() => plot.cliff(zero, { x: "x", y: "ns" })).toThrow(
      "got x 1 and ns 0 in row 0; numbers above 0 are allowed",
    );
    expect(() => plot.cliff(zero, { x: "y", y: "ns" })).toThrow('got column "y"');
    const many = columnsOf("S", Array.from({ length: 8 }, (_, i) => ({ x: 1, ns: 1, s: `s${i}` })));
    expect(() => plot.cliff(many, { x: "x", y: "ns", series: "s" })).toThrow("got 8 series");
  });
});

test("what a GPU keeps of a run can be drawn as it is", async () => {
  const m = machine({ memory: "64 MiB", devices: { gpu: { kind: "gpu", memory: "4 MiB" } }, seed: 1 }),
    p = m.process();
  const heap = p.mmap("8 MiB"), twice = [streamGrid(heap, { write: true }), streamGrid(heap)];
  const run = await m.run({ gpu: launch(m.gpu, p, twice) }, { events: 10_000 }),
    { batches, residency } = run.records.gpu;
  const drawn = plot.residency(residency, { endNs: run.virtualNs });
  expect(drawn.title).toMatch(
    /^Residency: up to .* MiB of 8 MiB are on the device, a page came .* times on average$/,
  );
  expect(drawn.summary.columns.mostBytes[0]).toBeLessThanOrEqual(4 << 20);
  expect(plot.batches(batches).title).toMatch(/^\d+ batches: \d+ faults in .* VA blocks on average/);
  expect(plot.phases(run.phases).title).toMatch(/^Far fault: /);
});

test("plot.throughput() says how much of a capacity is used", () => {
  const t = new Timeline("link of gpu", "bytes", 1000);
  t.addSpan(0, 1000, 6500);
  t.addSpan(3000, 4000, 3250);
  const chart = plot.throughput(t, { capacity: "13 GB/s", endNs: 4000 });
  expect(chart.title).toBe("Link of gpu: 19 % of 13 GB/s is used on average, 50 % at its peak");
  expect(plot.throughput(t, { capacity: 13e9, endNs: 4000 }).title).toBe(chart.title);
  expect(plot.throughput([t, t], { capacity: 13e9, endNs: 4000 }).title).toMatch(
    /^Of 13 GB\/s are used on average: 19 % by/,
  );
  for (const capacity of [0, NaN, "fast"]) expect(() => plot.throughput(t, { capacity })).toThrow(UsageError);
});

describe("plot.snapshots()", () => {
  test("draws the moment that the slider is at", async () => {
    const chart = plot.snapshots(lookMoments);
    const spec = structuredClone(chart.spec) as unknown as Parameters<typeof vegaLite.compile>[0];
    const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "none" });
    const drawn = async (moment: number) => {
      const svg = await view.signal("moment", moment).runAsync().then((v) => v.toSVG());
      return {
        label: lookMoments.filter((m) => svg.includes(`>${m.label}<`)).map((m) => m.label),
        present: svg.match(/fill="#0072B2"/g)?.length ?? 0,
        device: svg.match(/fill="#E69F00"/g)?.length ?? 0,
      };
    };
    // The legend has one square of each colour.
    expect(await drawn(0)).toEqual({ label: ["nothing touched"], present: 1, device: 1 });
    expect(await drawn(1)).toEqual({ label: ["the CPU wrote"], present: 49, device: 1 });
    expect(await drawn(2)).toEqual({ label: ["the device read"], present: 33, device: 17 });
    expect(JSON.stringify(chart.spec)).toContain('"input":"range","min":0,"max":2');
    view.finalize();
  });

  test("says how it ends, and from when to when a page was what", () => {
    const chart = plot.snapshots(lookMoments);
    expect(chart.title).toBe("In the end 32 pages of 64 are present; 64 changes in 3 looks");
    const { page, entry, from, until } = chart.table.columns, i = (page as Float64Array).lastIndexOf(20);
    expect([entry[i], from[i], until[i]]).toEqual(["device-private", "the device read", ""]);
    expect(plot.snapshots([]).title).toBe("Snapshots: no pages");
  });

  test("refuses other things, other pages, and too much", () => {
    const [first] = lookMoments;
    expect(() => plot.snapshots([first.table] as never)).toThrow("an array of { label, table } is allowed");
    const half = { label: "half", table: columnsOf("Pages", [{ page: 0, entry: "none" }]) };
    expect(() => plot.snapshots([first, half])).toThrow('got 1 pages at "half" and 64 before');
    expect(() => plot.snapshots([first], { by: "color" })).toThrow('got column "color"');
    expect(() => plot.snapshots([first], { columns: 0 })).toThrow("got 0 columns");
    expect(() => plot.snapshots(Array(501).fill(first))).toThrow("got 501 moments");
    const rows = Array.from({ length: 8 }, (_, i) => ({ page: i, entry: `state ${i}` }));
    expect(() => plot.snapshots([{ label: "all", table: columnsOf("Pages", rows) }])).toThrow(
      "got 8 different texts",
    );
  });
});
