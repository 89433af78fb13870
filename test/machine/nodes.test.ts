import { expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { SECTION_PAGES } from "../../lib/mm/pages.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { refuses } from "../refusal.ts";

test("machine({ nodes }) gives each node a zone of its own, at a section boundary, before the devices'", () => {
  const m = machine({
    nodes: [{ memory: "1 MiB" }, { memory: "2 MiB" }],
    devices: { gpu: { profile: "titan-v", memory: "1 MiB" } },
  });
  expect(m.kernel.pages.zones.map((z) => [z.name, z.start, z.end])).toEqual([
    ["RAM of node 0", 0, 256],
    ["RAM of node 1", SECTION_PAGES, SECTION_PAGES + 512],
    ["gpu", 3 * SECTION_PAGES, 3 * SECTION_PAGES + 256],
  ]);
  expect(m.spec.kernel.ramPages).toBe(768);
  const { pages, nodes } = m.kernel;
  expect([0, 255, SECTION_PAGES, SECTION_PAGES + 511].map((p) => nodes.nodeOf(p))).toEqual([0, 0, 1, 1]);
  expect([0, SECTION_PAGES, 3 * SECTION_PAGES].map((p) => pages.isZoneDevice(p))).toEqual([
    false,
    false,
    true,
  ]);
});

test("nodes that are counted share the memory and the cores evenly", () => {
  const { nodes } = machine({ memory: 4096 * 1001, nodes: 2 }).spec;
  expect(nodes).toEqual([
    { pages: 501, cores: 16, distances: [10, 20] },
    { pages: 500, cores: 16, distances: [20, 10] },
  ]);
});

test("a page is taken on the node of the CPU that touches it first, then on the nearest", () => {
  const m = machine({
    nodes: [
      { memory: "64 KiB", distances: [10, 30, 20] },
      { memory: "64 KiB", distances: [30, 10, 20] },
      { memory: "64 KiB", distances: [20, 20, 10] },
    ],
    checkers: "all",
  });
  const p = m.process({ node: 0 }), heap = p.mmap("160 KiB");
  p.write(heap, 1);
  // 15 beside the zero page on node 0, then node 2 at distance 20, then node 1 at 30.
  const where = p.nodes(heap);
  expect([0, 2, 1].map((n) => where.filter((x) => x === n).length)).toEqual([15, 16, 9]);
  expect(where).toEqual([...where].sort((x, y) => [0, 2, 1].indexOf(x) - [0, 2, 1].indexOf(y)));
  expect(p.read(heap)).toEqual(Array.from({ length: 40 }, (_, i) => 1 + i));
  expect(m.checkers!.brokenAtRest()).toEqual([]);
  p.exit();
  expect(m.kernel.pages.zones.map((z) => m.kernel.pages.used(z))).toEqual([1, 0, 0]);
});

test("processes, workloads and threads run on the node that they are given", async () => {
  const m = machine({ memory: "16 MiB", nodes: 2 });
  const p = m.process({ node: 1 }),
    a = p.mmap("4 KiB"),
    b = p.mmap("4 KiB"),
    c = p.mmap("4 KiB"),
    d = p.mmap("4 KiB");
  p.write(a, 1);
  await m.run({ here: touch(b), there: touch(c, { node: 0 }) });
  p.complete(new Thread(p, { node: 0 }).write(d, 1));
  expect([a, b, c, d].map((r) => p.nodes(r)[0])).toEqual([1, 1, 0, 0]);
  expect(p.fork().node).toBe(1);
});

test("an access to another node takes longer by its distance, in a phase of its own", async () => {
  const time = async (node: number, distance: number) => {
    const m = machine({
      nodes: [{ memory: "4 MiB", distances: [10, distance] }, { memory: "4 MiB" }],
      hostParameters: { access: "100 ns", remoteAccess: "230 ns" },
    });
    const p = m.process({ node: 1 }), heap = p.mmap("1 MiB");
    p.write(heap, 1);
    const run = await m.run({ cpu: touch(heap, { write: false, node }) });
    return run.virtualNs;
  };
  expect(await time(1, 20)).toBe(256 * 100);
  expect(await time(0, 20)).toBe(256 * 230);
  expect(await time(0, 32)).toBe(256 * (100 + 286));
});

test("one node behaves as no nodes said", () => {
  const made = (options: Parameters<typeof machine>[0]) => {
    const m = machine({ memory: "4 MiB", ...options }), p = m.process(), heap = p.mmap("1 MiB");
    p.write(heap, 1);
    const child = p.fork();
    child.write(child.here(heap), 2);
    return m.stateDigest();
  };
  expect(made({ nodes: 1 })).toBe(made({}));
});

refuses([
  ["no node", () => machine({ nodes: 0 }), "0", "1 to 8"],
  ["too many", () => machine({ nodes: 9 }), "9", "1 to 8"],
  ["a word", () => machine({ nodes: "two" as never }), '"two"', "nodes: 2"],
  ["an empty list", () => machine({ nodes: [] }), "1 to 8"],
  [
    "a node without memory",
    () => machine({ nodes: [{ memory: "1 MiB" }, { memory: 0 }] }),
    "node 1",
    "64 KiB",
  ],
  ["memory twice", () => machine({ memory: "1 MiB", nodes: [{ memory: "1 MiB" }] }), "leave memory out"],
  ["too little for each", () => machine({ memory: "64 KiB", nodes: 2 }), "64 KiB", "2 nodes"],
  [
    "a distance missing",
    () => machine({ nodes: [{ memory: "1 MiB", distances: [10] }, { memory: "1 MiB" }] }),
    "distances of node 0",
    "2 numbers",
  ],
  [
    "a distance to itself",
    () => machine({ nodes: [{ memory: "1 MiB", distances: [20, 20] }, { memory: "1 MiB" }] }),
    "node 0 to node 0",
    "20",
  ],
  ["an unknown option", () => machine({ nodes: [{ memory: "1 MiB", size: 1 } as never] }), "size"],
  [
    "a process of no node",
    () => machine({ memory: "1 MiB" }).process({ node: 1 }),
    "only node 0",
    "nodes: 2",
  ],
  [
    "a thread of no node",
    () => new Thread(machine({ memory: "1 MiB", nodes: 2 }).process(), { node: 2 }),
    "nodes 0 to 1",
  ],
]);
