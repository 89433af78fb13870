import { describe, expect, test } from "vitest";
import { SharedLink } from "../../lib/bus/shared_link.ts";
import { SharedLinks } from "../../lib/bus/shared_links.ts";
import { cpuCopy, dmaEngine, interconnect } from "../../lib/machine/engines.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { Workload } from "../../lib/machine/workload.ts";
import { AccessResult } from "../../lib/mm/access.ts";
import { EIO } from "../../lib/mm/errno.ts";
import { NO_PAGE } from "../../lib/mm/copy_engine.ts";
import { lineCurve } from "../../lib/profiles/curve.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { brokenAtRest } from "../rest.ts";
import { refuses } from "../refusal.ts";

/** A workload out of a generator. */
function workload(name: string, program: (m: Machine, a: number) => Proc): Workload {
  const out = new AccessResult();
  return { name, start: (m, a) => ({ proc: program(m, a), out, total: 1, done: () => 1 }) };
}

const bare = () => machine({ memory: "32 MiB", nodes: 2 });
/** Frames of ordinary memory of a node, taken and given a word each. */
function frames(m: Machine, node: number, n: number): Uint32Array {
  const { pages, nodes } = m.kernel;
  return Uint32Array.from({ length: n }, (_, i) => {
    const pfn = pages.take(nodes.zones[node]);
    pages.word[pfn] = 1000 * node + i;
    return pfn;
  });
}

const RATE = 1_000_000_000;

describe("a shared link", () => {
  const crossing = async (starts: readonly { atNs: number; direction: 0 | 1; bytes: number }[]) => {
    const m = bare(), { sim } = m.kernel, idle = sim.spans.phase("idle");
    const link = new SharedLink(new SharedLinks(sim), "pcie", lineCurve(100, RATE), RATE);
    const run = await m.run(Object.fromEntries(starts.map(({ atNs, direction, bytes }, i) => [
      `t${i}`,
      workload("transfer", function* (_m, a) {
        sim.spend(a, idle, atNs);
        yield* link.transfer(a, direction, bytes);
      }),
    ])));
    return { ends: run.actors.map((x) => x.endNs), link, run };
  };

  test("gives two transfers in one direction half of its rate each, and each direction all of it", async () => {
    expect((await crossing([{ atNs: 0, direction: 0, bytes: 1000 }])).ends).toEqual([1100]);
    expect(
      (await crossing([{ atNs: 0, direction: 0, bytes: 1000 }, { atNs: 0, direction: 1, bytes: 1000 }])).ends,
    )
      .toEqual([1100, 1100]);
    expect(
      (await crossing([{ atNs: 0, direction: 0, bytes: 1000 }, { atNs: 0, direction: 0, bytes: 1000 }])).ends,
    )
      .toEqual([2100, 2100]);
  });

  test("slows down a transfer that is under way already when another begins", async () => {
    const { ends, link } = await crossing([
      { atNs: 0, direction: 0, bytes: 1000 },
      { atNs: 600, direction: 0, bytes: 1000 },
      { atNs: 5000, direction: 0, bytes: 500 },
    ]);
    // The second's first byte goes at 700, when the first has 400 left: 800 ns at half the rate.
    expect(ends).toEqual([1500, 2100, 5600]);
    expect(link.bytesOf(0).total).toBe(2500);
  });
});

describe("engines between nodes", () => {
  const MB = 1_000_000;
  test("copy the words of pages, wherever those are", () => {
    const m = bare(), bus = interconnect(m, { rate: "10 GB/s" });
    for (const engine of [dmaEngine(bus, { channels: 3 }), cpuCopy(m, bus, { threads: 4 })]) {
      const src = frames(m, 0, 10), dst = frames(m, 1, 10);
      src[4] = NO_PAGE;
      dst[7] = NO_PAGE;
      const kept = Uint32Array.from(dst);
      expect(m.complete(engine.copy(0, src, dst, 10))).toBe(0);
      const words = Array.from(kept.filter((x) => x !== NO_PAGE), (pfn) => m.kernel.pages.word[pfn]);
      expect(words).toEqual([0, 1, 2, 3, 0, 5, 6, 8, 9]);
    }
  });

  const timeOf = async (
    n: number,
    make: (
      m: Machine,
      bus: ReturnType<typeof interconnect>,
    ) => { copy: ReturnType<typeof dmaEngine>["copy"] },
    rate = "8 GB/s",
    actors = 1,
  ) => {
    const m = bare(), bus = interconnect(m, { rate }), engine = make(m, bus);
    const run = await m.run(Object.fromEntries(Array.from({ length: actors }, (_, i) => [
      `a${i}`,
      workload("copy", function* (m, a) {
        yield* engine.copy(a, frames(m, 0, n), frames(m, 1, n), n);
      }),
    ])));
    return run.actors.map((x) => x.endNs);
  };

  test("a channel pays its setup for each page; more channels share the way up to its rate", async () => {
    const page = transferNs(4096, 0, 2_000 * MB), options = { setup: "3 us", channelRate: "2 GB/s" };
    expect(await timeOf(16, (_m, bus) => dmaEngine(bus, options))).toEqual([16 * (3000 + page)]);
    expect(await timeOf(16, (_m, bus) => dmaEngine(bus, { ...options, channels: 4 }))).toEqual([
      4 * (3000 + page),
    ]);
    // Eight at 2 GB/s want 16 GB/s of a way with 8: each gets 1.
    expect(await timeOf(16, (_m, bus) => dmaEngine(bus, { ...options, channels: 8 })))
      .toEqual([2 * (3000 + transferNs(4096, 0, 1_000 * MB))]);
  });

  test("a queue of one descriptor a channel takes no less than a long one", async () => {
    const make = (queueDepth: number) => (_m: Machine, bus: ReturnType<typeof interconnect>) =>
      dmaEngine(bus, { setup: "3 us", channelRate: "2 GB/s", channels: 4, queueDepth });
    expect(await timeOf(16, make(1))).toEqual(await timeOf(16, make(64)));
  });

  test("two that copy by one engine share its channels, and wait for each other", async () => {
    const make = (_m: Machine, bus: ReturnType<typeof interconnect>) =>
      dmaEngine(bus, { setup: "3 us", channelRate: "2 GB/s", channels: 1 });
    const [alone] = await timeOf(8, make), both = await timeOf(8, make, "8 GB/s", 2);
    expect(Math.max(...both)).toBe(2 * alone);
    expect(Math.min(...both)).toBe(alone);
  });

  test("threads copy in equal parts, each at its rate, together at no more than theirs and the way's", async () => {
    const time = (threads: number, rate?: string) =>
      timeOf(16, (m, bus) => cpuCopy(m, bus, { threads, threadRate: "1 GB/s", ...(rate ? { rate } : {}) }));
    expect(await time(1)).toEqual([16 * 4096]);
    expect(await time(4)).toEqual([4 * 4096]);
    expect(await time(16)).toEqual([2 * 4096]); // the way has 8 GB/s
    expect(await time(4, "2 GB/s")).toEqual([8 * 4096]);
  });

  test("two who copy at a time on one way get half of it each", async () => {
    const make = (m: Machine, bus: ReturnType<typeof interconnect>) =>
      cpuCopy(m, bus, { threadRate: "8 GB/s" });
    const [alone] = await timeOf(16, make);
    expect(await timeOf(16, make, "8 GB/s", 2)).toEqual([2 * alone, 2 * alone]);
  });

  test("a failure leaves out what was not copied; a migration then copies with the CPU, and loses nothing", () => {
    for (const point of ["dma map", "copy"]) {
      const m = bare(), bus = interconnect(m, { rate: "8 GB/s" }), engine = dmaEngine(bus);
      m.kernel.sim.injectFailure(point, 1_000_000);
      const src = frames(m, 0, 8), dst = frames(m, 1, 8);
      expect(m.complete(engine.copy(0, src, dst, 8))).toBe(-EIO);
      expect(dst).toContain(NO_PAGE);
      const p = m.process(), heap = p.mmap("64 KiB");
      p.write(heap, 1);
      expect(p.movePages(heap, 1, { engine }).status).toEqual(new Array(16).fill(1));
      expect(p.read(heap)).toEqual(Array.from({ length: 16 }, (_, i) => 1 + i));
    }
  });

  test("move pages of a process side by side with its stores, and the books stay right", async () => {
    const m = machine({ memory: "8 MiB", nodes: 2 }), bus = interconnect(m, { rate: "8 GB/s" });
    const engine = dmaEngine(bus, { channels: 2, setup: "1 us" }), p = m.process(), heap = p.mmap("1 MiB");
    p.write(heap, 1);
    const { moveRegion } = await import("../../lib/machine/placement.ts");
    const { touch } = await import("../../lib/workloads/touch.ts");
    const run = await m.run({
      mover: workload("move", function* (_m, a) {
        yield* moveRegion(p, a, heap, 1, { engine });
      }),
      writer: touch(heap, { value: 5000 }),
    });
    expect(run.actors.map((x) => x.signals)).toEqual([0, 0]);
    expect(p.nodes(heap).every((n) => n === 1)).toBe(true);
    expect(p.read(heap)).toEqual(Array.from({ length: 256 }, (_, i) => 5000 + i));
    expect(brokenAtRest(m)).toEqual([]);
    expect(bus.bytesOf(0, 1).total).toBe(256 * 4096);
  });
});

refuses([
  ["an interconnect of nothing", () => interconnect({} as never, { rate: "1 GB/s" }), "a machine"],
  ["a rate that is none", () => interconnect(bare(), { rate: "fast" }), "rate", "fast"],
  ["an engine without an interconnect", () => dmaEngine({} as never), "const bus = interconnect"],
  [
    "no channel",
    () => dmaEngine(interconnect(bare(), { rate: "1 GB/s" }), { channels: 0 }),
    "channels",
    "1 to 256",
  ],
  [
    "more threads than cores",
    () => {
      const m = bare();
      return cpuCopy(m, interconnect(m, { rate: "1 GB/s" }), { threads: 33 });
    },
    "threads",
    "1 to 32",
  ],
  [
    "an engine that is none",
    () => {
      const p = bare().process();
      return p.movePages(p.mmap("4 KiB"), 1, { engine: "dma" as never });
    },
    "engine",
    "dmaEngine",
  ],
]);
