import { Resvg } from "@resvg/resvg-js";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateSync } from "node:zlib";
import * as vega from "vega";
import { expect, test } from "vitest";
import { Timeline } from "../../lib/record/timeline.ts";
import type { Chart } from "../../lib/plot/chart.ts";
import { plot } from "../../lib/plot/mod.ts";
import { palette } from "../../lib/plot/theme.ts";
import {
  faultBatches,
  histogram,
  invalidations,
  lookMoments,
  migration,
  oversubscribed,
  phaseTable,
  programs,
  residencyMoves,
  sweep,
} from "./samples.ts";

const charts: Record<string, Chart> = {
  latency: plot.latency(invalidations()),
  compared: plot.latency([invalidations(), histogram("cpu fault", [14_000, 15_000, 92_000])]),
  throughput: plot.throughput(migration()),
  rates: plot.throughput([migration(), migration()]),
  phases: plot.phases(phaseTable),
  bars: plot.bars(programs, { x: "program", y: "faults" }),
  lines: plot.lines(sweep, { x: "pages", y: "p50Ns", series: "mirrors", xLog: true }),
  batches: plot.batches(faultBatches),
  residency: plot.residency(residencyMoves),
  cliff: plot.cliff(oversubscribed, { x: "x", y: "elapsedNs", series: "policy" }),
  use: plot.throughput(migration(), { capacity: "13 GB/s" }),
};

/** The texts of an SVG in the order in which they are drawn. */
function textsOf(svg: string): string[] {
  const entities: Record<string, string> = { lt: "<", gt: ">", amp: "&", quot: '"', "#39": "'" };
  return [...svg.matchAll(/<text[^>]*>(.*?)<\/text>/g)].map((m) =>
    m[1].replaceAll("</tspan>", " ").replace(/<[^>]*>/g, "").trim().replace(/&(.+?);/g, (_, e) => entities[e])
  );
}

/** The pixels of a PNG, unfiltered only as far as needed to see that they differ. */
function scanlines(png: Uint8Array): Uint8Array {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const parts: Uint8Array[] = [];
  for (let at = 8; at < png.length;) {
    const length = view.getUint32(at);
    if (new TextDecoder().decode(png.subarray(at + 4, at + 8)) === "IDAT") {
      parts.push(png.subarray(at + 8, at + 8 + length));
    }
    at += length + 12;
  }
  return inflateSync(Buffer.concat(parts));
}

test.each(Object.entries(charts))(
  "%s: the SVG is well formed and holds the finding and its axes with units",
  async (_, chart) => {
    const svg = await chart.svg();
    // resvg's parser refuses what is not well-formed XML.
    const drawn = new Resvg(svg, { font: { loadSystemFonts: false } });
    expect(drawn.width).toBeGreaterThan(640);
    expect(drawn.width).toBeLessThan(900);
    const texts = textsOf(svg);
    expect(texts.join(" ")).toContain(chart.title);
    const titles: string[] = [];
    JSON.stringify(chart.spec, (key, value) => {
      if (key === "axis" && typeof value?.title === "string") titles.push(value.title);
      return value;
    });
    expect(titles.length).toBeGreaterThan(0);
    for (const title of titles) expect(texts).toContain(title);
  },
);

test("every axis of a quantity says its unit", async () => {
  const axes = async (chart: Chart) => textsOf(await chart.svg());
  expect(await axes(charts.latency)).toEqual(
    expect.arrayContaining([
      "share of events (%)",
      "latency in virtual time (µs, logarithmic)",
      "1 µs",
      "100 µs",
    ]),
  );
  expect(await axes(charts.throughput)).toEqual(expect.arrayContaining(["rate (GB/s)", "virtual time (ms)"]));
  expect(await axes(charts.phases)).toEqual(expect.arrayContaining(["virtual time (µs)"]));
  expect(await axes(charts.batches)).toEqual(
    expect.arrayContaining(["virtual time (ms)", "faults a batch", "VA blocks a batch"]),
  );
  expect(await axes(charts.residency)).toEqual(
    expect.arrayContaining(["virtual time (ms)", "touched memory (MiB)", "share on the device (%)"]),
  );
  expect(await axes(charts.cliff)).toEqual(
    expect.arrayContaining([
      "elapsed (s), logarithmic",
      "working set, as a part of memory (%)",
      "memory is full",
    ]),
  );
  expect(await axes(charts.lines)).toEqual(expect.arrayContaining(["p50 (µs)", "pages, logarithmic", "512"]));
});

test("percentiles are marked by their value", async () => {
  const h = invalidations();
  const texts = textsOf(await charts.latency.svg());
  expect(texts).toContain("p50: 1.12 µs");
  expect(h.percentileNs(50)).toBe(1119);
  expect(texts.filter((t) => t.startsWith("p99: "))).toHaveLength(2); // with its halo
});

test("a title is never cut off: it is broken into lines that fit", async () => {
  const title = "A very long finding " + "that goes on ".repeat(20) + "and ends.";
  const svg = await plot.bars(programs, { x: "program", y: "faults", title }).svg();
  expect(textsOf(svg).join(" ")).toContain(title);
  const { width } = new Resvg(svg, { font: { loadSystemFonts: false } });
  expect(width).toBeLessThan(900);
});

test("the PNG has ink in the palette's colour, and the same bytes twice", async () => {
  for (const chart of [charts.latency, charts.compared, charts.residency, plot.snapshots(lookMoments)]) {
    const png = await chart.png();
    expect([...png.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
    expect(await chart.png()).toEqual(png);
    expect(new Set(scanlines(png)).size).toBeGreaterThan(50);
  }
  const { pixels } = new Resvg(await charts.bars.svg(), { font: { loadSystemFonts: false } }).render();
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(palette("light")[0].slice(i, i + 2), 16));
  let blue = 0;
  for (let i = 0; i < pixels.length; i += 4) {
    if (pixels[i] === r && pixels[i + 1] === g && pixels[i + 2] === b) blue++;
  }
  expect(blue).toBeGreaterThan(5000);
});

test("text in an image is drawn with the fonts of the project, on every machine", async () => {
  const png = async (text: string) =>
    await plot.bars(programs, { x: "program", y: "faults", title: text }).png();
  // Without a font resvg draws no text at all: two titles would then give the same image.
  expect(await png("one")).not.toEqual(await png("two"));
});

test("a chart without data says so in every form", async () => {
  for (
    const chart of [
      plot.latency(histogram("invalidation", [])),
      plot.throughput(new Timeline("migration", "bytes")),
    ]
  ) {
    expect(textsOf(await chart.svg())).toEqual(expect.arrayContaining([chart.title, "Nothing to draw."]));
    expect((await chart.png()).length).toBeGreaterThan(1000);
    expect(await chart.html()).toContain(chart.title);
  }
});

test("specs are Vega-Lite 5 and name no file or address to load", () => {
  for (const chart of Object.values(charts)) {
    expect(chart.spec.$schema).toBe("https://vega.github.io/schema/vega-lite/v5.json");
    const keys: string[] = [];
    JSON.stringify(chart.spec, (key, value) => (keys.push(key), value));
    expect(keys).not.toContain("url");
    expect(JSON.parse(JSON.stringify(chart.spec))).toEqual(chart.spec);
  }
});

test("drawing leaves Vega's own text measure in place", async () => {
  const { textMetrics } = vega as unknown as { textMetrics: { width: unknown } };
  const before = textMetrics.width;
  await Promise.all([charts.bars.svg(), charts.lines.svg()]);
  expect(textMetrics.width).toBe(before);
  await expect(plot.bars(programs, { x: "program", y: "faults" }).save("chart.gif")).rejects.toThrow(
    /^Cannot save a chart: got "chart.gif"/,
  );
});

test("a chart is saved as its path ends", async () => {
  const folder = await mkdtemp(join(tmpdir(), "hmmlab-plot-"));
  try {
    const at = (ending: string) => join(folder, "made", `chart.${ending}`);
    for (const ending of ["svg", "png", "html", "json"]) await charts.bars.save(at(ending));
    expect(await readFile(at("svg"), "utf8")).toBe(await charts.bars.svg());
    expect(new Uint8Array(await readFile(at("png")))).toEqual(await charts.bars.png());
    expect(await readFile(at("html"), "utf8")).toMatch(/^<!DOCTYPE html>/);
    expect(JSON.parse(await readFile(at("json"), "utf8"))).toEqual(charts.bars.spec);
  } finally {
    await rm(folder, { recursive: true });
  }
});
