/**
 * Transfer curves: what moving a number of bytes over a link takes, as a line or as others have measured it.
 * @module
 */
import { describe } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { transferNs } from "./transfer.ts";

/** The cost of a link: virtual time by length of transfer. */
export interface TransferCurve {
  /** Its name in profiles and tables. */
  readonly name: string;
  /**
   * The time of one transfer.
   *
   * @param lengthBytes bytes to move, a whole number
   * @returns the time in ns, a whole number
   */
  ns(lengthBytes: number): number;
}

/**
 * A fixed part and the bytes at a rate.
 *
 * @param latencyNs fixed part of a transfer
 * @param rateBytesPerSecond rate
 * @returns the curve, in the arithmetic of {@linkcode transferNs}
 *
 * @example
 * ```ts
 * console.log(lineCurve(1444, 13_004_000_000).ns(4096)); // 1759
 * ```
 */
export function lineCurve(latencyNs: number, rateBytesPerSecond: number): TransferCurve {
  transferNs(0, latencyNs, rateBytesPerSecond);
  return { name: "line", ns: (lengthBytes) => transferNs(lengthBytes, latencyNs, rateBytesPerSecond) };
}

/**
 * The arc tangent of a number of at least 0 by additions, divisions and square roots only, which IEEE 754 rounds alike
 * everywhere: `Math.atan` may differ from one version of a JavaScript engine to the next.
 *
 * @param x a number, 0 or more
 * @returns its arc tangent, within 1e-15 of itself
 */
export function atan(x: number): number {
  // Four halvings of the angle bring every x below 0.1; there thirteen terms of the series are exact to the last digit.
  let y = x;
  for (let i = 0; i < 4; i++) y /= 1 + Math.sqrt(1 + y * y);
  const z = y * y;
  let sum = 0;
  for (let n = 27; n >= 1; n -= 2) sum = 1 / n - z * sum;
  return 16 * y * sum;
}

/** UVM Smart's amplitudes in GB/s by nominal rate of the link; half the rate to each direction, and some lost. */
const AMPLITUDES: Readonly<Record<number, number>> = { 16: 12, 32: 24, 64: 48 };
/** Bend of the curve for each KiB, a float of 32 bits there. */
const PER_KIB = Math.fround(0.07292);
const HALVED_FROM_BYTES = 2 * 1024 * 1024;

/** UVM Smart's PCIe: {@linkcode uvmSmartCurve}. */
export interface UvmSmartCurve extends TransferCurve {
  /** Clock of the GPU's cores in MHz, in whose cycles UVM Smart counts. */
  readonly clockMHz: number;
  /** The time of one transfer in those cycles, exactly as UVM Smart computes it. */
  cycles(lengthBytes: number): number;
}

/**
 * The PCIe transfers of UVM Smart (Ganguly et al., ISCA 2019; DebashisGanguly/gpgpu-sim_UVMSmart): an arc tangent fitted
 * to measured rates, with the rate held as a float of 32 bits, and halved from 2 MiB on.
 *
 * It agrees to the cycle with every transfer in the logs of that repository that was compared.
 *
 * @param rateGBps nominal rate of the link in GB/s, both directions: 16 (PCIe 3), 32 or 64
 * @param clockMHz clock of the GPU's cores (default 1481, a GTX 1080 Ti)
 * @returns the curve
 * @throws {UsageError} for another rate or a clock that is no whole number of MHz
 *
 * @example
 * ```ts
 * const pcie3 = uvmSmartCurve(16);
 * console.log(pcie3.cycles(4096), pcie3.ns(4096)); // 2605 1759
 * ```
 */
export function uvmSmartCurve(rateGBps: number, clockMHz = 1481): UvmSmartCurve {
  const amplitude = AMPLITUDES[rateGBps];
  if (amplitude === undefined || !Number.isInteger(clockMHz) || clockMHz < 1) {
    throw new UsageError(
      `Cannot make UVM Smart's curve: got ${describe(rateGBps)} GB/s at ${
        describe(clockMHz)
      } MHz; 16, 32 and 64 GB/s ` +
        "and a whole number of MHz are allowed; write for example uvmSmartCurve(16, 1481)",
    );
  }
  const clockHz = clockMHz * 1e6;
  function cycles(lengthBytes: number): number {
    if (!Number.isSafeInteger(lengthBytes) || lengthBytes < 0) {
      throw new UsageError(
        `Cannot time a transfer: got ${
          describe(lengthBytes)
        } bytes; a whole number of at least 0 is allowed; round it`,
      );
    }
    if (lengthBytes === 0) return 0;
    let rate = Math.fround((2 * amplitude) / Math.PI * atan(PER_KIB * (lengthBytes / 1024)));
    if (lengthBytes >= HALVED_FROM_BYTES) rate /= 2;
    return Math.floor(Math.fround(lengthBytes) * clockHz / rate / 2 ** 30);
  }
  return {
    name: `UVM Smart, ${rateGBps} GB/s`,
    clockMHz,
    cycles,
    ns: (lengthBytes) => Math.ceil(cycles(lengthBytes) * 1000 / clockMHz),
  };
}
