/**
 * Lengths, times and rates as people write them ("64 GiB", "20 us", "12 GB/s") and as the model counts them
 * (whole bytes, whole nanoseconds, whole bytes per second).
 *
 * Parsing is exact: it works on the digits, never on a rounded product.
 *
 * @module
 */

import { UsageError } from "./errors.ts";

/** log2 of the size of a base page, the kernel's `PAGE_SHIFT` on x86-64. */
export const PAGE_SHIFT = 12;

/** Bytes in a base page, the kernel's `PAGE_SIZE` on x86-64. */
export const PAGE_SIZE = 4096;

type Units = Readonly<Record<string, number>>;

const BYTE_UNITS: Units = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};
const TIME_UNITS: Units = { ns: 1, us: 1e3, "µs": 1e3, "μs": 1e3, ms: 1e6, s: 1e9 };
const RATE_UNITS: Units = Object.fromEntries(
  Object.entries(BYTE_UNITS).map(([unit, factor]) => [`${unit}/s`, factor]),
);

interface Quantity {
  readonly what: string;
  readonly whole: string;
  readonly units: Units;
  readonly advice: string;
}

const LENGTH: Quantity = {
  what: "a length",
  whole: "whole bytes",
  units: BYTE_UNITS,
  advice: 'write for example "64 GiB" or 4096',
};
const TIME: Quantity = {
  what: "a time",
  whole: "whole nanoseconds",
  units: TIME_UNITS,
  advice: 'write for example "20 us" or 20000',
};
const RATE: Quantity = {
  what: "a rate",
  whole: "whole bytes per second",
  units: RATE_UNITS,
  advice: 'write for example "12 GB/s" or 12000000000',
};

function refuse(q: Quantity, given: unknown, allowed: string): never {
  const shown = typeof given === "string" ? JSON.stringify(given) : String(given);
  throw new UsageError(`Cannot read ${q.what}: got ${shown}; ${allowed}; ${q.advice}`);
}

function parse(x: number | string, q: Quantity): number {
  if (typeof x === "number") {
    if (Number.isSafeInteger(x) && x >= 0) return x === 0 ? 0 : x;
    return refuse(q, x, `a number counts ${q.whole} and lies in 0 .. ${Number.MAX_SAFE_INTEGER}`);
  }
  if (typeof x !== "string") return refuse(q, x, "a number or a string is allowed");
  const match = /^\s*([-+]?)(\d+)(?:\.(\d+))?\s*(\S*)\s*$/.exec(x);
  if (match === null) {
    return refuse(q, x, `a decimal number and a unit out of ${allowedUnits(q)} are allowed`);
  }
  const [, sign, integer, fraction = "", unit] = match;
  if (sign === "-") return refuse(q, x, "it must not be negative");
  const factor = unit === "" ? 1 : Object.hasOwn(q.units, unit) ? q.units[unit] : undefined;
  if (factor === undefined) return refuse(q, x, `the unit must be one of ${allowedUnits(q)}`);
  const scaled = BigInt(integer + fraction) * BigInt(factor);
  const divisor = 10n ** BigInt(fraction.length);
  if (scaled % divisor !== 0n) return refuse(q, x, `it must come out as ${q.whole}`);
  const value = scaled / divisor;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    return refuse(q, x, `the largest is ${Number.MAX_SAFE_INTEGER} ${q.whole.replace("whole ", "")}`);
  }
  return Number(value);
}

function allowedUnits(q: Quantity): string {
  return Object.keys(q.units).join(", ");
}

/**
 * Reads a length.
 *
 * @param x Whole bytes as a number, or a decimal number with a unit: B, KiB, MiB, GiB, TiB (powers of 1024), kB, KB,
 * MB, GB, TB (powers of 1000); a string without a unit counts bytes.
 * @returns The length in bytes, an integer of at most 2^53 - 1.
 * @throws {UsageError} If it is negative, not finite, no whole number of bytes, too large, or its unit is unknown.
 *
 * @example
 * ```ts
 * console.log(bytes("64 GiB")); // 68719476736
 * console.log(bytes("1.5 GB")); // 1500000000
 * ```
 */
export function bytes(x: number | string): number {
  return parse(x, LENGTH);
}

/**
 * Reads a length that must be a whole number of base pages.
 *
 * @param x A length as {@linkcode bytes} takes it (bytes, not pages).
 * @returns The number of 4 KiB pages.
 * @throws {UsageError} As {@linkcode bytes}, and if the length is not a multiple of {@linkcode PAGE_SIZE}.
 *
 * @example
 * ```ts
 * console.log(pages("2 MiB")); // 512
 * ```
 */
export function pages(x: number | string): number {
  const lengthBytes = bytes(x);
  const rest = lengthBytes % PAGE_SIZE;
  if (rest !== 0) {
    const below = lengthBytes - rest;
    const near = below > 0 ? `${below} or ${below + PAGE_SIZE}` : String(PAGE_SIZE);
    throw new UsageError(
      `Cannot count pages: got ${typeof x === "string" ? JSON.stringify(x) : x} (${lengthBytes} bytes); ` +
        `a multiple of ${PAGE_SIZE} bytes is allowed; write for example ${near}`,
    );
  }
  return lengthBytes / PAGE_SIZE;
}

/**
 * Reads a time.
 *
 * @param x Whole nanoseconds as a number, or a decimal number with a unit: ns, us (or µs), ms, s; a string without a
 * unit counts nanoseconds.
 * @returns The time in nanoseconds, an integer of at most 2^53 - 1.
 * @throws {UsageError} If it is negative, not finite, no whole number of nanoseconds, too large, or its unit is
 * unknown.
 *
 * @example
 * ```ts
 * console.log(nanoseconds("20 us")); // 20000
 * console.log(nanoseconds("1.5 ms")); // 1500000
 * ```
 */
export function nanoseconds(x: number | string): number {
  return parse(x, TIME);
}

/**
 * Reads a rate.
 *
 * @param x Whole bytes per second as a number, or a decimal number with a unit of {@linkcode bytes} followed by "/s".
 * @returns The rate in bytes per second, an integer of at most 2^53 - 1.
 * @throws {UsageError} If it is negative, not finite, no whole number of bytes per second, too large, or its unit is
 * unknown.
 *
 * @example
 * ```ts
 * console.log(bytesPerSecond("1.72 GB/s")); // 1720000000
 * ```
 */
export function bytesPerSecond(x: number | string): number {
  return parse(x, RATE);
}

/** Three significant digits, but never fewer than the whole part has; no exponent, no trailing zeros. */
function shortDecimal(x: number): string {
  const text = x >= 100 ? String(Math.round(x)) : Number(x.toPrecision(3)).toFixed(12);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function formatScaled(x: number, what: string, scale: readonly (readonly [string, number])[]): string {
  if (!Number.isFinite(x) || x < 0) {
    throw new UsageError(
      `Cannot print ${what}: got ${x}; a finite number that is not negative is allowed; check how it was computed`,
    );
  }
  for (let i = 0; i < scale.length; i++) {
    const [unit, factor] = scale[i];
    if (x < factor && i < scale.length - 1) continue;
    const text = shortDecimal(x / factor);
    // Rounding may reach the next unit ("1000 us"): that one is the shorter way to say it.
    const above = i > 0 ? scale[i - 1][1] / factor : Infinity;
    return Number(text) >= above ? `1 ${scale[i - 1][0]}` : `${text} ${unit}`;
  }
  throw new Error("a scale has at least one unit");
}

/**
 * Prints a length with a binary unit and three significant digits.
 *
 * @param lengthBytes Bytes; a fraction (a mean) is allowed.
 * @returns For example "4 KiB", "1.18 MiB", "1000 KiB".
 * @throws {UsageError} If it is negative or not finite.
 *
 * @example
 * ```ts
 * console.log(formatBytes(6442450944)); // 6 GiB
 * ```
 */
export function formatBytes(lengthBytes: number): string {
  return formatScaled(lengthBytes, "a length", [
    ["TiB", 2 ** 40],
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
    ["B", 1],
  ]);
}

/**
 * Prints a time with three significant digits.
 *
 * @param timeNs Nanoseconds; a fraction (a mean) is allowed.
 * @returns For example "950 ns", "1.76 us", "3 s".
 * @throws {UsageError} If it is negative or not finite.
 *
 * @example
 * ```ts
 * console.log(formatNs(45_000)); // 45 us
 * ```
 */
export function formatNs(timeNs: number): string {
  return formatScaled(timeNs, "a time", [["s", 1e9], ["ms", 1e6], ["us", 1e3], ["ns", 1]]);
}

/**
 * Prints a count with its thousands apart.
 *
 * @param count How many; a fraction (a mean) is allowed and printed with up to two decimals.
 * @returns For example "1,048,576".
 * @throws {UsageError} If it is negative or not finite.
 *
 * @example
 * ```ts
 * console.log(formatCount(1048576)); // 1,048,576
 * ```
 */
export function formatCount(count: number): string {
  if (!Number.isFinite(count) || count < 0) {
    throw new UsageError(
      `Cannot print a count: got ${count}; a finite number that is not negative is allowed; check how it was computed`,
    );
  }
  return count.toLocaleString("en-US", { maximumFractionDigits: 2 });
}

/**
 * Prints a rate in GB/s (10^9 bytes per second) with three significant digits.
 *
 * @param rateBytesPerSecond Bytes per second; a fraction is allowed.
 * @returns For example "1.72 GB/s".
 * @throws {UsageError} If it is negative or not finite.
 *
 * @example
 * ```ts
 * console.log(formatRate(1_720_000_000)); // 1.72 GB/s
 * ```
 */
export function formatRate(rateBytesPerSecond: number): string {
  return formatScaled(rateBytesPerSecond, "a rate", [["GB/s", 1e9]]);
}
