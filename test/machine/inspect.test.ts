import { inspect } from "node:util";
import { expect, test } from "vitest";
import { explore, litmus } from "../../lib/explore/litmus.ts";
import { machine } from "../../lib/machine/machine.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { plot } from "../../lib/plot/mod.ts";
import { profile } from "../../lib/profiles/profile.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";

test("what a cell may end in prints one short line, not its insides", async () => {
  const m = machine({ memory: "64 MiB", devices: { gpu: "titan-v" }, seed: 3 }), p = m.process();
  const heap = p.mmap("1 MiB"), run = await m.run({ cpu: touch(heap), gpu: stream(m.gpu, heap) });
  const race = litmus("nothing", { pages: 1 }, ({ t, A }) => ({ P0: () => t.read(A) }));
  const lines: [unknown, RegExp][] = [
    [run, /^Run: .* of virtual time, done, digest [0-9a-f]{16}; await show\(run\)/],
    [m, /^Machine: host epyc-7551p, devices gpu, seed 3; await show\(m\)/],
    [p, /^Process \d+: 256 pages resident$/],
    [heap, /^Region: 1 MiB of process \d+ from page \d+ on$/],
    [new Thread(p), /^Thread of process \d+$/],
    [new DeviceThread(m.gpu, p), /^DeviceThread of gpu on process \d+$/],
    [m.gpu, /^DummyDevice "gpu": 3,145,728 pages of memory$/],
    [machine({ devices: { gpu: { kind: "gpu" } } }).gpu, /^Gpu "gpu": 3,145,728 pages of memory$/],
    [profile("titan-v"), /^Profile titan-v \(gpu, \d+ parameters\): NVIDIA Titan V .* await show\(profile\)/],
    [run.cpuFaults, /^LatencyHistogram "cpu fault": \d+ events, p50 .*, p99 /],
    [run.links[0], /^Timeline "link of gpu": [\d,]+ bytes in \d+ bins of /],
    [plot.latency(run.cpuFaults), /^Chart: .*; await show\(chart\) draws it$/],
    [await explore(race), /^nothing; exhaustive for 1 actors, 1 page, .*; no rule was broken/],
  ];
  for (const [thing, says] of lines) {
    const line = inspect(thing);
    expect(line).toMatch(says);
    expect(line).not.toContain("\n");
    expect(line.length).toBeLessThan(300);
    expect(inspect({ nested: [thing] })).toContain(line.slice(0, 40));
  }
});
