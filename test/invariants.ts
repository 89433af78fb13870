/** What must hold of a machine whenever none of its operations is under way; for tests of all rooms. */
import type { Kernel } from "../lib/mm/kernel.ts";
import { PG_ANON_EXCLUSIVE, PG_LOCKED, ZERO_PFN } from "../lib/mm/pages.ts";
import {
  type PageTables,
  PTE_DEVICE,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_POISON,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SWAP,
  PTE_TABLE,
  PTE_WRITE,
  TABLE_ENTRIES,
  VPN_END,
} from "../lib/mm/pagetable.ts";
import { VM_READ, VM_WRITE } from "../lib/mm/vma.ts";
import type { Batches } from "../lib/hmm/batches.ts";

/** A device's table and the address space that it mirrors. */
export interface MirrorOf {
  readonly table: { readonly root: number };
  readonly mm: number;
}

/** What the checker looks at. */
export interface Machinery {
  readonly kernel: Kernel;
  /** Address spaces in use. */
  readonly spaces: readonly number[];
  /** Mirrors of them. */
  readonly mirrors?: readonly MirrorOf[];
  /** Arrays that migrations take. */
  readonly batches?: Batches;
  /** References that a test holds itself, by frame. */
  readonly held?: ReadonlyMap<number, number>;
}

/** An entry of a leaf table. */
export interface Leaf {
  readonly vpn: number;
  readonly e: number;
  readonly kind: number;
  readonly pfn: number;
}

/** The entries of a tree that are not empty, in order. */
export function leaves(tables: PageTables, root: number): Leaf[] {
  const found: Leaf[] = [];
  for (let v = tables.nextLive(root, 0, VPN_END); v < VPN_END; v = tables.nextLive(root, v, VPN_END)) {
    const leaf = tables.leaf(root, v);
    for (const stop = v - (v & 511) + TABLE_ENTRIES; v < stop; v++) {
      const e = leaf + (v & 511);
      if (tables.kind[e] !== PTE_NONE) found.push({ vpn: v, e, kind: tables.kind[e], pfn: tables.pfn[e] });
    }
  }
  return found;
}

/** Counts the tables of a tree and checks each one's count of live entries. */
function countTables(tables: PageTables, t: number, level: number, broken: string[]): number {
  let live = 0, count = 1;
  for (let e = t * TABLE_ENTRIES; e < (t + 1) * TABLE_ENTRIES; e++) {
    if (tables.kind[e] === PTE_NONE) continue;
    live++;
    if (level === 0) continue;
    if ((tables.kind[e] & PTE_KIND) === PTE_TABLE) {
      count += countTables(tables, tables.pfn[e], level - 1, broken);
    } else broken.push(`tables: an upper entry of table ${t} has kind ${tables.kind[e]}`);
  }
  if (live !== tables.live[t]) {
    broken.push(`tables: table ${t} counts ${tables.live[t]} live entries and has ${live}`);
  }
  return count;
}

/** Names every rule that is broken; empty when all is well. */
export function brokenRules(m: Machinery): string[] {
  const { kernel: k, spaces } = m, { tables, pages, vmas, sim, locks, notifiers } = k, broken: string[] = [];
  const mapped = new Map<number, number>(), references = new Map<number, number>(m.held ?? []);
  const slots = new Map<number, number>();
  const add = (counts: Map<number, number>, pfn: number) => counts.set(pfn, (counts.get(pfn) ?? 0) + 1);
  let tableCount = 0;

  for (const mm of spaces) {
    let rss = 0, files = 0, swapped = 0;
    tableCount += countTables(tables, k.root[mm], 3, broken);
    for (const { vpn, kind, pfn } of leaves(tables, k.root[mm])) {
      const at = `page ${vpn} of space ${mm}`, what = kind & PTE_KIND, vma = vmas.lookup(mm, vpn);
      if (vma < 0) {
        broken.push(`entry: ${at} has an entry of kind ${kind} where nothing is mapped`);
        continue;
      }
      const access = vmas.flags[vma] & (VM_READ | VM_WRITE);
      if (kind & PTE_WRITE && !(access & VM_WRITE)) {
        broken.push(`entry: ${at} is writable in a read-only vma`);
      }
      if (what === PTE_MIGRATION) broken.push(`migration entry: ${at}`);
      else if (what === PTE_SWAP) {
        swapped++;
        add(slots, pfn);
        continue;
      } else if (what === PTE_POISON) continue; // lost for good: no page, and in no resident set
      else if (what !== PTE_PRESENT && what !== PTE_DEVICE && what !== PTE_EXCLUSIVE) {
        broken.push(`entry: ${at} has kind ${what}`);
      }
      if (what === PTE_PRESENT && ((kind & PTE_PROTNONE) !== 0) !== (access === 0)) {
        broken.push(
          `entry: ${at} is ${kind & PTE_PROTNONE ? "" : "not "}PROT_NONE, its vma allows ${access}`,
        );
      }
      if (what === PTE_PRESENT && pfn === ZERO_PFN) {
        if (kind & PTE_WRITE) broken.push(`entry: ${at} may write to the zero page`);
        continue;
      }
      if (pages.inode[pfn] === 0) rss++;
      else files++;
      add(references, pfn);
      if (what !== PTE_EXCLUSIVE) add(mapped, pfn);
      if (pages.isFree(pfn)) broken.push(`free page: ${at} names frame ${pfn}, which is free`);
      if ((what === PTE_DEVICE) !== pages.isDevicePrivate(pfn)) {
        broken.push(`entry: ${at} has kind ${what} and names frame ${pfn} of zone ${pages.zoneOf(pfn).name}`);
      }
      const anon = pages.inode[pfn] === 0;
      if (anon && kind & PTE_WRITE && what !== PTE_EXCLUSIVE && !(pages.flags[pfn] & PG_ANON_EXCLUSIVE)) {
        broken.push(`exclusive: ${at} is writable, but frame ${pfn} is not exclusive`);
      }
      if (![...k.places(pfn)].some((x) => x.vma === vma && x.vpn === vpn)) {
        broken.push(`reverse map: frame ${pfn} does not lead back to ${at}`);
      }
    }
    for (
      const [what, counted, has] of [["pages", k.rssAnon, rss], ["file pages", k.rssFile, files], [
        "swapped pages",
        k.rssSwap,
        swapped,
      ]] as const
    ) {
      if (counted[mm] !== has) broken.push(`rss: space ${mm} counts ${counted[mm]} ${what} and has ${has}`);
    }
    if (notifiers.active[mm] !== 0) {
      broken.push(`notifiers: ${notifiers.active[mm]} invalidations of space ${mm} run`);
    }
    if (notifiers.seq[mm] % 2 !== 0) broken.push(`notifiers: the sequence of space ${mm} is odd`);
    let last = 0;
    for (let v = vmas.find(mm, 0); v >= 0; v = vmas.next(v)) {
      if (!(vmas.start[v] >= last && vmas.end[v] > vmas.start[v])) {
        broken.push(`vmas: row ${v} overlaps the one before`);
      }
      if (vmas.faulting[v] !== 0) broken.push(`vmas: ${vmas.faulting[v]} faults are inside row ${v}`);
      last = vmas.end[v];
    }
  }
  if (tables.tables !== tableCount) {
    broken.push(`tables: ${tables.tables} are in use, ${tableCount} can be reached`);
  }

  for (const zone of pages.zones) {
    let used = 0;
    for (let pfn = zone.start; pfn < zone.end; pfn++) {
      const free = pages.isFree(pfn), count = pages.refcount[pfn];
      if (!free) used++;
      if (pfn === ZERO_PFN) continue;
      // The page cache has a reference, and so has the swap cache.
      if (pages.inode[pfn] !== 0) add(references, pfn);
      if (pages.swap[pfn] !== 0) add(references, pfn);
      if (free && (count !== 0 || pages.flags[pfn] !== 0)) {
        broken.push(`free page: frame ${pfn} is free and in use`);
      }
      if (pages.flags[pfn] & PG_LOCKED) broken.push(`locked: frame ${pfn}`);
      if (count !== (references.get(pfn) ?? 0)) {
        broken.push(`refcount: frame ${pfn} has ${count}, ${references.get(pfn) ?? 0} are accounted for`);
      }
      if (pages.mapcount[pfn] !== (mapped.get(pfn) ?? 0)) {
        broken.push(
          `mapcount: frame ${pfn} has ${pages.mapcount[pfn]}, ${mapped.get(pfn) ?? 0} entries map it`,
        );
      }
      if (pages.flags[pfn] & PG_ANON_EXCLUSIVE && pages.mapcount[pfn] > 1) {
        broken.push(`exclusive: frame ${pfn} is exclusive and mapped ${pages.mapcount[pfn]} times`);
      }
      if (!free && count === 0) broken.push(`leak: frame ${pfn} is in use and nothing refers to it`);
    }
    if (used !== pages.used(zone)) {
      broken.push(`zone: ${zone.name} counts ${pages.used(zone)} pages and has ${used}`);
    }
  }

  k.swap.users.forEach((n, slot) => {
    if (n !== (slots.get(slot) ?? 0)) {
      broken.push(`swap: slot ${slot} counts ${n} users and has ${slots.get(slot) ?? 0}`);
    }
  });

  for (const { table, mm } of m.mirrors ?? []) {
    for (const { vpn, kind, pfn } of leaves(k.deviceTables, table.root)) {
      const e = tables.entry(k.root[mm], vpn), cpu = e < 0 ? PTE_NONE : tables.kind[e];
      const there = [PTE_PRESENT, PTE_DEVICE, PTE_EXCLUSIVE].includes(cpu & PTE_KIND) &&
        tables.pfn[e] === pfn;
      if (!there) broken.push(`stale mirror: page ${vpn} of space ${mm} leads to frame ${pfn}`);
      else if (kind & PTE_WRITE && !(cpu & PTE_WRITE)) {
        broken.push(`stale mirror: page ${vpn} of space ${mm} may be written, but not by the CPU`);
      }
    }
  }

  for (let i = 0; i < k.tlb.entries * sim.maxActors; i++) {
    const { vpn, pfn, mm, write } = row(k, i);
    if (vpn < 0) continue;
    const e = tables.entry(k.root[mm], vpn), kind = e < 0 ? PTE_NONE : tables.kind[e];
    if ((kind & PTE_KIND) !== PTE_PRESENT || tables.pfn[e] !== pfn || (write && !(kind & PTE_WRITE))) {
      broken.push(`stale tlb: entry ${i} leads from page ${vpn} of space ${mm} to frame ${pfn}`);
    }
  }

  locks.owner.forEach((o, l) => o !== 0 && broken.push(`lock: ${l} is held by ${sim.actorName(o - 1)}`));
  locks.readers.forEach((n, l) => n !== 0 && broken.push(`lock: ${l} has ${n} readers`));
  locks.writersWaiting.forEach((n, l) => n !== 0 && broken.push(`lock: ${n} writers wait for ${l}`));
  sim.waitingOn.forEach((q, a) => q !== 0 && broken.push(`sleeper: ${sim.waitText(a)}`));
  tables.locked.forEach((x, t) => x !== 0 && broken.push(`lock: page-table lock ${t} is held`));
  m.batches?.["inUse"].forEach((x, slot) => x !== 0 && broken.push(`batch: ${slot} is in use`));
  for (const array of ["src", "dst"] as const) {
    if (m.batches?.["all"].some((b) => b[array].some((x) => x !== 0))) {
      broken.push(`batch: one was not emptied`);
    }
  }
  return broken;
}

function row(k: Kernel, i: number): { vpn: number; pfn: number; mm: number; write: boolean } {
  const { tlb } = k;
  return { vpn: tlb["vpn"][i] - 1, pfn: tlb["pfn"][i], mm: tlb["mm"][i] - 1, write: tlb["write"][i] !== 0 };
}
