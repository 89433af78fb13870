import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../lib/errors.ts";
import {
  bytes,
  bytesPerSecond,
  formatBytes,
  formatCount,
  formatNs,
  formatRate,
  nanoseconds,
  PAGE_SHIFT,
  PAGE_SIZE,
  pages,
} from "../lib/units.ts";

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB"];
const DECIMAL = ["ns", "us", "ms", "s"];

test("PAGE_SIZE is two to the power PAGE_SHIFT", () => {
  expect(PAGE_SIZE).toBe(2 ** PAGE_SHIFT);
});

describe("bytes()", () => {
  test.each([
    ["64 GiB", 64 * 2 ** 30],
    ["4KiB", 4096],
    ["1.5 GB", 1_500_000_000],
    ["1.5 GiB", 1.5 * 2 ** 30],
    ["0.5 KiB", 512],
    [" 2 MiB ", 2 ** 21],
    ["+7 B", 7],
    ["3 kB", 3000],
    ["3 KB", 3000],
    ["4 TB", 4e12],
    ["8191 TiB", 8191 * 2 ** 40],
    ["4096", 4096],
    [4096, 4096],
    [0, 0],
    [-0, 0],
  ])("reads %j", (given, expected) => {
    expect(bytes(given)).toBe(expected);
  });

  test("is exact where a product of floats is not", () => {
    expect(1.005 * 1e9).not.toBe(1_005_000_000);
    expect(bytes("1.005 GB")).toBe(1_005_000_000);
  });

  test.each([
    ["4 XB", "one of B, KiB, MiB"],
    ["4 gib", "one of B, KiB, MiB"],
    ["4 toString", "one of B, KiB, MiB"],
    ["4 us", "one of B, KiB, MiB"],
    ["-1 GiB", "must not be negative"],
    ["", "a decimal number and a unit"],
    ["GiB", "a decimal number and a unit"],
    ["1e3", "one of B, KiB, MiB"],
    ["1 2 GiB", "a decimal number and a unit"],
    ["1.5", "whole bytes"],
    ["0.0001 KiB", "whole bytes"],
    ["8192 TiB", String(Number.MAX_SAFE_INTEGER)],
    [1.5, "a number counts whole bytes"],
    [-1, "lies in 0"],
    [NaN, "got NaN"],
    [Infinity, "got Infinity"],
    [2 ** 53, "lies in 0"],
    [undefined as never, "a number or a string"],
    [{} as never, "a number or a string"],
  ])("refuses %j", (given, says) => {
    expect(() => bytes(given)).toThrow(UsageError);
    expect(() => bytes(given)).toThrow(says);
  });

  test("names what was given and what to write instead", () => {
    expect(() => bytes("4 XB")).toThrow(
      /^Cannot read a length: got "4 XB"; .*; write for example "64 GiB" or 4096$/,
    );
  });

  test("reads any whole number in any unit as the product", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 8000 }), fc.constantFrom(...BINARY), (n, unit) => {
      expect(bytes(`${n} ${unit}`)).toBe(n * 1024 ** BINARY.indexOf(unit));
    }));
  });
});

describe("pages()", () => {
  test("counts base pages", () => {
    expect(pages("2 MiB")).toBe(512);
    expect(pages(0)).toBe(0);
    expect(pages("4 GiB")).toBe(2 ** 20);
  });

  test("refuses an unaligned length and says which ones are near", () => {
    expect(() => pages("5 KiB")).toThrow(UsageError);
    expect(() => pages("5 KiB")).toThrow(/got "5 KiB" \(5120 bytes\).*write for example 4096 or 8192/);
    expect(() => pages(1)).toThrow(/write for example 4096$/);
    expect(() => pages(-4096)).toThrow("lies in 0");
  });

  test("is the inverse of a multiplication by the page size", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 40 }), (n) => {
      expect(pages(n * PAGE_SIZE)).toBe(n);
    }));
  });
});

describe("nanoseconds()", () => {
  test.each([
    ["5 ns", 5],
    ["20 us", 20_000],
    ["20 µs", 20_000],
    ["20 \u03bcs", 20_000],
    ["1 ms", 1_000_000],
    ["1.5ms", 1_500_000],
    ["3 s", 3_000_000_000],
    ["1.758 us", 1758],
    [45_000, 45_000],
  ])("reads %j", (given, expected) => {
    expect(nanoseconds(given)).toBe(expected);
  });

  test.each([
    ["1 min", "one of ns, us"],
    ["1 GiB", "one of ns, us"],
    ["0.5 ns", "whole nanoseconds"],
    ["-1 us", "must not be negative"],
    [0.5, "a number counts whole nanoseconds"],
    [NaN, "got NaN"],
  ])("refuses %j", (given, says) => {
    expect(() => nanoseconds(given)).toThrow(UsageError);
    expect(() => nanoseconds(given)).toThrow(says);
  });
});

describe("bytesPerSecond()", () => {
  test("reads a rate", () => {
    expect(bytesPerSecond("1.72 GB/s")).toBe(1_720_000_000);
    expect(bytesPerSecond("1 GiB/s")).toBe(2 ** 30);
    expect(bytesPerSecond(12e9)).toBe(12e9);
  });

  test("refuses a length in the place of a rate", () => {
    expect(() => bytesPerSecond("12 GB")).toThrow(UsageError);
    expect(() => bytesPerSecond("12 GB")).toThrow("GB/s");
  });
});

describe("formatters", () => {
  test.each([
    [formatBytes, 0, "0 B"],
    [formatBytes, 4096, "4 KiB"],
    [formatBytes, 1.5 * 2 ** 30, "1.5 GiB"],
    [formatBytes, 1_234_567, "1.18 MiB"],
    [formatBytes, 1023 * 1024, "1023 KiB"],
    [formatBytes, 2 ** 20 - 1, "1 MiB"],
    [formatBytes, 5000 * 2 ** 40, "5000 TiB"],
    [formatNs, 0, "0 ns"],
    [formatNs, 0.25, "0.25 ns"],
    [formatNs, 950, "950 ns"],
    [formatNs, 1758, "1.76 us"],
    [formatNs, 45_000, "45 us"],
    [formatNs, 999_999, "1 ms"],
    [formatNs, 3e9, "3 s"],
    [formatNs, 123_456e9, "123456 s"],
    [formatCount, 1048576, "1,048,576"],
    [formatCount, 999, "999"],
    [formatCount, 3.934, "3.93"],
    [formatRate, 1_720_000_000, "1.72 GB/s"],
    [formatRate, 0, "0 GB/s"],
    [formatRate, 120, "0.00000012 GB/s"],
    [formatRate, 1e12, "1000 GB/s"],
  ])("%o prints %d as %s", (format, given, expected) => {
    expect(format(given)).toBe(expected);
  });

  test.each([formatBytes, formatNs, formatCount, formatRate])("%o refuses what is no amount", (format) => {
    for (const given of [NaN, Infinity, -Infinity, -1]) {
      expect(() => format(given)).toThrow(UsageError);
      expect(() => format(given)).toThrow(`got ${given}`);
    }
  });
});

describe("round trips", () => {
  test("what has three digits comes back exactly", () => {
    const digits = fc.integer({ min: 1, max: 999 });
    fc.assert(fc.property(digits, fc.constantFrom(...BINARY), (n, unit) => {
      const given = n * 1024 ** BINARY.indexOf(unit);
      expect(bytes(formatBytes(given))).toBe(given);
    }));
    fc.assert(fc.property(digits, fc.constantFrom(...DECIMAL), (n, unit) => {
      const given = n * 1000 ** DECIMAL.indexOf(unit);
      expect(nanoseconds(formatNs(given))).toBe(given);
    }));
    fc.assert(fc.property(digits, fc.integer({ min: 0, max: 10 }), (n, exponent) => {
      const given = n * 10 ** exponent;
      expect(bytesPerSecond(formatRate(given))).toBe(given);
    }));
  });

  test("every time comes back within half a percent, and every length prints within it", () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 50 }), (n) => {
      expect(Math.abs(nanoseconds(formatNs(n)) - n)).toBeLessThanOrEqual(n * 0.005 + 0.5);
      const [number, unit] = formatBytes(n).split(" ");
      expect(Math.abs(Number(number) * 1024 ** BINARY.indexOf(unit) - n)).toBeLessThanOrEqual(n * 0.005);
    }));
  });

  test("a longer time never prints as a shorter one", () => {
    const time = fc.integer({ min: 0, max: 2 ** 50 });
    fc.assert(fc.property(time, time, (a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      expect(nanoseconds(formatNs(low))).toBeLessThanOrEqual(nanoseconds(formatNs(high)));
    }));
  });
});
