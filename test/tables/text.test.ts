import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { Columns } from "../../lib/record/columns.ts";
import { escapeHtml, toHtml } from "../../lib/tables/html.ts";
import { summarize } from "../../lib/tables/summary.ts";
import { toText } from "../../lib/tables/text.ts";
import { anyColumns, mixed } from "./tables.ts";

const long: Columns = {
  title: "Squares",
  numRows: 1000,
  columns: {
    n: Uint32Array.from({ length: 1000 }, (_, i) => i),
    square: Float64Array.from({ length: 1000 }, (_, i) => i * i),
  },
  units: { square: "ns" },
};

test("a table is printed aligned, with units under the names", () => {
  expect(toText(mixed)).toBe(
    [
      "Latencies",
      "kind              p50Ns          pages          delta   actor  write",
      "                     ns",
      "─────────  ────────────  ─────────────  ─────────────  ──────  ─────",
      "cpu fault  14,200                    1             -1       1      0",
      'a "b", c    1,180                    2              0       2      1',
      "x\\ny            0.01235  4,294,967,295  2,147,483,647  65,535    255",
    ].join("\n"),
  );
});

test("a long table shows its head and its tail and says how many rows there are", () => {
  const lines = toText(long, { maxRows: 5 }).split("\n");
  expect(lines.slice(4)).toEqual([
    "  0        0",
    "  1        1",
    "  2        4",
    "…",
    "998  996,004",
    "999  998,001",
    "(1,000 rows: the first 3, the last 2)",
  ]);
  expect(toText(long).split("\n")).toHaveLength(4 + 20 + 2);
});

test("a table without rows or columns is printed as such", () => {
  expect(toText({ title: "t", numRows: 0, columns: { ns: new Float64Array(0) }, units: { ns: "ns" } })).toBe(
    "t\nns\n──\n(no rows)",
  );
  expect(toText({ title: "t", numRows: 0, columns: {}, units: {} })).toBe("t\n(no rows)");
});

test("nothing in a cell can break the lines of a table", () => {
  fc.assert(fc.property(anyColumns, (c) => {
    const lines = toText(c, { maxRows: 100, title: false }).split("\n");
    const header = c.units[Object.keys(c.columns)[0]] === Object.keys(c.columns)[0] ? 1 : 2;
    expect(lines).toHaveLength(header + 1 + Math.max(1, c.numRows));
    // deno-lint-ignore no-control-regex -- the very characters that must not be there
    expect(lines.join("")).not.toMatch(/[\u0000-\u001f]/);
  }));
});

test("HTML shows head and tail with a row count, and keeps markup as text", () => {
  const html = toHtml({
    title: "<i>t</i>",
    numRows: 1,
    columns: { "a<b": ['</td><script>x("&")</script>'] },
    units: {},
  });
  expect(html).toContain("&lt;i&gt;t&lt;/i&gt;");
  expect(html).toContain("&lt;/td&gt;&lt;script&gt;x(&quot;&amp;&quot;)&lt;/script&gt;");
  expect(html.match(/<(?!\/?(?:table|caption|thead|tbody|tr|th|td|small|br)\b)/g)).toBeNull();
  const many = toHtml(long, { maxRows: 4 });
  expect(many).toContain("… 996 more rows …");
  expect(many).toContain("(1,000 rows)");
  expect(many.match(/<tr>/g)).toHaveLength(1 + 4 + 1);
  expect(escapeHtml(`<>&"'`)).toBe("&lt;&gt;&amp;&quot;&#39;");
});

test("a summary gives values that occur, and leaves out what is no number", () => {
  const c = {
    title: "t",
    numRows: 4,
    columns: { ns: Float64Array.of(4, NaN, 1, 2), name: ["a", "b", "c", "d"] },
    units: { ns: "ns" },
  };
  const { columns, numRows } = summarize(c);
  expect(numRows).toBe(1);
  expect(columns.column).toEqual(["ns"]);
  expect(Object.values(columns).slice(2).map((x) => x[0])).toEqual([3, 1, 7 / 3, 2, 4, 4]);
});
