import { expect, test } from "vitest";
import { plot, renderPage } from "../../lib/plot/mod.ts";
import { columnsOf } from "../../lib/record/columns.ts";
import { histogram, invalidations, migration } from "./samples.ts";

/** Markup that would end the script, start another or load something, were it not text. */
const EVIL =
  '</script><script>document.title="caught"</script><!--<img src="https://example.org/x.png">\u2028';

interface Page {
  /** What stands between scripts. */
  readonly markup: string;
  /** Texts of the scripts, as a browser's parser would find them. */
  readonly scripts: readonly string[];
}

/** Takes a page apart as an HTML parser does: a script ends at the first "</script", whatever it holds. */
function takeApart(html: string): Page {
  const scripts: string[] = [];
  const markup = html.replace(/<script\b[^>]*>([^]*?)<\/script\s*>/gi, (_, text) => {
    scripts.push(text);
    return "";
  });
  return { markup, scripts };
}

test("data, names and titles with markup stay text", async () => {
  const table = columnsOf(EVIL, [{ [EVIL]: EVIL, n: 1 }, { [EVIL]: "b", n: 2 }]);
  const charts = [
    plot.bars(table, { x: EVIL, y: "n" }),
    plot.lines(columnsOf(EVIL, [{ [EVIL]: 1, y: 1, of: EVIL }, { [EVIL]: 2, y: 5, of: "b" }]), {
      x: EVIL,
      y: "y",
      series: "of",
    }),
    plot.phases(columnsOf(EVIL, [{ kind: EVIL, phase: EVIL, ns: 1 }])),
    plot.latency(histogram(EVIL, [1, 2, 3])),
    plot.latency([histogram(EVIL, [1, 2, 3]), histogram("b", [5])]),
  ];
  const html = await renderPage(charts, [table], EVIL, { lead: EVIL });
  const { markup, scripts } = takeApart(html);
  expect(scripts).toHaveLength(2 + 3 + 1);
  const specs = JSON.parse(scripts[3]) as { spec: Record<string, unknown> }[];
  const strings: unknown[] = [];
  JSON.stringify(specs, (_, value) => (strings.push(value), value));
  expect(strings).toContain(EVIL);
  // In the markup every one of them is escaped: nothing of it is a tag.
  expect(markup).not.toMatch(/<script|<img|<!--/i);
  expect(markup).toContain("&lt;/script&gt;&lt;script&gt;");
  expect(html).not.toContain('<img src="https://example.org');
});

test("a page fetches nothing", async () => {
  const html = await renderPage([plot.latency(invalidations()), plot.throughput(migration())], [
    invalidations().summary(),
  ], "Page");
  const { markup, scripts } = takeApart(html);
  expect(markup).not.toMatch(/\b(?:src|href|action|data|poster)\s*=|@import|url\(\s*['"]?(?!#)/i);
  expect(markup.match(/https?:\/\/[^"'\s<)]*/g)?.filter((url) => !url.startsWith("http://www.w3.org/")) ?? [])
    .toEqual([]);
  // Names of namespaces, schemas and issues in the scripts of Vega are read by nobody's network.
  const known = [
    /^http:\/\/www\.w3\.org\//,
    /^https:\/\/vega\.github\.io\/(?:schema|editor)\//,
    /^https:\/\/github\.com\//,
    /^https?:\/\/$/,
  ];
  const urls = scripts.join("\n").match(/https?:\/\/[^"'`\s<)\\]*/g) ?? [];
  expect(urls.filter((url) => !known.some((k) => k.test(url)))).toEqual([]);
  expect(urls.length).toBeGreaterThan(0);
});

test("a page holds every chart and table, and still images for readers without scripts", async () => {
  const charts = [plot.latency(invalidations()), plot.throughput(migration())];
  const html = await renderPage(charts, [invalidations().summary()], "What happened", {
    lead: "In virtual time.",
  });
  const { markup, scripts } = takeApart(html);
  for (const chart of charts) expect(markup.replaceAll("\u00a0", " ")).toContain(`<h2>${chart.title}</h2>`);
  expect(markup).toContain("<h1>What happened</h1>");
  expect(markup).toContain("In virtual time.");
  expect(markup).toContain(">p99Ns<");
  expect(markup.match(/<noscript><svg/g)).toHaveLength(2);
  expect(markup).toContain('name="viewport"');
  expect(JSON.parse(scripts[3])).toHaveLength(2);
  expect(Object.keys(JSON.parse(scripts[4]))).toEqual(["light", "dark"]);
  expect(html.length).toBeLessThan(1_200_000);
});

test("a page of tables alone needs no scripts", async () => {
  const html = await renderPage([], [invalidations().summary()], "Tables");
  expect(takeApart(html).scripts).toEqual([]);
  expect(html.length).toBeLessThan(10_000);
});
