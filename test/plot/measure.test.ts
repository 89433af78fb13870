import * as fc from "fast-check";
import { expect, test } from "vitest";
import { keepUnits, textWidth, wrap } from "../../lib/plot/measure.ts";
import { countLabel } from "../../lib/plot/scale.ts";

test("a wrapped text fits and loses nothing", () => {
  const text = fc.array(fc.string({ unit: "grapheme-ascii", minLength: 1 }).filter((s) => !/\s/.test(s)), {
    minLength: 1,
  })
    .map((words) => words.join(" "));
  fc.assert(fc.property(text, fc.integer({ min: 40, max: 700 }), fc.boolean(), (s, width, bold) => {
    const lines = wrap(s, 16, bold, width);
    for (const line of lines) expect(textWidth(line, 16, bold)).toBeLessThanOrEqual(width);
    expect(lines.join("").replaceAll(" ", "")).toBe(s.replaceAll(" ", ""));
  }));
});

test("a line does not end between a number and its unit", () => {
  expect(wrap("half take at most 1.18 µs, 1 % over 100 µs", 16, true, 158)).toEqual([
    "half take at most",
    "1.18 µs, 1 % over",
    "100 µs",
  ]);
  for (const [number, unit] of [["5", "GB/s"], ["5", "KiB"], ["12", "ms"], ["3", "s"]]) {
    expect(keepUnits(`at ${number} ${unit} or`)).toBe(`at ${number}\u00a0${unit} or`);
  }
  expect(keepUnits("after 5 steps")).toBe("after 5 steps");
});

test("widths are those of the font: the widest letters are wider than the narrowest", () => {
  expect(textWidth("WWWW", 10)).toBeCloseTo(35.6, 1);
  expect(textWidth("iiii", 10)).toBeCloseTo(10, 1);
  expect(textWidth("i", 10, true)).toBeGreaterThan(textWidth("i", 10));
});

test("an axis of plain numbers is labelled in one way", () => {
  expect(countLabel(16_384)).toBe("format(datum.value, ',~r')");
  expect(countLabel(999_999)).toBe(countLabel(12));
  expect(countLabel(2 ** 23)).toContain(".3~s");
});
