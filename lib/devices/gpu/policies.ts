/**
 * The policies by name.
 * @module
 */
import { describe, didYouMean } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { belady } from "./eviction/belady.ts";
import { lruAccess } from "./eviction/lru_access.ts";
import { lruAllocation } from "./eviction/lru_allocation.ts";
import { lruBlock } from "./eviction/lru_block.ts";
import { noPreEviction, treePreEviction } from "./eviction/pre_eviction.ts";
import { randomEviction } from "./eviction/random.ts";
import type { EvictionPolicy, PreEvictionPolicy, PrefetchPolicy } from "./policy.ts";
import { none } from "./prefetch/none.ts";
import { random } from "./prefetch/random.ts";
import { sequentialLocal } from "./prefetch/sequential_local.ts";
import { tree50 } from "./prefetch/tree50.ts";
import { tree51 } from "./prefetch/tree51.ts";

/** The prefetch policies that come with hmmlab, by name. */
export const PREFETCH_POLICIES: readonly PrefetchPolicy[] = [none, random, sequentialLocal, tree50, tree51];

/** The eviction policies that come with hmmlab, by name. */
export const EVICTION_POLICIES: readonly EvictionPolicy[] = [
  lruAllocation,
  lruAccess,
  lruBlock,
  randomEviction,
  belady,
];

/** The pre-eviction policies that come with hmmlab, by name. */
export const PRE_EVICTION_POLICIES: readonly PreEvictionPolicy[] = [noPreEviction, treePreEviction];

function find<P extends { readonly name: string }>(
  kind: string,
  given: unknown,
  all: readonly P[],
  isOne: (x: object) => boolean,
): P {
  if (typeof given === "object" && given !== null && isOne(given)) return given as P;
  const names = all.map((p) => p.name), found = all.find((p) => p.name === given);
  if (found !== undefined) return found;
  throw new UsageError(
    `Cannot choose a policy for ${kind}: got ${describe(given)}; allowed are ${
      names.map((n) => JSON.stringify(n)).join(", ")
    } and an object of your own${typeof given === "string" ? didYouMean(given, names) : ""}`,
  );
}

/**
 * The prefetch policy of a name.
 *
 * @param given a name of {@linkcode PREFETCH_POLICIES}, or a policy of one's own
 * @returns the policy
 * @throws {UsageError} for anything else, listing what is allowed
 *
 * @example
 * ```ts
 * console.log(prefetchPolicy("none").name); // none
 * ```
 */
export function prefetchPolicy(given: string | PrefetchPolicy): PrefetchPolicy {
  return find("prefetch", given, PREFETCH_POLICIES, (x) => "grow" in x && typeof x.grow === "function");
}

/**
 * The eviction policy of a name.
 *
 * @param given a name of {@linkcode EVICTION_POLICIES}, or a policy of one's own
 * @returns the policy
 * @throws {UsageError} for anything else, listing what is allowed
 *
 * @example
 * ```ts
 * console.log(evictionPolicy("lru-access").needsFuture); // false
 * ```
 */
export function evictionPolicy(given: string | EvictionPolicy): EvictionPolicy {
  return find("eviction", given, EVICTION_POLICIES, (x) => "make" in x && typeof x.make === "function");
}

/**
 * The pre-eviction policy of a name.
 *
 * @param given a name of {@linkcode PRE_EVICTION_POLICIES}, or a policy of one's own
 * @returns the policy
 * @throws {UsageError} for anything else, listing what is allowed
 *
 * @example
 * ```ts
 * console.log(preEvictionPolicy("tree50").name); // tree50
 * ```
 */
export function preEvictionPolicy(given: string | PreEvictionPolicy): PreEvictionPolicy {
  return find(
    "pre-eviction",
    given,
    PRE_EVICTION_POLICIES,
    (x) => "spread" in x && typeof x.spread === "function",
  );
}
