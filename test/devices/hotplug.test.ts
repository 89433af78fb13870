/** Devices that are removed, put back and lost: what the CPU and the device see of it, and that nothing is left behind. */
import { expect, test } from "vitest";
import { explore, litmus, type LitmusContext, type LitmusParts } from "../../lib/explore/litmus.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import { type Process, Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { EBUSY, EFAULT, EIO, ENODEV, ENOMEM, ERANGE } from "../../lib/mm/errno.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { getUserPage } from "../../lib/mm/gup.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { mremap } from "../../lib/mm/mremap.ts";
import { PTE_DEVICE, PTE_KIND } from "../../lib/mm/pagetable.ts";
import { plug, unplug, vanish } from "../../lib/workloads/hotplug.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { brokenAtRest } from "../rest.ts";
import { forEachEntry } from "../../lib/check/census.ts";

function deviceEntries({ kernel: k }: Machine, spaces: readonly number[]): number {
  let n = 0;
  for (const mm of spaces) {
    forEachEntry(k.tables, k.root[mm], (_vpn, kind) => {
      if ((kind & PTE_KIND) === PTE_DEVICE) n++;
    });
  }
  return n;
}

function bench(options = {}, pages = 8) {
  const m = machine({
    checkers: "all",
    memory: "1 MiB",
    processes: 4,
    devices: { gpu: { memory: "256 KiB", ...options }, other: { memory: "64 KiB" } },
  });
  const p = m.process(), heap = p.mmap(pages * 4096), gpu = new DeviceThread(m.gpu, p), t = new Thread(p);
  return { m, p, heap, gpu, t, other: new DeviceThread(m.other, p), zone: m.gpu.memory!.zone };
}

const words = (from: number, n: number) => Array.from({ length: n }, (_, i) => from + i);

test("what is on a device comes back when it is unplugged; its operations end in -ENODEV until it is plugged", () => {
  for (const coherent of [false, true]) {
    const { m, p, heap, gpu, zone } = bench({ coherent });
    p.write(heap, 7);
    expect(p.complete(gpu.migrate(heap))).toBe(8);
    const { start } = zone;
    expect(m.unplug(m.gpu)).toBe(0);
    expect([zone.start, zone.end, m.kernel.pages.used(zone), m.gpu.memory!.present]).toEqual([
      0,
      0,
      0,
      false,
    ]);
    expect([deviceEntries(m, [p.mm]), ...brokenAtRest(m)]).toEqual([0]);
    expect(p.read(heap)).toEqual(words(7, 8));
    expect(
      [gpu.fault(heap), gpu.migrate(heap), gpu.migrateBack(heap), gpu.exclusive(heap), gpu.write(heap, 1)]
        .map((op) => p.complete(op)),
    ).toEqual(Array(5).fill(-ENODEV));
    expect([p.complete(gpu.read(heap)), m.unplug(m.gpu), p.complete(gpu.vanish())]).toEqual([
      -ENODEV,
      -ENODEV,
      -ENODEV,
    ]);
    p.write(heap, 20);
    expect([m.plug(m.gpu), m.plug(m.gpu)]).toEqual([0, -EBUSY]);
    expect([zone.start, zone.end - zone.start]).toEqual([start, 64]);
    expect(p.complete(gpu.read(heap))).toBe(20);
    expect(p.complete(gpu.write(heap, 30))).toBe(0);
    expect(p.read(heap)).toEqual(words(30, 8));
    expect(brokenAtRest(m)).toEqual([]);
  }
});

test("pages that a fork shares, that swap knows and that another device mirrors come back too", () => {
  const { m, p, heap, gpu, other } = bench(), { kernel: k } = m;
  p.write(heap, 7);
  const child = p.fork();
  // Half of it goes through swap first, so that swap's cache and slots are in play for both.
  expect(m.complete(madvise(k, 0, p.mm, heap.vpn, 4, "pageout"))).toBe(0);
  p.read(heap.slice(0, "16 KiB"));
  p.complete(gpu.migrate(heap));
  child.read(child.here(heap).slice(0, "8 KiB"));
  const grandchild = child.fork(), all = [p, child, grandchild];
  p.complete(gpu.migrate(heap));
  p.complete(other.fault(heap.slice("16 KiB")));
  expect(m.gpu.memory!.used).toBeGreaterThan(0);
  expect(m.unplug(m.gpu)).toBe(0);
  expect(deviceEntries(m, all.map((x) => x.mm))).toBe(0);
  expect(brokenAtRest(m)).toEqual([]);
  for (const x of all) expect(x.read(x.here(heap))).toEqual(words(7, 8));
});

test("a removal that cannot empty the device says why, and the device goes on", () => {
  const { m, p, heap, gpu } = bench({ coherent: true }), { kernel: k } = m, { sim } = k;
  p.write(heap, 7);
  p.complete(gpu.migrate(heap));
  const pinned = m.complete(getUserPage(k, 0, p.mm, heap.vpn + 2, false));
  expect(m.unplug(m.gpu)).toBe(-EBUSY);
  expect(brokenAtRest(m, new Map([[pinned, 1]]))).toEqual([]);
  expect([m.gpu.memory!.used, m.gpu.memory!.live]).toEqual([1, true]); // the others have come back
  expect(p.complete(gpu.migrate(heap))).toBe(7);
  for (const [point, rc] of [["page allocation", -ENOMEM], ["dma map", -EIO], ["copy", -EIO]] as const) {
    sim.injectFailure(point, 1_000_000);
    expect([point, m.unplug(m.gpu)]).toEqual([point, rc]);
    if (point === "copy") expect(m.gpu.memory!.used).toBeLessThan(9);
    else expect(m.gpu.memory!.used).toBe(8);
    sim.injectFailure(point, 0);
    expect(brokenAtRest(m, new Map([[pinned, 1]]))).toEqual([]);
    p.complete(gpu.migrate(heap));
  }
  k.pages.put(0, pinned);
  expect([m.unplug(m.gpu), p.read(heap)]).toEqual([0, words(7, 8)]);
  sim.injectFailure("page allocation", 1_000_000);
  expect([m.plug(m.gpu), m.gpu.presence.away]).toEqual([-ENOMEM, true]);
  sim.injectFailure("page allocation", 0);
  expect([m.plug(m.gpu), ...brokenAtRest(m)]).toEqual([0]);
});

test("a machine full of memory keeps what has no place to go, and gives it back when there is one", () => {
  const m = machine({
    checkers: "all",
    memory: "128 KiB",
    swapPages: 0,
    devices: { gpu: { memory: "64 KiB" } },
  });
  const p = m.process(), heap = p.mmap("64 KiB"), gpu = new DeviceThread(m.gpu, p), full = p.mmap("128 KiB");
  p.write(heap, 1);
  expect(p.complete(gpu.migrate(heap))).toBe(16);
  p.write(full, 100);
  expect(m.unplug(m.gpu)).toBe(-ENOMEM);
  expect(brokenAtRest(m)).toEqual([]);
  p.munmap(full);
  expect([m.unplug(m.gpu), p.read(heap)]).toEqual([0, words(1, 16)]);
});

test("of a lost device the pages are lost with it: SIGBUS before and after its removal, nothing leaks", () => {
  const { m, p, heap, gpu, other, zone } = bench(), { kernel: k } = m;
  p.write(heap, 7);
  p.complete(gpu.migrate(heap.slice(0, "16 KiB")));
  const child = p.fork();
  expect(p.complete(gpu.vanish())).toBe(0);
  const lost = Array(4).fill("SIGBUS");
  expect(p.read(heap)).toEqual([...lost, ...words(11, 4)]);
  expect(p.complete(other.fault(heap.slice(0, "4 KiB")))).toBe(-EFAULT);
  expect([p.complete(gpu.fault(heap)), p.complete(gpu.walkAndStore(heap, 1)), gpu.text(heap)]).toEqual([
    -ENODEV,
    false,
    "........",
  ]);
  expect(m.kernel.pages.used(zone)).toBe(4);
  expect(m.unplug(m.gpu)).toBe(0);
  expect([deviceEntries(m, [p.mm, child.mm]), ...brokenAtRest(m)]).toEqual([0]);
  const grandchild = child.fork();
  for (const x of [p, child, grandchild]) expect(x.read(x.here(heap))).toEqual([...lost, ...words(11, 4)]);
  expect([p.residentPages, p.write(heap.slice(0, "4 KiB"), 1)]).toEqual([4, { 0: "SIGBUS" }]);
  expect(m.complete(getUserPage(k, 0, p.mm, heap.vpn, true))).toBe(-EFAULT);
  expect(p.complete(other.fault(heap.slice(0, "4 KiB")))).toBe(-EFAULT);
  p.mprotect(heap, "r");
  p.mprotect(heap, "rw");
  expect(p.read(heap.slice(0, "4 KiB"))).toEqual(["SIGBUS"]);
  // What the program gives up it gets anew, as zeros.
  m.complete(madvise(k, 0, p.mm, heap.vpn, 1, "dontneed"));
  expect(p.read(heap.slice(0, "8 KiB"))).toEqual([0, "SIGBUS"]);
  expect([m.plug(m.gpu), p.complete(gpu.migrate(heap))]).toEqual([0, 5]);
  expect(brokenAtRest(m)).toEqual([]);
  for (const x of [p, child, grandchild]) m.complete(exitMm(k, 0, x.mm));
  expect([k.pages.used(k.ram), k.pages.used(zone), ...brokenAtRest(m)]).toEqual([1, 0]);
});

test("memory that the CPU reaches survives its device: the CPU copies it when the device is removed", () => {
  const { m, p, heap, gpu } = bench({ coherent: true });
  p.write(heap, 7);
  p.complete(gpu.migrate(heap));
  expect([p.complete(gpu.vanish()), p.complete(gpu.migrateBack(heap))]).toEqual([0, -ENODEV]);
  expect(p.read(heap)).toEqual(words(7, 8));
  expect([m.unplug(m.gpu), p.read(heap), ...brokenAtRest(m)]).toEqual([0, words(7, 8)]);
});

test("an engine that reports an error has copied some pages: those migrate, the others stay", () => {
  for (let seed = 1; seed <= 8; seed++) {
    const m = machine({ checkers: "all", memory: "1 MiB", seed, devices: { gpu: { memory: "256 KiB" } } });
    const p = m.process(), heap = p.mmap("32 KiB"), gpu = new DeviceThread(m.gpu, p);
    p.write(heap, 7);
    m.kernel.sim.injectFailure("copy", 1_000_000);
    const went = p.complete(gpu.migrate(heap));
    expect(went).toBeLessThan(8);
    expect(m.gpu.memory!.used).toBe(went);
    m.kernel.sim.injectFailure("copy", 0);
    expect(brokenAtRest(m)).toEqual([]);
    expect(p.complete(gpu.migrate(heap))).toBe(8 - went);
    m.kernel.sim.injectFailure("copy", 1_000_000);
    expect(p.read(heap.slice(0, "4 KiB"))).toEqual(["SIGBUS"]);
    m.kernel.sim.injectFailure("copy", 0);
    expect([p.read(heap), ...brokenAtRest(m)]).toEqual([words(7, 8)]);
  }
});

test("a run goes on while its device is unplugged, plugged and lost; the CPU sees its words all the time", async () => {
  for (const runner of ["clock", "complete", "steps"] as const) {
    const m = machine({ checkers: "all", memory: "8 MiB", seed: 3, devices: { gpu: { memory: "4 MiB" } } });
    const heap = m.process().mmap("2 MiB");
    await m.run({ cpu: touch(heap) }, { runner });
    await m.run({ gpu: stream(m.gpu, heap) }, { runner });
    const run = await m.run({
      cpu: touch(heap, { write: false, check: true }),
      gpu: stream(m.gpu, heap),
      driver: unplug(m.gpu, { after: "20 us" }),
      again: plug(m.gpu, { after: "900 us" }),
    }, { runner });
    expect([run.actors[0].mismatches, run.actors[0].signals]).toEqual([0, 0]);
    expect(brokenAtRest(m)).toEqual([]);
    if (m.gpu.presence.away) expect(m.plug(m.gpu)).toBe(0);
    await m.run({ gpu: stream(m.gpu, heap) }, { runner });
    const lost = await m.run({ cpu: touch(heap), slot: vanish(m.gpu, { after: "10 us" }) }, { runner });
    expect(lost.actors[1].signals).toBe(0);
    expect([m.unplug(m.gpu), ...brokenAtRest(m)]).toEqual([0]);
  }
});

test("a device is attached where there is room, and refused where there is none", () => {
  const m = machine({ checkers: "all", memory: "1 MiB", hotplug: "256 MiB" }),
    p = m.process(),
    heap = p.mmap("64 KiB");
  expect(() => m.attach("gpu", { memory: "512 MiB" })).toThrow(/hotplug/);
  expect(() => m.attach("run", { memory: "1 MiB" })).toThrow(/that name/);
  expect(() => m.attach("Gpu", {})).toThrow(/device's name/);
  expect(() => m.unplug({} as never)).toThrow(/Cannot unplug/);
  expect(() => m.unplug(machine({ devices: { gpu: {} } }).gpu)).toThrow(/another machine/);
  const gpu = m.attach("gpu", { memory: "128 MiB" }), dev = new DeviceThread(gpu, p);
  expect(() => m.attach("gpu", { memory: "1 MiB" })).toThrow(/that name/);
  p.write(heap, 1);
  expect([p.complete(dev.migrate(heap)), m.devices.gpu, m.spec.devices.gpu.memoryPages]).toEqual([
    16,
    gpu,
    32768,
  ]);
  // Another one takes the place while the first is away.
  expect(m.unplug(gpu)).toBe(0);
  const two = m.attach("two", { memory: "256 MiB" });
  expect([m.plug(gpu), m.unplug(two), m.plug(gpu)]).toEqual([-ERANGE, 0, 0]);
  expect([p.read(heap), ...brokenAtRest(m)]).toEqual([words(1, 16)]);
});

/** Address spaces in use. */
const spacesOf = (m: Machine) => [...m.kernel.root.keys()].filter((mm) => m.kernel["mmInUse"][mm]);

const RULES = (m: Machine, p: Process) => ({
  conserved: () => brokenAtRest(m).length === 0,
  noDeviceEntry: () =>
    !m.devices.dev.memory!.present === (m.kernel.pages.used(m.devices.dev.memory!.zone) === 0 &&
      m.devices.dev.memory!.zone.end === 0),
  removable: () => !p.machine.kernel.locks.owner.some((o) => o !== 0),
});

/** A race of one page that is on the device at the start. */
function race(
  name: string,
  parts: (c: LitmusContext) => LitmusParts,
  options: Parameters<typeof litmus>[1] = {},
) {
  return litmus(name, { pages: 1, device: { memory: "64 KiB", ...options.device }, ...options }, (c) => {
    c.t.process.complete(c.dev.migrate(c.A));
    const own = parts(c as LitmusContext);
    return { ...own, finally: { ...RULES(c.m, c.t.process), ...own.finally } };
  });
}

/** Moves the mapping of the page from one distance of its first place to another. */
function* move(c: LitmusContext, to: number, from = 0) {
  const { machine: { kernel: k }, mm } = c.t.process;
  return yield* mremap(k, k.sim.current, mm, c.A.vpn + from, 1, c.A.vpn + to, 1);
}

const saw = (c: LitmusContext) => c.t.process.read(c.A)[0];

test.each([
  race("unplug against a CPU read", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.t.read(c.A),
    finally: { word: () => saw(c) === 1 },
  })),
  race("unplug against a CPU write", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.t.write(c.A, 5),
    finally: { word: () => saw(c) === 5 },
  })),
  race("unplug against munmap", (c) => ({ P0: () => c.dev.unplug(), P1: () => c.t.munmap(c.A) })),
  race("unplug against fork", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.t.fork(),
    finally: { word: () => saw(c) === 1 },
  })),
  race("unplug against a device fault", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.dev.fault(c.A),
    finally: { empty: () => c.dev.text(c.A) === ".", word: () => saw(c) === 1 },
  })),
  race("unplug against a migration to the device", (c) => ({
    P0: () => c.dev.unplug(),
    *P1() {
      yield* c.dev.migrateBack(c.A);
      yield* c.dev.migrate(c.A);
    },
    finally: { word: () => saw(c) === 1 },
  })),
  race("two removals", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.dev.unplug(),
    outcome: () => String(c.m.devices.dev.memory!.present),
    finally: { gone: () => !c.m.devices.dev.memory!.present },
  })),
  race("unplug and plug against a read", (c) => ({
    *P0() {
      yield* c.dev.unplug();
      yield* c.dev.plug();
    },
    P1: () => c.t.read(c.A),
    finally: { there: () => c.m.devices.dev.memory!.live, word: () => saw(c) === 1 },
  })),
  race("unplug against a move of the mapping", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => move(c, 4096),
    finally: { word: () => c.t.process.read(new Region(c.t.process, c.A.vpn + 4096, 1))[0] === 1 },
  })),
  race("unplug against moves to both sides", (c) => ({
    P0: () => c.dev.unplug(),
    *P1() {
      yield* move(c, -4096);
      yield* move(c, 4096, -4096);
    },
    finally: { word: () => c.t.process.read(new Region(c.t.process, c.A.vpn + 4096, 1))[0] === 1 },
  })),
  race("unplug against fork and a store", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.t.fork(),
    P2: () => c.t.write(c.A, 5),
    finally: { word: () => saw(c) === 5 },
  })),
  race("unplug of a page that two processes share, against both", (c) => {
    const child = c.t.process.fork(), other = new Thread(child);
    return {
      P0: () => c.dev.unplug(),
      P1: () => c.t.write(c.A, 5),
      P2: () => other.munmap(child.here(c.A)),
      finally: { word: () => saw(c) === 5 },
    };
  }),
  race("unplug against the end of the process", (c) => ({
    P0: () => c.dev.unplug(),
    *P1() {
      yield* exitMm(c.m.kernel, c.m.kernel.sim.current, c.t.process.mm);
    },
  })),
  race("a lost device is emptied while its page's mapping is forked and moved", (c) => ({
    *P0() {
      yield* c.dev.vanish();
      yield* c.dev.unplug();
    },
    *P1() {
      yield* c.t.fork();
      yield* move(c, 4096);
    },
    finally: { gone: () => !c.m.devices.dev.memory!.present && deviceEntries(c.m, spacesOf(c.m)) === 0 },
  })),
  race("two pages are emptied while one is unmapped and the other written", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.t.munmap(c.A.slice(0, "4 KiB")),
    P2: () => c.t.write(c.A.slice("4 KiB"), 5),
    finally: { word: () => c.t.process.read(c.A)[1] === 5 },
  }), { pages: 2 }),
  race("a device vanishes while the CPU takes its page", (c) => ({
    *P0() {
      yield* c.dev.vanish();
      yield* c.dev.unplug();
    },
    P1: () => c.t.read(c.A),
    finally: {
      lostOrWhole: () => [1, "SIGBUS"].includes(saw(c)),
      entries: () => deviceEntries(c.m, [0]) === 0,
    },
  })),
  race("a device vanishes while it is emptied", (c) => ({
    P0: () => c.dev.unplug(),
    P1: () => c.dev.vanish(),
    finally: {
      lostOrWhole: () => [1, "SIGBUS"].includes(saw(c)),
      gone: () => !c.m.devices.dev.memory!.present && deviceEntries(c.m, [0]) === 0,
    },
  })),
  race("a device vanishes under its own fault", (c) => ({
    P0: () => c.dev.vanish(),
    P1: () => c.dev.fault(c.A, true),
    HW: () => c.dev.walkAndStore(c.A, 9),
    finally: { empty: () => c.dev.text(c.A) === "." },
    never: { staleStore: () => c.dev.storedToFreed() },
  })),
])("$name: no interleaving loses a page", async (r) => {
  const found = await explore(r, { maxStates: 100_000 });
  expect([found.violated, found.schedule, found.found.exhaustive]).toEqual([undefined, "", true]);
  expect(found.found.states).toBeGreaterThan(20);
});
