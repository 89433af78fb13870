import * as fc from "fast-check";
import { expect, test } from "vitest";
import { toCsv } from "../../lib/tables/csv.ts";
import { anyColumns, mixed } from "./tables.ts";

/** Reads CSV as RFC 4180 says, independently of the writer. */
function parse(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [], field = "", quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) {
      if (c === '"' && text[i + 1] === '"') field += text[++i];
      else if (c === '"') quoted = false;
      else field += c;
    } else if (c === '"' && field === "") quoted = true;
    else if (c === ",") {
      row.push(field);
      field = "";
    } else if (c === "\n") {
      rows.push([...row, field]);
      row = [];
      field = "";
    } else if (c === '"' || c === "\r") throw new Error(`a bare ${JSON.stringify(c)} at ${i}`);
    else field += c;
  }
  if (field !== "" || row.length > 0 || quoted) throw new Error("the last line has no end");
  return rows;
}

test("a table reads back from CSV, whatever stands in it", async () => {
  await fc.assert(fc.asyncProperty(anyColumns, async (c) => {
    const [names, ...rows] = parse(await toCsv(c));
    expect(names).toEqual(Object.keys(c.columns));
    expect(rows).toHaveLength(c.numRows);
    rows.forEach((row, r) => {
      names.forEach((name, i) => {
        const value = c.columns[name][r];
        if (typeof value === "string") expect(row[i]).toBe(value);
        else expect(Number(row[i])).toBe(value === 0 ? 0 : value);
      });
    });
  }));
});

test("names stand in the first line, in order, and quotes only where they must", async () => {
  const lines = (await toCsv(mixed)).split("\n");
  expect(lines[0]).toBe("kind,p50Ns,pages,delta,actor,write");
  expect(lines[1]).toBe("cpu fault,14200.25,1,-1,1,0");
  expect(lines[2]).toBe('"a ""b"", c",1180,2,0,2,1');
});

test("a table whose columns differ in length is refused with what to write instead", async () => {
  await expect(toCsv({ ...mixed, numRows: 4 })).rejects.toThrow(
    /^Cannot write CSV: got column "kind" of 3 entries in a table of 4 rows; .*numRows: 3/,
  );
  await expect(toCsv([1, 2] as never)).rejects.toThrow(/^Cannot write CSV: got an array of 2; .*columnsOf/);
});
