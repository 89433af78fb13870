import { tableFromIPC } from "@uwdata/flechette";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { fromArrow, toArrow } from "../../lib/tables/arrow.ts";
import { anyColumns, mixed } from "./tables.ts";

test("types, values, units, title and the number of rows survive an Arrow file", async () => {
  const back = await fromArrow(await toArrow(mixed));
  expect(back).toEqual(mixed);
  for (const [name, data] of Object.entries(mixed.columns)) {
    expect(back.columns[name].constructor).toBe(data.constructor);
  }
});

test("any table survives an Arrow file, empty ones too", async () => {
  await fc.assert(fc.asyncProperty(anyColumns, async (c) => {
    const back = await fromArrow(await toArrow(c));
    expect(back).toEqual(c);
    for (const name of Object.keys(c.columns)) {
      expect(back.columns[name].constructor).toBe(c.columns[name].constructor);
    }
  }));
  const none = { title: "none", numRows: 0, columns: {}, units: {} };
  expect(await fromArrow(await toArrow(none))).toEqual(none);
});

test("other readers find the unit in the field's metadata and the title in the schema's", async () => {
  const bytes = await toArrow(mixed);
  expect(new TextDecoder().decode(bytes.subarray(0, 6))).toBe("ARROW1");
  expect(new TextDecoder().decode(bytes.subarray(-6))).toBe("ARROW1");
  const { schema } = tableFromIPC(bytes);
  expect(schema.metadata).toEqual(new Map([["title", "Latencies"], ["numRows", "3"]]));
  const units = schema.fields.map((f) => f.metadata?.get("unit"));
  expect(units).toEqual([undefined, "ns", "pages", undefined, undefined, undefined]);
  expect(schema.fields.map((f) => f.nullable)).toEqual([false, false, false, false, false, false]);
});

test("the same table gives the same bytes", async () => {
  expect(await toArrow(mixed)).toEqual(await toArrow(mixed));
});

test("what is no Arrow file, and one that is cut anywhere, is refused", async () => {
  const bytes = await toArrow(mixed);
  for (const length of [0, 1, 6, 8, 100, bytes.length >> 1, bytes.length - 8, bytes.length - 1]) {
    await expect(fromArrow(bytes.slice(0, length)), `${length} bytes`).rejects.toThrow(
      /^Cannot read Arrow: got/,
    );
  }
  await expect(fromArrow(new TextEncoder().encode("kind,ns\na,1\n"))).rejects.toThrow(
    /^Cannot read Arrow: got/,
  );
  await expect(fromArrow("ARROW1" as never)).rejects.toThrow(/got "ARROW1"; a Uint8Array/);
});
