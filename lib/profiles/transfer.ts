/**
 * How long a transfer takes, in integers.
 *
 * @module
 */

import { UsageError } from "../errors.ts";

const NS_PER_SECOND = 1e9;
// Up to here the product with NS_PER_SECOND is an exact float.
const MOST_FAST_BYTES = Math.floor(Number.MAX_SAFE_INTEGER / NS_PER_SECOND);

/**
 * The time of one transfer: a fixed part and the bytes at a rate, rounded up to a whole nanosecond.
 *
 * Exact for every integer input: one transfer of a + b bytes never takes longer than one of a bytes and one of b, and
 * at latency 0 it is at most 1 ns shorter.
 *
 * @param lengthBytes Bytes to move, an integer of at least 0.
 * @param latencyNs The fixed part in nanoseconds, an integer of at least 0; paid for 0 bytes as well.
 * @param rateBytesPerSecond The rate in bytes per second, an integer of at least 1.
 * @returns The time in nanoseconds, an integer.
 * @throws {UsageError} If an input is no such integer, or the time does not fit into 2^53 - 1 ns (104 days).
 *
 * @example
 * ```ts
 * console.log(transferNs(4096, 1444, 13_004_000_000)); // 1759
 * ```
 */
export function transferNs(lengthBytes: number, latencyNs: number, rateBytesPerSecond: number): number {
  if (
    !Number.isSafeInteger(lengthBytes) || lengthBytes < 0 || !Number.isSafeInteger(latencyNs) ||
    latencyNs < 0 ||
    !Number.isSafeInteger(rateBytesPerSecond) || rateBytesPerSecond < 1
  ) {
    throw new UsageError(
      `Cannot time a transfer: got ${lengthBytes} bytes, ${latencyNs} ns, ${rateBytesPerSecond} bytes per second; ` +
        `integers of at least 0, 0 and 1 are allowed; round them first`,
    );
  }
  let busyNs: number;
  if (lengthBytes <= MOST_FAST_BYTES) {
    const product = lengthBytes * NS_PER_SECOND;
    const rest = product % rateBytesPerSecond;
    busyNs = (product - rest) / rateBytesPerSecond + (rest > 0 ? 1 : 0);
  } else {
    const rate = BigInt(rateBytesPerSecond);
    busyNs = Number((BigInt(lengthBytes) * BigInt(NS_PER_SECOND) + rate - 1n) / rate);
  }
  const totalNs = latencyNs + busyNs;
  if (totalNs > Number.MAX_SAFE_INTEGER) {
    throw new UsageError(
      `Cannot time a transfer: got ${lengthBytes} bytes at ${rateBytesPerSecond} bytes per second, ${totalNs} ns; ` +
        `at most ${Number.MAX_SAFE_INTEGER} ns are allowed; move less or faster`,
    );
  }
  return totalNs;
}
