import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { machine } from "../../lib/machine/machine.ts";
import type { Run } from "../../lib/machine/run.ts";
import { type Columns, columnsOf } from "../../lib/record/columns.ts";
import { Timeline } from "../../lib/record/timeline.ts";
import { savePerfetto, toPerfetto } from "../../lib/tables/perfetto.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { readTrace } from "./trace_reader.ts";

function sample(): Promise<Run> {
  const m = machine({
    memory: "64 MiB",
    devices: { gpu: { profile: "titan-v", memory: "512 KiB" } },
    seed: 7,
  });
  const heap = m.process().mmap("1 MiB");
  return m.run({ cpu: touch(heap), 'a "gpu"': stream(m.gpu, heap) }, { events: 50_000, slices: 500_000 });
}

function eventsOf(
  rows: readonly { startNs: number; durationNs: number; actor: number; kind: string }[],
): Columns {
  const c = columnsOf("Events", rows);
  const columns = {
    startNs: new Float64Array(),
    durationNs: new Float64Array(),
    actor: new Float64Array(),
    kind: [],
  };
  return { ...c, columns: rows.length === 0 ? columns : c.columns };
}

describe("toPerfetto()", () => {
  test("writes every span and every stretch of a phase of a run, in order, nested, to the nanosecond", async () => {
    const run = await sample(), { slices, tracks, counters } = readTrace(toPerfetto(run));
    const spans = slices.filter((s) => s.cat === "span"), phases = slices.filter((s) => s.cat === "phase");
    expect([spans.length, phases.length]).toEqual([run.events.numRows, run.slices.numRows]);
    expect(spans.length).toBeGreaterThan(500);
    expect(tracks).toEqual(["cpu", 'a "gpu"']);
    for (const [h, kind] of [[run.cpuFaults, "cpu fault"], [run.deviceFaults, "device fault"]] as const) {
      const of = spans.filter((s) => s.name === kind);
      expect(of.length).toBe(h.count);
      expect(of.reduce((ns, s) => ns + s.endNs - s.startNs, 0)).toBe(h.sumNs);
    }
    // Every stretch of a phase lies in a span, and those of outermost spans fill them.
    expect(phases.every((p) => p.depth > 0)).toBe(true);
    const outermost = spans.filter((s) => s.depth === 0).reduce((ns, s) => ns + s.endNs - s.startNs, 0);
    expect(phases.reduce((ns, s) => ns + s.endNs - s.startNs, 0)).toBe(outermost);
    expect(spans[0].args).toHaveProperty("vpn");
    const points = counters.get("link of gpu")!, link = run.links[0];
    const bytes = points.reduce((sum, p) => sum + (p.value * link.binNs) / 1e9, 0);
    expect(Math.round(bytes)).toBe(link.total);
    expect(points.at(-1)?.value).toBe(0);
  });

  test("draws a GPU's overlapping far faults apart, each with its own phases", async () => {
    const m = machine({ memory: "64 MiB", devices: { gpu: { kind: "gpu", memory: "4 MiB" } }, seed: 1 }),
      p = m.process();
    const heap = p.mmap("8 MiB");
    const work = { gpu: launch(m.gpu, p, [streamGrid(heap, { write: true })]) };
    const run = await m.run(work, { events: 50_000, slices: 500_000 });
    const { slices, tracks } = readTrace(toPerfetto(run)), far = slices.filter((s) => s.name === "far fault");
    expect(far.length).toBe(run.events.columns.kind.filter((k) => k === "far fault").length);
    expect(far.length).toBeGreaterThan(100);
    expect(far.every((s) => s.depth === 0 && s.track.includes(": far fault"))).toBe(true);
    const parts = slices.filter((s) => s.cat === "phase" && s.name.startsWith("far fault: "));
    const sum = (of: typeof far) => of.reduce((ns, s) => ns + s.endNs - s.startNs, 0);
    expect(parts.every((s) => s.depth === 1)).toBe(true);
    expect(sum(parts)).toBe(sum(far));
    expect(slices.filter((s) => s.cat === "span").length).toBe(run.events.numRows);
    expect(slices.filter((s) => s.cat === "phase").length).toBe(run.slices.numRows);
    expect(tracks).toContain("gpu: batches");
    expect(slices.filter((s) => s.cat === "record").length).toBe(run.records.gpu.batches.numRows);
  });

  test("keeps any spans apart: none is lost, none crosses another on its track", () => {
    const span = fc.record({
      startNs: fc.nat({ max: 2000 }),
      durationNs: fc.nat({ max: 500 }),
      actor: fc.nat({ max: 2 }),
      kind: fc.constantFrom("fault", "copy"),
    });
    fc.assert(fc.property(fc.array(span, { minLength: 1, maxLength: 60 }), (rows) => {
      const { slices, tracks } = readTrace(
        toPerfetto({ events: eventsOf(rows), actorNames: ["zero", "one", "two"] }),
      );
      const text = (s: { startNs: number; name: string; track: string; endNs: number }) =>
        `${s.track.replace(/ \(\d+\)$/, "")} ${s.name} ${s.startNs} ${s.endNs}`;
      const given = rows.map((r) =>
        text({
          startNs: r.startNs,
          endNs: r.startNs + r.durationNs,
          name: r.kind,
          track: ["zero", "one", "two"][r.actor],
        })
      );
      expect(slices.map(text).sort()).toEqual(given.sort());
      expect(new Set(tracks).size).toBe(tracks.length);
    }));
  });

  test("puts spans that overlap on tracks of their own, and an outer span around an equal one", () => {
    const { tracks, slices } = readTrace(toPerfetto({
      events: eventsOf([
        { startNs: 0, durationNs: 10, actor: 1, kind: "inner" },
        { startNs: 0, durationNs: 10, actor: 1, kind: "outer" },
        { startNs: 5, durationNs: 10, actor: 1, kind: "across" },
        { startNs: 10, durationNs: 1, actor: 1, kind: "after" },
      ]),
    }));
    expect(tracks).toEqual(["actor 1", "actor 1 (2)"]);
    expect(slices.map((s) => [s.name, s.track, s.depth])).toEqual([
      ["outer", "actor 1", 0],
      ["inner", "actor 1", 1],
      ["across", "actor 1 (2)", 0],
      ["after", "actor 1", 0],
    ]);
  });

  test("keeps nanoseconds at late times", () => {
    const startNs = 86_400_000_000_001;
    const events = eventsOf([{ startNs, durationNs: 999, actor: 0, kind: "k" }]);
    const [slice] = readTrace(toPerfetto({ events })).slices;
    expect([slice.startNs, slice.endNs]).toEqual([startNs, startNs + 999]);
  });

  test("makes a track of what a device recorded, and a counter of any timeline", () => {
    const batches = columnsOf("Batches", [{ startNs: 1500, durationNs: 20, faults: 3 }, {
      startNs: 1600,
      durationNs: 5,
      faults: 1,
    }]);
    const points = columnsOf("Points", [{ startNs: 7, what: "overflow" }]);
    const residency = columnsOf("Residency", [{ timeNs: 7, firstVpn: 1 }]);
    const link = new Timeline("nvlink", "bytes", 1000);
    link.addSpan(500, 1500, 1000);
    const { slices, tracks, counters } = readTrace(
      toPerfetto({ events: eventsOf([]), links: [link], records: { gpu: { batches, points, residency } } }),
    );
    expect(tracks).toEqual(["gpu: batches", "gpu: points"]);
    expect(slices.map((s) => s.args)).toEqual([{ faults: 3 }, { faults: 1 }, { what: "overflow" }]);
    expect(counters.get("nvlink")!.map((p) => p.value)).toEqual([5e8, 5e8, 0]);
  });

  test("refuses a run without events, and what is no run", async () => {
    const m = machine({ memory: "64 MiB" }), run = await m.run({ cpu: touch(m.process().mmap("4 KiB")) });
    expect(() => toPerfetto(run)).toThrow("got a run without events");
    for (const x of [undefined, 3, {}, { events: 3 }]) {
      expect(() => toPerfetto(x as never)).toThrow(UsageError);
      expect(() => toPerfetto(x as never)).toThrow("a run is allowed");
    }
    const events = columnsOf("Events", [{ startNs: 1, durationNs: 2, kind: "k" }]);
    expect(() => toPerfetto({ events })).toThrow("without numbers in actor");
  });
});

test("savePerfetto() writes the same to a file", async () => {
  const run = await sample(), folder = await mkdtemp(join(tmpdir(), "hmmlab-"));
  try {
    const path = join(folder, "deep", "run.json");
    await savePerfetto(run, path);
    expect(await readFile(path, "utf8")).toBe(toPerfetto(run));
  } finally {
    await rm(folder, { recursive: true });
  }
});

test.each<[string, string]>([
  ["crosses the end", '{"ph":"X","pid":1,"tid":0,"name":"b","ts":1,"dur":9}'],
  ["is out of order", '{"ph":"X","pid":1,"tid":0,"name":"b","ts":0,"dur":1}'],
  ["has no name", '{"ph":"X","pid":1,"tid":4,"name":"b","ts":9,"dur":1}'],
  ["an unknown kind", '{"ph":"B","pid":1,"tid":0,"name":"b","ts":9}'],
  ["a part of a nanosecond", '{"ph":"X","pid":1,"tid":0,"name":"b","ts":9.0001,"dur":1}'],
])("the reader finds what %s", (says, line) => {
  const text = `{"traceEvents":[{"ph":"M","pid":1,"tid":0,"name":"thread_name","args":{"name":"t"}},
    {"ph":"X","pid":1,"tid":0,"name":"a","ts":0.5,"dur":2},${line}]}`;
  expect(() => readTrace(text)).toThrow(says);
});
