/**
 * The orders in which four benchmarks of UVM Smart touch their pages, as far as their source says.
 *
 * Arrays, grids and launches are those of DebashisGanguly/gpgpu-sim_UVMSmart, benchmarks/Managed/ (from Rodinia and
 * PolyBench/GPU); where the arrays lie is read off the transfers in its logs. Assumed is the order within a launch: thread
 * blocks begin in the order of their number, each of them touches its arrays in the order of the source, and as many of
 * them are in flight as its 28 multiprocessors hold with 2048 threads each, where hits go ahead of faults.
 * @module
 */
import type { PageReferences } from "../../devices/gpu/references.ts";
import { Sim } from "../../sim/sim.ts";

/** Threads that the simulated GTX 1080 Ti holds: options -gpgpu_n_clusters and -gpgpu_shader_core_pipeline. */
const THREADS = 28 * 2048;

/** A benchmark's references. */
export interface AccessOrder {
  /** Parts between which the host takes all memory back; each begins with an empty GPU. */
  readonly parts: readonly PageReferences[];
  /** References of the thread blocks that run at once. */
  readonly inFlight: number;
}

/** An order with as many references in flight as its threads make on average. */
function inFlight(parts: readonly PageReferences[], threads: number): AccessOrder {
  const rows = parts.reduce((n, part) => n + part.rows, 0);
  return { parts, inFlight: Math.max(1, Math.round(rows * THREADS / threads)) };
}

/** Collects references; a page touched again at once is one. */
class Order {
  private page = new Uint32Array(1 << 16);
  private flags = new Uint8Array(1 << 16);
  private rows = 0;

  read(p: number): void {
    this.add(p, 0);
  }

  write(p: number): void {
    this.add(p, 1);
  }

  private add(p: number, write: 0 | 1): void {
    if (this.rows > 0 && this.page[this.rows - 1] === p) {
      this.flags[this.rows - 1] |= write;
      return;
    }
    if (this.rows === this.page.length) {
      const page = new Uint32Array(2 * this.rows), flags = new Uint8Array(2 * this.rows);
      page.set(this.page);
      flags.set(this.flags);
      [this.page, this.flags] = [page, flags];
    }
    this.page[this.rows] = p;
    this.flags[this.rows++] = write;
  }

  references(pages: number): PageReferences {
    const { rows } = this;
    const regions = [{ startVpn: 0, pages, firstPage: 0 }];
    return { rows, page: this.page.subarray(0, rows), write: this.flags.subarray(0, rows), pages, regions };
  }
}

/**
 * hotspot: 1024 × 1024 floats in three arrays of 4 MiB, thread blocks of 16 × 16 that overlap by two on each side, four
 * launches between which temperature in and out change places. A row of the grid is a page.
 */
export function hotspotOrder(): AccessOrder {
  const order = new Order(), n = 1024, power = 2 * n;
  for (let launch = 0; launch < 4; launch++) {
    const src = launch % 2 === 0 ? 0 : n, dst = n - src;
    for (let row = -2; row < n; row += 12) {
      const from = Math.max(0, row), to = Math.min(n, row + 16);
      for (let i = from; i < to; i++) {
        order.read(src + i);
        order.read(power + i);
      }
      for (let i = Math.max(0, row + 2); i < Math.min(n, row + 14); i++) order.write(dst + i);
    }
  }
  return inFlight([order.references(3 * n)], 4 * 86 * 86 * 256);
}

/**
 * backprop with 131,056 inputs and 16 hidden units: forward reads inputs and a matrix of weights and writes partial sums;
 * adjusting reads deltas and inputs and writes a second matrix and the weights before.
 *
 * Between the two the host sums up. What moves to the device in the logs afterwards adds up only if all memory is free
 * again by then and the inputs are not counted, so the second part is without them.
 */
export function backpropOrder(): AccessOrder {
  const forward = new Order(), adjust = new Order(), matrix = 2176;
  const inputs = 0, delta = 160, weights = 208, second = 2384, before = 4576, sums = 6784;
  for (let i = 0; i < matrix; i++) {
    const part = Math.floor(i * 128 / matrix);
    forward.read(inputs + part);
    forward.write(weights + i);
    forward.write(sums + part);
    adjust.read(delta);
    adjust.write(second + i);
    adjust.write(before + i);
  }
  return inFlight([forward.references(6912), adjust.references(6912)], 2 * 8191 * 256);
}

/**
 * fdtd-2d with 1200 × 1200 floats, five time steps of three launches, thread blocks of 32 × 8: the first takes ey and hz,
 * the second ex and hz, the third all three.
 */
export function fdtdOrder(): AccessOrder {
  const order = new Order(), ex = 16, ey = 1552, hz = 3088, n = 1200, rows = 8;
  /** Pages of rows `from` to `to` of an array whose rows are `width` floats long. */
  const touch = (array: number, width: number, from: number, to: number, write: boolean) => {
    const first = Math.floor(Math.max(0, from) * width / 1024), last = Math.ceil(to * width / 1024);
    for (let p = first; p < last; p++) write ? order.write(array + p) : order.read(array + p);
  };
  for (let step = 0; step < 5; step++) {
    for (let i = 0; i < n; i += rows) {
      if (i === 0) order.read(0);
      touch(ey, n, i, i + rows, true);
      touch(hz, n, i - 1, i + rows, false);
    }
    for (let i = 0; i < n; i += rows) {
      touch(ex, n + 1, i, i + rows, true);
      touch(hz, n, i, i + rows, false);
    }
    for (let i = 0; i < n; i += rows) {
      touch(hz, n, i, i + rows, true);
      touch(ex, n + 1, i, i + rows, false);
      touch(ey, n, i, i + rows + 1, false);
    }
  }
  return inFlight([order.references(4624)], 15 * 38 * 150 * 256);
}

/**
 * bfs on 262,144 nodes with six neighbours each on average, two launches a level, all nodes in the order of their number.
 *
 * Their graph is not in the repository's logs. Ours is drawn: every node has three neighbours drawn evenly from all nodes,
 * and every edge leads back as well, which fills as many pages with edges as theirs.
 *
 * @param seed seed of the graph
 */
export function bfsOrder(seed = 1): AccessOrder {
  const order = new Order(), n = 262_144, sim = new Sim(seed, 1);
  const nodes = 0, mask = 512, updating = 576, visited = 640, edges = 704, cost = 2240;
  const ends = new Uint32Array(6 * n), degree = new Uint32Array(n + 1);
  for (let e = 0; e < 3 * n; e++) {
    ends[2 * e] = Math.floor(e / 3);
    ends[2 * e + 1] = sim.choose(0, n);
    degree[ends[2 * e]]++;
    degree[ends[2 * e + 1]]++;
  }
  const first = new Uint32Array(n + 1), fill = new Uint32Array(n), to = new Uint32Array(6 * n);
  for (let i = 0; i < n; i++) first[i + 1] = first[i] + degree[i];
  for (let e = 0; e < 6 * n; e += 2) {
    const [a, b] = [ends[e], ends[e + 1]];
    to[first[a] + fill[a]++] = b;
    to[first[b] + fill[b]++] = a;
  }
  const at = new Uint8Array(n), next = new Uint8Array(n), seen = new Uint8Array(n);
  at[0] = seen[0] = 1;
  let launches = 0;
  for (let left = 1; left > 0; launches += 2) {
    for (let i = 0; i < n; i++) {
      if (i % 4096 === 0) order.read(mask + i / 4096);
      if (at[i] === 0) continue;
      at[i] = 0;
      order.write(mask + (i >>> 12));
      order.read(nodes + (i >>> 9));
      for (let e = first[i]; e < first[i + 1]; e++) {
        order.read(edges + (e >>> 10));
        order.read(visited + (to[e] >>> 12));
        if (seen[to[e]] === 1) continue;
        order.read(cost + (i >>> 10));
        order.write(cost + (to[e] >>> 10));
        order.write(updating + (to[e] >>> 12));
        next[to[e]] = 1;
      }
    }
    left = 0;
    for (let i = 0; i < n; i++) {
      if (i % 4096 === 0) order.read(updating + i / 4096);
      if (next[i] === 0) continue;
      next[i] = 0;
      at[i] = seen[i] = 1;
      left++;
      order.write(mask + (i >>> 12));
      order.write(visited + (i >>> 12));
      order.write(updating + (i >>> 12));
    }
  }
  return inFlight([order.references(2496)], launches * n);
}
