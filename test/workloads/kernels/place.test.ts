import { describe, expect, test } from "vitest";
import { machine } from "../../../lib/machine/machine.ts";
import { backprop } from "../../../lib/workloads/kernels/backprop.ts";
import { bfs } from "../../../lib/workloads/kernels/bfs.ts";
import { fdtd } from "../../../lib/workloads/kernels/fdtd.ts";
import { gaussSeidel } from "../../../lib/workloads/kernels/gauss_seidel.ts";
import { hotspot } from "../../../lib/workloads/kernels/hotspot.ts";
import { pagesOf } from "../../../lib/workloads/kernels/kernel.ts";
import { multigrid } from "../../../lib/workloads/kernels/multigrid.ts";
import { pageKernel } from "../../../lib/workloads/kernels/pages.ts";
import { gridsOf, mapArrays } from "../../../lib/workloads/kernels/place.ts";
import { pointerChase } from "../../../lib/workloads/kernels/pointer_chase.ts";
import { sgemm } from "../../../lib/workloads/kernels/sgemm.ts";
import { stdStream } from "../../../lib/workloads/kernels/std_stream.ts";
import { streamTriad } from "../../../lib/workloads/kernels/stream_triad.ts";
import { launch } from "../../../lib/workloads/launch.ts";
import { refuses, wrong } from "../../refusal.ts";

const small = () =>
  machine({ memory: "128 MiB", devices: { gpu: { kind: "gpu", memory: "32 MiB", prefetch: "none" } } });

describe("mapArrays()", () => {
  test("gives each array an area of its own at a multiple of 2 MiB", () => {
    const p = small().process(), program = fdtd({ size: 300 }), { vmas } = p.machine.kernel;
    const regions = mapArrays(p, program);
    for (const [i, r] of regions.entries()) {
      expect(r.vpn % 512).toBe(0);
      expect(r.pages).toBe(pagesOf(program.arrays[i]));
      const vma = vmas.lookup(p.mm, r.vpn);
      expect([vmas.start[vma], vmas.end[vma]]).toEqual([r.vpn, r.vpn + r.pages]);
    }
    expect(vmas.length).toBe(regions.length);
  });

  refuses([
    ["what is no process", () => mapArrays(wrong("p"), fdtd()), "for the process"],
    ["what is no program", () => mapArrays(small().process(), wrong({})), "for the program"],
  ]);
});

describe("gridsOf()", () => {
  const p = small().process(), program = hotspot({ size: 64 }), arrays = mapArrays(p, program);
  const child = small().process(), large = hotspot({ size: 512 });
  refuses([
    ["what is no program", () => gridsOf(wrong({}), arrays), "for the program"],
    ["no arrays", () => gridsOf(program, wrong(undefined)), "got undefined for the arrays", "3 regions"],
    [
      "an array too few",
      () => gridsOf(program, arrays.slice(1)),
      "got an array of 2",
      "3 regions",
      "hotspot",
    ],
    ["what is no region", () => gridsOf(program, wrong([1, 2, 3])), "got 1 for a region"],
    [
      "an array that is too small",
      () => gridsOf(large, arrays),
      'got 16 KiB for array "MatrixTemp[0]"',
      "1 MiB or more",
    ],
    [
      "arrays of several processes",
      () => gridsOf(program, [...arrays.slice(0, 2), ...mapArrays(child, program).slice(2)]),
      "a region of another machine",
    ],
  ]);
});

describe("a program", () => {
  const makers = {
    backprop,
    bfs,
    fdtd,
    gaussSeidel,
    hotspot,
    multigrid,
    pointerChase,
    sgemm,
    stdStream,
    streamTriad,
    pageKernel: (o: object) => pageKernel("regular", o),
  };
  refuses(
    Object.entries(makers).map(([name, make]) => [
      `${name} with an unknown option`,
      () => make(wrong({ sizs: 4 })),
      'got option "sizs"',
      "allowed are",
    ]),
  );
});

test("a program on a GPU faults once for each page that it touches, if nothing is brought along", async () => {
  for (const program of [fdtd({ size: 200, steps: 2 }), bfs({ nodes: 5000 }), pointerChase({ pages: 300 })]) {
    const m = small(), p = m.process(), arrays = mapArrays(p, program);
    const run = await m.run({ gpu: launch(m.gpu, p, gridsOf(program, arrays)) });
    expect(run.end).toBe("done");
    expect(run.actors[0].signals).toBe(0);
    expect(run.pagesToDevice).toBe(program.arrays.reduce((n, a) => n + pagesOf(a), 0));
  }
});

test("a chase has one fault at a time", async () => {
  const m = small(), p = m.process(), program = pointerChase({ pages: 200 });
  const run = await m.run({ gpu: launch(m.gpu, p, gridsOf(program, mapArrays(p, program))) });
  const counter = (name: string) =>
    (run.counters.columns.count as Float64Array)[
      (run.counters.columns.counter as readonly string[]).indexOf(name)
    ];
  expect(counter("gpu_faults")).toBe(200);
  expect(counter("gpu_fault_batches")).toBe(200);
});
