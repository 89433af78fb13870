/** What must hold of a machine at rest, counted page by page from the outside. */
import { asDummy } from "../../lib/devices/dummy/device.ts";
import type { DummyMirror } from "../../lib/devices/dummy/mirror.ts";
import type { Player } from "../../lib/experiments/conformance/player.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { HUGE_PAGES, PG_LARGE, ZERO_PFN } from "../../lib/mm/pages.ts";
import {
  type PageTables,
  PTE_DEVICE,
  PTE_EXCLUSIVE,
  PTE_KIND,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_SWAP,
  PTE_WRITE,
  VPN_END,
} from "../../lib/mm/pagetable.ts";

/** What the tables of a process say of one page: kind with flags, and frame. */
function look(k: Kernel, mm: number, vpn: number): { kind: number; pfn: number; huge: boolean } {
  const { tables } = k,
    huge = tables.huge(k.root[mm], vpn),
    e = huge >= 0 ? huge : tables.entry(k.root[mm], vpn);
  if (e < 0) return { kind: PTE_NONE, pfn: 0, huge: false };
  // Frame 0 stands for the zero page, be it huge or not.
  const pfn = tables.pfn[e] === ZERO_PFN || huge < 0 ? tables.pfn[e] : tables.pfn[e] + (vpn % HUGE_PAGES);
  return { kind: tables.kind[e], pfn, huge: huge >= 0 };
}

/**
 * Counts what the page tables, page caches, swap and devices refer to, and holds it against the model's own counts.
 *
 * @returns what is wrong, one line each
 */
export function atRest(player: Player): string[] {
  const { kernel: k, deviceList } = player.machine, { pages, tables, vmas } = k, wrong: string[] = [];
  const mapped = new Map<number, number>(),
    held = new Map<number, number>(),
    slots = new Map<number, number>();
  const count = (m: Map<number, number>, key: number) => m.set(key, (m.get(key) ?? 0) + 1);
  const living = [...player.played.values()].filter((p) => !p.exited);
  for (const p of living) {
    let rss = 0, swapped = 0;
    const root = k.root[p.mm];
    for (let v = tables.nextLive(root, 0, VPN_END); v < VPN_END; v = tables.nextLive(root, v + 1, VPN_END)) {
      const { kind: pte, pfn, huge } = look(k, p.mm, v), kind = pte & PTE_KIND;
      const at = `${p.name} page ${v.toString(16)}`;
      if (kind !== PTE_NONE && vmas.lookup(p.mm, v) < 0) wrong.push(`${at}: an entry where no vma is`);
      if (kind === PTE_MIGRATION) wrong.push(`${at}: a migration entry at rest`);
      if (kind === PTE_SWAP) {
        swapped++;
        count(slots, pfn);
      }
      if ((kind === PTE_PRESENT && pfn !== ZERO_PFN) || kind === PTE_DEVICE || kind === PTE_EXCLUSIVE) {
        if (kind !== PTE_EXCLUSIVE) count(mapped, pfn);
        // A huge page's one entry holds one reference to the whole, each small entry one of its own.
        if (!huge || v % HUGE_PAGES === 0) count(held, pages.head(pfn));
        if (pages.mapping[pages.head(pfn)] !== 0) rss++;
        if (kind === PTE_DEVICE && !pages.isDevicePrivate(pfn)) {
          wrong.push(`${at}: a device entry of frame ${pfn}`);
        }
        if (kind !== PTE_DEVICE && pages.isDevicePrivate(pfn)) wrong.push(`${at}: maps device frame ${pfn}`);
        if (pages.isFree(pfn)) wrong.push(`${at}: names free frame ${pfn}`);
      }
    }
    if (rss !== k.rssAnon[p.mm]) {
      wrong.push(`${p.name}: rssAnon is ${k.rssAnon[p.mm]}, its tables hold ${rss}`);
    }
    if (swapped !== k.rssSwap[p.mm]) {
      wrong.push(`${p.name}: rssSwap is ${k.rssSwap[p.mm]}, its tables hold ${swapped}`);
    }
  }
  for (const [i, zone] of pages.zones.entries()) {
    let left = pages.used(zone) - (i === 0 ? 1 : 0);
    for (let pfn = zone.start + (i === 0 ? 1 : 0); pfn < zone.end && left > 0; pfn++) {
      if (pages.isFree(pfn)) continue;
      left--;
      if (pages.mapcount[pfn] !== (mapped.get(pfn) ?? 0)) {
        wrong.push(
          `frame ${pfn}: mapcount is ${pages.mapcount[pfn]}, ${mapped.get(pfn) ?? 0} entries map it`,
        );
      }
      const size = pages.flags[pfn] & PG_LARGE ? HUGE_PAGES : 1;
      if (pages.head(pfn) !== pfn) continue;
      let holders = held.get(pfn) ?? 0;
      for (let p = pfn; p < pfn + size; p++) {
        holders += (pages.inode[p] !== 0 ? 1 : 0) + (pages.swap[p] !== 0 ? 1 : 0) + pages.pins[p];
      }
      if (pages.refcount[pfn] !== holders) {
        wrong.push(`frame ${pfn}: refcount is ${pages.refcount[pfn]}, ${holders} hold it`);
      }
      if (holders === 0) wrong.push(`frame ${pfn} of ${zone.name} is lost`);
    }
  }
  // A page of shared memory that was swapped out has its slot in the page cache.
  const { cache, root: roots } = k.inodes as unknown as { cache: PageTables; root: Uint32Array };
  k.inodes.users.forEach((users, inode) => {
    if (users === 0) return;
    for (let i = cache.nextLive(roots[inode], 0, VPN_END); i < VPN_END;) {
      const e = cache.entry(roots[inode], i);
      if ((cache.kind[e] & PTE_KIND) === PTE_SWAP) count(slots, cache.pfn[e]);
      i = cache.nextLive(roots[inode], i + 1, VPN_END);
    }
  });
  k.swap.users.forEach((n, slot) => {
    if (n !== (slots.get(slot) ?? 0)) {
      wrong.push(`slot ${slot}: ${n} users, ${slots.get(slot) ?? 0} entries name it`);
    }
  });
  for (const d of deviceList.map(asDummy)) {
    const open = d.mirrors().filter((m) => m.alive);
    // With two open files of a device each ignores the other's migrations: a defect of the test driver, which is kept.
    if (d.spec.quirks && open.length > 1) continue;
    for (const m of open) wrong.push(...staleEntries(k, d.name, m));
  }
  return wrong;
}

/** Entries of a device's mirror that say other than the process's own table. */
function staleEntries(k: Kernel, name: string, { mm, table }: DummyMirror): string[] {
  const { deviceTables: t } = k, wrong: string[] = [];
  for (let v = t.nextLive(table.root, 0, VPN_END); v < VPN_END; v = t.nextLive(table.root, v, VPN_END)) {
    const pfn = table.translate(v, false);
    if (pfn >= 0) {
      const { kind, pfn: own } = look(k, mm, v);
      const at = `${name} page ${v.toString(16)}`, atomic = table.isAtomic(v);
      if ((kind & PTE_KIND) === PTE_NONE || own !== pfn) wrong.push(`${at}: stale`);
      else if ((table.translate(v, true) >= 0 || atomic) && !(kind & PTE_WRITE)) {
        wrong.push(`${at}: may write, the CPU's entry may not`);
      } else if (atomic !== ((kind & PTE_KIND) === PTE_EXCLUSIVE)) {
        wrong.push(`${at}: exclusive on one side only`);
      }
    }
    v++;
  }
  return wrong;
}
