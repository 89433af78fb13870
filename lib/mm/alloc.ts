/**
 * Page frames of ordinary memory, as all of the kernel asks for them: alloc_pages().
 * @module
 */
import type { Kernel } from "./kernel.ts";
import { HUGE_PAGES } from "./pages.ts";

/**
 * Takes a page of ordinary memory, with one reference and unknown content: alloc_page(), vma_alloc_folio().
 *
 * @param vma the vma whose memory policy says on which NUMA node; local memory if left out
 * @param vpn the virtual page that it is for
 * @returns the frame, or -1 when none is free (or at failure point "page allocation")
 */
export function allocPage(k: Kernel, a: number, vma = -1, vpn = 0): number {
  if (k.sim.fails(a, "page allocation")) return -1;
  return spend(k, a, k.nodes.count === 1 ? k.pages.take(k.ram) : k.nodes.take(a, vma, vpn, false), 1);
}

/**
 * Takes a large folio: 512 aligned frames with one reference.
 *
 * @param vma as for {@link allocPage}
 * @param vpn the first virtual page that it is for
 * @returns the first frame, or -1 when there are none (or at failure point "page allocation")
 */
export function allocHuge(k: Kernel, a: number, vma = -1, vpn = 0): number {
  if (k.sim.fails(a, "page allocation")) return -1;
  return spend(
    k,
    a,
    k.nodes.count === 1 ? k.pages.takeHuge(k.ram) : k.nodes.take(a, vma, vpn, true),
    HUGE_PAGES,
  );
}

/**
 * Takes a page, or a large folio, on one node and no other: alloc_pages_node() with __GFP_THISNODE.
 *
 * Who migrates holds the lock of the page that is to go. The kernel would reclaim on that node before it fails; here a
 * full node is full, for move_pages() as for the migration of a range.
 *
 * @returns the first frame, or -1 when the node has none (or at failure point "page allocation")
 */
export function allocOnNode(k: Kernel, a: number, node: number, huge: boolean): number {
  if (k.sim.fails(a, "page allocation")) return -1;
  return spend(k, a, k.nodes.takeFrom(node, 1 << node, huge), huge ? HUGE_PAGES : 1);
}

/** Takes a page, or a large folio, where a policy wants it. Returns as {@link allocPage}. */
export function allocByPolicy(k: Kernel, a: number, policy: number, index: number, huge: boolean): number {
  if (k.sim.fails(a, "page allocation")) return -1;
  return spend(k, a, k.nodes.takeBy(policy, k.nodes.of(a), index, huge), huge ? HUGE_PAGES : 1);
}

/** The time of an allocation that came off, under the lock of the zone. */
function spend(k: Kernel, a: number, pfn: number, n: number): number {
  k.watch?.pagesTaken(a, pfn, n);
  if (pfn < 0) return pfn;
  const { lock } = k.nodes.count === 1 ? k.ram : k.nodes.zones[k.nodes.nodeOf(pfn)];
  k.sim.hold(a, lock, k.phase.alloc, k.cost.pageAllocNs);
  return pfn;
}
