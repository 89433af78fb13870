/** A GPU that is unplugged between its kernels, and plugged again. */
import { expect, test } from "vitest";
import { machine } from "../../../lib/machine/machine.ts";
import { plug, unplug } from "../../../lib/workloads/hotplug.ts";
import { launch, streamGrid } from "../../../lib/workloads/launch.ts";
import { touch } from "../../../lib/workloads/touch.ts";
import { brokenAtRest, deviceEntries } from "../../rest.ts";

const OPTIONS = { kind: "gpu", memory: "2 MiB", chunk: "64 KiB" } as const;

test.each(["clock", "complete", "steps"] as const)(
  "on runner %s everything comes back, and kernels go on when it is plugged again",
  async (runner) => {
    const m = machine({ memory: "16 MiB", devices: { gpu: { ...OPTIONS } }, checkers: "all" }),
      p = m.process(),
      heap = p.mmap("1 MiB");
    const { kernel: k } = m, { zone } = m.gpu.memory;
    const entries = () => deviceEntries(k);
    await m.run({ cpu: touch(heap) }, { runner });
    // The removal waits for the kernel that runs.
    const run = await m.run(
      {
        gpu: launch(m.gpu, p, [streamGrid(heap, { write: true, value: 9 })]),
        driver: unplug(m.gpu, { after: "30 us" }),
      },
      { runner },
    );
    expect(run.actors.map((x) => x.signals)).toEqual([0, 0]);
    expect([m.gpu.presence.away, entries(), zone.end, m.gpu.chunks.inUse]).toEqual([true, 0, 0, 0]);
    expect(brokenAtRest(m)).toEqual([]);
    expect(p.read(heap)).toEqual(Array.from({ length: 256 }, (_, i) => 9 + i));
    const away = await m.run({ gpu: launch(m.gpu, p, [streamGrid(heap)]) }, { runner });
    expect([away.actors[0].signals, away.actors[0].pages, m.unplug(m.gpu)]).toEqual([1, 0, -19]);
    await m.run({ driver: plug(m.gpu) }, { runner });
    const again = await m.run(
      { gpu: launch(m.gpu, p, [streamGrid(heap, { value: 9 })], { check: true }) },
      { runner },
    );
    expect([again.actors[0].mismatches, again.actors[0].signals, again.actors[0].pages]).toEqual([0, 0, 256]);
    expect(entries()).toBeGreaterThan(0);
    expect(brokenAtRest(m)).toEqual([]);
    expect([m.unplug(m.gpu), entries(), ...brokenAtRest(m)]).toEqual([0, 0]);
  },
);

test("a GPU that cannot be emptied stays, and its next kernel runs", async () => {
  const m = machine({ memory: "16 MiB", devices: { gpu: { ...OPTIONS } }, checkers: "all" }),
    p = m.process(),
    heap = p.mmap("256 KiB");
  p.write(heap, 5);
  await m.run({ gpu: launch(m.gpu, p, [streamGrid(heap, { value: 5 })], { check: true }) });
  m.kernel.sim.injectFailure("dma map", 1_000_000);
  expect([m.unplug(m.gpu), m.gpu.presence.usable]).toEqual([-5, true]);
  m.kernel.sim.injectFailure("dma map", 0);
  const run = await m.run({ gpu: launch(m.gpu, p, [streamGrid(heap, { value: 5 })], { check: true }) });
  expect([run.actors[0].mismatches, run.actors[0].pages, ...brokenAtRest(m)]).toEqual([
    0,
    64,
  ]);
  expect([m.unplug(m.gpu), p.read(heap)]).toEqual([0, Array.from({ length: 64 }, (_, i) => 5 + i)]);
});
