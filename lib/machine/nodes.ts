/**
 * NUMA nodes as a user says them: how many, or the memory, cores and distances of each.
 * @module
 */
import { checkOptions, describe, during, wholeNumber } from "../arguments.ts";
import { UsageError } from "../errors.ts";
import { LOCAL_DISTANCE, MAX_NODES, REMOTE_DISTANCE } from "../mm/numa.ts";
import { formatBytes, PAGE_SIZE, pages } from "../units.ts";

/** One NUMA node of a machine. */
export interface NodeOptions {
  /** Its memory, for example "64 GiB". */
  readonly memory: string | number;
  /** Its CPU cores (default: its share of the host's). */
  readonly cores?: number;
  /** Its distance to each node as the firmware's table (ACPI SLIT) has it: 10 to itself (default: 20 to each other). */
  readonly distances?: readonly number[];
}

/** A checked NUMA node: plain data. */
export interface NodeSpec {
  /** Frames of memory. */
  readonly pages: number;
  /** CPU cores. */
  readonly cores: number;
  /** Distance to each node. */
  readonly distances: readonly number[];
}

const NODE_OPTIONS: Readonly<Record<keyof NodeOptions, true>> = {
  memory: true,
  cores: true,
  distances: true,
};
const BUILD = "build the machine";
/** Least memory of a node: the zero page and something to work with. */
const LEAST_PAGES = 16;
/** A distance is a byte, and 255 says that there is no way. */
const MOST_DISTANCE = 254;

/** Where a number is not the nearest thing to what a node's own text wants. */
function refuse(what: string, given: unknown, allowed: string, write: string): never {
  throw new UsageError(`Cannot ${BUILD}: got ${describe(given)} for ${what}; ${allowed}; ${write}`);
}

/** The distances of one node, as given or by default. */
function checkDistances(given: unknown, node: number, count: number): readonly number[] {
  if (given === undefined) {
    return Array.from({ length: count }, (_, to) => to === node ? LOCAL_DISTANCE : REMOTE_DISTANCE);
  }
  const what = `the distances of node ${node}`, example = `write for example distances: [10, 20]`;
  if (!Array.isArray(given) || given.length !== count) {
    refuse(what, given, `an array of ${count} numbers is allowed, one a node`, example);
  }
  return given.map((d, to) => {
    const least = to === node ? LOCAL_DISTANCE : LOCAL_DISTANCE + 1;
    const most = to === node ? LOCAL_DISTANCE : MOST_DISTANCE;
    return wholeNumber(BUILD, `the distance of node ${node} to node ${to}`, d, least, most);
  });
}

/**
 * Checks what a user said of a machine's NUMA nodes.
 *
 * @param given how many nodes, or what each is; undefined for one
 * @param memoryPages frames of ordinary memory that the machine was given, or its host's profile has; split evenly among
 * nodes that were only counted
 * @param memoryGiven whether the user gave the memory
 * @param cores cores of the host
 * @returns the nodes
 * @throws {UsageError} naming the node, what was given and what is allowed
 */
export function checkNodes(
  given: unknown,
  memoryPages: number,
  memoryGiven: boolean,
  cores: number,
): readonly NodeSpec[] {
  if (given === undefined || typeof given === "number") {
    const n = wholeNumber(BUILD, "nodes", given ?? 1, 1, MAX_NODES);
    return Array.from({ length: n }, (_, node) => {
      const share = Math.floor(memoryPages / n) + (node < memoryPages % n ? 1 : 0);
      if (share < LEAST_PAGES) {
        throw new UsageError(
          `Cannot ${BUILD}: got ${formatBytes(PAGE_SIZE * memoryPages)} of memory for ${n} nodes; ` +
            `64 KiB or more a node is allowed; write for example memory: "1 GiB"`,
        );
      }
      return {
        pages: share,
        cores: coreShare(cores, n, node),
        distances: checkDistances(undefined, node, n),
      };
    });
  }
  const example = 'write for example nodes: 2, or nodes: [{ memory: "1 GiB" }, { memory: "2 GiB" }]';
  if (!Array.isArray(given) || given.length < 1 || given.length > MAX_NODES) {
    refuse(
      "nodes",
      given,
      `1 to ${MAX_NODES}, or an array with an object for each node, is allowed`,
      example,
    );
  }
  if (memoryGiven) {
    throw new UsageError(
      `Cannot ${BUILD}: got memory beside the memory of each node; one of the two is allowed; ` +
        "leave memory out, or write nodes: 2",
    );
  }
  const specs = given.map((node: NodeOptions, i) => {
    checkOptions(`${BUILD}: node ${i}`, node, NODE_OPTIONS, '{ memory: "64 GiB" }');
    const frames = during(`${BUILD}: memory of node ${i}`, () => pages(node.memory));
    if (frames < LEAST_PAGES) {
      refuse(
        `the memory of node ${i}`,
        node.memory,
        "64 KiB or more is allowed",
        'write for example "1 GiB"',
      );
    }
    const own = node.cores ?? coreShare(cores, given.length, i);
    return {
      pages: frames,
      cores: wholeNumber(BUILD, `the cores of node ${i}`, own, 1, 4096),
      distances: checkDistances(node.distances, i, given.length),
    };
  });
  return specs;
}

/** The cores of one of `n` nodes, as even as can be, and at least 1. */
function coreShare(cores: number, n: number, node: number): number {
  return Math.max(1, Math.floor(cores / n) + (node < cores % n ? 1 : 0));
}

/**
 * Refuses what is no node of a machine.
 *
 * @param act what was to be done, as it follows "Cannot" in the message
 * @param what which option it is
 * @param node what was given
 * @param count how many nodes the machine has
 * @returns the node
 * @throws {UsageError} saying what was given and which nodes there are
 */
export function checkNode(act: string, what: string, node: unknown, count: number): number {
  if (typeof node === "number" && Number.isInteger(node) && node >= 0 && node < count) return node;
  throw new UsageError(
    `Cannot ${act}: got ${describe(node)} for ${what}; the machine has ${
      count === 1 ? "only node 0" : `nodes 0 to ${count - 1}`
    }; ${count === 1 ? "write machine({ nodes: 2 }) for another" : "name one of them"}`,
  );
}
