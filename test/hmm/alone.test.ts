/** Each part of HMM stands alone: migration without a mirror or a device, a mirror without device memory. */
import { expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import { cpuCopy, dmaEngine, interconnect } from "../../lib/machine/engines.ts";
import { machine } from "../../lib/machine/machine.ts";
import { migrateRegion } from "../../lib/machine/placement.ts";
import { MMU_NOTIFY_MIGRATE } from "../../lib/mm/notifier.ts";
import { steps } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { brokenAtRest } from "../rest.ts";

const count = (n: number, from: number) => Array.from({ length: n }, (_, i) => from + i);

test("migration without a mirror: a plain DMA engine moves a range between nodes, in a machine without devices", () => {
  const m = machine({ memory: "16 MiB", nodes: 2 }), bus = interconnect(m, { rate: "20 GB/s" });
  const p = m.process(), heap = p.mmap("4 MiB"), engine = dmaEngine(bus, { channels: 4, setup: "1 us" });
  p.write(heap.slice(0, "3 MiB"), 7);
  const events: string[] = [];
  m.kernel.notifiers.watch = (_a, e, start) => {
    if (start) events.push(`${e.event} ${e.start - heap.vpn} ${e.end - e.start}`);
  };
  expect(p.migrateRange(heap, 1, { engine })).toBe(768);
  expect(events).toEqual([`${MMU_NOTIFY_MIGRATE} 0 512`, `${MMU_NOTIFY_MIGRATE} 512 512`]);
  expect(p.nodes(heap)).toEqual([...new Array(768).fill(1), ...new Array(256).fill(-2)]);
  expect(p.read(heap.slice(0, "3 MiB"))).toEqual(count(768, 7));
  expect(m.kernel.pages.zones.slice(0, 2).map((z) => m.kernel.pages.used(z))).toEqual([1, 768]);
  // What is there already stays; the way back works the same, by threads or by the CPU that asks.
  expect(p.migrateRange(heap, 1, { engine })).toBe(0);
  expect(p.migrateRange(heap.slice(0, "1 MiB"), 0, { engine: cpuCopy(m, bus, { threads: 4 }) })).toBe(256);
  expect(p.migrateRange(heap, 0)).toBe(512);
  expect(p.read(heap.slice(0, "3 MiB"))).toEqual(count(768, 7));
  expect(brokenAtRest(m)).toEqual([]);
  p.munmap(heap);
  expect(p.migrateRange(heap, 1)).toBe(-14);
});

test("migration without a mirror ends the same with every runner, and races with its program lose nothing", async () => {
  const made = () => {
    const m = machine({ memory: "4 MiB", nodes: 2 }), p = m.process(), heap = p.mmap("256 KiB");
    p.write(heap, 1);
    const engine = dmaEngine(interconnect(m, { rate: "20 GB/s" }), { channels: 2, setup: "1 us" });
    return { m, p, heap, engine };
  };
  const end = ({ m, p, heap }: ReturnType<typeof made>) => {
    expect(brokenAtRest(m)).toEqual([]);
    return { nodes: p.nodes(heap), words: p.read(heap) };
  };
  const whole = made();
  whole.p.migrateRange(whole.heap, 1, { engine: whole.engine });
  const stepped = made();
  function* program(): Proc {
    yield* migrateRegion(stepped.p, 1, stepped.heap, 1, { engine: stepped.engine });
  }
  steps(stepped.m.kernel.sim, [{ a: 1, proc: program() }]);
  expect(end(stepped)).toEqual(end(whole));
  const raced = made(), { m, p, heap, engine } = raced;
  const run = await m.run({
    writer: touch(heap, { value: 500 }),
    mover: {
      ...touch(heap),
      start: (_m, a) => ({ ...touch(heap).start(m, a), proc: migrateRegion(p, a, heap, 1, { engine }) }),
    },
  });
  expect(run.actors[0].signals).toBe(0);
  expect(end(raced).words).toEqual(count(64, 500));
});

test("a mirror without device memory: a device maps a process's pages, follows its changes, and moves none", async () => {
  const m = machine({ memory: "16 MiB", devices: { nic: { memory: 0, onFault: "map" } } });
  const p = m.process(), heap = p.mmap("1 MiB");
  p.write(heap, 1);
  const run = await m.run({ nic: stream(m.nic, heap, { write: true, value: 100 }) });
  expect([run.pagesToDevice, run.pagesToSystem, run.deviceFaults.count > 0]).toEqual([0, 0, true]);
  expect(p.read(heap)).toEqual(count(256, 100));
  const { table } = asDummy(m.nic).mirror(p.mm);
  expect(table.translate(heap.vpn, true)).toBeGreaterThanOrEqual(0);
  p.mprotect(heap.slice(0, "512 KiB"), "r");
  p.munmap(heap.slice("512 KiB"));
  expect(table.translate(heap.vpn, true)).toBe(-1);
  expect(table.translate(heap.vpn + 255, false)).toBe(-1);
  expect(m.kernel.pages.zones.length).toBe(1);
  expect(brokenAtRest(m)).toEqual([]);
});
