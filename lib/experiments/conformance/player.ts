/**
 * Plays programs on the lab: each operation is the one that the model has under that name.
 * @module
 */
import { asDummy } from "../../devices/dummy/device.ts";
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
} from "../../devices/dummy/ioctl.ts";
import { dummySnapshot } from "../../devices/dummy/snapshot.ts";
import { pinLongterm, unpin } from "../../hmm/pin.ts";
import { type Accesses, AccessResult, cpuAccess } from "../../mm/access.ts";
import {
  EBADF,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOMEM,
  errnoName,
  VM_FAULT_MAPERR,
  VM_FAULT_OOM,
  VM_FAULT_SIGBUS,
} from "../../mm/errno.ts";
import { exitMm } from "../../mm/exit.ts";
import { fileRead, fileWrite, insertPages, punchHole, truncate } from "../../mm/files.ts";
import { forkMm } from "../../mm/fork.ts";
import { type Advice, ADVICES, madvise } from "../../mm/madvise.ts";
import { mlock, munlock } from "../../mm/mlock.ts";
import { mmap, mprotect, munmap } from "../../mm/mmap.ts";
import { mremap } from "../../mm/mremap.ts";
import { VM_HUGETLB, VM_READ, VM_SHARED, VM_WRITE } from "../../mm/vma.ts";
import type { Machine } from "../../machine/machine.ts";
import type { MachineSpec } from "../../machine/spec.ts";
import { Bench, type OpenFile, type PlayedProcess, type RunnerName } from "./machine.ts";
import {
  EventLog,
  type FaultCause,
  hexBytes,
  mirrors,
  pageMaps,
  type PlayedRegion,
  REGION_A,
  REGION_STEP,
  snapshots,
} from "./observe.ts";
import type { MapProtection, Op, Program } from "./program.ts";
import type { Observation, Signal } from "./transcript.ts";

/** The model does not have what an operation asks for. */
export class NotModelled extends Error {
  /** @param what the operation, as reports name it */
  constructor(readonly what: string) {
    super(`not modelled: ${what}`);
  }
}

/** What the driver of a signalled read puts in place of the word. */
const NO_WORD = 0xdead_beef;
/** Words and bytes that a transcript keeps of one operation. */
const MOST_WORDS = 64;
/** Word 0 of page i of a new file: this, 0x10000 for each region after A, and i. */
const FILE_WORD = 0xf100_0000;
const PROTECTION: Readonly<Record<MapProtection, number>> = {
  r: VM_READ,
  w: VM_WRITE,
  rw: VM_READ | VM_WRITE,
  n: 0,
};

/** For whose sake an operation's faults are. */
const CAUSE: Readonly<Record<string, FaultCause>> = {
  r: "cpu",
  w: "cpu",
  dread: "remote",
  dwrite: "remote",
  excl: "remote",
  mig: "remote",
  sys: "remote",
  snap: "remote",
};

/** What an operation itself tells, before the machine is looked at. */
interface Answer {
  rc: number;
  cpages?: number;
  faults?: number;
  data?: number[];
  sig?: Signal[];
  snap?: string;
}

function signal(index: number, cause: number): Signal {
  if (cause === VM_FAULT_SIGBUS) return [index, "BUS", 2];
  if (cause === VM_FAULT_OOM) return [index, "KILL", 0];
  return [index, "SEGV", cause === VM_FAULT_MAPERR ? 1 : 2];
}

/** Plays one program, operation by operation. */
export class Player {
  private readonly bench: Bench;
  private readonly processes = new Map<string, PlayedProcess>();
  private readonly regions = new Map<string, PlayedRegion>();
  private readonly log: EventLog;
  /** What was in use before the program began. */
  private readonly atStart: { readonly frames: number; readonly vmas: number; readonly tables: number };

  /**
   * @param spec of `conformanceSpec()`
   * @param program what its first line says
   * @param runner how operations are driven
   */
  constructor(spec: MachineSpec, program: Omit<Program, "ops">, runner: RunnerName) {
    this.bench = new Bench(spec, runner);
    this.kernel.faultAroundPages = program.faultAroundBytes / 4096;
    this.log = new EventLog(this.bench, (mm) => {
      for (const p of this.processes.values()) if (p.mm === mm) return p;
      return undefined;
    });
    this.add("P", this.bench.machine.kernel.newMm());
    const { pages, ram, vmas, tables } = this.kernel;
    this.atStart = { frames: pages.used(ram), vmas: vmas.length, tables: tables.tables };
  }

  private add(name: string, mm: number): PlayedProcess {
    const p: PlayedProcess = {
      name,
      mm,
      files: new Map(),
      inodes: new Map(),
      pins: [],
      opened: false,
      exited: false,
    };
    this.processes.set(name, p);
    return p;
  }

  /** Does one operation and looks at the machine. */
  step(op: Op): Observation {
    const p = this.processes.get(op.process);
    if (p === undefined || p.exited) {
      throw new NotModelled(`operation of process ${op.process}, which is not there`);
    }
    this.log.cause = CAUSE[op.name] ?? "kernel";
    this.log.doer = p.name;
    const answer = this.perform(p, op), ev = this.log.take();
    const regions = [...this.regions.values()], { rc, ...rest } = answer;
    const all = this.processes.values(), first = this.processes.get("P")!;
    const sn = snapshots(this.bench, first, regions);
    const observation: Observation = {
      err: errnoName(rc),
      ...rest,
      ev,
      pm: pageMaps(this.bench.machine.kernel, this.processes.values(), regions),
      ...(sn === undefined ? {} : { sn, mr: mirrors(all, regions) }),
    };
    this.log.take();
    return observation;
  }

  /**
   * Ends every process, as the end of a program does.
   *
   * @returns what of the machine is still in use although nobody is left to use it; empty when nothing leaked
   */
  end(): string[] {
    for (const p of this.processes.values()) if (!p.exited) this.exit(p);
    this.log.take();
    const { kernel: k } = this, left: string[] = [];
    const expect = (what: string, found: number, wanted: number) => {
      if (found !== wanted) left.push(`${what}: ${found} instead of ${wanted}`);
    };
    for (const zone of k.pages.zones) {
      expect(`frames of ${zone.name} in use`, k.pages.used(zone), zone === k.ram ? this.atStart.frames : 0);
    }
    for (const p of this.processes.values()) {
      expect(`anonymous pages of ${p.name}`, k.rssAnon[p.mm], 0);
      expect(`swapped pages of ${p.name}`, k.rssSwap[p.mm], 0);
    }
    expect("vmas", k.vmas.length, this.atStart.vmas);
    expect("page tables beside roots", k.tables.tables - this.processes.size, this.atStart.tables - 1);
    expect("users of inodes", k.inodes.users.reduce((n, u) => n + u, 0), 0);
    expect("users of swap slots", k.swap.users.reduce((n, u) => n + u, 0), 0);
    return left;
  }

  /** The machine that the program runs on. */
  get machine(): Machine {
    return this.bench.machine;
  }

  /** Its processes by name, those that have ended too. */
  get played(): ReadonlyMap<string, PlayedProcess> {
    return this.processes;
  }

  private get kernel() {
    return this.bench.machine.kernel;
  }

  private page(region: string, at: number): number {
    const known = this.regions.get(region);
    return (known?.vpn ?? REGION_A + (region.charCodeAt(0) - 65) * REGION_STEP) + at;
  }

  private perform(p: PlayedProcess, op: Op): Answer {
    const { kernel: k, bench } = this, { mm } = p;
    const vpn = op.region === undefined ? 0 : this.page(op.region, op.at ?? 0), pages = op.pages ?? 0;
    const plain = (rc: number): Answer => ({ rc: Math.min(rc, 0) });
    switch (op.name) {
      case "open":
        return plain(this.open(p, op.slot!, op.device ?? op.slot!));
      case "close":
        return plain(this.close(p, op.slot!));
      case "mmap":
        return plain(this.map(p, op));
      case "munmap":
        return plain(bench.run(munmap(k, 0, mm, vpn, pages)));
      case "mprotect":
        return plain(bench.run(mprotect(k, 0, mm, vpn, pages, PROTECTION[op.protection!])));
      case "mlock":
        return plain(bench.run(mlock(k, 0, mm, vpn, pages)));
      case "munlock":
        return plain(bench.run(munlock(k, 0, mm, vpn, pages)));
      case "madvise":
        if (!(ADVICES as readonly string[]).includes(op.advice!)) {
          throw new NotModelled(`madvise ${op.advice}`);
        }
        return plain(bench.run(madvise(k, 0, mm, vpn, pages, op.advice as Advice)));
      case "mremap": {
        const to = this.page(op.toRegion!, op.toAt!);
        const rc = bench.run(mremap(k, 0, mm, vpn, pages, to, op.toPages ?? pages));
        if (rc >= 0) this.grow(op.toRegion!, op.toAt! + pages);
        return plain(rc);
      }
      case "w":
      case "r":
        return this.touch(p, vpn, pages, op.name === "w" ? op.value! : undefined);
      case "kw":
      case "kr":
        return this.kernelCopy(p, vpn, pages, op.name === "kw" ? op.value! : undefined);
      case "fork": {
        const taken = this.processes.has(op.child!);
        if (taken) throw new NotModelled(`fork of process ${op.child}, whose name is taken`);
        const child = bench.run(forkMm(k, 0, mm));
        if (child >= 0) this.forked(p, op.child!, child);
        return plain(child);
      }
      case "exit":
        return plain(this.exit(p));
      case "trunc":
      case "punch":
      case "fwrite":
      case "fread":
        return this.fileOp(p, op);
      case "pin": {
        const pfns = new Uint32Array(pages);
        const rc = bench.run(pinLongterm(k, 0, mm, vpn, pages, op.access === "w", pfns));
        if (rc >= 0) p.pins.push(pfns);
        return plain(rc);
      }
      case "unpin":
        this.unpin(p);
        return plain(0);
      default:
        return this.ioctl(p, op, vpn, pages);
    }
  }

  /** A region shows all that was ever moved into it. */
  private grow(name: string, pages: number): void {
    const known = this.regions.get(name);
    if (known !== undefined && pages > known.pages) this.regions.set(name, { ...known, pages });
  }

  private open(p: PlayedProcess, slot: number, number: number): number {
    const found = this.bench.machine.devices[`d${number}`];
    if (found === undefined) return -ENOENT;
    const device = asDummy(found);
    this.close(p, slot); // the descriptor is used anew
    const mirror = device.tryOpen(p.mm);
    if (typeof mirror === "number") return mirror;
    p.files.set(slot, { number, device, mirror, users: 1 });
    p.opened = true;
    return 0;
  }

  private unpin(p: PlayedProcess): void {
    for (const pfns of p.pins.splice(0)) unpin(this.kernel, 0, pfns, pfns.length);
  }

  private put(file: OpenFile): void {
    if (--file.users === 0) this.bench.run(dummyClose(file.device, 0, file.mirror));
  }

  private close(p: PlayedProcess, slot: number): number {
    const file = p.files.get(slot);
    if (file === undefined) return -EBADF;
    p.files.delete(slot);
    this.put(file);
    return 0;
  }

  private map(p: PlayedProcess, op: Op): number {
    const { kernel: k, bench } = this, name = op.region!, pages = op.pages!;
    const vpn = op.place === undefined
      ? REGION_A + (name.charCodeAt(0) - 65) * REGION_STEP
      : this.page(op.place.region, op.place.at);
    let flags = PROTECTION[op.protection!], inode = 0;
    if (op.kind === "dp" && !p.files.has(0)) return -EBADF;
    if (op.kind === "hp") flags |= VM_HUGETLB;
    if (op.kind === "as" || op.kind === "fs") flags |= VM_SHARED;
    if (op.kind === "as" || op.kind === "dp") inode = k.inodes.make(pages);
    else if (op.file !== undefined && op.kind !== "ap") {
      if (!p.inodes.has(op.file)) return -EBADF;
      inode = p.inodes.get(op.file)!;
    } else if (op.kind === "fp" || op.kind === "fs") {
      inode = k.inodes.make(op.filePages ?? pages);
      const word = FILE_WORD + 0x1_0000 * (name.charCodeAt(0) - 65),
        n = inode < 0 ? 0 : op.filePages ?? pages;
      for (let i = 0; i < n; i++) bench.run(fileWrite(k, 0, inode, i, word + i));
    }
    if (inode < 0) return -ENOMEM;
    if (op.kind === "fp" || op.kind === "fs") {
      const before = p.inodes.get(name);
      if (op.file === undefined) p.inodes.set(name, inode); // the descriptor keeps it
      if (before !== undefined && op.file === undefined) k.inodes.put(k, 0, before);
    }
    const rc = bench.run(mmap(k, 0, p.mm, vpn, pages, flags, inode));
    if (op.kind === "as" || op.kind === "dp") k.inodes.put(k, 0, inode); // only the mapping keeps it
    if (rc < 0) return rc;
    const inserted = op.kind === "dp" ? insertPages(k, 0, p.mm, k.vmas.lookup(p.mm, vpn)) : 0;
    if (inserted < 0) return Math.min(inserted, bench.run(munmap(k, 0, p.mm, vpn, pages)));
    this.regions.set(name, { name, vpn, pages });
    return 0;
  }

  /** CPU loads or stores, one word a page; where a signal comes, the next page is tried. */
  private touch(p: PlayedProcess, vpn: number, pages: number, value: number | undefined): Answer {
    if (pages === 0) return value === undefined ? { rc: 0, data: [] } : { rc: 0 };
    const out = new AccessResult(true),
      acc: Accesses = {
        n: 1,
        vpn: Float64Array.of(vpn),
        pages: Uint32Array.of(pages),
        write: Uint8Array.of(value === undefined ? 0 : 1),
        value: Uint32Array.of(value ?? 0),
      };
    this.bench.run(cpuAccess(this.kernel, 0, p.mm, acc, out));
    const sig = out.signals.map((s) => signal(s.vpn - vpn, s.cause));
    const answer: Answer = { rc: 0, ...(sig.length > 0 ? { sig } : {}) };
    if (value !== undefined) return answer;
    const missing = new Set(sig.map(([i]) => i));
    let next = 0;
    const data = Array.from({ length: pages }, (_, i) => missing.has(i) ? NO_WORD : out.words[next++]);
    return { ...answer, data: data.slice(0, MOST_WORDS) };
  }

  /** The same by a system call that copies; the error is that of the last page. */
  private kernelCopy(p: PlayedProcess, vpn: number, pages: number, value: number | undefined): Answer {
    const { sig = [], data } = this.touch(p, vpn, pages, value);
    const rc = sig.some(([i]) => i === pages - 1) ? -EFAULT : 0;
    return { rc, ...(data === undefined ? {} : { data }) };
  }

  private forked(parent: PlayedProcess, name: string, mm: number): void {
    const child = this.add(name, mm);
    for (const [slot, file] of parent.files) {
      file.users++;
      child.files.set(slot, file);
    }
  }

  private exit(p: PlayedProcess): number {
    const { kernel: k, bench } = this;
    bench.run(exitMm(k, 0, p.mm));
    p.exited = true;
    const files = [...p.files.values()];
    p.files.clear();
    for (const file of files) this.put(file);
    this.unpin(p);
    for (const inode of p.inodes.values()) k.inodes.put(k, 0, inode);
    return 0;
  }

  private fileOp(p: PlayedProcess, op: Op): Answer {
    const { kernel: k, bench } = this, inode = p.inodes.get(op.region!);
    if (inode === undefined) return op.name === "fread" ? { rc: -EBADF, data: [0] } : { rc: -EBADF };
    switch (op.name) {
      case "trunc":
        return { rc: bench.run(truncate(k, 0, inode, op.pages!)) };
      case "punch":
        return { rc: bench.run(punchHole(k, 0, inode, op.at!, op.pages!)) };
      case "fwrite":
        return { rc: bench.run(fileWrite(k, 0, inode, op.at!, op.value!)) };
      default:
        return { rc: 0, data: [Math.max(0, bench.run(fileRead(k, 0, inode, op.at!)))] };
    }
  }

  /** The commands on an open device file. */
  private ioctl(p: PlayedProcess, op: Op, vpn: number, pages: number): Answer {
    const file = p.files.get(op.slot!), { bench } = this;
    if (file === undefined) return { rc: -EBADF };
    const { device: d, mirror: m } = file, out = new IoctlResult();
    const done = (rc: number, more: Partial<Answer>): Answer => rc < 0 ? { rc } : { rc, ...more };
    const words = () => out.data.slice(0, MOST_WORDS);
    if (pages === 0 && op.name !== "release") return { rc: -EINVAL };
    switch (op.name) {
      case "dread": {
        const rc = bench.run(dummyRead(d, 0, m, vpn, pages, out));
        return done(rc, { cpages: out.cpages, faults: out.faults, data: words() });
      }
      case "dwrite": {
        const rc = bench.run(dummyWrite(d, 0, m, vpn, pages, op.value!, out));
        return done(rc, { cpages: out.cpages, faults: out.faults });
      }
      case "mig": {
        const rc = bench.run(dummyMigrateToDevice(d, 0, m, vpn, pages, out));
        return done(rc, { cpages: out.cpages, data: words() });
      }
      case "sys": {
        const rc = bench.run(dummyMigrateToSystem(d, 0, m, vpn, pages, out));
        return done(rc, { cpages: out.cpages });
      }
      case "excl": {
        const rc = bench.run(dummyExclusive(d, 0, m, vpn, pages, out));
        return done(rc, { cpages: out.cpages, data: words() });
      }
      case "chk":
        return done(bench.run(dummyCheckExclusive(d, 0, m, vpn, pages)), { cpages: 0 });
      case "snap": {
        const bytes: number[] = [];
        const rc = bench.run(dummySnapshot(d, 0, m, vpn, pages, bytes));
        return done(rc, { cpages: pages, snap: hexBytes(bytes.slice(0, MOST_WORDS)) });
      }
      case "release":
        return done(bench.run(dummyRelease(d, 0)), { cpages: 0 });
      default:
        throw new NotModelled(op.name);
    }
  }
}
