import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BlockRuns, type Grid } from "../../../lib/devices/gpu/launch.ts";
import { backprop } from "../../../lib/workloads/kernels/backprop.ts";
import { bfs } from "../../../lib/workloads/kernels/bfs.ts";
import { fdtd } from "../../../lib/workloads/kernels/fdtd.ts";
import { gaussSeidel } from "../../../lib/workloads/kernels/gauss_seidel.ts";
import { levels, randomGraph } from "../../../lib/workloads/kernels/graph.ts";
import { hotspot } from "../../../lib/workloads/kernels/hotspot.ts";
import { addPages, type GpuProgram, layOut, pagesOf } from "../../../lib/workloads/kernels/kernel.ts";
import { multigrid } from "../../../lib/workloads/kernels/multigrid.ts";
import { pageKernel, type PageOrder } from "../../../lib/workloads/kernels/pages.ts";
import { pointerChase } from "../../../lib/workloads/kernels/pointer_chase.ts";
import { sgemm } from "../../../lib/workloads/kernels/sgemm.ts";
import { stdStream } from "../../../lib/workloads/kernels/std_stream.ts";
import { streamTriad } from "../../../lib/workloads/kernels/stream_triad.ts";
import { machine } from "../../../lib/machine/machine.ts";
import { gridsOf } from "../../../lib/workloads/kernels/place.ts";
import { launch } from "../../../lib/workloads/launch.ts";
import { touch } from "../../../lib/workloads/touch.ts";
import { refuses } from "../../refusal.ts";

/** Calls `add` with every run of a grid, block by block, part by part. */
function eachRun(grid: Grid, add: (vpn: number, pages: number, write: boolean) => void): void {
  const runs = new BlockRuns();
  for (let b = 0; b < grid.blocks; b++) {
    for (let part = 0, more = true; more; part++) {
      runs.clear();
      more = grid.fill(b, part, runs);
      for (let i = 0; i < runs.n; i++) add(runs.vpn[i], runs.pages[i], runs.write[i] !== 0);
    }
  }
}

/** Pages that a program touches and writes; throws for a page outside its arrays. */
function touched(program: GpuProgram): { read: Set<number>; written: Set<number> } {
  const { first } = layOut(program, 512), read = new Set<number>(), written = new Set<number>();
  const inside = new Set(
    first.flatMap((v, i) => Array.from({ length: pagesOf(program.arrays[i]) }, (_, p) => v + p)),
  );
  const add = (vpn: number, pages: number, write: boolean) => {
    for (let v = vpn; v < vpn + pages; v++) {
      if (!inside.has(v)) {
        throw new Error(`${program.name} touches page ${v}, which is in none of its arrays`);
      }
      (write ? written : read).add(v);
    }
  };
  for (const grid of program.launches(first)) eachRun(grid, add);
  return { read, written };
}

const all = (program: GpuProgram) => {
  const { read, written } = touched(program);
  return read.union(written).size;
};
const total = (program: GpuProgram) => program.arrays.reduce((n, a) => n + pagesOf(a), 0);

describe("the programs of ISCA'19, whose far faults on demand are the pages that they touch", () => {
  test.each([
    ["hotspot", hotspot(), 3072],
    ["backprop", backprop(), 6785],
    ["fdtd", fdtd(), 4224],
  ])("%s touches as many pages as were published", (_name, program, published) => {
    expect(all(program)).toBe(published);
  });

  test("bfs touches within 1 % of what was published, on a graph of the same rule", () => {
    expect(Math.abs(all(bfs()) / 2491 - 1)).toBeLessThan(0.01);
  });
});

describe("every program", () => {
  test.each([
    hotspot({ size: 100, stepsPerLaunch: 3, steps: 7 }),
    fdtd({ size: 70, steps: 2 }),
    backprop({ inputs: 160 }),
    bfs({ nodes: 3000, seed: 5 }),
    stdStream({ elements: 3000, passes: 2 }),
    streamTriad({ elements: 3000, passes: 2 }),
    sgemm({ size: 100, tile: 48, depth: 7 }),
    gaussSeidel({ size: 100, sweeps: 1 }),
    multigrid({ boxCells: 16, boxes: 3, cycles: 2 }),
    pointerChase({ pages: 97, chains: 4 }),
    pageKernel("regular", { pages: 97 }),
    pageKernel("stride", { pages: 97, stridePages: 10 }),
  ].map((p) => [p.name, p] as const))(
    "%s stays inside its arrays, touches all of them and writes",
    (name, program) => {
      expect(all(program)).toBe(total(program));
      const writes = touched(program).written.size;
      if (["pointer chase", "regular", "stride"].includes(name)) expect(writes).toBe(0);
      else expect(writes).toBeGreaterThan(0);
    },
  );
});

test("each page of a page kernel is touched once, whatever the order", () => {
  const order = fc.constantFrom<PageOrder>("regular", "random", "stride");
  fc.assert(fc.property(order, fc.integer({ min: 1, max: 300 }), fc.nat(), fc.nat(), (o, pages, seed, s) => {
    const program = pageKernel(o, { pages, seed, stridePages: 1 + (s % pages) }), seen: number[] = [];
    for (const grid of program.launches([0])) {
      eachRun(grid, (v, n) => expect(n).toBe(seen.push(v) - seen.length + 1));
    }
    expect(seen.toSorted((x, y) => x - y)).toEqual(Array.from({ length: pages }, (_, i) => i));
  }));
});

test("stencils read the rim that their neighbours write", () => {
  const [launch] = hotspot({ size: 64, stepsPerLaunch: 1 }).launches([0, 100, 200]), runs = new BlockRuns();
  launch.fill(0, 0, runs);
  const reads = [...runs.vpn.subarray(0, runs.n)].filter((v) => v < 100);
  // 14 cells a side and one of rim: 15 rows of 256 bytes lie in the first page.
  expect(new Set(reads)).toEqual(new Set([0]));
});

test("a random graph is the same from the same seed, and each of its edges goes both ways", () => {
  const g = randomGraph(500, 3), edges = new Map<string, number>();
  expect(g).toEqual(randomGraph(500, 3));
  expect(g.to).not.toEqual(randomGraph(500, 4).to);
  for (let i = 0; i < g.nodes; i++) {
    for (let e = g.first[i]; e < g.first[i + 1]; e++) {
      edges.set(`${i} ${g.to[e]}`, (edges.get(`${i} ${g.to[e]}`) ?? 0) + 1);
    }
  }
  for (const [edge, n] of edges) expect(edges.get(edge.split(" ").reverse().join(" "))).toBe(n);
  const level = levels(g, 0);
  for (let i = 0; i < g.nodes; i++) {
    for (let e = g.first[i]; e < g.first[i + 1]; e++) {
      if (level[i] >= 0) expect(level[g.to[e]]).toBeLessThanOrEqual(level[i] + 1);
    }
  }
  expect(g.to.length / g.nodes).toBeCloseTo(6, 0);
});

describe("addPages()", () => {
  test("keeps what each run covers, in order, and joins runs that follow each other", () => {
    const run = fc.tuple(fc.nat({ max: 20 }), fc.integer({ min: 1, max: 5 }), fc.boolean());
    fc.assert(fc.property(fc.array(run, { maxLength: 200 }), (runs) => {
      const list = new BlockRuns(), pages: string[] = [], kept: string[] = [];
      for (const [vpn, n, write] of runs) {
        addPages(list, vpn, n, write);
        for (let v = vpn; v < vpn + n; v++) pages.push(`${v} ${write}`);
      }
      for (let i = 0; i < list.n; i++) {
        for (let v = 0; v < list.pages[i]; v++) kept.push(`${list.vpn[i] + v} ${list.write[i] === 1}`);
      }
      expect(new Set(kept)).toEqual(new Set(pages));
      expect([...new Set(kept)]).toEqual([...new Set(pages)]);
      expect(list.n).toBeLessThanOrEqual(runs.length);
    }));
  });
});

describe("sizes that cannot be are refused by name", () => {
  refuses([
    ["hotspot's steps per launch", () => hotspot({ stepsPerLaunch: 8 }), "got 8 for stepsPerLaunch"],
    ["fdtd's size", () => fdtd({ size: 0 }), "got 0 for size"],
    ["backprop's inputs", () => backprop({ inputs: 3 }), "got 3 for inputs"],
    ["bfs's nodes", () => bfs({ nodes: 1.5 }), "got 1.5 for nodes"],
    ["the triad's elements", () => streamTriad({ elements: -1 }), "got -1 for elements"],
    ["the standard stream's passes", () => stdStream({ passes: 0 }), "got 0 for passes"],
    ["sgemm's tile", () => sgemm({ size: 64, tile: 65 }), "got 65 for tile"],
    ["the chase's chains", () => pointerChase({ pages: 4, chains: 5 }), "got 5 for chains"],
    ["the sweeps", () => gaussSeidel({ sweeps: NaN }), "for sweeps"],
    ["multigrid's box", () => multigrid({ boxCells: 2 }), "got 2 for boxCells"],
    ["an order", () => pageKernel("diagonal" as PageOrder), "for the order"],
  ]);
});

describe("stdStream(), host and device by turns and no copy in the program", () => {
  test("each side reads what the other wrote, loop by loop", async () => {
    const m = machine({
      memory: "64 MiB",
      devices: { gpu: { kind: "gpu", memory: "8 MiB" } },
      checkers: "all",
    });
    // Three times 4 MiB in 8 MiB of memory: some of it leaves while the loops go on.
    const p = m.process(), program = stdStream({ elements: 524_288, passes: 2 });
    const vectors = program.arrays.map((v) => p.mmap(v.lengthBytes));
    for (const [i, v] of vectors.entries()) await m.run({ host: touch(v, { value: program.before[i] }) });
    const run = await m.run({ gpu: launch(m.gpu, p, gridsOf(program, vectors), { check: true }) });
    expect(run.mismatches).toBe(0);
    expect(run.actors[0].pages).toBe(2 * 12 * 1024);
    expect(run.pagesToSystem).toBeGreaterThan(0);
    for (const [i, v] of vectors.entries()) {
      const back = touch(v, { write: false, check: true, value: program.after[i] });
      expect((await m.run({ host: back })).mismatches).toBe(0);
    }
    const wrong = touch(vectors[0], { write: false, check: true, value: program.before[0] + 1 });
    expect((await m.run({ host: wrong })).mismatches).toBe(1024);
  });
});
