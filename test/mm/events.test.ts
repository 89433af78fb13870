import { beforeEach, describe, expect, test } from "vitest";
import { forkMm } from "../../lib/mm/fork.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { mmap, mprotect, munmap } from "../../lib/mm/mmap.ts";
import { MMU_NOTIFY_NAMES } from "../../lib/mm/notifier.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import { access, run, smallKernel } from "../kernel.ts";

const A = 0x1_0000_0000, RW = VM_READ | VM_WRITE;

describe("invalidations, as a 6.12 kernel was seen to send them", () => {
  let k: Kernel, mm: number, log: string[];

  beforeEach(() => {
    k = smallKernel();
    mm = k.newMm();
    log = [];
    // A subscriber that has nothing: invalidations are sent for it.
    k.notifiers.insert(mm, 0, 2 ** 36, { tryInvalidate: () => true, waitOn: () => 0 });
    k.notifiers.watch = (_a, e, start) =>
      void log.push(`${start ? "S" : "E"}:${MMU_NOTIFY_NAMES[e.event]}:${e.start - A}:${e.end - e.start}`);
    run(k, mmap(k, 0, mm, A, 8, RW));
  });

  /** What an operation sends; each start must have its end. */
  const sent = (operation: () => unknown): string[] => {
    log.length = 0;
    operation();
    const starts = log.filter((x) => x.startsWith("S:")).map((x) => x.slice(2));
    expect(log.filter((x) => x.startsWith("E:")).map((x) => x.slice(2)).sort()).toEqual(starts.toSorted());
    return starts;
  };
  const write = (at: number, n = 1) => () => access(k, mm, A + at, n, 1);
  const read = (at: number, n = 1) => () => access(k, mm, A + at, n, undefined);
  const protect = (at: number, n: number, flags: number) => () =>
    run(k, mprotect(k, 0, mm, A + at, n, flags));
  const unmap = (at: number, n: number) => () => run(k, munmap(k, 0, mm, A + at, n));

  test("a first touch sends none, nor does a write to a writable page", () => {
    expect(sent(write(0, 2))).toEqual([]);
    expect(sent(read(2, 2))).toEqual([]);
    expect(sent(write(0, 2))).toEqual([]);
  });

  test("a write to the zero page clears that page, one event a page", () => {
    read(1, 2)();
    expect(sent(write(0, 4))).toEqual(["CLEAR:1:1", "CLEAR:2:1"]);
  });

  test("a write that breaks sharing clears the page; the last user's reuse sends none", () => {
    write(0, 2)();
    const child = run(k, forkMm(k, 0, mm));
    expect(sent(write(0))).toEqual(["CLEAR:0:1"]);
    run(k, munmap(k, 0, child, A, 8));
    expect(sent(write(1))).toEqual([]);
  });

  test("munmap() sends one for its whole range, across vmas, holes and tables; none where no vma is", () => {
    protect(2, 2, VM_READ)();
    unmap(5, 1)();
    write(0, 2)();
    expect(sent(unmap(1, 600))).toEqual(["UNMAP:1:600"]);
    expect(sent(unmap(1, 600))).toEqual([]);
    expect(sent(unmap(0, 1))).toEqual(["UNMAP:0:1"]);
  });

  test("mmap() over what was there sends the UNMAP of that; into a hole it sends none", () => {
    write(0, 8)();
    expect(sent(() => run(k, mmap(k, 0, mm, A + 2, 4, RW)))).toEqual(["UNMAP:2:4"]);
    expect(sent(() => run(k, mmap(k, 0, mm, A + 8, 4, RW)))).toEqual([]);
  });

  test("mprotect() sends one a vma; none where nothing changes, and none where no table is", () => {
    expect(sent(protect(0, 8, VM_READ))).toEqual([]);
    protect(0, 8, RW)();
    write(0)();
    expect(sent(protect(2, 2, VM_READ))).toEqual(["PROT_VMA:2:2"]);
    expect(sent(protect(2, 2, VM_READ))).toEqual([]);
    expect(sent(protect(0, 8, VM_READ))).toEqual(["PROT_VMA:0:2", "PROT_VMA:4:4"]);
    // All eight are one vma again.
    expect(sent(protect(0, 8, RW))).toEqual(["PROT_VMA:0:8"]);
  });

  test("mprotect() over a hole changes and tells of what lies before it", () => {
    write(0, 8)();
    unmap(4, 1)();
    expect(sent(protect(2, 6, VM_READ))).toEqual(["PROT_VMA:2:2"]);
    expect(access(k, mm, A + 5, 1, 9).signals.size).toBe(0);
  });

  test("mprotect() begins at the first 1 GiB that has a table", () => {
    const far = 512 * 512 - 4;
    run(k, mmap(k, 0, mm, A + far, 8, RW));
    access(k, mm, A + far + 6, 1, 1);
    unmap(0, 8)();
    expect(sent(protect(far, 8, VM_READ))).toEqual([`PROT_VMA:${far + 4}:4`]);
  });

  test("fork() sends one for each vma that ever had a page of its own", () => {
    run(k, mmap(k, 0, mm, A + 100, 4, RW)); // untouched
    run(k, mmap(k, 0, mm, A + 200, 4, RW)); // only zero pages
    read(200, 4)();
    run(k, mmap(k, 0, mm, A + 300, 4, VM_READ)); // read-only
    write(0)();
    expect(sent(() => run(k, forkMm(k, 0, mm)))).toEqual(["PROT_PAGE:0:8"]);
  });

  test("MADV_DONTNEED sends one a vma, with or without pages, and goes on after a hole", () => {
    protect(2, 2, VM_READ)();
    unmap(5, 1)();
    expect(sent(() => run(k, madvise(k, 0, mm, A, 8, "dontneed"))))
      .toEqual(["CLEAR:0:2", "CLEAR:2:2", "CLEAR:4:1", "CLEAR:6:2"]);
  });
});
