/**
 * Compiles a profile to the plain integers that the model counts with.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import {
  type DeviceCosts,
  type GpuCosts,
  type HostCosts,
  isKind,
  type NicCosts,
  PARAMETERS,
  type ProfileKind,
  toWhole,
} from "./parameters.ts";
import { type Profile, profile, withParameters } from "./profile.ts";

/** Amounts to use in place of a profile's own, as {@linkcode withParameters} takes them. */
export type Overrides = Readonly<Record<string, number | string>>;

// What a kind compiles to is tied to its table of parameters by SpecsOf.
function compile<Costs>(kind: ProfileKind, from: Profile | string, overrides: Overrides): Costs {
  const named = typeof from === "string" ? profile(from, kind) : from;
  if (named === undefined || named === null || !isKind(named.kind, kind)) {
    throw new UsageError(
      `Cannot compile the costs of a ${kind}: got ${named?.name ?? named} (${
        named?.kind ?? typeof named
      }); ` +
        `a name or a profile of a ${kind} is allowed; write profile(name, "${kind}") or checkProfile(object)`,
    );
  }
  const { parameters } = withParameters(named, overrides);
  const costs: Record<string, number> = {};
  for (const [key, spec] of Object.entries(PARAMETERS[kind])) {
    costs[key + spec.suffix] = toWhole(spec, parameters[key].value, parameters[key].unit);
  }
  return costs as Costs;
}

/**
 * Compiles a host's profile.
 *
 * @param from The profile, or its name.
 * @param overrides Amounts in place of the profile's own: `{ ipiBase: "4 us" }`.
 * @returns The costs, a plain object of integers.
 * @throws {UsageError} If there is no such host or parameter, or an amount makes no sense.
 *
 * @example
 * ```ts
 * console.log(compileHost("epyc-7551p").cores); // 32
 * ```
 */
export function compileHost(from: Profile | string, overrides: Overrides = {}): HostCosts {
  return compile<HostCosts>("host", from, overrides);
}

/**
 * Compiles a device's profile.
 *
 * @param from The profile, or its name.
 * @param overrides Amounts in place of the profile's own: `{ fault: "20 us", granule: "2 MiB" }`.
 * @returns The costs, a plain object of integers.
 * @throws {UsageError} If there is no such device or parameter, or an amount makes no sense.
 *
 * @example
 * ```ts
 * console.log(compileDevice("titan-v", { fault: "20 us" }).faultNs); // 20000
 * ```
 */
export function compileDevice(from: Profile | string, overrides: Overrides = {}): DeviceCosts {
  return compile<DeviceCosts>("device", from, overrides);
}

/**
 * Compiles a GPU's profile.
 *
 * @param from The profile, or its name.
 * @param overrides Amounts in place of the profile's own: `{ replay: "2 us", faultBatch: 512 }`.
 * @returns The costs and sizes, a plain object of integers.
 * @throws {UsageError} If there is no such GPU or parameter, or an amount makes no sense.
 *
 * @example
 * ```ts
 * console.log(compileGpu("titan-v").outstandingFaults); // 56
 * ```
 */
export function compileGpu(from: Profile | string, overrides: Overrides = {}): GpuCosts {
  return compile<GpuCosts>("gpu", from, overrides);
}

/**
 * Compiles a network adapter's profile.
 *
 * @param from The profile, or its name.
 * @param overrides Amounts in place of the profile's own: `{ fault: "100 us" }`.
 * @returns The costs and sizes, a plain object of integers.
 * @throws {UsageError} If there is no such adapter or parameter, or an amount makes no sense.
 *
 * @example
 * ```ts
 * console.log(compileNic("connectx").faultNs); // 219873
 * ```
 */
export function compileNic(from: Profile | string, overrides: Overrides = {}): NicCosts {
  return compile<NicCosts>("nic", from, overrides);
}
