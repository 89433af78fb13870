import { Buffer } from "node:buffer";
import { expect, test } from "vitest";
import { bundleOf, MAX_BUNDLE_BYTES } from "../../lib/notebook/bundle.ts";
import { plot } from "../../lib/plot/mod.ts";
import { columnsOf } from "../../lib/record/columns.ts";
import { DISPLAY } from "../../lib/record/display.ts";
import { toArquero } from "../../lib/tables/arquero.ts";

const size = (x: unknown) => new TextEncoder().encode(JSON.stringify(x)).length;
const table = columnsOf("Moved <b>", [{ way: "out & back", pages: 1024 }], { pages: "pages" });
const chartOf = (n: number) =>
  plot.lines(
    columnsOf("walk", Array.from({ length: n }, (_, i) => ({ i, ns: (i * 7919) % 1009 })), { ns: "ns" }),
    {
      x: "i",
      y: "ns",
    },
  );

test("a chart is a spec, an image and text", async () => {
  const chart = chartOf(20), bundle = await bundleOf(chart);
  expect(Object.keys(bundle!)).toEqual(["application/vnd.vegalite.v5+json", "image/svg+xml", "text/plain"]);
  expect(bundle!["application/vnd.vegalite.v5+json"]).toBe(chart.spec);
  expect(bundle!["image/svg+xml"]).toMatch(/^<svg /);
  expect(bundle!["text/plain"]).toContain(chart.title);
});

test("where spec and SVG are large, a PNG stands for the SVG; where the spec is too large, it stands alone", async () => {
  const small = chartOf(20), spec = (bytes: number) => ({ ...small.spec, description: "x".repeat(bytes) });
  const like = (bytes: number) =>
    Object.create(small, { spec: { value: spec(bytes) }, svg: { value: () => small.svg() } });
  const middle = await bundleOf(like(170_000));
  expect(Object.keys(middle!)).toEqual(["application/vnd.vegalite.v5+json", "image/png", "text/plain"]);
  expect(Buffer.from(middle!["image/png"] as string, "base64").subarray(1, 4).toString()).toBe("PNG");
  const large = await bundleOf(like(299_000));
  expect(Object.keys(large!)).toEqual(["image/png", "text/plain"]);
  for (const bundle of [middle, large]) expect(size(bundle)).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
});

test("the longest chart that can be drawn fits", async () => {
  const rows = Array.from(
    { length: 7 * 400 },
    (_, i) => ({ i: i >> 3, ns: (i * 7919) % 100_003, who: `w${i % 7}` }),
  );
  const chart = plot.lines(columnsOf("walks", rows, { ns: "ns" }), { x: "i", y: "ns", series: "who" });
  const bundle = await bundleOf(chart);
  expect(size(bundle)).toBeLessThanOrEqual(MAX_BUNDLE_BYTES);
  expect(Object.keys(bundle!).some((mime) => mime.startsWith("image/"))).toBe(true);
});

test("tables and what shows itself are HTML, escaped, and text", async () => {
  for (const x of [table, await toArquero(table)]) {
    const bundle = await bundleOf(x);
    expect(Object.keys(bundle!)).toEqual(["text/html", "text/plain"]);
    expect(bundle!["text/html"]).toContain("Moved &lt;b&gt;");
    expect(bundle!["text/html"]).toContain("out &amp; back");
    expect(bundle!["text/plain"]).toContain("out & back");
  }
  const run = { [DISPLAY]: () => ({ text: "a < b\nsecond line", tables: [table] }) };
  const { "text/html": html, "text/plain": text } = (await bundleOf(run))!;
  expect(html).toMatch(/^<p style="white-space:pre-line">a &lt; b\nsecond line<\/p><table /);
  expect(text).toMatch(/^a < b\nsecond line\n\nMoved/);
});

test("a long table shows head, tail and how many rows there are", async () => {
  const long = columnsOf("Long", Array.from({ length: 5000 }, (_, row) => ({ row })));
  const { "text/html": html } = (await bundleOf(long))!;
  expect(html).toContain("(5,000 rows)");
  expect(html).toContain('<td style="text-align:right">4,999</td>');
  expect((html as string).match(/<tr>/g)!.length).toBeLessThan(30);
});

test("anything else has no bundle", async () => {
  expect(await bundleOf("a <text>")).toEqual({ "text/plain": "a <text>" });
  for (const x of [1, null, undefined, {}, [table], () => 1]) {
    expect(await bundleOf(x)).toBeUndefined();
  }
});
