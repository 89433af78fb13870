/** What must hold of a machine at rest, counted page by page from the outside. */
import type { Player } from "../../lib/experiments/conformance/player.ts";
import { ZERO_PFN } from "../../lib/mm/pages.ts";
import {
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

/** What is known of a frame from the tables that name it. */
interface Uses {
  mapped: number;
  exclusive: number;
}

/**
 * Counts what the page tables, page caches, swap and devices refer to, and holds it against the model's own counts.
 *
 * @returns what is wrong, one line each
 */
export function atRest(player: Player): string[] {
  const { kernel: k, deviceList } = player.machine, { pages, tables, vmas } = k, wrong: string[] = [];
  const uses = new Map<number, Uses>(), slots = new Map<number, number>();
  const living = [...player.played.values()].filter((p) => !p.exited);
  for (const p of living) {
    let rss = 0, swapped = 0;
    const root = k.root[p.mm];
    for (let v = tables.nextLive(root, 0, VPN_END); v < VPN_END; v = tables.nextLive(root, v, VPN_END)) {
      const leaf = tables.leaf(root, v) + (v % 512),
        kind = tables.kind[leaf] & PTE_KIND,
        pfn = tables.pfn[leaf];
      const at = `${p.name} page ${v.toString(16)}`;
      if (kind !== PTE_NONE && vmas.lookup(p.mm, v) < 0) wrong.push(`${at}: an entry where no vma is`);
      if (kind === PTE_MIGRATION) wrong.push(`${at}: a migration entry at rest`);
      if (kind === PTE_SWAP) {
        swapped++;
        slots.set(pfn, (slots.get(pfn) ?? 0) + 1);
      }
      if ((kind === PTE_PRESENT && pfn !== ZERO_PFN) || kind === PTE_DEVICE || kind === PTE_EXCLUSIVE) {
        const u = uses.get(pfn) ?? { mapped: 0, exclusive: 0 };
        if (kind === PTE_EXCLUSIVE) u.exclusive++;
        else u.mapped++;
        uses.set(pfn, u);
        if (pages.mapping[pfn] !== 0) rss++;
        if (kind === PTE_DEVICE && !pages.isDevicePrivate(pfn)) {
          wrong.push(`${at}: a device entry of frame ${pfn}`);
        }
        if (kind !== PTE_DEVICE && pages.isDevicePrivate(pfn)) wrong.push(`${at}: maps device frame ${pfn}`);
        if (pages.isFree(pfn)) wrong.push(`${at}: names free frame ${pfn}`);
      }
      v++;
    }
    if (rss !== k.rssAnon[p.mm]) {
      wrong.push(`${p.name}: rssAnon is ${k.rssAnon[p.mm]}, its tables hold ${rss}`);
    }
    if (swapped !== k.rssSwap[p.mm]) {
      wrong.push(`${p.name}: rssSwap is ${k.rssSwap[p.mm]}, its tables hold ${swapped}`);
    }
  }
  for (const [i, zone] of pages.zones.entries()) {
    let left = pages.used(zone);
    for (let pfn = zone.start + (i === 0 ? 1 : 0); pfn < zone.end && left > (i === 0 ? 1 : 0); pfn++) {
      if (pages.isFree(pfn)) continue;
      left--;
      const u = uses.get(pfn) ?? { mapped: 0, exclusive: 0 };
      const held = u.mapped + u.exclusive + (pages.inode[pfn] !== 0 ? 1 : 0) +
        (pages.swap[pfn] !== 0 ? 1 : 0) +
        pages.pins[pfn];
      if (pages.mapcount[pfn] !== u.mapped) {
        wrong.push(`frame ${pfn}: mapcount is ${pages.mapcount[pfn]}, ${u.mapped} entries map it`);
      }
      if (pages.refcount[pfn] !== held) {
        wrong.push(`frame ${pfn}: refcount is ${pages.refcount[pfn]}, ${held} hold it`);
      }
      if (held === 0) wrong.push(`frame ${pfn} of ${zone.name} is lost`);
    }
  }
  k.swap.users.forEach((n, slot) => {
    if (n !== (slots.get(slot) ?? 0)) {
      wrong.push(`slot ${slot}: ${n} users, ${slots.get(slot) ?? 0} entries name it`);
    }
  });
  for (const d of deviceList) {
    const open = d.mirrors();
    // With two open files of a device each ignores the other's migrations: a defect of the driver, which is kept.
    if (open.length !== 1 || !open[0].alive) continue;
    const [{ mm, table }] = open, { deviceTables: t } = k;
    for (let v = t.nextLive(table.root, 0, VPN_END); v < VPN_END; v = t.nextLive(table.root, v, VPN_END)) {
      const pfn = table.translate(v, false);
      if (pfn >= 0) {
        const e = tables.entry(k.root[mm], v), kind = e < 0 ? PTE_NONE : tables.kind[e];
        const at = `${d.name} page ${v.toString(16)}`, atomic = table.isAtomic(v);
        if ((kind & PTE_KIND) === PTE_NONE || tables.pfn[e] !== pfn) wrong.push(`${at}: stale`);
        else if ((table.translate(v, true) >= 0 || atomic) && !(kind & PTE_WRITE)) {
          wrong.push(`${at}: may write, the CPU's entry may not`);
        } else if (atomic !== ((kind & PTE_KIND) === PTE_EXCLUSIVE)) {
          wrong.push(`${at}: exclusive on one side only`);
        }
      }
      v++;
    }
  }
  return wrong;
}
