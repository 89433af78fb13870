/** What the kernel's hmm-tests.c has around its tests: a process, one or two open devices, buffers. */
import { asDummy, type DummyDevice } from "../../lib/devices/dummy/device.ts";
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
import type { DummyMirror } from "../../lib/devices/dummy/mirror.ts";
import type { DummyOptions } from "../../lib/devices/dummy/spec.ts";
import { dummySnapshot } from "../../lib/devices/dummy/snapshot.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import { type Accesses, AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { mmap, mprotect, munmap } from "../../lib/mm/mmap.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import type { Proc } from "../../lib/sim/sim.ts";

const QUIRKS: DummyOptions = { quirks: "test_hmm-6.12" };
export const RW = VM_READ | VM_WRITE;

/** What a command answered. */
export interface Answer {
  readonly rc: number;
  readonly cpages: number;
  readonly faults: number;
  readonly data: readonly number[];
}

/** An open device file. */
export interface File {
  readonly d: DummyDevice;
  readonly m: DummyMirror;
}

/** A process with device files open: fixture hmm has one, hmm2 two. */
export class Fixture {
  readonly m: Machine;
  readonly mm: number;
  readonly files: File[];

  constructor(readonly coherent: boolean, quirks: boolean, devices: 1 | 2) {
    const spec: DummyOptions = { memory: "16 MiB", onFault: "map", coherent, ...(quirks ? QUIRKS : {}) };
    const named: Record<string, DummyOptions> = devices === 1 ? { d0: spec } : { d0: spec, d1: spec };
    this.m = machine({ memory: "64 MiB", devices: named, pageTables: 256 });
    this.mm = this.m.kernel.newMm();
    this.files = this.m.deviceList.map(asDummy).map((d) => this.open(d));
  }

  get k() {
    return this.m.kernel;
  }

  get fd(): File {
    return this.files[0];
  }

  run<R>(proc: Proc<R>): R {
    return this.m.complete(proc);
  }

  open(d: DummyDevice, mm: number = this.mm): File {
    return { d, m: d.open(mm) };
  }

  close({ d, m }: File): void {
    this.run(dummyClose(d, 0, m));
  }

  /** Maps pages anywhere, or at a fixed place. */
  map(pages: number, flags = RW, { inode = 0, at = -1 } = {}): number {
    const vpn = this.run(mmap(this.k, 0, this.mm, at, pages, flags, inode));
    if (vpn < 0) throw new Error(`mmap: ${vpn}`);
    return vpn;
  }

  unmap(vpn: number, pages: number): number {
    return this.run(munmap(this.k, 0, this.mm, vpn, pages));
  }

  protect(vpn: number, pages: number, flags: number): number {
    return this.run(mprotect(this.k, 0, this.mm, vpn, pages, flags));
  }

  fork(): number {
    return this.run(forkMm(this.k, 0, this.mm));
  }

  exit(mm: number): void {
    this.run(exitMm(this.k, 0, mm));
  }

  private access(vpn: number, pages: number, value: number | undefined, mm: number): AccessResult {
    const out = new AccessResult(true),
      acc: Accesses = {
        n: 1,
        vpn: Float64Array.of(vpn),
        pages: Uint32Array.of(pages),
        write: Uint8Array.of(value === undefined ? 0 : 1),
        value: Uint32Array.of(value ?? 0),
      };
    this.run(cpuAccess(this.k, 0, mm, acc, out));
    return out;
  }

  /** CPU stores, `value` + i to page i. Returns the pages that gave a signal. */
  write(vpn: number, pages: number, value: number, mm: number = this.mm): number {
    return this.access(vpn, pages, value, mm).signals.length;
  }

  /** CPU loads: a word a page, or undefined where a signal came. */
  read(vpn: number, pages: number, mm: number = this.mm): number[] | undefined {
    const { words, signals } = this.access(vpn, pages, undefined, mm);
    return signals.length === 0 ? [...words] : undefined;
  }

  private command(make: (out: IoctlResult) => Proc<number>): Answer {
    const out = new IoctlResult(), rc = this.run(make(out));
    return { rc, cpages: out.cpages, faults: out.faults, data: out.data };
  }

  dread(vpn: number, pages: number, { d, m }: File = this.fd): Answer {
    return this.command((out) => dummyRead(d, 0, m, vpn, pages, out));
  }

  dwrite(vpn: number, pages: number, value: number, { d, m }: File = this.fd): Answer {
    return this.command((out) => dummyWrite(d, 0, m, vpn, pages, value, out));
  }

  toDevice(vpn: number, pages: number, { d, m }: File = this.fd): Answer {
    return this.command((out) => dummyMigrateToDevice(d, 0, m, vpn, pages, out));
  }

  toSystem(vpn: number, pages: number, { d, m }: File = this.fd): Answer {
    return this.command((out) => dummyMigrateToSystem(d, 0, m, vpn, pages, out));
  }

  exclusive(vpn: number, pages: number, { d, m }: File = this.fd): Answer {
    return this.command((out) => dummyExclusive(d, 0, m, vpn, pages, out));
  }

  checkExclusive(vpn: number, pages: number, { d, m }: File = this.fd): number {
    return this.run(dummyCheckExclusive(d, 0, m, vpn, pages));
  }

  snapshot(vpn: number, pages: number, { d, m }: File = this.fd): number[] {
    const out: number[] = [], rc = this.run(dummySnapshot(d, 0, m, vpn, pages, out));
    if (rc !== 0) throw new Error(`snapshot: ${rc}`);
    return out;
  }

  release({ d }: File = this.fd): number {
    return this.run(dummyRelease(d, 0));
  }

  /** Pages in use on a device. */
  used({ d }: File = this.fd): number {
    return d.memory!.used;
  }
}

/** The numbers from `first` on. */
export function count(n: number, first = 0): number[] {
  return Array.from({ length: n }, (_, i) => first + i);
}
