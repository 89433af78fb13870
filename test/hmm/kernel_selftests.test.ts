/** The 29 tests of the kernel's tools/testing/selftests/mm/hmm-tests.c (6.12), by their names. */
import { describe, expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import {
  PROT_COHERENT_LOCAL,
  PROT_COHERENT_REMOTE,
  PROT_ERROR,
  PROT_NONE,
  PROT_PMD,
  PROT_PRIVATE_LOCAL,
  PROT_READ,
  PROT_WRITE,
  PROT_ZERO,
} from "../../lib/devices/dummy/snapshot.ts";
import { dummyRead, IoctlResult } from "../../lib/devices/dummy/ioctl.ts";
import { explore, litmus } from "../../lib/explore/litmus.ts";
import { pinLongterm, unpin } from "../../lib/hmm/pin.ts";
import { EFAULT, EINVAL, ENOENT, EPERM } from "../../lib/mm/errno.ts";
import { fileRead, fileWrite, insertPages } from "../../lib/mm/files.ts";
import { getUserPage } from "../../lib/mm/gup.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { VM_HUGETLB, VM_READ, VM_SHARED } from "../../lib/mm/vma.ts";
import { count, Fixture, RW } from "./selftest.ts";
import { run } from "../kernel.ts";

/** Pages of a buffer: 4 MiB. */
const N = 1024;
const ROUNDS = 10;

/** Whose behaviour is expected: the test driver's own, or that of any device over HMM, with the driver's oddities or not. */
type Expected = "driver" | "any";

/** One of the kernel's tests, for private and for coherent memory. */
function selftest(name: string, devices: 1 | 2, expected: Expected, body: (f: Fixture) => void): void {
  describe(name, () => {
    for (const coherent of [false, true]) {
      for (const quirks of expected === "driver" ? [true] : [true, false]) {
        const title = `${coherent ? "coherent" : "private"}${quirks ? ", test_hmm-6.12" : ""}`;
        test(title, () => {
          const f = new Fixture(coherent, quirks, devices);
          body(f);
          // As the fixture's teardown: nothing may be left on a device, nor in the process.
          for (const file of f.files) if (file.m.mm >= 0) f.close(file);
          f.exit(f.mm);
          expect(f.m.deviceList.map((d) => d.memory!.used)).toEqual(Array(devices).fill(0));
          expect([f.k.rssAnon[f.mm], f.k.rssFile[f.mm]]).toEqual([0, 0]);
        });
      }
    }
  });
}

selftest("open_close", 1, "any", (f) => {
  expect(f.fd.d.mirrors()).toHaveLength(1);
  f.close(f.fd);
  expect(f.fd.d.mirrors()).toHaveLength(0);
});

selftest("anon_read", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn + 2, N - 2, 2);
  expect(f.protect(vpn, N, VM_READ)).toBe(0);
  expect(f.read(vpn + 1, 1)).toEqual([0]);
  expect(f.dread(vpn, N)).toEqual({ rc: 0, cpages: N, faults: 1, data: [0, 0, ...count(N - 2, 2)] });
});

selftest("anon_read_prot", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 7);
  f.protect(vpn, N, 0);
  expect(f.dread(vpn, N)).toMatchObject({ rc: -EFAULT, data: [] });
  expect(f.fd.m.text(vpn, N)).toBe(".".repeat(N));
  f.protect(vpn, N, RW);
  expect(f.read(vpn, N)).toEqual(count(N, 7));
});

selftest("anon_write", 1, "any", (f) => {
  const vpn = f.map(N);
  expect(f.dwrite(vpn, N, 5)).toMatchObject({ rc: 0, cpages: N, faults: 1 });
  expect(f.read(vpn, N)).toEqual(count(N, 5));
});

selftest("anon_write_prot", 1, "any", (f) => {
  const vpn = f.map(N, VM_READ);
  expect(f.dread(vpn, 1)).toMatchObject({ rc: 0, cpages: 1, faults: 1 });
  expect(f.dwrite(vpn, N, 5).rc).toBe(-EPERM);
  expect(f.read(vpn, N)).toEqual(Array(N).fill(0));
  f.protect(vpn, N, RW);
  expect(f.dwrite(vpn, N, 5)).toMatchObject({ rc: 0, cpages: N, faults: 1 });
  expect(f.read(vpn, N)).toEqual(count(N, 5));
});

for (const shared of [false, true]) {
  selftest(shared ? "anon_write_child_shared" : "anon_write_child", 1, "any", (f) => {
    const inode = shared ? f.k.inodes.make(N) : 0, vpn = f.map(N, RW | (shared ? VM_SHARED : 0), { inode });
    if (shared) f.k.inodes.put(f.k, 0, inode);
    f.write(vpn, N, 100);
    const child = f.fork();
    expect(f.read(vpn, N, child)).toEqual(count(N, 100));
    // The child opens the device for itself: the parent's file stands for the parent.
    const own = f.open(f.fd.d, child);
    expect(f.dwrite(vpn, N, 5000, own)).toMatchObject({ rc: 0, cpages: N, faults: 1 });
    expect(f.read(vpn, N, child)).toEqual(count(N, 5000));
    f.close(own);
    f.exit(child);
    expect(f.read(vpn, N)).toEqual(count(N, shared ? 5000 : 100));
  });
}

selftest("anon_write_huge", 1, "any", (f) => {
  const vpn = f.map(512, RW, { at: 0x4_0000 });
  expect(f.run(madvise(f.k, 0, f.mm, vpn, 512, "hugepage"))).toBe(0);
  expect(f.dwrite(vpn, 512, 9)).toMatchObject({ rc: 0, cpages: 512, faults: 1 });
  expect(f.k.tables.huge(f.k.root[f.mm], vpn)).toBeGreaterThanOrEqual(0);
  expect(f.read(vpn, 512)).toEqual(count(512, 9));
});

selftest("anon_write_hugetlbfs", 1, "any", (f) => {
  const vpn = f.map(512, RW | VM_HUGETLB, { at: 0x4_0000 });
  expect(f.dwrite(vpn, 512, 9)).toMatchObject({ rc: 0, cpages: 512, faults: 1 });
  expect(f.read(vpn, 512)).toEqual(count(512, 9));
});

/** A file whose page i holds `first` + i. */
function file(f: Fixture, pages: number, first: number): number {
  const inode = f.k.inodes.make(pages);
  for (let i = 0; i < pages; i++) run(f.k, fileWrite(f.k, 0, inode, i, first + i));
  return inode;
}

selftest("file_read", 1, "any", (f) => {
  const inode = file(f, N, 31), vpn = f.map(N, VM_READ | VM_SHARED, { inode });
  expect(f.dread(vpn, N)).toEqual({ rc: 0, cpages: N, faults: 1, data: count(N, 31) });
});

selftest("file_write", 1, "any", (f) => {
  const inode = file(f, N, 0), vpn = f.map(N, RW | VM_SHARED, { inode });
  expect(f.dwrite(vpn, N, 77)).toMatchObject({ rc: 0, cpages: N, faults: 1 });
  expect(f.read(vpn, N)).toEqual(count(N, 77));
  expect(count(N).map((i) => run(f.k, fileRead(f.k, 0, inode, i)))).toEqual(count(N, 77));
});

selftest("migrate", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.toDevice(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  expect(f.used()).toBe(N);
  expect(f.dread(vpn, N)).toMatchObject({ rc: 0, faults: 0, data: count(N, 1) });
});

selftest("migrate_file_private", 1, "any", (f) => {
  const inode = file(f, N, 0), vpn = f.map(N, RW, { inode });
  f.write(vpn, N, 1); // anonymous from now on
  expect(f.toDevice(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  expect(f.dread(vpn, N).data).toEqual(count(N, 1));
  expect(count(N).map((i) => run(f.k, fileRead(f.k, 0, inode, i)))).toEqual(count(N));
});

selftest("migrate_fault", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.toDevice(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  expect(f.read(vpn, N / 2)).toEqual(count(N / 2, 1));
  expect(f.used()).toBe(f.coherent ? N : N / 2);
  const again = f.toDevice(vpn, N);
  expect([again.rc, f.used()]).toEqual([0, N]);
  expect(f.dread(vpn, N)).toMatchObject({ rc: 0, data: count(N, 1) });
});

selftest("migrate_release", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.toDevice(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  expect(f.release()).toBe(0);
  expect(f.used()).toBe(0);
  expect(f.read(vpn, N)).toEqual(count(N, 1));
});

selftest("migrate_shared", 1, "driver", (f) => {
  const inode = f.k.inodes.make(N), vpn = f.map(N, RW | VM_SHARED, { inode });
  expect(f.toDevice(vpn, N).rc).toBe(-ENOENT);
});

selftest("migrate_mixed", 2, "driver", (f) => {
  const [zero, one] = f.files, vpn = f.map(6, 0);
  expect(f.toDevice(vpn, 6, one).rc).toBe(-EINVAL);
  f.unmap(vpn + 1, 1);
  expect(f.toDevice(vpn, 3, one).rc).toBe(-EINVAL);
  f.protect(vpn + 2, 1, VM_READ);
  expect(f.read(vpn + 2, 1)).toEqual([0]);
  f.protect(vpn + 3, 1, RW);
  f.write(vpn + 3, 1, 3);
  f.protect(vpn + 3, 1, VM_READ);
  f.protect(vpn + 4, 2, RW);
  f.write(vpn + 4, 2, 4);
  expect(f.toDevice(vpn + 2, 4, one)).toMatchObject({ rc: 0, cpages: 4 });
  expect(f.toDevice(vpn + 5, 1, zero).rc).toBe(-ENOENT);
  expect([f.used(zero), f.used(one)]).toEqual([0, 4]);
  expect(f.read(vpn + 2, 4)).toEqual([0, 3, 4, 5]);
});

selftest("migrate_multiple", 1, "any", (f) => {
  for (let round = 0; round < ROUNDS; round++) {
    const vpn = f.map(N);
    f.write(vpn, N, round * N);
    expect(f.toDevice(vpn, N)).toMatchObject({ rc: 0, cpages: N });
    expect(f.dread(vpn, N).data).toEqual(count(N, round * N));
    if (f.coherent) expect(f.toSystem(vpn, N)).toMatchObject({ rc: 0, cpages: N });
    expect(f.read(vpn, N)).toEqual(count(N, round * N));
    expect(f.used()).toBe(0);
    f.unmap(vpn, N);
  }
});

selftest("anon_read_multiple", 1, "any", (f) => {
  for (let round = 0; round < ROUNDS; round++) {
    const vpn = f.map(N);
    f.write(vpn, N, round);
    expect(f.dread(vpn, N)).toEqual({ rc: 0, cpages: N, faults: 1, data: count(N, round) });
    f.unmap(vpn, N);
  }
});

describe("anon_teardown", () => {
  for (const coherent of [false, true]) {
    test.for([1, 2])(
      `${coherent ? "coherent" : "private"}, every interleaving of %i page(s)`,
      async (pages) => {
        const device = { memory: "64 KiB", onFault: "map", coherent } as const;
        const race = litmus("anon_teardown", { pages, device }, ({ m, t, A }) => {
          const d = asDummy(m.devices.dev),
            mirror = d.mirror(A.process.mm),
            half = A.slice(4096 * Math.floor(pages / 2));
          let rc = 1, data = "";
          function* read() {
            const out = new IoctlResult(), { sim } = m.kernel, a = sim.current;
            rc = 1;
            rc = yield* dummyRead(d, a, mirror, A.vpn, pages, out);
            data = out.data.join(" ");
            sim.note(a, rc);
            for (const word of out.data) sim.note(a, word);
          }
          return {
            P0: read,
            P1: () => t.munmap(half),
            finally: {
              errorOrData: () => rc === -EFAULT || (rc === 0 && data === count(pages, 1).join(" ")),
              noStaleEntry: () => mirror.table.stalePage(A.process.mm, A.vpn, pages) < 0,
            },
            outcome: () => String(rc),
          };
        });
        const { found, violated } = await explore(race);
        expect([found.exhaustive, violated]).toEqual([true, undefined]);
        expect([...found.outcomes.keys()].sort()).toEqual([String(-EFAULT), "0"]);
      },
    );
  }
});

selftest("mixedmap", 1, "any", (f) => {
  const inode = f.k.inodes.make(1), vpn = f.map(1, VM_READ, { inode });
  insertPages(f.k, 0, f.mm, f.k.vmas.lookup(f.mm, vpn));
  expect(f.snapshot(vpn, 1)).toEqual([PROT_READ]);
});

selftest("snapshot", 2, "any", (f) => {
  const [zero, one] = f.files, vpn = f.map(7, 0);
  f.unmap(vpn + 1, 1);
  f.protect(vpn + 2, 1, VM_READ);
  expect(f.read(vpn + 2, 1)).toEqual([0]);
  f.protect(vpn + 3, 1, RW);
  f.write(vpn + 3, 1, 3);
  f.protect(vpn + 3, 1, VM_READ);
  f.protect(vpn + 4, 3, RW);
  f.write(vpn + 4, 1, 4);
  // Never touched by the CPU: the devices' pages come from holes.
  expect(f.toDevice(vpn + 5, 1, zero)).toMatchObject({ rc: 0, cpages: 1 });
  expect(f.toDevice(vpn + 6, 1, one)).toMatchObject({ rc: 0, cpages: 1 });
  expect(f.snapshot(vpn, 7, zero)).toEqual([
    PROT_ERROR,
    PROT_ERROR,
    PROT_ZERO | PROT_READ,
    PROT_READ,
    PROT_WRITE,
    (f.coherent ? PROT_COHERENT_LOCAL : PROT_PRIVATE_LOCAL) | PROT_WRITE,
    f.coherent ? PROT_COHERENT_REMOTE | PROT_WRITE : PROT_NONE,
  ]);
});

selftest("compound", 1, "any", (f) => {
  const vpn = f.map(512, RW | VM_HUGETLB, { at: 0x4_0000 });
  f.write(vpn, 512, 1);
  expect(f.snapshot(vpn, 512)).toEqual(Array(512).fill(PROT_WRITE | PROT_PMD));
  f.protect(vpn, 512, VM_READ);
  expect(f.snapshot(vpn, 512)).toEqual(Array(512).fill(PROT_READ | PROT_PMD));
});

selftest("double_map", 2, "any", (f) => {
  const [zero, one] = f.files, vpn = f.map(N);
  f.write(vpn, N, 1);
  f.protect(vpn, N, VM_READ);
  for (const file of [zero, one]) {
    expect(f.dread(vpn, N, file)).toEqual({ rc: 0, cpages: N, faults: 1, data: count(N, 1) });
  }
  expect(f.toDevice(vpn, N, one)).toMatchObject({ rc: 0, cpages: N });
  expect(f.used(one)).toBe(N);
  expect(f.dread(vpn, N, zero)).toEqual({ rc: 0, cpages: N, faults: 1, data: count(N, 1) });
  expect(f.used(one)).toBe(f.coherent ? N : 0);
});

selftest("exclusive", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.exclusive(vpn, N)).toMatchObject({ rc: 0, cpages: N, data: count(N, 1) });
  expect(f.checkExclusive(vpn, N)).toBe(-EPERM);
  expect(f.read(vpn, N)).toEqual(count(N, 1));
  f.write(vpn, N, 2);
  expect(f.read(vpn, N)).toEqual(count(N, 2));
  expect(f.checkExclusive(vpn, N)).toBe(0);
});

selftest("exclusive_mprotect", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.exclusive(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  f.protect(vpn, N, VM_READ);
  expect(f.dwrite(vpn, N, 5).rc).toBe(-EPERM);
  expect(f.read(vpn, N)).toEqual(count(N, 1));
});

selftest("exclusive_cow", 1, "any", (f) => {
  const vpn = f.map(N);
  f.write(vpn, N, 1);
  expect(f.exclusive(vpn, N)).toMatchObject({ rc: 0, cpages: N });
  const child = f.fork();
  for (const [mm, value] of [[f.mm, 2], [child, 3]]) {
    expect(f.read(vpn, N, mm)).toEqual(count(N, 1));
    f.write(vpn, N, value, mm);
  }
  expect(f.read(vpn, N)).toEqual(count(N, 2));
  expect(f.read(vpn, N, child)).toEqual(count(N, 3));
  f.exit(child);
});

selftest("hmm_gup_test", 1, "any", (f) => {
  const vpn = f.map(4), { k, mm } = f, pins = new Uint32Array(2);
  f.write(vpn, 4, 1);
  expect(f.toDevice(vpn, 4)).toMatchObject({ rc: 0, cpages: 4 });
  expect(f.dread(vpn, 4).data).toEqual(count(4, 1));
  // GUP_BASIC and GUP_FAST: a reference, given back at once.
  for (const page of [vpn, vpn + 1]) {
    const pfn = f.run(getUserPage(k, 0, mm, page, true));
    expect(pfn).toBeGreaterThan(0);
    k.pages.put(0, pfn);
  }
  // PIN_FAST and PIN, both FOLL_LONGTERM.
  expect(f.run(pinLongterm(k, 0, mm, vpn + 2, 1, true, pins.subarray(0, 1)))).toBe(0);
  expect(f.run(pinLongterm(k, 0, mm, vpn + 3, 1, true, pins.subarray(1)))).toBe(0);
  const local = PROT_COHERENT_LOCAL | PROT_WRITE;
  expect(f.snapshot(vpn, 4)).toEqual(
    f.coherent ? [local, local, PROT_WRITE, PROT_WRITE] : Array(4).fill(PROT_WRITE),
  );
  unpin(k, 0, pins, 2);
  expect(f.dread(vpn, 4).data).toEqual(count(4, 1));
  expect(f.read(vpn, 4)).toEqual(count(4, 1));
});

selftest("hmm_cow_in_device", 1, "any", (f) => {
  const vpn = f.map(4);
  f.write(vpn, 4, 1);
  expect(f.toDevice(vpn, 4)).toMatchObject({ rc: 0, cpages: 4 });
  const child = f.fork();
  f.write(vpn, 4, 10);
  expect(f.snapshot(vpn, 4)).toEqual(Array(4).fill(PROT_WRITE));
  expect(f.read(vpn, 4, child)).toEqual(count(4, 1));
  f.exit(child);
  expect(f.read(vpn, 4)).toEqual(count(4, 10));
});
