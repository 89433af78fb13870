/**
 * No prefetch: what faults moves, and nothing else ("on demand").
 * @module
 */
import type { PrefetchPolicy } from "../policy.ts";

/** Moves the pages that faulted only. */
export const none: PrefetchPolicy = { name: "none", grow() {} };
