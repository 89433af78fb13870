/**
 * A binary tree that a host and a device grow at the same time, as programs in OpenCL 2.0 do with shared virtual memory.
 * @module
 */
import { checkOptions, describe, wholeNumber } from "../arguments.ts";
import type { BlockRuns, Grid } from "../devices/gpu/launch.ts";
import { UsageError } from "../errors.ts";
import { Process, type Region } from "../machine/process.ts";
import type { Workload } from "../machine/workload.ts";
import { type Accesses, AccessResult, cpuAccess } from "../mm/access.ts";
import { draws } from "../sim/random.ts";
import { PAGE_SIZE } from "../units.ts";

/** A node: its value, two pointers, a mutex; as a C compiler lays them out for 64-bit pointers. */
const NODE_BYTES = 32, NODES_PER_PAGE = PAGE_SIZE / NODE_BYTES;

/** Work-items of a work-group, as the sample has it. */
const GROUP = 256;

/** How large an {@linkcode svmTree} becomes, and who inserts what. */
export interface SvmTreeOptions {
  /** Nodes that the host puts in before both begin (default 1). */
  readonly initial?: number;
  /** Nodes that host and device insert together (default 1,024). */
  readonly inserts?: number;
  /** How many of a hundred of them the host inserts (default 50). */
  readonly hostPercent?: number;
  /** Host threads (default 1). */
  readonly hostThreads?: number;
  /** Which random values the nodes have (default 1). */
  readonly seed?: number;
}

/** Both sides of the program, and what must come of it. */
export interface SvmTree {
  /** Where its nodes lie: an ordinary allocation of the process. */
  readonly region: Region;
  /** Programs on the host, one a thread: each inserts its nodes one after another. */
  readonly host: readonly Workload[];
  /** The kernel: each work-item inserts one node. For {@linkcode launch}. */
  readonly grid: Grid;
  /** By page of the region: how often a node of it was linked to. Each link adds one to the page's first word. */
  readonly links: readonly number[];
}

/** Nodes in the order in which they come: values drawn, and for each the nodes on its way down from the root. */
class Shape {
  private readonly value: Int32Array;
  private readonly left: Int32Array;
  private readonly right: Int32Array;
  /** By node: the one that points to it; -1 for the root. */
  readonly parent: Int32Array;

  constructor(n: number, seed: number) {
    const draw = draws(seed);
    this.value = Int32Array.from({ length: n }, () => draw(2 ** 31));
    this.left = new Int32Array(n).fill(-1);
    this.right = new Int32Array(n).fill(-1);
    this.parent = new Int32Array(n).fill(-1);
  }

  /** Hangs a node where its value belongs. */
  insert(node: number): void {
    if (node === 0) return;
    for (let at = 0;;) {
      const side = this.value[node] < this.value[at] ? this.left : this.right;
      if (side[at] < 0) {
        side[at] = node;
        this.parent[node] = at;
        return;
      }
      at = side[at];
    }
  }

  /** The pages of the nodes from the root down to the one that points to `node`, neighbours in one page once. */
  way(node: number): number[] {
    const pages: number[] = [];
    for (let at = this.parent[node]; at >= 0; at = this.parent[at]) {
      const page = Math.floor(at / NODES_PER_PAGE);
      if (pages.at(-1) !== page) pages.push(page);
    }
    return pages.reverse();
  }

  /** The page of the node that points to `node`. */
  linkPage(node: number): number {
    return Math.floor(this.parent[node] / NODES_PER_PAGE);
  }
}

/**
 * Host threads and a device insert nodes into one binary tree at the same time, each link made under a system atomic.
 *
 * It stands for SVMAtomicsBinaryTreeInsert of the AMD APP SDK 3.0 (OpenCL 2.0, fine-grain shared virtual memory with
 * atomics): one array of nodes, first the initial ones, then the host's, then the device's; random values; a work-item a
 * node in groups of 256; a mutex in each node that is taken to link to it. There is no copy and no registration: with
 * system SVM the array is what malloc() gave, here any region of the process. A node takes 32 bytes. The ways down are
 * those of an insertion in which host and device take turns; mutex and link together are one atomic addition to the first
 * word of the page of the node that is linked to, so a sum tells whether any was lost.
 *
 * @param process in whose memory the tree grows; the region is mapped here
 * @param options see {@linkcode SvmTreeOptions}
 * @returns both sides, and what must come of it
 * @throws {UsageError} for what is no process, and for sizes that cannot be
 *
 * @example
 * ```ts
 * import { launch, machine, svmTree } from "hmmlab";
 *
 * const m = machine({ devices: { gpu: { kind: "gpu", memory: "64 MiB" } } });
 * const p = m.process(), tree = svmTree(p, { inserts: 4096 });
 * await m.run({ host: tree.host[0], gpu: launch(m.gpu, p, [tree.grid]) });
 * console.log(p.read(tree.region).join() === tree.links.join()); // true
 * ```
 */
export function svmTree(process: Process, options: SvmTreeOptions = {}): SvmTree {
  const act = "grow a tree";
  if (!(process instanceof Process)) {
    throw new UsageError(
      `Cannot ${act}: got ${describe(process)} for the process; a process of a machine is allowed; ` +
        "write for example svmTree(m.process())",
    );
  }
  checkOptions(
    act,
    options,
    { initial: true, inserts: true, hostPercent: true, hostThreads: true, seed: true },
    "{ inserts: 4096 }",
  );
  const initial = wholeNumber(act, "initial", options.initial ?? 1, 1, 2 ** 24);
  const inserts = wholeNumber(act, "inserts", options.inserts ?? 1024, 1, 2 ** 24);
  const percent = wholeNumber(act, "hostPercent", options.hostPercent ?? 50, 0, 100);
  const threads = wholeNumber(act, "hostThreads", options.hostThreads ?? 1, 1, 256);
  const seed = wholeNumber(act, "seed", options.seed ?? 1, 0, 2 ** 32 - 1);
  const hostNodes = Math.floor((inserts * percent) / 100), deviceFirst = initial + hostNodes;
  const total = initial + inserts, deviceNodes = total - deviceFirst, shape = new Shape(total, seed);
  for (let node = 0; node < initial; node++) shape.insert(node);
  for (let i = 0; i < Math.max(hostNodes, deviceNodes); i++) {
    if (i < hostNodes) shape.insert(initial + i);
    if (i < deviceNodes) shape.insert(deviceFirst + i);
  }
  const region = process.mmap(Math.ceil((total * NODE_BYTES) / PAGE_SIZE) * PAGE_SIZE);
  const links = new Array<number>(region.pages).fill(0);
  for (let node = initial; node < total; node++) links[shape.linkPage(node)]++;
  const host = Array.from({ length: threads }, (_, t) => {
    const from = initial + Math.floor((hostNodes * t) / threads);
    return hostSide(region, shape, from, initial + Math.floor((hostNodes * (t + 1)) / threads));
  });
  return { region, host, grid: deviceSide(region, shape, deviceFirst, total), links };
}

/** One host thread: its nodes in order. */
function hostSide(region: Region, shape: Shape, from: number, to: number): Workload {
  const rows: { vpn: number; add: number }[] = [];
  for (let node = from; node < to; node++) {
    for (const page of shape.way(node)) rows.push({ vpn: region.vpn + page, add: 0 });
    rows.push({ vpn: region.vpn + shape.linkPage(node), add: 1 });
  }
  const batch: Accesses = {
    n: rows.length,
    vpn: Float64Array.from(rows, (r) => r.vpn),
    pages: new Uint32Array(rows.length).fill(1),
    write: Uint8Array.from(rows, (r) => r.add),
    value: Uint32Array.from(rows, (r) => r.add),
    add: Uint8Array.from(rows, (r) => r.add),
  };
  return {
    name: `insert ${to - from} nodes on the host`,
    process: region.process,
    start(m, a) {
      const out = new AccessResult(), proc = cpuAccess(m.kernel, a, region.process.mm, batch, out);
      return { proc, out, total: batch.n, done: () => out.pages };
    },
  };
}

/** The kernel: the work-items of a group go down side by side, level by level, then link. */
function deviceSide(region: Region, shape: Shape, from: number, to: number): Grid {
  const fill = (block: number, runs: BlockRuns) => {
    const first = from + block * GROUP, ways: number[][] = [], links = new Map<number, number>();
    for (let node = first; node < Math.min(to, first + GROUP); node++) {
      ways.push(shape.way(node));
      const page = shape.linkPage(node);
      links.set(page, (links.get(page) ?? 0) + 1);
    }
    const deepest = ways.reduce((n, w) => Math.max(n, w.length), 0);
    for (let level = 0; level < deepest; level++) {
      const pages = new Set(ways.filter((w) => level < w.length).map((w) => w[level]));
      let after = level > 0; // a pointer must be there before it is followed
      for (const page of [...pages].sort((x, y) => x - y)) {
        runs.add(region.vpn + page, 1, false, 0, after);
        after = false;
      }
    }
    let after = true;
    for (const [page, n] of [...links].sort(([x], [y]) => x - y)) {
      runs.increment(region.vpn + page, 1, n, after);
      after = false;
    }
  };
  const blocks = Math.ceil((to - from) / GROUP);
  return {
    name: "binTreeInsert",
    blocks,
    threadsPerBlock: GROUP,
    pages: blocks * 8,
    fill(block, _part, runs) {
      fill(block, runs);
      return false;
    },
  };
}
