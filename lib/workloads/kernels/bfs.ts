/** Breadth-first search of Rodinia: a pair of launches for each level of the graph. */
import { checkOptions, wholeNumber } from "../../arguments.ts";
import { levels, randomGraph } from "./graph.ts";
import { addBytes, type GpuProgram, gridOf } from "./kernel.ts";

const THREADS = 512;
const WARP = 32;
/** struct Node: first edge and number of edges. */
const NODE_BYTES = 8;

/** How large the graph is. */
export interface BfsOptions {
  /** Nodes (default 262,144). */
  readonly nodes?: number;
  /** Seed of the graph (default 1). */
  readonly seed?: number;
}

const OPTIONS: Readonly<Record<keyof BfsOptions, true>> = { nodes: true, seed: true };

/**
 * Breadth-first search, one thread a node: the threads of the current level look at their neighbours.
 *
 * It stands for Rodinia's bfs as UVM Smart runs it (graph256k; Ganguly et al., ISCA'19). The geometry (512 threads a
 * block, masks of one byte a node, the six arrays in their order) is that of the program's source in
 * github.com/DebashisGanguly/gpgpu-sim_UVMSmart, benchmarks/Managed/bfs. The graph is drawn by the rule of its generator,
 * see {@link randomGraph}; it is not the published one, so counts that hang on its edges come near and are not equal.
 *
 * @param options sizes
 * @returns the program
 * @throws {UsageError} for sizes that cannot be, or an option that is none
 *
 * @example
 * ```ts
 * console.log(bfs({ nodes: 1024 }).arrays.map((a) => a.name).join(" "));
 * ```
 */
export function bfs(options: BfsOptions = {}): GpuProgram {
  const { nodes = 262_144, seed = 1 } = options;
  checkOptions("make bfs", options, OPTIONS, "{ nodes: 262144 }");
  wholeNumber("make bfs", "nodes", nodes, 2, 1 << 24);
  wholeNumber("make bfs", "seed", seed, 0, Number.MAX_SAFE_INTEGER);
  const graph = randomGraph(nodes, seed), level = levels(graph, 0);
  const deepest = level.reduce((m, x) => Math.max(m, x), 0), blocks = Math.ceil(nodes / THREADS);
  return {
    name: "bfs",
    source:
      "Rodinia bfs as UVM Smart runs it, benchmarks/Managed/bfs; the graph drawn by its generator's rule",
    arrays: [
      { name: "graph_nodes", lengthBytes: NODE_BYTES * nodes },
      { name: "graph_mask", lengthBytes: nodes },
      { name: "updating_graph_mask", lengthBytes: nodes },
      { name: "graph_visited", lengthBytes: nodes },
      { name: "graph_edges", lengthBytes: 4 * graph.to.length },
      { name: "cost", lengthBytes: 4 * nodes },
    ],
    *launches([node, mask, updating, visited, edges, cost]) {
      for (let depth = 0; depth <= deepest; depth++) {
        yield gridOf("Kernel", blocks, THREADS, (b, out) => {
          for (let w = b * THREADS; w < Math.min(nodes, (b + 1) * THREADS); w += WARP) {
            const end = Math.min(nodes, w + WARP);
            addBytes(out, mask, w, end, false);
            for (let i = w; i < end; i++) {
              if (level[i] !== depth) continue;
              addBytes(out, mask, i, i + 1, true);
              addBytes(out, node, NODE_BYTES * i, NODE_BYTES * (i + 1), false);
              for (let e = graph.first[i]; e < graph.first[i + 1]; e++) {
                const to = graph.to[e];
                addBytes(out, edges, 4 * e, 4 * e + 4, false);
                addBytes(out, visited, to, to + 1, false);
                if (level[to] !== depth + 1) continue;
                addBytes(out, cost, 4 * i, 4 * i + 4, false);
                addBytes(out, cost, 4 * to, 4 * to + 4, true);
                addBytes(out, updating, to, to + 1, true);
              }
            }
          }
        });
        yield gridOf("Kernel2", blocks, THREADS, (b, out) => {
          for (let w = b * THREADS; w < Math.min(nodes, (b + 1) * THREADS); w += WARP) {
            const end = Math.min(nodes, w + WARP);
            addBytes(out, updating, w, end, false);
            for (let i = w; i < end; i++) {
              if (level[i] !== depth + 1) continue;
              for (const array of [mask, visited, updating]) addBytes(out, array, i, i + 1, true);
            }
          }
        });
      }
    },
  };
}
