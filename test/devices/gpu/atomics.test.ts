import { describe, expect, test } from "vitest";
import type { Grid } from "../../../lib/devices/gpu/launch.ts";
import { REVERT_SEQUENCE_CHECK } from "../../../lib/devices/dummy/fault.ts";
import { sample } from "../../../lib/explore/sample.ts";
import { type Model, Search } from "../../../lib/explore/search.ts";
import { type Machine, machine } from "../../../lib/machine/machine.ts";
import { type Process, Region } from "../../../lib/machine/process.ts";
import { Thread } from "../../../lib/machine/thread.ts";
import type { Run } from "../../../lib/machine/run.ts";
import type { Workload } from "../../../lib/machine/workload.ts";
import { AccessResult, cpuAccess } from "../../../lib/mm/access.ts";
import { mmap } from "../../../lib/mm/mmap.ts";
import { PTE_EXCLUSIVE, PTE_PRESENT } from "../../../lib/mm/pagetable.ts";
import { VM_READ, VM_SHARED, VM_WRITE } from "../../../lib/mm/vma.ts";
import type { Proc } from "../../../lib/sim/sim.ts";
import { adviseStep, launch, streamGrid } from "../../../lib/workloads/launch.ts";
import { svmTree } from "../../../lib/workloads/svm_tree.ts";
import { entryOf } from "../../facts/facts.ts";
import { refuses } from "../../refusal.ts";
import { brokenAtRest } from "../../rest.ts";

const word = (heap: Region): unknown => heap.process.read(heap)[0];

const exclusive = ({ counters: { columns: { counter, count } } }: Run): number =>
  (count as Float64Array)[(counter as string[]).indexOf("gpu_pages_made_exclusive")] ?? 0;

/** Each block adds one to every page. */
function counting(heap: Region, blocks: number, times = 1): Grid {
  return {
    name: "count",
    blocks,
    pages: blocks * times * heap.pages,
    fill(_block, part, runs) {
      runs.increment(heap.vpn, heap.pages);
      return part + 1 < times;
    },
  };
}

/** A thread of the host that adds one to every page, so many times. */
function host(heap: Region, times: number): Workload {
  const batch = {
    n: times,
    vpn: new Float64Array(times).fill(heap.vpn),
    pages: new Uint32Array(times).fill(heap.pages),
    write: new Uint8Array(times).fill(1),
    value: new Uint32Array(times).fill(1),
    add: new Uint8Array(times).fill(1),
  };
  return {
    name: "count on the host",
    process: heap.process,
    start(m, a) {
      const out = new AccessResult(), proc = cpuAccess(m.kernel, a, heap.process.mm, batch, out);
      return { proc, out, total: times * heap.pages, done: () => out.pages };
    },
  };
}

const gpuMachine = (checkers?: "all") =>
  machine({
    memory: "64 MiB",
    devices: { gpu: { kind: "gpu", memory: "16 MiB" } },
    ...(checkers && { checkers }),
  });

describe("an atomic access of a GPU", () => {
  test("to system memory makes the page its own, in place, until a CPU touches it", async () => {
    const m = gpuMachine("all"), p = m.process(), heap = p.mmap("16 KiB");
    p.write(heap, 10);
    const run = await m.run({ gpu: launch(m.gpu, p, [counting(heap, 3)]) });
    expect(exclusive(run)).toBe(4);
    expect(run.pagesToDevice).toBe(0);
    expect(entryOf(m.kernel, p.mm, heap.vpn).kind).toBe(PTE_EXCLUSIVE);
    expect(m.gpu.table(p.mm).isAtomic(heap.vpn)).toBe(true);
    expect(word(heap)).toBe(13);
    expect(entryOf(m.kernel, p.mm, heap.vpn).kind).toBe(PTE_PRESENT);
    expect(m.gpu.table(p.mm).translate(heap.vpn, false)).toBe(-1);
    expect(m.gpu.table(p.mm).isAtomic(heap.vpn + 1)).toBe(false); // read() took all four
    expect(brokenAtRest(m)).toEqual([]);
  });

  test("to its own memory needs no exclusive entry", async () => {
    const m = gpuMachine("all"), p = m.process(), heap = p.mmap("16 KiB");
    p.write(heap, 10);
    const run = await m.run({
      gpu: launch(m.gpu, p, [streamGrid(heap, { write: true, value: 5 }), counting(heap, 3)]),
    });
    expect(exclusive(run)).toBe(0);
    expect(p.read(heap)).toEqual([8, 9, 10, 11]);
  });

  test("moves one sector over the link", async () => {
    const m = gpuMachine(), p = m.process(), heap = p.mmap("4 KiB");
    p.write(heap, 1);
    const run = await m.run({ gpu: launch(m.gpu, p, [counting(heap, 1)]) });
    expect(run.links.map((l) => [l.name, l.total])).toEqual([
      ["link of gpu to the device", 0],
      ["link of gpu to the host", 32],
    ]);
  });

  test("to shared memory fails at once, as make_device_exclusive_range() does, and is told as a signal", async () => {
    const m = gpuMachine("all"), p = m.process(), { kernel: k } = m, inode = k.inodes.make(1);
    const vpn = m.complete(mmap(k, 0, p.mm, -1, 1, VM_READ | VM_WRITE | VM_SHARED, inode));
    k.inodes.put(k, 0, inode);
    const heap = new Region(p, vpn, 1);
    p.write(heap, 1);
    const run = await m.run({ gpu: launch(m.gpu, p, [counting(heap, 1)]) });
    expect(run.actors[0].signals).toBe(1);
    expect(run.virtualNs).toBeLessThan(1e9); // the driver's timeout
    expect(word(heap)).toBe(1);
  });
});

test.each([["where the GPU left it", false], ["kept in system memory", true]])(
  "host threads and blocks count in the same pages, %s, and lose nothing",
  async (_name, stays) => {
    const m = gpuMachine("all"), p = m.process(), heap = p.mmap("32 KiB");
    const steps = stays ? [adviseStep(heap, "prefer-system")] : [streamGrid(heap)];
    const run = await m.run({
      one: host(heap, 4000),
      two: host(heap, 6000),
      gpu: launch(m.gpu, p, [...steps, counting(heap, 30, 5)]),
    });
    expect(p.read(heap)).toEqual(new Array(8).fill(10_150));
    if (stays) expect(exclusive(run)).toBeGreaterThan(8);
    expect(brokenAtRest(m)).toEqual([]);
  },
);

interface Scene {
  readonly m: Machine;
  readonly p: Process;
  readonly heap: Region;
}

/** A kernel of two blocks that add one each, with its driver, against other actors. */
function model(
  others: (s: Scene) => Proc<unknown>[],
  wanted: (s: Scene) => number,
  revert: string[] = [],
): Model {
  const m = machine({
    memory: "128 KiB",
    devices: {
      gpu: {
        kind: "gpu",
        memory: "16 KiB",
        chunk: "8 KiB",
        prefetch: "none",
        parameters: {
          sms: 2,
          smsPerUtlb: 1,
          blocksPerSm: 1,
          outstandingFaults: 2,
          faultBufferEntries: 4,
          faultBatch: 2,
        },
      },
    },
    revert,
    processes: 1,
    actors: 5,
    vmas: 8,
    pageTables: 24,
    swapPages: 0,
    checkers: "all",
  });
  const p = m.process(), heap = p.mmap("4 KiB"), { gpu } = m, s = { m, p, heap };
  p.write(heap, 100);
  gpu.mirror(p.mm);
  gpu.driver.expect();
  const begin = () => [
    { a: 1, proc: gpu.launch(1, p.mm, counting(heap, 2), new AccessResult()) },
    { a: 2, proc: gpu.driver.run(2) },
    ...others(s).map((proc, i) => ({ a: 3 + i, proc })),
  ];
  const checkEnd = () => {
    const wrong = brokenAtRest(m)[0];
    if (wrong !== undefined) return wrong;
    const found = word(heap), expected = wanted(s);
    return found === expected ? undefined : `lost: ${found} in place of ${expected}`;
  };
  const check = () => gpu.latest(p.mm).table.storedToFreed ? "the GPU stored into a free page" : undefined;
  return { sim: m.kernel.sim, memory: m.checkers!.memory, begin, check, checkEnd };
}

/** The host adds one, atomically. */
const add = ({ m, p, heap }: Scene, a: number) =>
  cpuAccess(m.kernel, a, p.mm, {
    n: 1,
    vpn: Float64Array.of(heap.vpn),
    pages: Uint32Array.of(1),
    write: Uint8Array.of(1),
    value: Uint32Array.of(1),
    add: Uint8Array.of(1),
  }, new AccessResult());

describe("two blocks that add to one page, explored", () => {
  test("alone: every interleaving ends with both additions", () => {
    const search = new Search(model(() => [], () => 102), { maxStates: 400_000 });
    search.run();
    expect(search.result().violations).toEqual([]);
    expect(search.result().exhaustive).toBe(true);
  });

  test("against a host that adds: no addition is lost in 600 random interleavings", () => {
    const r = sample(model((s) => [add(s, 3)], () => 103), { schedules: 600, seed: 1 });
    expect(r.violations).toEqual([]);
  });

  test("against munmap: nothing freed is written; without the check of the sequence it is", () => {
    const munmap = ({ p, heap }: Scene) => [new Thread(p).munmap(heap)];
    const gone = { ...model(munmap, () => 0), checkEnd: () => undefined };
    expect(sample(gone, { schedules: 600, seed: 1 }).violations).toEqual([]);
    const broken = { ...model(munmap, () => 0, [REVERT_SEQUENCE_CHECK]), checkEnd: () => undefined };
    expect(sample(broken, { schedules: 600, seed: 1 }).violations.length).toBeGreaterThan(0);
  });
});

describe("svmTree()", () => {
  test.each([["migrating", false], ["kept in system memory", true]])(
    "links every node once on host and device, %s",
    async (_name, stays) => {
      const m = gpuMachine("all"), p = m.process();
      const tree = svmTree(p, { inserts: 20_000, initial: 100, hostThreads: 2, seed: 3 });
      const steps = stays ? [adviseStep(tree.region, "prefer-system"), tree.grid] : [tree.grid];
      const run = await m.run({
        zero: tree.host[0],
        one: tree.host[1],
        gpu: launch(m.gpu, p, steps),
      });
      expect(p.read(tree.region)).toEqual(tree.links);
      expect(tree.links.reduce((n, x) => n + x, 0)).toBe(20_000);
      if (stays) expect(run.pagesToDevice).toBe(0);
      else expect(run.pagesToDevice).toBeGreaterThan(0);
      expect(exclusive(run)).toBeGreaterThan(0);
    },
  );

  test("is the same from the same seed, and the host's share may be everything", () => {
    const p = gpuMachine().process();
    expect(svmTree(p, { seed: 5 }).links).toEqual(svmTree(p, { seed: 5 }).links);
    expect(svmTree(p, { seed: 5 }).links).not.toEqual(svmTree(p, { seed: 6 }).links);
    expect(svmTree(p, { hostPercent: 100 }).grid.blocks).toBe(0);
  });

  const p = gpuMachine().process();
  refuses([
    ["no process", () => svmTree({} as Process), "for the process"],
    ["a share above all", () => svmTree(p, { hostPercent: 101 }), "got 101 for hostPercent"],
    ["no thread", () => svmTree(p, { hostThreads: 0 }), "got 0 for hostThreads"],
  ]);
});
