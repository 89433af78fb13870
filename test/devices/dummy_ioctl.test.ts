/** The commands of the test driver, with its oddities and without. */
import { expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import {
  dummyCheckExclusive,
  dummyClose,
  dummyExclusive,
  dummyMigrateToDevice,
  dummyMigrateToSystem,
  dummyRead,
  dummyRelease,
  dummyWrite,
  IoctlResult,
} from "../../lib/devices/dummy/ioctl.ts";
import { dummySnapshot } from "../../lib/devices/dummy/snapshot.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { Process, Region } from "../../lib/machine/process.ts";
import { EBUSY, EFAULT, EINVAL, ENOENT, EPERM } from "../../lib/mm/errno.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import type { Proc } from "../../lib/sim/sim.ts";

/** A process with a region, and a file of a device on it. */
class Bench {
  readonly m: Machine;
  readonly p: Process;
  readonly r: Region;
  readonly file;

  constructor(readonly quirks: boolean, pages = 8, coherent = false) {
    const device = { memory: "1 MiB", onFault: "map", coherent } as const;
    const spec = quirks ? { ...device, quirks: "test_hmm-6.12" as const } : device;
    this.m = machine({ memory: "8 MiB", devices: { gpu: spec, other: spec }, pageTables: 64 });
    this.p = this.m.process();
    this.r = this.p.mmap(pages * 4096);
    this.file = this.d.open(this.p.mm);
  }

  get d() {
    return this.m.deviceList.map(asDummy)[0];
  }

  run<R>(proc: Proc<R>): R {
    return this.m.complete(proc);
  }

  write(at: number, pages: number, value: number, out = new IoctlResult()): number {
    return this.run(dummyWrite(this.d, 0, this.file, this.r.vpn + at, pages, value, out));
  }

  read(at: number, pages: number, out = new IoctlResult()): number | readonly number[] {
    const rc = this.run(dummyRead(this.d, 0, this.file, this.r.vpn + at, pages, out));
    return rc === 0 ? out.data : rc;
  }

  migrate(at: number, pages: number, out = new IoctlResult()): number {
    return this.run(dummyMigrateToDevice(this.d, 0, this.file, this.r.vpn + at, pages, out));
  }

  exclusive(at: number, pages: number): number {
    return this.run(dummyExclusive(this.d, 0, this.file, this.r.vpn + at, pages, new IoctlResult()));
  }

  snapshot(): string {
    const bytes: number[] = [];
    this.run(dummySnapshot(this.d, 0, this.file, this.r.vpn, this.r.pages, bytes));
    return bytes.map((b) => b.toString(16).padStart(2, "0")).join(" ");
  }

  get mirror(): string {
    return this.file.text(this.r.vpn, this.r.pages);
  }
}

test.for([true, false])("a device writes, reads, migrates and brings back (quirks: %s)", (quirks) => {
  const b = new Bench(quirks);
  const out = new IoctlResult();
  expect(b.write(0, 4, 10, out)).toBe(0);
  expect([out.cpages, out.faults]).toEqual([4, 1]);
  expect(b.migrate(0, 4)).toBe(0);
  expect(b.snapshot()).toBe("22 22 22 22 00 00 00 00");
  expect(b.d.memory!.used).toBe(4);
  expect(b.read(0, 4)).toEqual([10, 11, 12, 13]);
  const back = new IoctlResult();
  expect(b.run(dummyMigrateToSystem(b.d, 0, b.file, b.r.vpn, 6, back))).toBe(0);
  expect([back.cpages, b.d.memory!.used]).toEqual([4, 0]);
  expect(b.p.read(b.r)).toEqual([10, 11, 12, 13, 0, 0, 0, 0]);
  // A range of holes is nothing to bring back, and stays one.
  expect(b.snapshot()).toBe("02 02 02 02 11 11 11 11");
});

test.for([true, false])("bad ranges have the driver's errors (quirks: %s)", (quirks) => {
  const b = new Bench(quirks), none = b.p.mmap(4096, "none");
  const { run, d, file } = { run: b.run.bind(b), d: b.d, file: b.file };
  expect(b.read(0, 0)).toBe(-EINVAL);
  expect(b.write(8, 1, 1)).toBe(-EFAULT);
  expect(b.migrate(6, 4)).toBe(-EINVAL);
  expect(b.migrate(0, 0)).toBe(-EINVAL);
  expect(run(dummyRead(d, 0, file, none.vpn, 1, new IoctlResult()))).toBe(-EFAULT);
  expect(run(dummyMigrateToSystem(d, 0, file, none.vpn, 1, new IoctlResult()))).toBe(-EINVAL);
  expect(b.exclusive(8, 1)).toBe(-EBUSY);
  expect(b.exclusive(0, 0)).toBe(-EINVAL);
  expect(run(dummyCheckExclusive(d, 0, file, b.r.vpn, 0))).toBe(-EINVAL);
  expect(run(dummySnapshot(d, 0, file, b.r.vpn, 0, []))).toBe(-EINVAL);
  b.p.mprotect(b.r, "r");
  expect(b.write(0, 1, 1)).toBe(-EPERM);
});

test("a page that cannot go: the test driver says ENOENT, a device that means it counts", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks), other = b.m.deviceList.map(asDummy)[1], file = other.open(b.p.mm);
    b.p.write(b.r, 5);
    b.run(dummyMigrateToDevice(other, 0, file, b.r.vpn, 2, new IoctlResult()));
    const out = new IoctlResult();
    expect(b.migrate(0, 4, out)).toBe(quirks ? -ENOENT : 0);
    expect(b.snapshot()).toBe("00 00 22 22 02 02 02 02");
    if (!quirks) expect(out.cpages).toBe(2);
  }
});

test("a write that cannot be done: the test driver writes what was mapped, else nothing is written", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks);
    expect(b.write(0, 8, 1)).toBe(0);
    b.p.mprotect(b.r.slice("16 KiB"), "r");
    expect(b.write(0, 8, 50)).toBe(-EPERM);
    expect(b.p.read(b.r).slice(0, 5)).toEqual(quirks ? [50, 51, 52, 53, 5] : [1, 2, 3, 4, 5]);
  }
});

test("an own page that may only be read: the test driver gives up, else it comes back and is written", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks);
    b.p.write(b.r, 1);
    b.migrate(0, 2);
    const child = b.run(forkMm(b.m.kernel, 0, b.p.mm));
    expect(b.write(0, 2, 70)).toBe(quirks ? -EFAULT : 0);
    expect(b.p.read(b.r).slice(0, 2)).toEqual(quirks ? [1, 2] : [70, 71]);
    const e = b.m.kernel.tables.entry(b.m.kernel.root[child], b.r.vpn);
    expect(b.m.kernel.pages.word[b.m.kernel.tables.pfn[e]]).toBe(1);
  }
});

test("an invalidation takes the range, and with the test driver one page more", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks);
    b.write(0, 8, 1);
    b.run(madvise(b.m.kernel, 0, b.p.mm, b.r.vpn + 2, 2, "dontneed"));
    expect(b.mirror).toBe(quirks ? "ww...www" : "ww..wwww");
  }
});

test("a page that a device has for itself: it may write, but the test driver loses it by that", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks), check = () => b.run(dummyCheckExclusive(b.d, 0, b.file, b.r.vpn, 8));
    b.p.write(b.r, 1);
    expect(b.exclusive(0, 4)).toBe(0);
    expect(b.mirror).toBe("xxxx....");
    expect([check(), b.snapshot()]).toEqual([-EPERM, "00 00 00 00 02 02 02 02"]);
    expect(b.read(0, 2)).toEqual([1, 2]);
    expect(b.write(0, 1, 40)).toBe(0);
    // The invalidation of the first page took the second's entry too.
    expect(b.mirror).toBe(quirks ? "w.xx...." : "xxxx....");
    expect(b.p.read(b.r).slice(0, 4)).toEqual([40, 2, 3, 4]);
    expect([check(), b.snapshot()]).toEqual([0, "02 02 02 02 02 02 02 02"]);
  }
});

test("pages before one that cannot be had stay exclusive, and no mirror claims them", () => {
  for (const quirks of [true, false]) {
    const b = new Bench(quirks);
    b.p.write(b.r, 1);
    b.p.mprotect(b.r.slice("8 KiB"), "r");
    expect(b.exclusive(0, 4)).toBe(-EBUSY);
    expect([b.mirror, b.snapshot()]).toEqual(["........", "00 00 01 01 01 01 01 01"]);
    expect(b.p.read(b.r)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  }
});

test("long ranges go in pieces of 64 pages with the test driver", () => {
  const found = [true, false].map((quirks) => {
    const b = new Bench(quirks, 130);
    b.p.munmap(b.r.slice(100 * 4096, 4096));
    expect(b.read(0, 130)).toBe(-EFAULT);
    return b.mirror.indexOf(".");
  });
  expect(found).toEqual([64, 0]);
});

test("the last close brings every page back, of every process; another file's device keeps its own", () => {
  const b = new Bench(true),
    { kernel } = b.m,
    other = b.m.deviceList.map(asDummy)[1],
    file = other.open(b.p.mm);
  b.p.write(b.r, 1);
  b.migrate(0, 4);
  b.run(dummyMigrateToDevice(other, 0, file, b.r.vpn + 4, 4, new IoctlResult()));
  const child = b.run(forkMm(kernel, 0, b.p.mm));
  b.run(exitMm(kernel, 0, b.p.mm));
  expect([b.d.memory!.used, b.file.alive, b.mirror]).toEqual([4, false, "........"]);
  expect(b.read(0, 1)).toBe(-EFAULT);
  expect(b.migrate(0, 1)).toBe(-EINVAL);
  const second = b.d.open(child);
  b.run(dummyClose(b.d, 0, b.file));
  expect(b.d.memory!.used).toBe(4);
  b.run(dummyClose(b.d, 0, second));
  expect([b.d.memory!.used, other.memory!.used]).toEqual([0, 4]);
  expect(b.run(dummyRelease(other, 0))).toBe(0);
  expect(other.memory!.used).toBe(0);
  const word = (i: number) =>
    kernel.pages.word[kernel.tables.pfn[kernel.tables.entry(kernel.root[child], b.r.vpn + i)]];
  expect([0, 3, 4, 7].map(word)).toEqual([1, 4, 5, 8]);
  // What was closed can be opened again, with an empty mirror.
  expect(b.d.open(child).text(b.r.vpn, 8)).toBe("........");
});

test("coherent memory is used in place by everybody", () => {
  const b = new Bench(false, 4, true), other = b.m.deviceList.map(asDummy)[1], file = other.open(b.p.mm);
  b.p.write(b.r, 1);
  expect(b.migrate(0, 4)).toBe(0);
  expect(b.snapshot()).toBe("42 42 42 42");
  expect(b.p.read(b.r)).toEqual([1, 2, 3, 4]);
  const out = new IoctlResult();
  expect(b.run(dummyRead(other, 0, file, b.r.vpn, 4, out))).toBe(0);
  expect([out.data, b.d.memory!.used]).toEqual([[1, 2, 3, 4], 4]);
  const bytes: number[] = [];
  b.run(dummySnapshot(other, 0, file, b.r.vpn, 4, bytes));
  expect(bytes).toEqual([0x52, 0x52, 0x52, 0x52]);
});
