/**
 * NUMA nodes: which memory is near to which CPU, and memory policies: where a page comes from.
 *
 * Each node's memory is a zone of its own. A page is taken on the node of the CPU that asks, then on the others in the
 * order of their distance, unless a policy says otherwise: that of the vma (mbind()), else that of the process
 * (set_mempolicy(); Linux keeps it by thread, here all threads of a process have one). Allocations for no vma (the page
 * cache by descriptor, a copy for a driver) are local. A mapping of a file goes by the policy of the vma that faults;
 * Linux keeps a shared mapping's with the file.
 * @module
 */
import type { Sim } from "../sim/sim.ts";
import type { Pages, Zone } from "./pages.ts";
import type { Vmas } from "./vma.ts";

/** No policy of its own: the process's for a vma, local memory for a process. */
export const MPOL_DEFAULT = 0;
/** From the first node of the mask if it has a page, else from the nearest to it; an empty mask is the local node. */
export const MPOL_PREFERRED = 1;
/** From the nodes of the mask alone, the nearest first. */
export const MPOL_BIND = 2;
/** From the nodes of the mask in turn, by the page's place in what is mapped. */
export const MPOL_INTERLEAVE = 3;

/** Most nodes of a machine. */
export const MAX_NODES = 8;
/** Distance of a node to itself, as the firmware's table (ACPI SLIT) has it. */
export const LOCAL_DISTANCE = 10;
/** Distance to any other node where nothing else is said. */
export const REMOTE_DISTANCE = 20;

const MASK_BITS = 8;

/** A policy as a number: its mode and its nodes, a bit each. */
export function mempolicy(mode: number, mask: number): number {
  return (mode << MASK_BITS) | mask;
}

/** The mode of a policy. */
export function policyMode(policy: number): number {
  return policy >>> MASK_BITS;
}

/** The nodes of a policy, a bit each. */
export function policyMask(policy: number): number {
  return policy & ((1 << MASK_BITS) - 1);
}

/** The first node of a mask, or -1. */
export function firstNode(mask: number): number {
  return mask === 0 ? -1 : 31 - Math.clz32(mask & -mask);
}

/** Number of nodes of a mask. */
export function nodesWeight(mask: number): number {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
}

/** The n-th node of a mask, counted from 0. */
export function nthNode(mask: number, n: number): number {
  let m = mask;
  for (let i = 0; i < n; i++) m &= m - 1;
  return firstNode(m);
}

/** The nodes of a machine. */
export class Nodes {
  /** How many there are. */
  readonly count: number;
  /** Their memory, by node. */
  readonly zones: readonly Zone[];
  /** Nodes in the order in which an allocation on each falls back. */
  readonly fallback: readonly (readonly number[])[];
  /** All nodes, a bit each. */
  readonly all: number;
  /** Policy of each address space, as {@link mempolicy} packs it. */
  readonly policy: Uint32Array;
  private readonly cpuNode: Uint8Array;
  private readonly extraNs: Float64Array;
  private readonly pages: Pages;
  private readonly vmas: Vmas;

  /**
   * Makes the nodes of a machine; every actor runs on node 0 at first.
   *
   * @param sim the machine's contract
   * @param pages struct pages; the first zones are the nodes' memory
   * @param vmas memory areas, whose policies decide
   * @param distances distance from each node (row) to each other, 10 to itself
   * @param processes most address spaces
   * @param accessNs an access to local memory
   * @param remoteAccessNs an access to memory at distance 20
   */
  constructor(
    sim: Sim,
    pages: Pages,
    vmas: Vmas,
    readonly distances: readonly (readonly number[])[],
    processes: number,
    accessNs: number,
    remoteAccessNs: number,
  ) {
    const n = this.count = distances.length;
    this.pages = pages;
    this.vmas = vmas;
    this.zones = pages.zones.slice(0, n);
    this.all = (1 << n) - 1;
    this.policy = sim.state.u32("numa.policy", processes);
    this.cpuNode = sim.state.u8("numa.cpuNode", sim.maxActors);
    // As the kernel breaks ties: among nodes as far, those after this one first (find_next_best_node()).
    this.fallback = distances.map((row, node) => {
      const far = (to: number) => 2 * row[to] + (to < node ? 1 : 0);
      return row.map((_, to) => to).sort((x, y) => far(x) - far(y) || x - y);
    });
    this.extraNs = new Float64Array(n * n);
    distances.forEach((row, node) =>
      row.forEach((d, to) => {
        const share = (d - LOCAL_DISTANCE) / (REMOTE_DISTANCE - LOCAL_DISTANCE);
        this.extraNs[node * n + to] = Math.round((remoteAccessNs - accessNs) * share);
      })
    );
  }

  /** Lets an actor run on a CPU of a node from now on. */
  run(a: number, node: number): void {
    this.cpuNode[a] = node;
  }

  /** The node of the CPU on which an actor runs: numa_node_id(). */
  of(a: number): number {
    return this.cpuNode[a];
  }

  /** The node of a frame of ordinary memory: page_to_nid(). */
  nodeOf(pfn: number): number {
    const { zones } = this;
    let node = this.count - 1;
    while (zones[node].start > pfn) node--;
    return node;
  }

  /** What an access of actor `a` to a frame takes beyond a local one, in ns. Device memory has costs of its own. */
  remoteNs(a: number, pfn: number): number {
    return this.pages.isZoneDevice(pfn) ? 0 : this.extraNs[this.cpuNode[a] * this.count + this.nodeOf(pfn)];
  }

  /**
   * Takes a frame, or 512 as a large folio, where the policy of a vma wants it: alloc_pages_mpol().
   *
   * @param vma the vma that the page is for, or -1
   * @param vpn its virtual page
   * @param huge whether 512 aligned frames are wanted
   * @returns the first frame, or -1 when the nodes that are allowed have none
   */
  take(a: number, vma: number, vpn: number, huge: boolean): number {
    const { vmas } = this;
    const policy = vma < 0 ? MPOL_DEFAULT : vmas.policy[vma] || this.policy[vmas.mm[vma]];
    return this.takeBy(policy, this.cpuNode[a], vma < 0 ? 0 : this.interleaveIndex(vma, vpn, huge), huge);
  }

  /** The nodes from which a page for a vma (-1 for none) may come, a bit each: all, unless a policy binds it. */
  allowed(vma: number): number {
    if (vma < 0) return this.all;
    const policy = this.vmas.policy[vma] || this.policy[this.vmas.mm[vma]];
    return policyMode(policy) === MPOL_BIND ? policyMask(policy) : this.all;
  }

  /** Free frames of the nodes from which a vma takes pages. */
  freeFor(vma: number): number {
    return this.count === 1 ? this.pages.free(this.zones[0]) : this.free(this.allowed(vma));
  }

  /** Free frames of some nodes, a bit each. */
  free(mask: number): number {
    let free = 0;
    for (let n = 0; n < this.count; n++) {
      if (mask & (1 << n)) free += this.pages.free(this.zones[n]);
    }
    return free;
  }

  /** A page's place among those that are interleaved: by its offset in what is mapped, in units of its size. */
  interleaveIndex(vma: number, vpn: number, huge: boolean): number {
    const { vmas } = this, unit = huge ? 512 : 1;
    return Math.floor(vmas.pgoff[vma] / unit) + Math.floor((vpn - vmas.start[vma]) / unit);
  }

  /**
   * As {@link take}, for a given policy.
   *
   * @param policy what {@link mempolicy} packs
   * @param local node of the CPU that asks
   * @param index the page's place among those that are interleaved
   */
  takeBy(policy: number, local: number, index: number, huge: boolean): number {
    const mask = policyMask(policy);
    switch (policyMode(policy)) {
      case MPOL_PREFERRED:
        return this.takeFrom(mask === 0 ? local : firstNode(mask), this.all, huge);
      case MPOL_BIND:
        return this.takeFrom(local, mask, huge);
      case MPOL_INTERLEAVE:
        return this.takeFrom(nthNode(mask, index % nodesWeight(mask)), this.all, huge);
      default:
        return this.takeFrom(local, this.all, huge);
    }
  }

  /** Takes a frame on a node, or on the nearest to it that is in `mask` and has one. Returns -1 when none has. */
  takeFrom(node: number, mask: number, huge: boolean): number {
    for (const n of this.fallback[node]) {
      if (!(mask & (1 << n))) continue;
      const pfn = huge ? this.pages.takeHuge(this.zones[n]) : this.pages.take(this.zones[n]);
      if (pfn >= 0) return pfn;
    }
    return -1;
  }
}
