/**
 * The operations of a race as generators of the real ones, each with the words in which the files tell its result.
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
  dummyWrite,
  IoctlResult,
} from "../../devices/dummy/ioctl.ts";
import { dummySnapshot } from "../../devices/dummy/snapshot.ts";
import { UsageError } from "../../errors.ts";
import { pinLongterm } from "../../hmm/pin.ts";
import type { Machine } from "../../machine/machine.ts";
import { AccessResult, cpuAccess } from "../../mm/access.ts";
import { EBADF, ENOENT, errnoName, VM_FAULT_MAPERR, VM_FAULT_SIGBUS } from "../../mm/errno.ts";
import { forkMm } from "../../mm/fork.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { type Advice, madvise } from "../../mm/madvise.ts";
import { mmap, mprotect, munmap } from "../../mm/mmap.ts";
import { mremap } from "../../mm/mremap.ts";
import { VM_READ, VM_WRITE } from "../../mm/vma.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { OpenFile, PlayedProcess } from "../conformance/machine.ts";
import { hexBytes, type PlayedRegion, REGION_A, REGION_STEP } from "../conformance/observe.ts";
import type { LitmusOp } from "./file.ts";

/** In place of a word that was read from a page that is free: whoever had it next may have written anything there. */
export const ANY_WORD = "*";

const AT_LINE = site("litmus: in a line of an actor");

/** What the lines of a race know beside the machine's state: names of processes, files and regions. */
export interface World {
  readonly machine: Machine;
  readonly processes: Map<string, PlayedProcess>;
  readonly regions: Map<string, PlayedRegion>;
}

/** A process without files. */
export function newProcess(name: string, mm: number): PlayedProcess {
  return { name, mm, files: new Map(), inodes: new Map(), pins: [], opened: false, exited: false };
}

/** The same names again, so that one run of a race does not see what another has made. */
export function copyWorld(w: World): World {
  const files = new Map<OpenFile, OpenFile>();
  const copyFile = (f: OpenFile): OpenFile => {
    if (!files.has(f)) files.set(f, { ...f });
    return files.get(f)!;
  };
  return {
    machine: w.machine,
    regions: new Map(w.regions),
    processes: new Map([...w.processes].map(([name, p]) => [name, {
      ...p,
      pins: [...p.pins],
      files: new Map([...p.files].map(([slot, f]) => [slot, copyFile(f)])),
    }])),
  };
}

function pageOf(w: World, region: string, at: number): number {
  return (w.regions.get(region)?.vpn ?? REGION_A + (region.charCodeAt(0) - 65) * REGION_STEP) + at;
}

const PROTECTION: Readonly<Record<string, number>> = {
  r: VM_READ,
  w: VM_WRITE,
  rw: VM_READ | VM_WRITE,
  n: 0,
};

/** How the files name a signal. */
export function signalName(cause: number): string {
  if (cause === VM_FAULT_SIGBUS) return "BUS2";
  return cause === VM_FAULT_MAPERR ? "SEGV1" : "SEGV2";
}

/** One word of one page, read by the CPU: a number, or the name of a signal. */
export function* readWord(
  k: Kernel,
  a: number,
  mm: number,
  vpn: number,
  word: number,
): Proc<number | string> {
  const out = new AccessResult(true);
  yield* cpuAccess(
    k,
    a,
    mm,
    {
      n: 1,
      vpn: Float64Array.of(vpn),
      pages: Uint32Array.of(1),
      write: Uint8Array.of(0),
      word: Uint32Array.of(word),
    },
    out,
  );
  return out.signals.length > 0 ? signalName(out.signals[0].cause) : out.words[0];
}

/** A number for a text, for the history of the actor that was told it. */
function numberOf(text: string): number {
  let h = 7;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return h;
}

/** The CPU's loads and stores, page by page: what each told is in the actor's history before the next. */
function* touch(w: World, a: number, mm: number, vpn: number, l: LitmusOp): Proc<string> {
  const k = w.machine.kernel, { sim } = k, told: (number | string)[] = [], write = l.op.name === "w";
  for (let i = 0; i < l.op.pages!; i++) {
    sim.call(a, AT_LINE, i, vpn);
    const out = new AccessResult(true);
    yield* cpuAccess(
      k,
      a,
      mm,
      {
        n: 1,
        vpn: Float64Array.of(vpn + i),
        pages: Uint32Array.of(1),
        write: Uint8Array.of(write ? 1 : 0),
        word: Uint32Array.of(l.word),
        value: Uint32Array.of(l.add ? 1 : (l.op.value ?? 0) + i),
        add: Uint8Array.of(l.add ? 1 : 0),
      },
      out,
    );
    sim.ret(a);
    const got = out.signals.length > 0 ? signalName(out.signals[0].cause) : out.words[0] ?? "";
    told.push(got);
    sim.note(a, numberOf(String(got)));
  }
  const signal = told.find((t) => typeof t === "string" && t !== "");
  if (signal !== undefined) return String(signal);
  return write && !l.add ? "ok" : `ok:${told.join(",")}`;
}

/** The words that a command of a device told; one that lay in a page that is free by now can be any. */
function deviceWords(w: World, file: OpenFile, vpn: number, data: readonly number[]): string {
  const { pages } = w.machine.kernel, { table } = file.mirror;
  return data.map((word, i) => {
    const pfn = table.translate(vpn + i, false);
    return pfn >= 0 && pages.isFree(pfn) ? ANY_WORD : word;
  }).join(",");
}

function noSuch(l: LitmusOp): UsageError {
  return new UsageError(
    `Cannot race "${l.text}": the litmus runner has no operation ${l.op.name}; ` +
      "it has those of anonymous memory, fork, pin and the device's commands but release",
  );
}

/** The commands on an open device file. */
function* command(w: World, a: number, p: PlayedProcess, l: LitmusOp, vpn: number): Proc<string> {
  const { op } = l, file = p.files.get(op.slot!), n = op.pages ?? 0, out = new IoctlResult();
  if (file === undefined) return errnoName(-EBADF);
  const { device: d, mirror: m } = file;
  const said = (rc: number, words = true) =>
    rc < 0 ? errnoName(rc) : words ? `ok:${deviceWords(w, file, vpn, out.data)}` : "ok";
  switch (op.name) {
    case "dread":
      return said(yield* dummyRead(d, a, m, vpn, n, out));
    case "dwrite":
      return said(yield* dummyWrite(d, a, m, vpn, n, op.value!, out), false);
    case "mig":
      // Without the test driver's oddities a migration reads nothing back.
      return said(yield* dummyMigrateToDevice(d, a, m, vpn, n, out), d.spec.quirks);
    case "sys":
      return said(yield* dummyMigrateToSystem(d, a, m, vpn, n, out), false);
    case "excl":
      return said(yield* dummyExclusive(d, a, m, vpn, n, out));
    case "chk":
      return said(yield* dummyCheckExclusive(d, a, m, vpn, n), false);
    case "snap": {
      const bytes: number[] = [], rc = yield* dummySnapshot(d, a, m, vpn, n, bytes);
      return rc < 0 ? errnoName(rc) : `ok:${hexBytes(bytes)}`;
    }
    default:
      throw noSuch(l);
  }
}

/**
 * Does one line.
 *
 * @param w names; a fork, an open, an mmap adds to them
 * @param a actor
 * @returns `ok`, `ok:words`, the name of an errno or of a signal
 * @throws UsageError for an operation that has no place in a race
 */
export function* perform(w: World, a: number, l: LitmusOp): Proc<string> {
  const { op } = l, k = w.machine.kernel, p = w.processes.get(op.process);
  if (p === undefined) {
    throw new UsageError(`Cannot race "${l.text}": there is no process ${op.process} by then; fork it first`);
  }
  const { mm } = p, vpn = op.region === undefined ? 0 : pageOf(w, op.region, op.at ?? 0), n = op.pages ?? 0;
  const plain = (rc: number): string => rc < 0 ? errnoName(rc) : "ok";
  switch (op.name) {
    case "open": {
      const number = op.device ?? op.slot!, found = w.machine.devices[`d${number}`];
      if (found === undefined) return errnoName(-ENOENT);
      const device = asDummy(found);
      const mirror = device.tryOpen(mm);
      if (typeof mirror === "number") return errnoName(mirror);
      p.files.set(op.slot!, { number, device, mirror, users: 1 });
      p.opened = true;
      return "ok";
    }
    case "close": {
      const file = p.files.get(op.slot!);
      if (file === undefined) return errnoName(-EBADF);
      p.files.delete(op.slot!);
      if (--file.users === 0) yield* dummyClose(file.device, a, file.mirror);
      return "ok";
    }
    case "mmap": {
      if (op.kind !== "ap" || op.place !== undefined) {
        throw new UsageError(
          `Cannot race "${l.text}": the litmus runner maps private anonymous memory at the region's own place; ` +
            "write for example mmap A ap 1 rw",
        );
      }
      const rc = yield* mmap(k, a, mm, vpn, n, PROTECTION[op.protection!], 0);
      if (rc >= 0) w.regions.set(op.region!, { name: op.region!, vpn, pages: n });
      return plain(rc);
    }
    case "munmap":
      return plain(yield* munmap(k, a, mm, vpn, n));
    case "mprotect":
      return plain(yield* mprotect(k, a, mm, vpn, n, PROTECTION[op.protection!]));
    case "madvise":
      return plain(yield* madvise(k, a, mm, vpn, n, op.advice as Advice));
    case "mremap":
      return plain(
        yield* mremap(k, a, mm, vpn, n, pageOf(w, op.toRegion!, op.toAt!), op.toPages ?? n),
      );
    case "w":
    case "r":
      return yield* touch(w, a, mm, vpn, l);
    case "pin": {
      const pfns = new Uint32Array(n), rc = yield* pinLongterm(k, a, mm, vpn, n, op.access === "w", pfns);
      if (rc >= 0) p.pins.push(pfns);
      return plain(rc);
    }
    case "fork": {
      const child = yield* forkMm(k, a, mm);
      if (child >= 0) {
        const c = newProcess(op.child!, child);
        for (const [slot, file] of p.files) {
          file.users++;
          c.files.set(slot, file);
        }
        w.processes.set(op.child!, c);
        k.sim.note(a, child);
      }
      return plain(child);
    }
    default:
      if (op.slot === undefined) throw noSuch(l);
      return yield* command(w, a, p, l, vpn);
  }
}

/**
 * The lines of an actor, one after the other; each result is in the actor's history before the next begins.
 *
 * @param ret takes the results by who gave them: the actor, or the process whose line it is if another's
 * @param name the actor
 * @param home the process that the actor is a thread of
 */
export function* performAll(
  w: World,
  a: number,
  lines: readonly LitmusOp[],
  ret: Record<string, string[]>,
  name: string,
  home: string,
): Proc {
  const { sim } = w.machine.kernel;
  for (const [i, line] of lines.entries()) {
    const l = line.op.process === "P" && home !== "P" ? { ...line, op: { ...line.op, process: home } } : line;
    sim.call(a, AT_LINE, i);
    const told = yield* perform(w, a, l);
    sim.ret(a);
    (ret[l.op.process === home ? name : l.op.process] ??= []).push(told);
    sim.note(a, numberOf(told));
  }
}
