import { expect, test } from "vitest";
import { HMM_PFN_VALID, HMM_PFN_WRITE } from "../../lib/hmm/range.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";

/** Pages under one entry of the second-highest level: 1 GiB. */
const GIB = 512 * 512;

function scene() {
  const m = machine({
    memory: "1 MiB",
    devices: { dev: { memory: "64 KiB", granule: "4 KiB" } },
    pageTables: 40,
  });
  const p = m.process();
  return { m, p, t: new Thread(p), dev: new DeviceThread(m.dev, p), tables: m.kernel.deviceTables };
}

test("a device's table pages go with what they mapped: a program may use the whole address space, bit by bit", () => {
  const { m, p, t, dev, tables } = scene(), root = tables.tables;
  for (let i = 1; i <= 200; i++) {
    const r = new Region(p, i * GIB, 1);
    m.complete(t.mmapAt(r));
    expect(m.complete(dev.write(r, 5))).toBe(0);
    expect(tables.tables).toBe(root + 3);
    m.complete(t.munmap(r));
    expect(tables.tables).toBe(root);
  }
});

test("a table page that still maps something stays", () => {
  const { m, p, t, dev, tables } = scene(), r = p.mmap("8 KiB"), root = tables.tables;
  m.complete(dev.write(r, 5));
  m.complete(t.munmap(r.slice(0, "4 KiB")));
  expect(tables.tables).toBe(root + 3);
  expect(dev.text(r)).toBe(".w");
});

test("a device that finds no page for its table says so, and goes on when one is free again", () => {
  const { m, p, t, dev } = scene(), regions: Region[] = [];
  for (let i = 1; i <= 20; i++) regions.push(new Region(p, i * GIB, 1));
  const said = regions.map((r) => {
    m.complete(t.mmapAt(r));
    return m.complete(dev.read(r));
  });
  const first = said.findIndex((x) => x < 0);
  expect(first).toBeGreaterThan(8);
  expect(new Set(said.slice(first))).toEqual(new Set([said[first]]));
  m.complete(t.munmap(regions[0]));
  expect(m.complete(dev.read(regions[first]))).toBe(0);
});

test("what stands already is not written again, and takes no time", () => {
  const { m, p } = scene(), { table } = m.dev.mirror(p.mm);
  const readable = Uint32Array.of(HMM_PFN_VALID | 3, 0, HMM_PFN_VALID | 4);
  const writable = Uint32Array.of(HMM_PFN_VALID | 3, 0, HMM_PFN_VALID | HMM_PFN_WRITE | 4);
  expect(table.map(GIB, readable, 3)).toBe(2);
  expect(table.map(GIB, readable, 3)).toBe(0);
  expect(table.map(GIB, writable, 3)).toBe(1);
  expect([table.translate(GIB, true), table.translate(GIB + 1, false), table.translate(GIB + 2, true)])
    .toEqual([-2, -1, 4]);
});
