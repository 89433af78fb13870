import { expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";

test("the counters of migration count pages that moved, and those that were to move and did not", () => {
  const m = machine({ memory: "1 MiB", devices: { dev: { memory: "64 KiB" } } });
  const p = m.process(), r = p.mmap("32 KiB"), dev = new DeviceThread(m.dev, p), { sim } = m.kernel;
  const counted = () =>
    ["pages_to_device", "pages_to_system", "pages_not_migrated"].map((c) => sim.counters.get(c));
  p.write(r.slice(0, "16 KiB"), 1);
  m.complete(dev.migrate(r.slice(0, "16 KiB")));
  expect(counted()).toEqual([4, 0, 0]);
  m.complete(dev.migrate(r.slice(0, "16 KiB"))); // all there already
  expect(counted()).toEqual([4, 0, 0]);
  m.complete(dev.migrateBack(r)); // four pages and four holes
  expect(counted()).toEqual([4, 4, 0]);
  m.complete(dev.migrateBack(r));
  expect(counted()).toEqual([4, 4, 0]);
  sim.injectFailure("dma map", 1_000_000);
  m.complete(dev.migrate(r.slice("8 KiB", "16 KiB"))); // two pages and two holes
  expect(counted()).toEqual([4, 4, 4]);
});
