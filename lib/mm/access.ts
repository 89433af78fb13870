/**
 * What a program does to its memory: batches of loads and stores of a CPU.
 * @module
 */
import { DUE, type Proc, site } from "../sim/sim.ts";
import { VM_FAULT_DONE, VM_FAULT_OOM, VM_FAULT_RETRY } from "./errno.ts";
import { cpuMayAccess, userFault } from "./fault.ts";
import { doAnonymousPages, FAULT_FLAG_USER, FAULT_FLAG_WRITE } from "./fault_anon.ts";
import { mayFaultHuge } from "./huge.ts";
import type { Kernel } from "./kernel.ts";
import { ZERO_PFN } from "./pages.ts";
import {
  PTE_DIRTY,
  PTE_KIND,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
  PTE_YOUNG,
} from "./pagetable.ts";

/** A batch of accesses, one row a run of consecutive pages. */
export interface Accesses {
  /** Rows in use. */
  n: number;
  /** First page of each run. */
  readonly vpn: Float64Array;
  /** Pages of each run, 1 or more. */
  readonly pages: Uint32Array;
  /** Whether the run is written (1) or read (0). */
  readonly write: Uint8Array;
  /** Word written to (or expected of) the first page of each run; the next page's is one more. */
  readonly value?: Uint32Array;
  /** References that each page of the run gets, for the time they take; 1 if left out. */
  readonly count?: Uint32Array;
  /** Which of the modelled words of each page is meant; the first, if left out. */
  readonly word?: Uint32Array;
  /** Whether a written run adds its value to the word, atomically, and keeps the word from before; no, if left out. */
  readonly add?: Uint8Array;
}

/** What came of accesses that did not simply succeed, and of checks. */
export class AccessResult {
  /** The first pages that could not be accessed ({@link keepSignals} of them), with the VM_FAULT_ result. */
  readonly signals: { readonly vpn: number; readonly cause: number }[] = [];
  /** How many pages could not be accessed. */
  failed = 0;
  /** Words read, in order, when {@link keepWords} is set. */
  readonly words: number[] = [];
  /** Pages accessed. */
  pages = 0;
  /** Reads whose word was not the expected one. */
  mismatches = 0;
  /** The first of them. */
  firstMismatch: { readonly vpn: number; readonly expected: number; readonly found: number } | undefined;

  /**
   * Makes an empty result for a batch, or for all batches of a program.
   *
   * @param keepWords whether to keep every word read
   * @param check whether reads compare with the batch's values
   * @param keepSignals how many of the pages that could not be accessed are kept one by one; all are counted
   */
  constructor(readonly keepWords = false, readonly check = false, readonly keepSignals = 1000) {}

  /** Notes a page that could not be accessed. */
  fail(vpn: number, cause: number): void {
    this.failed++;
    if (this.signals.length < this.keepSignals) this.signals.push({ vpn, cause });
  }

  /** Adds what came of other accesses, but for the words that they kept. */
  add(other: AccessResult): void {
    for (const s of other.signals) if (this.signals.length < this.keepSignals) this.signals.push(s);
    this.failed += other.failed;
    this.pages += other.pages;
    this.mismatches += other.mismatches;
    this.firstMismatch ??= other.firstMismatch;
  }

  /** Notes the word that a read found. */
  note(vpn: number, found: number, expected: number): void {
    if (this.keepWords) this.words.push(found);
    if (!this.check || found === expected) return;
    this.mismatches++;
    this.firstMismatch ??= { vpn, expected, found };
  }
}

/** Present and not PROT_NONE. */
const MAPPED = PTE_KIND | PTE_PROTNONE;
/** What lets a cached translation be stored through: with a clean entry the CPU walks again and sets the dirty bit. */
const STORABLE = PTE_WRITE | PTE_DIRTY;
/** In the number of a word: it is added to. */
const AT_ADD = 0x1000, AT_WORD = 0xfff;
const AT_ACCESS = site("before a CPU access");
const AT_FAULT = site("CPU access: in its fault");
const AT_ENTRY = site("cpu fault: before it takes a lock");

/** Loads or stores one word of a page: number `at`; see {@link Accesses}. */
function word(
  k: Kernel,
  pfn: number,
  vpn: number,
  write: boolean,
  value: number,
  out: AccessResult,
  at: number,
): void {
  const i = pfn * k.pages.wordsPerPage + (at & AT_WORD);
  if (at & AT_ADD) {
    if (out.keepWords) out.words.push(k.pages.word[i]);
    k.pages.word[i] += value;
  } else if (write) k.pages.word[i] = value;
  else if (out.keepWords || out.check) out.note(vpn, k.pages.word[i], value);
}

/** The anonymous vma in which a page is touched for the first time and may be, as a small page; -1 for anything else. */
function untouchedIn(k: Kernel, mm: number, v: number, write: boolean): number {
  const { vmas, tables } = k, vma = vmas.lookup(mm, v);
  if (vma < 0 || vmas.isFile(vma) || !cpuMayAccess(vmas.flags[vma], write)) return -1;
  const leaf = tables.leaf(k.root[mm], v);
  if (leaf >= 0) return tables.kind[leaf + (v & 511)] === PTE_NONE ? vma : -1;
  return tables.huge(k.root[mm], v) < 0 && !mayFaultHuge(k, vma, v) ? vma : -1;
}

/**
 * Performs a batch of accesses as the program that runs on CPU `a`; faults are taken where the hardware would.
 *
 * @param mm the program's address space
 * @param acc the batch; it must not change before this ends
 * @param out takes signals, words and mismatches
 */
export function* cpuAccess(k: Kernel, a: number, mm: number, acc: Accesses, out: AccessResult): Proc {
  const { sim, tables, vmas, cost, phase } = k, { kind } = tables;
  const cached = k.tlb.entries > 0, numa = k.nodes.count > 1;
  for (let row = 0; row < acc.n; row++) {
    const first = acc.vpn[row], end = first + acc.pages[row], write = acc.write[row] !== 0;
    const add = acc.add?.[row] ?? 0, at = (acc.word?.[row] ?? 0) | (add ? AT_ADD : 0);
    const value = (acc.value?.[row] ?? 0) - (add ? 0 : first), ns = cost.accessNs * (acc.count?.[row] ?? 1);
    const times = acc.count?.[row] ?? 1;
    let v = first, remoteNs = 0;
    while (v < end) {
      if (remoteNs > 0) {
        sim.spend(a, phase.remote, remoteNs * times);
        remoteNs = 0;
      }
      if (sim.due(a)) {
        sim.mark(a, AT_ACCESS, row, v);
        yield DUE;
      }
      if (cached) {
        const pfn = k.tlb.lookup(a, mm, v, write);
        if (pfn >= 0) {
          sim.spend(a, phase.access, ns);
          if (numa) remoteNs = k.nodes.remoteNs(a, pfn);
          word(k, pfn, v, write, (add ? value : value + v) >>> 0, out, at);
          if (write) k.watch?.cpuStored(a, mm, v, v + 1, pfn);
          out.pages++;
          sim.progress++;
          v++;
          continue;
        }
      }
      // Up to the end of this leaf table, or one page where every boundary is a stop.
      const chunk = Math.min(end, sim.grain === 1 || cached ? v + 1 : v - (v & 511) + 512);
      const leaf = tables.leaf(k.root[mm], v), from = v;
      if (leaf >= 0) {
        for (; v < chunk; v++) {
          const e = leaf + (v & 511), flags = kind[e];
          if ((flags & MAPPED) !== PTE_PRESENT || (write && !(flags & PTE_WRITE))) break;
          kind[e] = flags | (write ? PTE_YOUNG | PTE_DIRTY : PTE_YOUNG);
          word(k, tables.pfn[e], v, write, (add ? value : value + v) >>> 0, out, at);
          if (cached) k.tlb.fill(a, mm, v, tables.pfn[e], (kind[e] & STORABLE) === STORABLE);
          if (numa) remoteNs += k.nodes.remoteNs(a, tables.pfn[e]);
        }
        if (v > from) {
          if (write) k.watch?.cpuStored(a, mm, from, v, -1);
          sim.spend(a, phase.access, ns * (v - from));
          out.pages += v - from;
          sim.progress++;
          continue;
        }
      } else {
        const huge = tables.huge(k.root[mm], v), flags = huge < 0 ? 0 : kind[huge];
        if ((flags & MAPPED) === PTE_PRESENT && (!write || flags & PTE_WRITE)) {
          kind[huge] = flags | (write ? PTE_YOUNG | PTE_DIRTY : PTE_YOUNG);
          for (; v < chunk; v++) {
            const pfn = tables.pfn[huge] === ZERO_PFN ? ZERO_PFN : tables.pfn[huge] + (v & 511);
            word(k, pfn, v, write, (add ? value : value + v) >>> 0, out, at);
            if (cached) k.tlb.fill(a, mm, v, pfn, (kind[huge] & STORABLE) === STORABLE);
            if (numa) remoteNs += k.nodes.remoteNs(a, pfn);
          }
          if (write) k.watch?.cpuStored(a, mm, from, v, -1);
          sim.spend(a, phase.access, ns * (v - from));
          out.pages += v - from;
          sim.progress++;
          continue;
        }
      }
      sim.call(a, AT_FAULT, row, v);
      let rc = VM_FAULT_DONE, vma = untouchedIn(k, mm, v, write);
      if (vma >= 0 && sim.due(a)) {
        sim.mark(a, AT_ENTRY, v);
        yield DUE;
        vma = untouchedIn(k, mm, v, write); // nothing was held
      }
      let n = -VM_FAULT_RETRY;
      if (vma >= 0) {
        const last = Math.min(chunk, vmas.end[vma]), flags = FAULT_FLAG_USER | (write ? FAULT_FLAG_WRITE : 0);
        n = yield* doAnonymousPages(k, a, mm, vma, v, last, flags);
      }
      if (n === -VM_FAULT_OOM) rc = VM_FAULT_OOM;
      else if (n < 0) rc = yield* userFault(k, a, mm, v, write);
      sim.ret(a);
      if (rc !== VM_FAULT_DONE) {
        out.fail(v, rc);
        v++;
      }
    }
    if (remoteNs > 0) sim.spend(a, phase.remote, remoteNs * times);
  }
}
