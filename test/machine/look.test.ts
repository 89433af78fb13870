import { expect, test } from "vitest";
import { look } from "../../lib/machine/look.ts";
import { machine } from "../../lib/machine/machine.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";

const column = (
  c: ReturnType<typeof look>,
  name: string,
) => [...(c.columns[name] as ArrayLike<number | string> & Iterable<number | string>)];

function bench() {
  const m = machine({
    memory: "1 MiB",
    devices: { gpu: { memory: "1 MiB", granule: "4 KiB" } },
    swapPages: 8,
  });
  const p = m.process(), heap = p.mmap("16 KiB");
  return { m, p, heap, dev: new DeviceThread(m.gpu, p) };
}

test("look() names every kind of entry, on both sides", () => {
  const { m, p, heap, dev } = bench();
  p.write(heap.slice(0, "4 KiB"), 7);
  p.read(heap.slice("4 KiB", "4 KiB"));
  p.write(heap.slice("8 KiB", "4 KiB"), 9);
  expect(column(look(heap), "entry")).toEqual(["present", "zero page", "present", "none"]);
  p.complete(dev.migrate(heap.slice(0, "4 KiB")));
  p.madvise(heap.slice("8 KiB", "4 KiB"), "pageout");
  const c = look(heap, m.gpu);
  expect(column(c, "entry")).toEqual(["device-private", "zero page", "swap", "none"]);
  expect(column(c, "where")).toEqual(["gpu", "", "swap", ""]);
  expect(column(c, "word")).toEqual([7, 0, -1, -1]);
  expect(column(c, "gpu")).toEqual(["write", "", "", ""]);
  expect(p.complete(dev.exclusive(heap.slice("8 KiB", "4 KiB")))).toBe(0);
  expect(column(look(heap), "entry")[2]).toBe("device-exclusive");
  expect(p.read(heap)).toEqual([7, 0, 9, 0]);
  expect(column(look(heap), "entry")).toEqual(["present", "zero page", "present", "zero page"]);
});

test("Process.fork() shares pages until one side writes, and exit() gives them back", () => {
  const { m, p, heap } = bench();
  p.write(heap, 1);
  const used = m.kernel.pages.used(m.kernel.ram), child = p.fork(), there = child.here(heap);
  expect(column(look(heap), "mappings")).toEqual([2, 2, 2, 2]);
  expect(column(look(heap), "access")).toEqual(["read", "read", "read", "read"]);
  expect(m.kernel.pages.used(m.kernel.ram)).toBe(used);
  child.write(there.slice(0, "4 KiB"), 50);
  expect([p.read(heap)[0], child.read(there)[0]]).toEqual([1, 50]);
  expect(m.kernel.pages.used(m.kernel.ram)).toBe(used + 1);
  child.exit();
  expect(m.kernel.pages.used(m.kernel.ram)).toBe(used);
  expect(column(look(heap), "mappings")).toEqual([1, 1, 1, 1]);
});

test("Process.fork() and madvise() refuse what cannot be", () => {
  const m = machine({ memory: "1 MiB", processes: 1 }), p = m.process(), heap = p.mmap("4 KiB");
  expect(() => p.fork()).toThrow(/Cannot fork: got EAGAIN.*give machine\({ processes }\) more/);
  expect(() => p.madvise(heap, "dontned" as never)).toThrow(/got "dontned"; did you mean dontneed\?/);
});
