import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Channels, SharedLink } from "../../lib/bus/shared_link.ts";
import { SharedLinks } from "../../lib/bus/shared_links.ts";
import { type DeviceLink, TO_DEVICE, TO_HOST } from "../../lib/bus/way.ts";
import type { GpuOptions } from "../../lib/devices/gpu/spec.ts";
import type { LinkOptions } from "../../lib/machine/links.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { Run } from "../../lib/machine/run.ts";
import type { Workload } from "../../lib/machine/workload.ts";
import { AccessResult } from "../../lib/mm/access.ts";
import { lineCurve, type TransferCurve, uvmSmartCurve } from "../../lib/profiles/curve.ts";
import { transferNs } from "../../lib/profiles/transfer.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { refuses } from "../refusal.ts";

function workload(program: (a: number) => Proc): Workload {
  const out = new AccessResult();
  return { name: "transfer", start: (_m, a) => ({ proc: program(a), out, total: 1, done: () => 1 }) };
}

/** As who copies does it: at once if possible. */
function* cross(a: number, link: DeviceLink, direction: 0 | 1, bytes: number): Proc {
  if (!link.tryTransfer(a, direction, bytes)) yield* link.transfer(a, direction, bytes);
}

interface Transfer {
  readonly over: DeviceLink;
  readonly direction?: 0 | 1;
  readonly bytes: number;
  readonly atNs?: number;
}

/** Lets an actor begin each transfer. Returns when they end, in ns. */
async function ends(m: Machine, all: readonly Transfer[]): Promise<number[]> {
  const { sim } = m.kernel, idle = sim.spans.phase("idle");
  const run = await m.run(Object.fromEntries(all.map((t, i) => [
    `t${i}`,
    workload(function* (a) {
      sim.spend(a, idle, t.atNs ?? 0);
      yield* cross(a, t.over, t.direction ?? TO_DEVICE, t.bytes);
    }),
  ])));
  return run.actors.map((x) => x.endNs);
}

const GPU = { kind: "gpu", memory: "64 MiB", parameters: { link: "10 GB/s", linkLatency: 1000 } } as const;
const bytesOf = (run: Run, name: string) => run.links.find((l) => l.name === name)?.total;

describe("the link of a GPU", () => {
  const curves: [string, TransferCurve, number][] = [
    ["a line", lineCurve(1444, 13_004_361_000), 13_004_361_000],
    ["UVM Smart's curve", uvmSmartCurve(16), 12_884_901_888],
  ];
  test.each(curves)("takes for a transfer alone exactly what %s says", async (_, curve, rate) => {
    const m = machine({ memory: "16 MiB" }), links = new SharedLinks(m.kernel.sim);
    const link = new SharedLink(links, "pcie", curve, rate), channels = new Channels(m.kernel.sim, link, 2);
    for (const over of [link, channels]) {
      for (const pages of [1, 2, 3, 16, 100, 511, 512, 2048]) {
        for (const direction of [TO_DEVICE, TO_HOST] as const) {
          const bytes = 4096 * pages;
          expect(await ends(m, [{ over, direction, bytes }])).toEqual([curve.ns(bytes)]);
          // Somebody else who is due meanwhile, but moves nothing, changes nothing.
          const other = { over: { ...idleLink }, bytes: 1, atNs: 500 };
          expect((await ends(m, [{ over, direction, bytes }, other]))[0]).toBe(curve.ns(bytes));
        }
      }
    }
  });

  test("lets two channels work side by side and a third transfer wait for one of them", async () => {
    const m = machine({ memory: "16 MiB", devices: { gpu: GPU } }), { sim } = m.kernel;
    const two = new Channels(sim, m.gpu.link, 2), one = new Channels(sim, m.gpu.link, 1);
    const t = (over: DeviceLink, direction: 0 | 1 = TO_DEVICE) => ({ over, direction, bytes: 100_000 });
    expect(await ends(m, [t(two), t(two)])).toEqual([21_000, 21_000]);
    expect(await ends(m, [t(two), t(two, TO_HOST)])).toEqual([11_000, 11_000]);
    // The third's latency passes while the first channel is free, its bytes then have the link alone.
    expect(await ends(m, [t(two), t(two), t(two)])).toEqual([21_000, 21_000, 32_000]);
    expect(await ends(m, [t(one), t(one)])).toEqual([11_000, 22_000]);
    // One channel is one channel whichever way it works.
    expect(await ends(m, [t(one), t(one, TO_HOST)])).toEqual([11_000, 22_000]);
  });

  test("never moves more than its rate in a direction, however many copy and access at once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            channel: fc.boolean(),
            direction: fc.constantFrom(TO_DEVICE, TO_HOST),
            bytes: fc.integer({ min: 1, max: 3_000_000 }),
            atNs: fc.integer({ min: 0, max: 100_000 }),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        async (given) => {
          const m = machine({ memory: "16 MiB", devices: { gpu: GPU } }), { link } = m.gpu;
          const channels = new Channels(m.kernel.sim, link, 2);
          const all = given.map((t) => ({ ...t, over: t.channel ? channels : link }));
          const end = await ends(m, all);
          for (const direction of [TO_DEVICE, TO_HOST]) {
            const own = all.flatMap((t, i) => t.direction === direction ? [{ ...t, end: end[i] }] : []);
            expect(link.bytesOf(direction as 0 | 1).total).toBe(own.reduce((n, t) => n + t.bytes, 0));
            for (const { end: until } of own) {
              const done = own.filter((t) => t.end <= until), from = Math.min(...done.map((t) => t.atNs));
              expect(done.reduce((n, t) => n + t.bytes, 0)).toBeLessThanOrEqual(10 * (until - from));
            }
          }
          all.forEach((t, i) =>
            expect(end[i] - t.atNs).toBeGreaterThanOrEqual(transferNs(t.bytes, 1000, 10_000_000_000))
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test("has a timeline for each direction: what its program moved there and back, in each run anew", async () => {
    const m = machine({ memory: "64 MiB", devices: { gpu: GPU } }), p = m.process(), heap = p.mmap("4 MiB");
    p.write(heap, 1);
    const there = await m.run({ gpu: launch(m.gpu, p, [streamGrid(heap, { write: true, value: 5 })]) });
    const back = await m.run({ cpu: touch(heap) });
    const names = ["link of gpu to the device", "link of gpu to the host"];
    expect(there.links.map((l) => l.name)).toEqual(names);
    expect(names.map((n) => [bytesOf(there, n), bytesOf(back, n)])).toEqual([[4 << 20, 0], [0, 4 << 20]]);
    expect([there.pagesToDevice, back.pagesToSystem]).toEqual([1024, 1024]);
  });

  test("lets CPU threads bring pages back side by side: the more channels, the sooner", async () => {
    const time = async (dmaChannels: number) => {
      const gpu: GpuOptions = {
        kind: "gpu",
        memory: "64 MiB",
        faultBackPages: 512,
        parameters: { link: "2 GB/s", linkLatency: "200 us", dmaChannels },
      };
      const m = machine({ memory: "64 MiB", devices: { gpu } }), p = m.process();
      const heaps = Array.from({ length: 4 }, () => p.mmap("2 MiB"));
      for (const heap of heaps) p.write(heap, 1);
      await m.run({ gpu: launch(m.gpu, p, heaps.map((h) => streamGrid(h, { write: true, value: 5 }))) });
      const run = await m.run(Object.fromEntries(heaps.map((h, i) => [`cpu${i}`, touch(h)])));
      expect([run.pagesToSystem, run.mismatches]).toEqual([2048, 0]);
      // 8 MiB at 2 GB/s.
      expect(run.virtualNs).toBeGreaterThan(4_194_304);
      return run.virtualNs;
    };
    const [one, two, four] = [await time(1), await time(2), await time(4)];
    // What further channels hide is latency: three of the four, then one of two at a time.
    expect(one - four).toBeGreaterThan(400_000);
    expect(one).toBeGreaterThan(two);
    expect(two).toBeGreaterThanOrEqual(four);
  });
});

const idleLink: DeviceLink = {
  tryTransfer: () => true,
  *transfer() {},
  timelines: () => [],
};

describe("links that GPUs share", () => {
  const two = (links: readonly LinkOptions[] = []) =>
    machine({ memory: "16 MiB", devices: { gpu0: GPU, gpu1: GPU }, links });
  const both = (m: ReturnType<typeof two>, bytes = 100_000) =>
    [m.gpu0, m.gpu1].map((gpu) => ({ over: gpu.link, bytes }));

  test("halve the rate of two that copy at once; without one each has its own", async () => {
    const apart = two(), m = two([{ name: "switch", from: ["gpu0", "gpu1"], rate: "10 GB/s" }]);
    expect(await ends(apart, both(apart))).toEqual([11_000, 11_000]);
    expect(await ends(m, both(m))).toEqual([21_000, 21_000]);
    expect(await ends(m, both(m).slice(1))).toEqual([11_000]);
  });

  test("add their latency, and the narrowest on the way sets the rate", async () => {
    const m = two([
      { name: "root complex", from: ["gpu1"], rate: "5 GB/s", latency: "300 ns" },
      { name: "switch", from: ["gpu0"], to: "root complex", rate: "8 GB/s", latency: "100 ns" },
    ]);
    expect(await ends(m, both(m).slice(0, 1))).toEqual([1400 + 20_000]);
    expect(await ends(m, both(m).slice(1))).toEqual([1300 + 20_000]);
    // Both through the root complex: 5 GB/s for 200,000 bytes, but for the 100 ns that one begins later.
    const [first, second] = await ends(m, both(m));
    expect([Math.max(first, second), second]).toEqual([41_300, 41_200]);
  });

  test("have timelines of their own, which count no byte twice in the run's figures", async () => {
    const m = machine({
      memory: "64 MiB",
      devices: { gpu0: GPU, gpu1: GPU },
      links: [{ name: "switch", from: ["gpu0", "gpu1"], rate: "10 GB/s" }],
    });
    const p = m.process(), q = m.process(), heaps = [p.mmap("2 MiB"), q.mmap("2 MiB")];
    p.write(heaps[0], 1);
    q.write(heaps[1], 1);
    const run = await m.run({
      one: launch(m.gpu0, p, [streamGrid(heaps[0], {})]),
      two: launch(m.gpu1, q, [streamGrid(heaps[1], {})]),
    });
    expect(run.links.map((l) => [l.name, l.total])).toEqual([
      ["link of gpu0 to the device", 2 << 20],
      ["link of gpu0 to the host", 0],
      ["link of gpu1 to the device", 2 << 20],
      ["link of gpu1 to the host", 0],
      ["switch to the devices", 4 << 20],
      ["switch to the host", 0],
    ]);
    const figures = run.summary().columns, i = (figures.figure as string[]).indexOf("bytes over the links");
    expect(figures.value[i]).toBe(4 << 20);
  });

  test("carry a page from one GPU to another through system memory: there, then on", async () => {
    const m = machine({ memory: "64 MiB", devices: { gpu0: GPU, gpu1: GPU } }), p = m.process();
    const heap = p.mmap("64 KiB");
    p.write(heap, 1);
    await m.run({ one: launch(m.gpu0, p, [streamGrid(heap, { write: true, value: 5 })]) });
    const run = await m.run({ two: launch(m.gpu1, p, [streamGrid(heap, { value: 5 })], { check: true }) });
    expect([run.mismatches, run.pagesToSystem, run.pagesToDevice]).toEqual([0, 16, 16]);
    expect(bytesOf(run, "link of gpu0 to the host")).toBe(65_536);
    expect(bytesOf(run, "link of gpu1 to the device")).toBe(65_536);
  });
});

describe("links that cannot be", () => {
  const build = (links: unknown) => () =>
    machine({ devices: { gpu0: GPU, gpu1: GPU, plain: "titan-v" }, links: links as LinkOptions[] });
  const one = { name: "switch", from: ["gpu0"], rate: "10 GB/s" };
  const cases: [string, unknown, RegExp[]][] = [
    ["no array", one, [/links/, /an array is allowed/]],
    ["an unknown option", [{ ...one, speed: 3 }], [/speed/, /rate/]],
    ["an unknown device", [{ ...one, from: ["gpu2"] }], [
      /link "switch": got "gpu2"/,
      /"gpu0", "gpu1"/,
      /did you mean/i,
    ]],
    ["an unknown end", [{ ...one, to: "hots" }], [/got "hots"/, /allowed are "host"/, /did you mean/i]],
    ["a dummy device", [{ ...one, from: ["plain"] }], [
      /"plain", a dummy device/,
      /GPUs are allowed: "gpu0", "gpu1"/,
    ]],
    ["a link to a device", [{ ...one, to: "gpu1" }], [/device "gpu1"/, /through system memory/]],
    ["a link to itself", [{ ...one, to: "switch" }], [/got "switch"/, /allowed are "host"/]],
    ["a circle", [{ ...one, to: "b" }, { ...one, name: "b", from: [], to: "switch" }], [/circle/, /"host"/]],
    ["two of one name", [one, { ...one, from: ["gpu1"] }], [/two links of that name/]],
    ["a device on two", [one, { ...one, name: "b" }], [
      /link "b": got "gpu0", from which link "switch" leads/,
    ]],
    ["a device's name", [{ ...one, name: "gpu1" }], [/got "gpu1" as a link's name/]],
    ["no rate", [{ name: "switch", from: ["gpu0"] }], [/rate/]],
    ["a rate of 0", [{ ...one, rate: 0 }], [/rate/]],
    ["no list", [{ ...one, from: "gpu0" }], [/got "gpu0" for from/, /an array/]],
  ];
  refuses(cases.map(([what, links, says]) => [what, build(links), ...says]));
});
