import { describe, expect, test } from "vitest";
import { stream } from "../../lib/workloads/stream.ts";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import { machine } from "../../lib/machine/machine.ts";
import type { Process } from "../../lib/machine/process.ts";
import { Region } from "../../lib/machine/region.ts";
import { EACCES, EBUSY, EFAULT, EINVAL, EIO, ENODEV, ENOENT, ENOMEM } from "../../lib/mm/errno.ts";
import { insertPages } from "../../lib/mm/files.ts";
import { mmap } from "../../lib/mm/mmap.ts";
import { mremap } from "../../lib/mm/mremap.ts";
import { MMU_NOTIFY_CLEAR } from "../../lib/mm/notifier.ts";
import { HUGE_PAGES, PG_LARGE, PG_LRU } from "../../lib/mm/pages.ts";
import { VM_READ, VM_SHARED, VM_WRITE } from "../../lib/mm/vma.ts";
import { brokenAtRest } from "../rest.ts";

const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);
const count = (n: number, from = 0) => Array.from({ length: n }, (_, i) => from + i);

function frame(p: Process, r: Region, i = 0): number {
  const { tables, root } = p.machine.kernel;
  return tables.pfn[tables.entry(root[p.mm], r.vpn + i)];
}

function small(options: Parameters<typeof machine>[0] = {}) {
  const m = machine({ memory: "4 MiB", nodes: 2, swapPages: 64, ...options }), p = m.process();
  return { m, k: m.kernel, p, rules: () => brokenAtRest(m) };
}

describe("movePages()", () => {
  test("moves pages to a node with their words, says where each is, and tells subscribers CLEAR page by page", () => {
    const { k, p, rules } = small(), heap = p.mmap("16 KiB"), events: string[] = [];
    p.write(heap, 5);
    k.notifiers.watch = (_a, e, start) => {
      if (start) events.push(`${e.event} ${e.start - heap.vpn} ${e.end - e.start}`);
    };
    expect(p.movePages(heap, 1)).toEqual({ result: 0, status: [1, 1, 1, 1] });
    expect(events).toEqual(count(4).map((i) => `${MMU_NOTIFY_CLEAR} ${i} 1`));
    expect(p.nodes(heap)).toEqual([1, 1, 1, 1]);
    expect(p.read(heap)).toEqual([5, 6, 7, 8]);
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 4]);
    expect(k.pages.flags[frame(p, heap)] & PG_LRU).toBe(PG_LRU);
    expect(rules()).toEqual([]);
    // A writer goes on without a fault: the page still is its alone.
    const faults = k.sim.counters.values[k.pgfault];
    expect(p.write(heap, 9)).toEqual({});
    expect(k.sim.counters.values[k.pgfault]).toBe(faults);
  });

  test("each page can have a node of its own; what is not there says why", () => {
    const { p, rules } = small({ devices: { dev: { memory: "64 KiB" } } }),
      dev = asDummy(p.machine.devices.dev);
    const { machine: m } = p;
    const heap = p.mmap("32 KiB");
    p.write(page(heap, 0, 4), 1);
    p.read(page(heap, 4));
    p.munmap(page(heap, 6, 2));
    m.complete(dev.migrateToDevice(0, dev.mirror(p.mm), heap.vpn + 3, heap.vpn + 4));
    expect(p.movePages(heap, [0, 1, 0, 1, 1, 1, 1, 1])).toEqual({
      result: 0,
      status: [0, 1, 0, -ENOENT, -EFAULT, -ENOENT, -EFAULT, -EFAULT],
    });
    expect(rules()).toEqual([]);
  });

  test("a page that others map moves only with all, and then for all of them", () => {
    const { p, rules } = small(), heap = p.mmap("8 KiB");
    p.write(heap, 1);
    const child = p.fork(), there = child.here(heap);
    child.write(page(there, 1), 9);
    expect(p.movePages(heap, 1).status).toEqual([-EACCES, 1]);
    expect(p.movePages(heap, 1, { all: true }).status).toEqual([1, 1]);
    expect(frame(p, heap)).toBe(frame(child, there));
    expect([p.read(heap), child.read(there)]).toEqual([[1, 2], [1, 9]]);
    child.write(there, 7);
    expect([p.read(heap), child.read(there)]).toEqual([[1, 2], [7, 8]]);
    expect(rules()).toEqual([]);
  });

  test("a pinned page ends the call; what comes after it is not looked at", () => {
    const { k, p, rules } = small(), heap = p.mmap("16 KiB");
    p.write(heap, 1);
    const held = frame(p, heap, 1);
    k.pages.refcount[held]++;
    k.pages.pins[held]++;
    expect(p.movePages(heap, [1, 1, 0, 1])).toEqual({ result: 3, status: count(4).map(() => undefined) });
    expect(p.nodes(heap)).toEqual([1, 0, 0, 0]);
    expect(k.sim.counters.values[k.pgmigrate.fail]).toBe(1);
    expect(k.sim.counters.values[k.pgmigrate.success]).toBe(1);
    k.pages.pins[held]--;
    k.pages.put(0, held);
    expect(p.movePages(heap, 1).status).toEqual([1, 1, 1, 1]);
    expect(p.read(heap)).toEqual([1, 2, 3, 4]);
    expect(rules()).toEqual([]);
  });

  test("a node that the machine does not have is -ENODEV; what came before it has moved", () => {
    const { p, rules } = small(), heap = p.mmap("12 KiB");
    p.write(heap, 1);
    expect(p.movePages(heap, [1, 2, 1])).toEqual({ result: -ENODEV, status: [1, undefined, undefined] });
    expect(p.movePages(heap, -1).result).toBe(-ENODEV);
    expect(rules()).toEqual([]);
  });

  test("a node without a free page is -ENOMEM, and the pages stay", () => {
    const { p, rules } = small({ memory: undefined, nodes: [{ memory: "1 MiB" }, { memory: "64 KiB" }] });
    const heap = p.mmap("128 KiB");
    p.write(heap, 1);
    expect(p.movePages(heap, 1).result).toBe(-ENOMEM);
    expect(p.read(heap)).toEqual(count(32, 1));
    expect(p.nodes(heap).filter((n) => n === 1).length).toBe(16);
    expect(rules()).toEqual([]);
  });

  test("pages of shared memory and of files move, in the cache as well", () => {
    const { k, p, m, rules } = small(), inode = k.inodes.make(4);
    const vpn = m.complete(mmap(k, 0, p.mm, -1, 4, VM_READ | VM_WRITE | VM_SHARED, inode));
    k.inodes.put(k, 0, inode);
    const shared = new Region(p, vpn, 4);
    p.write(shared, 40);
    expect(p.movePages(shared, 1).status).toEqual([1, 1, 1, 1]);
    expect(count(4).map((i) => k.inodes.lookup(inode, i))).toEqual(count(4).map((i) => frame(p, shared, i)));
    expect(p.read(shared)).toEqual([40, 41, 42, 43]);
    expect(rules()).toEqual([]);
    const child = p.fork();
    p.write(shared, 50);
    expect(child.read(child.here(shared))).toEqual([50, 51, 52, 53]);
    p.munmap(shared);
    child.exit();
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 0]);
  });

  test("a page in the swap cache moves with its slot", () => {
    const { k, p, rules } = small(), heap = p.mmap("4 KiB");
    p.write(heap, 3);
    p.madvise(heap, "pageout");
    const other = p.fork();
    p.read(heap); // two users of the slot: through the swap cache, and read-only
    expect(k.pages.swap[frame(p, heap)]).not.toBe(0);
    expect(p.movePages(heap, 1, { all: true }).status).toEqual([1]);
    expect(k.swap.lookup(k.pages.swap[frame(p, heap)] - 1)).toBe(frame(p, heap));
    expect(other.read(other.here(heap))).toEqual([3]);
    expect(p.nodes(heap)).toEqual([1]);
    expect(rules()).toEqual([]);
  });

  test("a page that a device mirrors is lost to the device, which finds it again by a fault", async () => {
    const { m, p, rules } = small({ devices: { dev: { memory: 0, onFault: "map" } } });
    const heap = p.mmap("64 KiB");
    p.write(heap, 1);
    await m.run({ dev: stream(asDummy(m.dev), heap, { value: 1, check: true }) });
    const mirror = asDummy(m.dev).mirror(p.mm);
    expect(mirror.text(heap.vpn, 16)).toMatch(/^[rw]{16}$/);
    p.movePages(page(heap, 0, 8), 1);
    expect(mirror.text(heap.vpn, 16)).toMatch(/^\.{8}[rw]{8}$/);
    const run = await m.run({ dev: stream(asDummy(m.dev), heap, { value: 1, check: true }) });
    expect([run.mismatches, run.deviceFaults.count > 0]).toEqual([0, true]);
    expect(rules()).toEqual([]);
  });

  test("pages that go with MADV_FREE still can go after they have moved", () => {
    const { p, k } = small(), heap = p.mmap("4 KiB");
    p.write(heap, 1);
    p.madvise(heap, "free");
    p.movePages(heap, 1);
    p.madvise(heap, "pageout");
    expect(p.read(heap)).toEqual([0]);
    expect(k.swap.users.every((n) => n === 0)).toBe(true);
  });
});

describe("a large folio", () => {
  const MEMORY = { nodes: [{ memory: "8 MiB" }, { memory: "8 MiB" }], memory: undefined };
  function withHuge(options: Parameters<typeof machine>[0] = MEMORY) {
    const s = small(options), heap = s.p.mmap("2 MiB");
    s.p.madvise(heap, "hugepage");
    s.p.write(heap, 1);
    expect(s.k.tables.huge(s.k.root[s.p.mm], heap.vpn)).toBeGreaterThanOrEqual(0);
    return { ...s, heap };
  }

  test("moves as a whole and is mapped by one entry again; subscribers hear of the whole range once", () => {
    const { k, p, heap } = withHuge(), events: string[] = [], tables = k.tables.tables;
    k.notifiers.watch = (_a, e, start) => {
      if (start) events.push(`${e.event} ${e.start - heap.vpn} ${e.end - e.start}`);
    };
    const { result, status } = p.movePages(page(heap, 0), 1);
    expect([result, status]).toEqual([0, [1]]);
    expect(events).toEqual([`${MMU_NOTIFY_CLEAR} 0 512`]);
    const e = k.tables.huge(k.root[p.mm], heap.vpn), first = k.tables.pfn[e];
    expect([k.nodes.nodeOf(first), k.pages.refcount[first], k.pages.flags[first] & PG_LARGE]).toEqual([
      1,
      1,
      PG_LARGE,
    ]);
    expect(k.tables.tables).toBe(tables);
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, HUGE_PAGES]);
    expect(p.read(heap)).toEqual(count(512, 1));
    expect(p.write(heap, 2)).toEqual({});
    // Whoever asks for its other pages finds them there already.
    expect(p.movePages(heap, 1).status).toEqual(count(512).map(() => 1));
    p.exit();
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 0]);
  });

  test("shared by a fork moves for both with all", () => {
    const { k, p, heap } = withHuge(), child = p.fork(), there = child.here(heap);
    expect(p.movePages(page(heap, 0), 1).status).toEqual([-EACCES]);
    expect(p.movePages(page(heap, 0), 1, { all: true }).status).toEqual([1]);
    for (const q of [p, child]) expect(k.tables.huge(k.root[q.mm], heap.vpn)).toBeGreaterThanOrEqual(0);
    child.write(page(there, 3), 99);
    expect([p.read(heap)[3], child.read(there)[3], child.read(there)[4]]).toEqual([4, 99, 5]);
    child.exit();
    p.exit();
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 0]);
  });

  test("of which a part was unmapped moves with what is left of it, by small entries", () => {
    const { k, p, heap } = withHuge();
    p.munmap(page(heap, 0, 256));
    expect(p.movePages(page(heap, 256), 1).status).toEqual([1]);
    expect(k.tables.huge(k.root[p.mm], heap.vpn + 256)).toBe(-1);
    expect(p.read(page(heap, 256, 256))).toEqual(count(256, 257));
    expect(p.nodes(page(heap, 511))).toEqual([1]);
    p.exit();
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual([1, 0]);
  });

  test("is split where the node has no free 2 MiB, and its pages move", () => {
    const { k, p, heap } = withHuge({ memory: undefined, nodes: [{ memory: "8 MiB" }, { memory: "3 MiB" }] });
    const wall = k.pages.takeHuge(k.pages.zones[1]);
    expect(p.movePages(page(heap, 0), 1).result).toBe(-ENOMEM); // 256 of 512 find a place
    expect(p.nodes(heap).filter((n) => n === 1).length).toBe(256);
    k.pages.put(0, wall);
    expect(p.movePages(heap, 1).result).toBe(0);
    expect(p.read(heap)).toEqual(count(512, 1));
    expect(brokenAtRest(p.machine)).toEqual([]);
  });
});

describe("migratePages()", () => {
  test("empties nodes, each to the one in its place", () => {
    const { p, rules } = small({ nodes: 4 }), heap = p.mmap("16 KiB");
    p.setMempolicy("interleave", [0, 1, 2, 3]);
    p.write(heap, 1);
    expect(new Set(p.nodes(heap))).toEqual(new Set([0, 1, 2, 3]));
    const was = p.nodes(heap);
    expect(p.migratePages([0, 1], [2, 3])).toBe(0);
    expect(p.nodes(heap)).toEqual(was.map((n) => n < 2 ? n + 2 : n));
    // A ring: every page moves once.
    expect(p.migratePages([2, 3], [3, 2])).toBe(0);
    expect(p.read(heap)).toEqual([1, 2, 3, 4]);
    expect(p.migratePages([0, 1, 2, 3], [0])).toBe(0);
    expect(p.nodes(heap)).toEqual([0, 0, 0, 0]);
    expect(p.migratePages([0], [7])).toBe(-EINVAL);
    expect(rules()).toEqual([]);
  });

  test("counts what cannot move, and leaves what others map", () => {
    const { k, p, rules } = small(), heap = p.mmap("12 KiB");
    p.write(heap, 1);
    const child = p.fork();
    p.write(page(heap, 0, 2), 5);
    const held = frame(p, heap, 1);
    k.pages.refcount[held]++;
    expect(p.migratePages([0], [1])).toBe(1);
    k.pages.put(0, held);
    expect(p.nodes(heap)).toEqual([1, 0, 0]);
    expect(p.migratePages([0], [1], { all: true })).toBe(0);
    expect(p.nodes(heap)).toEqual([1, 1, 1]);
    expect(child.nodes(child.here(heap)).slice(2)).toEqual([1]);
    expect(rules()).toEqual([]);
  });
});

describe("memory policies", () => {
  test("bind takes pages of its nodes alone, the nearest first, and none when they are full", () => {
    const { p, rules } = small({
      memory: undefined,
      nodes: [{ memory: "1 MiB" }, { memory: "64 KiB" }],
      swapPages: 0,
    });
    const heap = p.mmap("128 KiB");
    expect(p.mbind(heap, "bind", [1])).toBe(0);
    const signals = p.write(heap, 1);
    expect(Object.values(signals)).toEqual(count(16).map(() => "OOM"));
    expect(p.nodes(heap).filter((n) => n === 1).length).toBe(16);
    expect(rules()).toEqual([]);
  });

  test("preferred falls back; interleave goes by the page's offset, whoever touches it in which order", () => {
    const { p } = small({
      memory: undefined,
      nodes: [{ memory: "1 MiB" }, { memory: "64 KiB" }, { memory: "1 MiB" }],
    });
    const a = p.mmap("80 KiB"), b = p.mmap("32 KiB");
    p.mbind(a, "preferred", [1]);
    p.write(a, 1);
    expect([1, 2].map((n) => p.nodes(a).filter((x) => x === n).length)).toEqual([16, 4]);
    p.mbind(b, "interleave", [0, 2]);
    for (const i of [5, 1, 7, 0, 2, 6, 4, 3]) p.write(page(b, i), i);
    const where = p.nodes(b), first = where[0];
    expect(where).toEqual(count(8).map((i) => i % 2 === 0 ? first : 2 - first));
  });

  test("a range's policy cuts the vma, goes to a child, moves with mremap, and joins when it is equal again", () => {
    const { k, p, m } = small(), heap = p.mmap("32 KiB"), vmas = k.vmas.length;
    expect(p.mbind(page(heap, 2, 2), "bind", [1])).toBe(0);
    expect(k.vmas.length).toBe(vmas + 2);
    expect(p.mbind(page(heap, 2, 2), "default", [])).toBe(0);
    expect(k.vmas.length).toBe(vmas);
    p.mbind(page(heap, 2, 2), "bind", [1]);
    const child = p.fork(), there = child.here(heap);
    for (const [q, r] of [[p, heap], [child, there]] as const) {
      q.write(r, 1);
      expect(q.nodes(r)).toEqual([0, 0, 1, 1, 0, 0, 0, 0]);
    }
    const far = new Region(p, heap.vpn - 64, 2);
    p.madvise(heap, "dontneed");
    expect(m.complete(mremap(k, 0, p.mm, heap.vpn + 2, 2, far.vpn, 2))).toBe(far.vpn);
    p.write(far, 1);
    expect(p.nodes(far)).toEqual([1, 1]);
    expect(brokenAtRest(m)).toEqual([]);
  });

  test("mbind() moves what is elsewhere if asked, and with strict says if something stays", () => {
    const { k, p, rules } = small(), heap = p.mmap("16 KiB");
    p.write(heap, 1);
    expect(p.mbind(heap, "bind", [1], { strict: true })).toBe(-EIO);
    expect(p.nodes(heap)).toEqual([0, 0, 0, 0]);
    const held = frame(p, heap, 2);
    k.pages.refcount[held]++;
    expect(p.mbind(heap, "bind", [1], { strict: true, move: true })).toBe(-EIO);
    k.pages.put(0, held);
    expect(p.nodes(heap)).toEqual([1, 1, 0, 1]);
    expect(p.mbind(heap, "bind", [1], { strict: true, move: true })).toBe(0);
    expect(p.mbind(heap, "bind", [1], { strict: true })).toBe(0);
    expect(p.read(heap)).toEqual([1, 2, 3, 4]);
    expect(rules()).toEqual([]);
  });

  test("what Linux refuses is refused with its errno", () => {
    const { p } = small(), heap = p.mmap("16 KiB");
    p.munmap(page(heap, 1));
    expect(p.mbind(heap, "bind", [1])).toBe(-EFAULT);
    expect(p.mbind(page(heap, 0), "bind", [])).toBe(-EINVAL);
    expect(p.mbind(page(heap, 0), "default", [0])).toBe(-EINVAL);
    expect(p.mbind(page(heap, 0), "bind", [5])).toBe(-EINVAL);
    expect(p.setMempolicy("interleave", [])).toBe(-EINVAL);
    expect(p.setMempolicy("preferred", [])).toBe(0);
  });

  test("a driver's page of a mixed map does not move", () => {
    const { k, p, m, rules } = small(), inode = k.inodes.make(2);
    const vpn = m.complete(mmap(k, 0, p.mm, -1, 2, VM_READ | VM_WRITE | VM_SHARED, inode));
    k.inodes.put(k, 0, inode);
    expect(insertPages(k, 0, p.mm, k.vmas.lookup(p.mm, vpn))).toBe(0);
    expect(p.movePages(new Region(p, vpn, 2), 1)).toEqual({ result: 0, status: [-EBUSY, -EBUSY] });
    expect(rules()).toEqual([]);
  });
});
