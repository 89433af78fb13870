/** Random programs of one or two processes and two dummy devices, held against a page-by-page reference. */
import fc from "fast-check";
import { expect } from "vitest";
import { asDummy, type DummyDevice } from "../../lib/devices/dummy/device.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { MachineOptions } from "../../lib/machine/spec.ts";
import { type Accesses, AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { EFAULT, ENOMEM, EPERM, VM_FAULT_ACCERR, VM_FAULT_MAPERR } from "../../lib/mm/errno.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { mmap, mprotect, munmap } from "../../lib/mm/mmap.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { BASE, PAGES, Reference } from "../reference.ts";

const RW = VM_READ | VM_WRITE;
const OPS = [
  "w",
  "w",
  "r",
  "r",
  "dw",
  "dw",
  "dr",
  "dr",
  "migrate",
  "migrate",
  "back",
  "mmap",
  "munmap",
  "mprotect",
  "mprotect",
  "dontneed",
  "fork",
] as const;

/** An operation of a program. */
export interface Operation {
  readonly op: (typeof OPS)[number];
  /** Process. */
  readonly p: number;
  /** Device. */
  readonly d: number;
  readonly at: number;
  readonly n: number;
  readonly flags: number;
  readonly value: number;
}

export const operation: fc.Arbitrary<Operation> = fc.record({
  op: fc.constantFrom(...OPS),
  p: fc.nat({ max: 1 }),
  d: fc.nat({ max: 1 }),
  at: fc.nat({ max: PAGES - 1 }),
  n: fc.integer({ min: 1, max: 6 }),
  flags: fc.constantFrom(RW, RW, RW, VM_READ, VM_WRITE, 0),
  value: fc.integer({ min: 1, max: 0xffff_fff0 }),
});

/** Machines whose devices differ in size, reach and habits. */
export const options: fc.Arbitrary<MachineOptions> = fc.record({
  one: fc.record({
    memory: fc.constantFrom("16 KiB", "128 KiB"),
    granule: fc.constantFrom("4 KiB", "16 KiB"),
    onFault: fc.constantFrom("migrate" as const, "map" as const),
    faultBackPages: fc.constantFrom(1, 4),
  }),
  two: fc.constantFrom(
    { memory: "64 KiB", granule: "4 KiB", onFault: "migrate" as const },
    { memory: "64 KiB", granule: "8 KiB", onFault: "map" as const },
    { memory: 0, granule: "8 KiB" },
  ),
  batchPages: fc.constantFrom(4, 8, 64),
  tlbEntries: fc.constantFrom(0, 3),
  wordsPerPage: fc.constantFrom(1, 2),
}).map(({ one, two, ...rest }) => ({
  memory: "1 MiB",
  processes: 4,
  actors: 4,
  vmas: 64,
  pageTables: 64,
  devices: { one, two },
  ...rest,
}));

/** A machine, the reference, and which address space each process of the reference is. */
export class Bench {
  readonly m: Machine;
  readonly ref = new Reference();
  readonly spaces: number[];
  readonly devices: readonly DummyDevice[];

  constructor(o: MachineOptions, private readonly failing = false) {
    this.m = machine({ ...o, checkers: "all" });
    this.devices = this.m.deviceList.map(asDummy);
    this.spaces = [this.m.kernel.newMm()];
    this.openMirrors(this.spaces[0]);
  }

  private openMirrors(mm: number): void {
    for (const d of this.devices) d.mirror(mm);
  }

  /** What is broken now. */
  broken(): string[] {
    const { kernel } = this.m;
    const rules = this.m.checkers!.brokenAtRest().map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
    for (const { memory, name } of this.devices) {
      if (memory !== undefined && memory.used !== kernel.pages.used(memory.zone)) {
        rules.push(
          `device memory: ${name} counts ${memory.used} pages, its zone ${kernel.pages.used(memory.zone)}`,
        );
      }
    }
    return rules;
  }

  /** Performs a program as actor `a`, comparing after each operation. */
  *play(a: number, program: readonly Operation[]): Proc {
    for (const o of program) {
      yield* this.step(a, o);
      expect(this.broken()).toEqual([]);
    }
  }

  private *step(a: number, { op, p, d, at, n, flags, value }: Operation): Proc {
    const { ref, m: { kernel: k } } = this, mm = this.spaces[p];
    if (mm === undefined) return;
    const end = Math.min(PAGES, at + n), count = end - at, vpn = BASE + at, pages = ref.pages(p);
    const device = this.devices[d], mirror = device.mirror(mm);
    switch (op) {
      case "mmap":
        expect(yield* mmap(k, a, mm, vpn, count, flags)).toBe(vpn);
        for (let i = at; i < end; i++) pages[i] = { flags, word: undefined };
        return;
      case "munmap":
        expect(yield* munmap(k, a, mm, vpn, count)).toBe(0);
        pages.fill(undefined, at, end);
        return;
      case "mprotect":
        expect(yield* mprotect(k, a, mm, vpn, count, flags)).toBe(ref.protect(p, at, end, flags));
        return;
      case "dontneed":
        expect(yield* madvise(k, a, mm, vpn, count, "dontneed")).toBe(
          pages.slice(at, end).includes(undefined) ? -ENOMEM : 0,
        );
        for (const page of pages.slice(at, end)) if (page !== undefined) page.word = undefined;
        return;
      case "fork": {
        if (this.spaces.length > 1) return;
        const child = yield* forkMm(k, a, mm);
        if (child < 0) return expect([child, this.failing]).toEqual([-ENOMEM, true]);
        this.spaces.push(child);
        this.openMirrors(child);
        ref.spaces.set(1, structuredClone(pages));
        return;
      }
      case "migrate": {
        if (device.memory === undefined) return;
        const moved = yield* device.migrateToDevice(a, mirror, vpn, vpn + count);
        expect(moved).toBeGreaterThanOrEqual(0);
        expect(moved).toBeLessThanOrEqual(pages.slice(at, end).filter((x) => x !== undefined).length);
        return;
      }
      case "back": {
        const moved = yield* device.migrateToSystem(a, mirror, vpn, vpn + count);
        expect(moved).toBeLessThanOrEqual(pages.slice(at, end).filter((x) => x !== undefined).length);
        return;
      }
    }
    const write = op === "w" || op === "dw", byDevice = op.startsWith("d"), out = new AccessResult(true);
    const batch: Accesses = {
      n: 1,
      vpn: Float64Array.of(vpn),
      pages: Uint32Array.of(count),
      write: Uint8Array.of(write ? 1 : 0),
      value: Uint32Array.of(value),
    };
    yield* byDevice ? device.access(a, mirror, batch, out) : cpuAccess(k, a, mm, batch, out);
    const signals = new Map(out.signals.map((s) => [s.vpn - BASE, s.cause]));
    const words: number[] = [], expected = new Map<number, number>();
    for (let i = at; i < end; i++) {
      const page = pages[i], denied = byDevice ? deviceError(page?.flags, write) : signal(page?.flags, write);
      if (denied !== 0) expected.set(i, denied);
      // With injected failures a page may fail for other reasons too, and is then as it was.
      else if (this.failing && signals.has(i)) expected.set(i, signals.get(i)!);
      else if (write) page!.word = value + (i - at);
      else words.push(page!.word ?? 0);
    }
    if (this.failing) { for (const [i, cause] of signals) if (expected.has(i)) expected.set(i, cause); }
    expect([signals, out.words]).toEqual([expected, words]);
  }

  /** Reads every page of every process once more, unmaps everything, and looks that nothing is left. */
  *end(a: number): Proc {
    const { m: { kernel: k }, ref, spaces } = this;
    for (const [p, mm] of spaces.entries()) {
      const out = new AccessResult(true);
      const batch = {
        n: 1,
        vpn: Float64Array.of(BASE),
        pages: Uint32Array.of(PAGES),
        write: Uint8Array.of(0),
      };
      yield* cpuAccess(k, a, mm, batch, out);
      expect(out.words).toEqual(
        ref.pages(p).flatMap((page) => page && page.flags & RW ? [page.word ?? 0] : []),
      );
    }
    for (const mm of spaces) yield* munmap(k, a, mm, BASE, PAGES);
    expect(this.broken()).toEqual([]);
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual(k.pages.zones.map((_, i) => i === 0 ? 1 : 0));
    expect([k.tables.tables, k.vmas.length]).toEqual([spaces.length, 0]);
  }
}

function signal(flags: number | undefined, write: boolean): number {
  if (flags === undefined) return VM_FAULT_MAPERR;
  return flags & (write ? VM_WRITE : RW) ? 0 : VM_FAULT_ACCERR;
}

/** What a device gets for an access: a vma that cannot be read is as good as none (hmm_vma_walk_test). */
function deviceError(flags: number | undefined, write: boolean): number {
  if (flags === undefined || !(flags & VM_READ)) return -EFAULT;
  return write && !(flags & VM_WRITE) ? -EPERM : 0;
}
