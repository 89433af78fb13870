import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Gpu } from "../../../lib/devices/gpu/device.ts";
import { BlockRuns, type Grid } from "../../../lib/devices/gpu/launch.ts";
import { checkGpu, type GpuOptions, REPLAY_POLICIES } from "../../../lib/devices/gpu/spec.ts";
import { type Machine, machine } from "../../../lib/machine/machine.ts";
import type { Process, Region } from "../../../lib/machine/process.ts";
import type { Run } from "../../../lib/machine/run.ts";
import type { Started, Workload } from "../../../lib/machine/workload.ts";
import type { AccessResult } from "../../../lib/mm/access.ts";
import { EFAULT, EPERM } from "../../../lib/mm/errno.ts";
import type { LatencyHistogram } from "../../../lib/record/histogram.ts";
import { UsageError } from "../../../lib/errors.ts";
import { type GpuStep, launch, type LaunchOptions, streamGrid } from "../../../lib/workloads/launch.ts";
import { touch } from "../../../lib/workloads/touch.ts";
import { brokenAtRest } from "../../rest.ts";

/** A machine with one GPU of a few chunks, and a process. */
function small(options: Partial<GpuOptions> = {}, memory = "64 MiB") {
  const gpu = { memory: "8 MiB", prefetch: "none", ...options, kind: "gpu" } as const;
  const m = machine({ memory, devices: { gpu }, swapPages: 0 });
  return { m, p: m.process(), gpu: m.gpu };
}

/** What a run counted under a name. */
function counted(run: Run, name: string): number {
  const i = (run.counters.columns.counter as readonly string[]).indexOf(name);
  return i < 0 ? 0 : (run.counters.columns.count as Float64Array)[i];
}

/** A workload that shows what came of it: pages, errors. */
function keeping(
  w: Workload,
): { readonly workload: Workload; readonly kept: () => AccessResult | undefined } {
  let out: AccessResult | undefined;
  const start = (m: Machine, a: number): Started => {
    const started = w.start(m, a);
    out = started.out;
    return started;
  };
  return { workload: { ...w, start }, kept: () => out };
}

/** Runs of blocks as given, each page `[vpn, pages, write]`. */
function grid(region: Region, blocks: readonly (readonly (readonly [number, number, boolean])[])[]): Grid {
  return {
    name: "by hand",
    blocks: blocks.length,
    pages: blocks.flat().reduce((n, [, pages]) => n + pages, 0),
    fill(block, _part, runs) {
      for (const [at, pages, write] of blocks[block]) runs.add(region.vpn + at, pages, write, 7 + at);
      return false;
    },
  };
}

const run = (m: Machine, gpu: Gpu, p: Process, g: Grid, o?: LaunchOptions) =>
  m.run({ gpu: launch(gpu, p, [g], o) }, { events: 10_000 });

describe("a kernel", () => {
  test("reads what the CPU wrote, and the CPU what it wrote", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("4 MiB");
    p.write(heap, 7);
    const read = await run(m, gpu, p, streamGrid(heap, { value: 7 }), { check: true });
    expect([read.mismatches, read.actors[0].pages, read.pagesToDevice]).toEqual([0, 1024, 1024]);
    expect(brokenAtRest(m)).toEqual([]);
    await run(m, gpu, p, streamGrid(heap, { write: true, value: 50 }));
    const cpu = await m.run({ cpu: touch(heap, { write: false, value: 50, check: true }) });
    expect([cpu.mismatches, cpu.pagesToSystem]).toEqual([0, 1024]);
    expect(brokenAtRest(m)).toEqual([]);
    expect([gpu.memory.used, gpu.chunks.inUse]).toEqual([0, 0]);
  });

  test("reads that expect another word are found out", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("64 KiB");
    p.write(heap, 7);
    expect((await run(m, gpu, p, streamGrid(heap, { value: 8 }), { check: true })).mismatches).toBe(16);
  });

  test("over memory twice the GPU's evicts and loses nothing", async () => {
    const { m, p, gpu } = small({ prefetch: "tree51" }), heap = p.mmap("16 MiB");
    for (const value of [3, 4]) {
      const r = await run(m, gpu, p, streamGrid(heap, { write: true, value }));
      expect(counted(r, "gpu_pages_evicted")).toBeGreaterThan(1024);
      expect(brokenAtRest(m)).toEqual([]);
    }
    const cpu = await m.run({ cpu: touch(heap, { write: false, value: 4, check: true }) });
    expect(cpu.mismatches).toBe(0);
  });

  test("on fresh memory moves zeros over no link", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("1 MiB");
    const r = await run(m, gpu, p, streamGrid(heap), { check: false });
    expect([r.pagesToDevice, r.links[0].total]).toEqual([256, 0]);
    expect(p.read(heap).every((w) => w === 0)).toBe(true);
  });

  test("faults once for every page of hotspot's arrays on demand", async () => {
    const { m, p, gpu } = small({ memory: "16 MiB" }), heap = p.mmap("12 MiB");
    const r = await run(m, gpu, p, streamGrid(heap));
    const at = (r.latencies.columns.kind as string[]).indexOf("far fault");
    expect((r.latencies.columns.count as Float64Array)[at]).toBe(3072);
  });

  test("gives what is not mapped -EFAULT and what must not be written -EPERM, and goes on", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("64 KiB");
    p.write(heap, 7);
    p.munmap(heap.slice("32 KiB", "4 KiB"));
    p.mprotect(heap.slice("48 KiB", "4 KiB"), "r");
    const { workload, kept } = keeping(launch(gpu, p, [grid(heap, [[[0, 16, true]]])]));
    const r = await m.run({ gpu: workload });
    expect([r.actors[0].pages, r.actors[0].signals]).toEqual([14, 2]);
    expect(kept()!.signals.map(({ vpn, cause }) => [vpn - heap.vpn, cause])).toEqual([[8, -EFAULT], [
      12,
      -EPERM,
    ]]);
    expect(brokenAtRest(m)).toEqual([]);
  });
});

describe("faults", () => {
  test("of one uTLB are as many as it can have outstanding, and no batch is larger than the driver's", async () => {
    const { m, p, gpu } = small({ parameters: { sms: 1, smsPerUtlb: 1 } }), heap = p.mmap("4 MiB");
    const r = await run(m, gpu, p, streamGrid(heap));
    const faults = r.records.gpu.batches.columns.faults as Float64Array;
    expect(Math.max(...faults)).toBe(56);
    const wide = small({ parameters: { faultBatch: 100 } }), other = wide.p.mmap("4 MiB");
    const w = await run(wide.m, wide.gpu, wide.p, streamGrid(other));
    expect(Math.max(...(w.records.gpu.batches.columns.faults as Float64Array))).toBe(100);
  });

  test("on one page by many blocks are one service", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("4 KiB");
    const r = await run(m, gpu, p, grid(heap, Array.from({ length: 40 }, () => [[0, 1, false]] as const)));
    expect(r.pagesToDevice).toBe(1);
    const { faults, duplicates } = r.records.gpu.batches.columns as Record<string, Float64Array>;
    expect(faults.length).toBe(1);
    expect(duplicates[0]).toBe(faults[0] - 1);
  });

  test("that find the buffer full are dropped and come again", async () => {
    const { m, p, gpu } = small({ parameters: { faultBufferEntries: 16 } }), heap = p.mmap("4 MiB");
    p.write(heap, 7);
    const r = await run(m, gpu, p, streamGrid(heap, { value: 7 }), { check: true });
    expect(counted(r, "gpu_faults_dropped")).toBeGreaterThan(0);
    expect([r.mismatches, r.actors[0].pages]).toEqual([0, 1024]);
  });

  test("of a block that waits for each access come one at a time", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("64 KiB");
    const chase: Grid = {
      name: "chase",
      blocks: 1,
      pages: 16,
      fill(_block, part, runs) {
        runs.add(heap.vpn + ((part * 7) % 16), 1, false, 0, true);
        return part < 15;
      },
    };
    const r = await run(m, gpu, p, chase);
    expect(r.records.gpu.batches.columns.faults).toEqual(new Float64Array(16).fill(1));
  });

  test("have phases that add up to their latencies, and batches times that add up to their durations", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...REPLAY_POLICIES),
        fc.constantFrom("none", "64 KiB", "tree50", "tree51"),
        fc.integer({ min: 1, max: 64 }),
        fc.constantFrom("2 MiB", "64 KiB", "4 KiB"),
        async (replay, prefetch, pagesPerBlock, chunk) => {
          const { m, p, gpu } = small({ replay, prefetch, chunk, memory: "4 MiB" }), heap = p.mmap("6 MiB");
          p.write(heap, 7);
          // The histograms of a run are its own; the next begins with others.
          let histograms: readonly LatencyHistogram[] = [];
          const { kernel: { sim: { spans } } } = m;
          // deno-lint-ignore require-yield
          const last: GpuStep = function* () {
            histograms = [...spans.kinds];
            return 0;
          };
          const steps = [streamGrid(heap, { value: 7, pagesPerBlock }), last];
          const r = await m.run({ gpu: launch(gpu, p, steps, { check: true }) }, { events: 10_000 });
          expect([r.mismatches, r.actors[0].pages, r.actors[0].signals]).toEqual([0, 1536, 0]);
          expect(brokenAtRest(m)).toEqual([]);
          const kinds = r.phases.columns.kind as readonly string[], ns = r.phases.columns.ns as Float64Array;
          expect(histograms.map((h) => h.name)).toContain("far fault");
          for (const h of histograms) {
            const parts = ns.reduce((sum, x, i) => kinds[i] === h.name ? sum + x : sum, 0);
            expect([h.name, parts]).toEqual([h.name, h.sumNs]);
          }
          const b = r.records.gpu.batches.columns as Record<string, Float64Array>;
          for (let i = 0; i < b.startNs.length; i++) {
            const parts = ["fetchNs", "evictNs", "migrateNs", "mapNs", "replayNs", "otherNs"];
            expect(parts.reduce((sum, name) => sum + b[name][i], 0)).toBe(b.durationNs[i]);
            expect(b.otherNs[i]).toBeGreaterThanOrEqual(0);
          }
        },
      ),
      { numRuns: 12 },
    );
  });
});

describe("replay", () => {
  test("by block comes more often than by batch, and once less often; all read the same", async () => {
    const replays: Record<string, number> = {};
    for (const replay of REPLAY_POLICIES) {
      const { m, p, gpu } = small({ replay }), heap = p.mmap("8 MiB");
      p.write(heap, 7);
      // Block b goes over pages of four VA blocks.
      const blocks = Array.from(
        { length: 64 },
        (_, b) => [0, 512, 1024, 1536].map((v) => [v + 8 * b, 8, false] as const),
      );
      const r = await run(m, gpu, p, grid(heap, blocks), { check: true });
      expect([replay, r.mismatches, r.actors[0].pages]).toEqual([replay, 0, 2048]);
      replays[replay] = counted(r, "gpu_replays");
    }
    expect(replays.block).toBeGreaterThan(replays["batch-flush"]);
    expect(replays.once).toBeLessThan(replays.batch);
  });
});

describe("memory", () => {
  test("comes back to the CPU page by page, or by the granule that the spec says", async () => {
    for (const [faultBackPages, faults] of [[1, 256], [16, 16]] as const) {
      const { m, p, gpu } = small({ faultBackPages }), heap = p.mmap("1 MiB");
      p.write(heap, 7);
      await run(m, gpu, p, streamGrid(heap, { value: 7 }));
      const r = await m.run({ cpu: touch(heap, { write: false, value: 7, check: true }) });
      expect([r.mismatches, r.cpuFaults.count, r.pagesToSystem]).toEqual([0, faults, 256]);
    }
  });

  test("shared with a child by fork stays apart when the GPU writes", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("64 KiB");
    p.write(heap, 7);
    await run(m, gpu, p, streamGrid(heap, { value: 7 }));
    const child = p.fork();
    const r = await run(m, gpu, p, streamGrid(heap, { write: true, value: 70 }));
    expect(r.actors[0].pages).toBe(16);
    expect(brokenAtRest(m)).toEqual([]);
    expect(child.read(child.here(heap))[0]).toBe(7);
    expect(p.read(heap)[0]).toBe(70);
    expect(brokenAtRest(m)).toEqual([]);
  });

  test("goes from GPU to GPU through system memory", async () => {
    const gpu = { kind: "gpu", memory: "8 MiB", prefetch: "none" } as const;
    const m = machine({ memory: "64 MiB", devices: { one: gpu, two: gpu } }),
      p = m.process(),
      heap = p.mmap("1 MiB");
    p.write(heap, 7);
    await run(m, m.one, p, streamGrid(heap, { write: true, value: 20 }));
    expect(m.one.memory.used).toBe(256);
    const r = await run(m, m.two, p, streamGrid(heap, { value: 20 }), { check: true });
    expect([r.mismatches, m.one.memory.used, m.two.memory.used]).toEqual([0, 0, 256]);
    expect([r.pagesToSystem, r.pagesToDevice]).toEqual([256, 256]);
    expect(brokenAtRest(m)).toEqual([]);
  });

  test("that two GPUs and a CPU write at a time ends as one of them left it", async () => {
    const gpu = { kind: "gpu", memory: "2 MiB", prefetch: "tree51" } as const;
    const m = machine({ memory: "64 MiB", devices: { one: gpu, two: gpu } }),
      p = m.process(),
      heap = p.mmap("3 MiB");
    const r = await m.run({
      one: launch(m.one, p, [streamGrid(heap, { write: true, value: 1000 })]),
      two: launch(m.two, p, [streamGrid(heap, { write: true, value: 2000 })]),
      cpu: touch(heap, { value: 3000 }),
    });
    expect(r.actors.map((a) => a.pages)).toEqual([768, 768, 768]);
    expect(brokenAtRest(m)).toEqual([]);
    p.read(heap).forEach((w, i) => expect([1000 + i, 2000 + i, 3000 + i]).toContain(w));
  });

  test("survives failing copies, mappings and allocations", async () => {
    for (const point of ["dma map", "copy", "device page allocation"]) {
      const { m, p, gpu } = small({ prefetch: "tree51", memory: "4 MiB" }), heap = p.mmap("6 MiB");
      p.write(heap, 7);
      m.kernel.sim.injectFailure(point, 100_000);
      const r = await run(m, gpu, p, streamGrid(heap, { value: 7 }), { check: true });
      expect([point, r.mismatches, r.actors[0].pages]).toEqual([point, 0, 1536]);
      expect(brokenAtRest(m)).toEqual([]);
    }
  });
});

test("all runners end with the same memory", async () => {
  for (const runner of ["clock", "complete", "steps"] as const) {
    const { m, p, gpu } = small({ prefetch: "tree51", memory: "2 MiB" }), heap = p.mmap("3 MiB");
    p.write(heap, 7);
    const r = await m.run({ gpu: launch(gpu, p, [streamGrid(heap, { value: 7 })], { check: true }) }, {
      runner,
    });
    expect([runner, r.mismatches, r.actors[0].pages]).toEqual([runner, 0, 768]);
    expect(brokenAtRest(m)).toEqual([]);
    expect(p.read(heap).every((w, i) => w === 7 + i)).toBe(true);
  }
});

test("the same seed gives the same digest", async () => {
  const once = async () => {
    const { m, p, gpu } = small({ prefetch: "random", eviction: "random" }), heap = p.mmap("12 MiB");
    p.write(heap, 7);
    return (await run(m, gpu, p, streamGrid(heap, { value: 7 }))).digest;
  };
  expect(await once()).toBe(await once());
});

describe("a spec that cannot be is named, with what is allowed", () => {
  const wrong: readonly (readonly [object, RegExp])[] = [
    [{ memory: "1 MiB" }, /chunk of 2 MiB and 1 MiB of memory/],
    [{ memory: "3 MiB" }, /whole chunks of 2 MiB/],
    [{ chunk: "3 MiB" }, /for chunk; 1, 2, 4/],
    [{ chunk: "64 KiB", granule: "128 KiB" }, /granule of 128 KiB and chunks of 64 KiB/],
    [{ prefetch: "tree" }, /allowed are "none".*tree50/],
    [{ eviction: "belady" }, /must know the future/],
    [{ eviction: "fifo" }, /allowed are/],
    [{ replay: "never" }, /"block", "batch"/],
    [{ parameters: { faultBatch: 0 } }, /faultBatch/],
    [{ faultBackPages: 3 }, /1, 2, 4/],
    [{ granule: "8 GiB" }, /granule/],
    [{ sms: 4 }, /got option "sms", which is a parameter of the profile; write parameters: \{ sms: … \}/],
    [{ batch: 0 }, /allowed are kind, .*; did you mean parameters: \{ faultBatch: … \}\?/],
    [{ evict: "random" }, /did you mean eviction\?/],
  ];
  test.for(wrong)("%o", ([options, message]) => {
    expect(() => checkGpu({ kind: "gpu", ...options })).toThrow(UsageError);
    expect(() => checkGpu({ kind: "gpu", ...options })).toThrow(message);
  });

  test("an unknown kind", () => {
    const devices = { gpu: { kind: "tpu" } } as unknown as { gpu: GpuOptions };
    expect(() => machine({ devices })).toThrow(/"dummy" and "gpu" are allowed/);
  });
});

test("runs of a block grow without losing any", () => {
  const runs = new BlockRuns();
  for (let i = 0; i < 100; i++) runs.add(2 ** 35 + i, i + 1, i % 2 === 0, i, i % 3 === 0);
  expect(runs.n).toBe(100);
  expect([runs.vpn[99], runs.pages[99], runs.write[99], runs.value[99], runs.after[99]])
    .toEqual([2 ** 35 + 99, 100, 0, 99, 1]);
});
