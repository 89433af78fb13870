import fc from "fast-check";
import { describe, expect, test } from "vitest";
import uvmSmart from "../../datasets/published/uvm-smart.json" with { type: "json" };
import { atan, lineCurve, uvmSmartCurve } from "../../lib/profiles/curve.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";
import { refuses, wrong } from "../refusal.ts";

const KIB = 1024;

test("atan() is the arc tangent, to the last digits", () => {
  fc.assert(fc.property(fc.double({ min: 1e-9, max: 1e9, noNaN: true }), (x) => {
    expect(Math.abs(atan(x) / Math.atan(x) - 1)).toBeLessThan(2e-15);
  }));
  expect(atan(0)).toBe(0);
});

test.each([[4, 2605], [60, 8240], [64, 8702], [124, 15695], [252, 30723], [508, 60836], [1020, 121089]])(
  "%d KiB take UVM Smart %d cycles",
  (kib, cycles) => expect(uvmSmartCurve(16).cycles(kib * KIB)).toBe(cycles),
);

test("every transfer in UVM Smart's logs takes as many cycles here", () => {
  const curve = uvmSmartCurve(16), { rows } = uvmSmart.transfers;
  expect(rows.filter(([lengthBytes, cycles]) => curve.cycles(lengthBytes) !== cycles)).toEqual([]);
  expect(rows.reduce((n, [, , count]) => n + count, 0)).toBe(52_118);
});

test("its nanoseconds are its cycles, rounded up", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 64 * KIB * KIB }),
      fc.integer({ min: 500, max: 3000 }),
      (n, mhz) => {
        const curve = uvmSmartCurve(32, mhz), ns = BigInt(curve.ns(n)), cycles = BigInt(curve.cycles(n));
        expect(ns * BigInt(mhz)).toBeGreaterThanOrEqual(cycles * 1000n);
        expect((ns - 1n) * BigInt(mhz)).toBeLessThan(cycles * 1000n);
      },
    ),
  );
});

test("a faster link is faster, and 2 MiB fall to half the rate", () => {
  const [slow, fast] = [uvmSmartCurve(16), uvmSmartCurve(64)];
  fc.assert(fc.property(fc.integer({ min: 4 * KIB, max: 8 * KIB * KIB }), (n) => {
    expect(fast.cycles(n)).toBeLessThan(slow.cycles(n));
  }));
  expect(slow.cycles(2048 * KIB) / slow.cycles(2044 * KIB)).toBeGreaterThan(1.99);
});

test("lineCurve() is transferNs()", () => {
  expect(lineCurve(1444, 13_004_000_000).ns(65536)).toBe(transferNs(65536, 1444, 13_004_000_000));
});

describe("refuses", () => {
  refuses([
    ["a rate that UVM Smart has not", () => uvmSmartCurve(25), "25 GB/s", "16, 32 and 64"],
    ["half a megahertz", () => uvmSmartCurve(16, 1480.5), "1480.5 MHz"],
    ["part of a byte", () => uvmSmartCurve(16).cycles(0.5), "0.5 bytes"],
    ["a length in words", () => uvmSmartCurve(16).cycles(wrong("4 KiB")), '"4 KiB"'],
    ["a line with no rate", () => lineCurve(0, 0), "0 bytes per second"],
  ]);
});
