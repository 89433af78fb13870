/**
 * Page frames of ordinary memory, as all of the kernel asks for them: alloc_pages().
 * @module
 */
import type { Kernel } from "./kernel.ts";

/**
 * Takes a page of ordinary memory, with one reference and unknown content: alloc_page().
 *
 * @returns the frame, or -1 when none is free (or at failure point "page allocation")
 */
export function allocPage(k: Kernel, a: number): number {
  return spend(k, a, k.sim.fails(a, "page allocation") ? -1 : k.pages.take(k.ram));
}

/**
 * Takes a large folio: 512 aligned frames with one reference.
 *
 * @returns the first frame, or -1 when there are none (or at failure point "page allocation")
 */
export function allocHuge(k: Kernel, a: number): number {
  return spend(k, a, k.sim.fails(a, "page allocation") ? -1 : k.pages.takeHuge(k.ram));
}

/** The time of an allocation that came off, under the lock of the zone. */
function spend(k: Kernel, a: number, pfn: number): number {
  if (pfn >= 0) k.sim.hold(a, k.ram.lock, k.phase.alloc, k.cost.pageAllocNs);
  return pfn;
}
