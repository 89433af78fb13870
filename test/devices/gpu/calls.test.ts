import { describe, expect, test } from "vitest";
import { advise, prefetch } from "../../../lib/devices/gpu/calls.ts";
import type { GpuOptions } from "../../../lib/devices/gpu/spec.ts";
import { machine } from "../../../lib/machine/machine.ts";
import { Thread } from "../../../lib/machine/thread.ts";
import type { Workload } from "../../../lib/machine/workload.ts";
import { AccessResult } from "../../../lib/mm/access.ts";
import type { Run } from "../../../lib/machine/run.ts";
import { EFAULT } from "../../../lib/mm/errno.ts";
import {
  adviseStep,
  launch,
  prefetchBackStep,
  prefetchStep,
  streamGrid,
} from "../../../lib/workloads/launch.ts";
import { touch } from "../../../lib/workloads/touch.ts";
import { brokenAtRest } from "../../rest.ts";

function small(options: Partial<GpuOptions> = {}) {
  const gpu = { memory: "8 MiB", prefetch: "none", ...options, kind: "gpu" } as const;
  const m = machine({ memory: "64 MiB", devices: { gpu } }), p = m.process();
  const rules = () => brokenAtRest(m);
  return { m, p, gpu: m.gpu, rules };
}

function counted(run: Run, name: string): number {
  const i = (run.counters.columns.counter as readonly string[] | undefined)?.indexOf(name) ?? -1;
  return i < 0 ? 0 : (run.counters.columns.count as Float64Array)[i];
}

describe("prefetch", () => {
  test("brings a range so that a kernel does not fault on it, and takes it back so that the CPU does not", async () => {
    const { m, p, gpu, rules } = small(), heap = p.mmap("6 MiB");
    p.write(heap, 7);
    const steps = [prefetchStep(heap), streamGrid(heap, { value: 7 }), prefetchBackStep(heap)];
    const r = await m.run({ gpu: launch(gpu, p, steps, { check: true }) });
    expect([r.mismatches, counted(r, "gpu_faults"), r.pagesToDevice, r.pagesToSystem]).toEqual([
      0,
      0,
      1536,
      1536,
    ]);
    expect(rules()).toEqual([]);
    const cpu = await m.run({ cpu: touch(heap, { write: false, value: 7, check: true }) });
    expect([cpu.mismatches, cpu.pagesToSystem, cpu.cpuFaults.count]).toEqual([0, 0, 0]);
  });

  test("of more than the GPU holds evicts; of nothing mapped is -EFAULT", () => {
    const { p, gpu, m, rules } = small(), heap = p.mmap("12 MiB");
    p.write(heap, 7);
    expect(m.complete(prefetch(gpu, 0, p.mm, heap.vpn, heap.vpn + heap.pages))).toBe(0);
    expect(gpu.memory.used).toBe(2048);
    expect(rules()).toEqual([]);
    p.munmap(heap);
    expect(m.complete(prefetch(gpu, 0, p.mm, heap.vpn, heap.vpn + 1))).toBe(-EFAULT);
  });
});

describe("hints", () => {
  test("prefer-system leaves pages where they are and maps them over the link, until prefer-none", async () => {
    const { m, p, gpu, rules } = small(), heap = p.mmap("1 MiB");
    p.write(heap, 7);
    const far = await m.run({
      gpu: launch(gpu, p, [adviseStep(heap, "prefer-system"), streamGrid(heap, { value: 7 })], {
        check: true,
      }),
    });
    expect([far.mismatches, far.pagesToDevice, far.links[0].total]).toEqual([0, 0, 1 << 20]);
    expect(gpu.table(p.mm).translate(heap.vpn, false)).toBeLessThan(m.kernel.ram.end);
    expect(rules()).toEqual([]);
    // What is mapped already does not fault: a write of the CPU to other memory does not change that.
    p.madvise(heap, "dontneed");
    const near = await m.run({ gpu: launch(gpu, p, [adviseStep(heap, "prefer-none"), streamGrid(heap)]) });
    expect(near.pagesToDevice).toBe(256);
  });

  test("of the latest word, and of part of a range", async () => {
    const { m, p, gpu } = small(), heap = p.mmap("1 MiB");
    p.write(heap, 7);
    const steps = [
      adviseStep(heap, "prefer-system"),
      adviseStep(heap.slice("256 KiB", "512 KiB"), "prefer-gpu"),
      streamGrid(heap),
    ];
    expect((await m.run({ gpu: launch(gpu, p, steps) })).pagesToDevice).toBe(128);
  });

  test("accessed-by maps what is there at once and moves nothing; read-mostly does nothing", async () => {
    const { m, p, gpu, rules } = small(), heap = p.mmap("1 MiB");
    p.write(heap, 7);
    const steps = [
      adviseStep(heap, "read-mostly"),
      adviseStep(heap, "accessed-by"),
      streamGrid(heap, { value: 7 }),
    ];
    const r = await m.run({ gpu: launch(gpu, p, steps, { check: true }) });
    expect([r.mismatches, counted(r, "gpu_faults"), r.pagesToDevice]).toEqual([0, 0, 0]);
    expect(rules()).toEqual([]);
  });

  test("that are none are refused", () => {
    const { p, gpu, m } = small(), heap = p.mmap("1 MiB");
    expect(() => adviseStep(heap, "prefer" as "prefer-gpu")).toThrow(/allowed are "prefer-gpu"/);
    expect(m.complete(advise(gpu, 0, p.mm, heap.vpn, heap.vpn, "prefer-gpu"))).toBe(-22);
    for (let i = 0; i < 256; i++) {
      m.complete(advise(gpu, 0, p.mm, heap.vpn + i, heap.vpn + i + 1, "prefer-gpu"));
    }
    expect(m.complete(advise(gpu, 0, p.mm, heap.vpn + 300, heap.vpn + 301, "prefer-gpu"))).toBe(-12);
    // One that covers the others makes room.
    expect(m.complete(advise(gpu, 0, p.mm, heap.vpn, heap.vpn + 256, "prefer-gpu"))).toBe(0);
  });
});

describe("access counters", () => {
  test("bring what the GPU keeps using over the link", async () => {
    const { m, p, gpu, rules } = small({ accessCounters: { granularity: "64 KiB", threshold: 32 } });
    const heap = p.mmap("1 MiB");
    p.write(heap, 7);
    const pass = streamGrid(heap, { value: 7 });
    const r = await m.run({
      gpu: launch(gpu, p, [adviseStep(heap, "accessed-by"), pass, pass, pass, pass, pass, pass], {
        check: true,
      }),
    });
    expect([r.mismatches, r.pagesToDevice]).toEqual([0, 256]);
    // Some passes went over the link, then all pages came: by far not six times 1 MiB.
    expect(r.links[0].total).toBeGreaterThan(1 << 20);
    expect(r.links[0].total).toBeLessThan(5 << 20);
    expect(rules()).toEqual([]);
  });
});

describe("thrashing", () => {
  /** A GPU and a CPU that both write the same pages again and again. */
  const fight = async (thrashing: GpuOptions["thrashing"], rounds = 100) => {
    const { m, p, gpu, rules } = small({ thrashing }), heap = p.mmap("64 KiB"), t = new Thread(p);
    p.write(heap, 7);
    const grids = Array.from({ length: 100 }, () => streamGrid(heap, { write: true, value: 7 }));
    const out = new AccessResult();
    const cpu: Workload = {
      name: "write over and over",
      process: p,
      start() {
        function* program() {
          for (let i = 0; i < rounds; i++) {
            yield* t.write(heap, 7);
            out.pages += heap.pages;
          }
        }
        return { proc: program(), out, total: rounds * heap.pages, done: () => out.pages };
      },
    };
    const r = await m.run({ gpu: launch(gpu, p, grids), cpu });
    expect(rules()).toEqual([]);
    expect(r.actors.map((a) => a.pages)).toEqual([1600, 16 * rounds]);
    expect(p.read(heap).every((w, i) => w === 7 + i)).toBe(true);
    const naps = r.phases.columns.phase as readonly string[], i = naps.indexOf("thrashing: nap of a CPU");
    return {
      throttled: counted(r, "gpu_faults_throttled"),
      cpuThrottled: counted(r, "cpu_faults_throttled"),
      napNs: i < 0 ? 0 : Number(r.phases.columns.ns[i]),
      longestFaultNs: r.cpuFaults.percentileNs(100),
      moved: r.pagesToDevice,
    };
  };

  test("lets a CPU sleep in its fault as well, for a lapse or a few", async () => {
    // The CPU made the move before the last that counts, so it is the GPU that the first period spares.
    const rounds = 3000,
      without = await fight(false, rounds),
      watched = await fight({ threshold: 2 }, rounds);
    expect([without.cpuThrottled, without.napNs]).toEqual([0, 0]);
    expect(watched.cpuThrottled).toBeGreaterThan(0);
    expect(watched.napNs).toBeGreaterThan(0);
    expect(without.longestFaultNs).toBeLessThan(500_000);
    expect(watched.longestFaultNs).toBeGreaterThan(100_000);
    expect(watched.longestFaultNs).toBeLessThan(3_000_000);
  });

  test("is found, throttled and moves fewer pages than without; nothing is lost either way", async () => {
    const without = await fight(false), watched = await fight(true);
    expect(without.throttled).toBe(0);
    expect(watched.throttled).toBeGreaterThan(0);
    expect(watched.moved).toBeLessThan(without.moved);
  });
});
