/** Random graphs for breadth-first search. */
import { draws } from "../../sim/random.ts";

/** A directed graph: the neighbours of node `i` are `to[first[i]]` to `to[first[i + 1] - 1]`. */
export interface Graph {
  /** Nodes. */
  readonly nodes: number;
  /** First edge by node, and past the last. */
  readonly first: Uint32Array;
  /** Node at the end of each edge. */
  readonly to: Uint32Array;
}

/**
 * Draws a graph as Rodinia's graphgen does: each node picks 2 to 4 others, and each edge goes both ways.
 *
 * The graph may have loops, double edges and parts that cannot be reached. The rule is that of inputGen/graphgen.cpp in
 * github.com/DebashisGanguly/gpgpu-sim_UVMSmart, the draws are ours: the same seed gives the same graph anywhere.
 *
 * @param nodes how many nodes
 * @param seed of the draws
 * @returns the graph, six edges a node on average
 *
 * @example
 * ```ts
 * console.log(randomGraph(1000, 1).first.length); // 1001
 * ```
 */
export function randomGraph(nodes: number, seed: number): Graph {
  const draw = draws(seed), ends = new Uint32Array(8 * nodes), first = new Uint32Array(nodes + 1);
  let n = 0;
  for (let i = 0; i < nodes; i++) {
    for (let k = 2 + draw(3); k > 0; k--) {
      const j = draw(nodes);
      ends[n++] = i;
      ends[n++] = j;
      first[i + 1]++;
      first[j + 1]++;
    }
  }
  for (let i = 0; i < nodes; i++) first[i + 1] += first[i];
  const next = first.slice(0, nodes), to = new Uint32Array(n);
  for (let e = 0; e < n; e += 2) {
    to[next[ends[e]]++] = ends[e + 1];
    to[next[ends[e + 1]]++] = ends[e];
  }
  return { nodes, first, to };
}

/**
 * Distance of every node from one: what breadth-first search finds.
 *
 * @param graph the graph
 * @param source where it begins
 * @returns the number of edges to each node, -1 where none leads there
 */
export function levels(graph: Graph, source: number): Int32Array {
  const level = new Int32Array(graph.nodes).fill(-1), queue = new Uint32Array(graph.nodes);
  level[source] = 0;
  queue[0] = source;
  for (let head = 0, tail = 1; head < tail; head++) {
    const at = queue[head];
    for (let e = graph.first[at]; e < graph.first[at + 1]; e++) {
      const to = graph.to[e];
      if (level[to] >= 0) continue;
      level[to] = level[at] + 1;
      queue[tail++] = to;
    }
  }
  return level;
}
