/**
 * Conservation: what the model counts is what is there, counted entry by entry and frame by frame from outside.
 * @module
 */
import { HUGE_PAGES, PG_ANON_EXCLUSIVE, PG_LARGE, ZERO_PFN } from "../mm/pages.ts";
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
} from "../mm/pagetable.ts";
import { VM_HUGETLB, VM_MIXEDMAP, VM_READ, VM_WRITE } from "../mm/vma.ts";
import { forEachEntry } from "./census.ts";
import type { Checker } from "./checker.ts";

const FACT = "conservation";

const rss: Checker = {
  name: "rss",
  fact: FACT,
  says:
    "The resident set of an address space is its present, device, exclusive and migration entries, and its swap " +
    "entries are counted beside it.",
  make: ({ kernel: k, census, broken }) => ({
    atRest() {
      for (const { mm, anon, file, swap } of census.spaces()) {
        const said = (what: string, counts: number, has: number) => {
          if (counts !== has) broken(`space ${mm} counts ${counts} ${what} and has ${has}`, { mm });
        };
        said("anonymous pages", k.rssAnon[mm], anon);
        said("file pages", k.rssFile[mm], file);
        said("swapped pages", k.rssSwap[mm], swap);
      }
    },
  }),
};

const entries: Checker = {
  name: "page-table entry",
  fact: FACT,
  says:
    "Every entry lies in a vma, is of the kind that its frame has, and allows no more than vma and page do.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      const { tables, pages, vmas } = k;
      for (const mm of k.spaces()) {
        forEachEntry(tables, k.root[mm], (vpn, pte, pfn) => {
          const kind = pte & PTE_KIND, vma = vmas.lookup(mm, vpn), at = { mm, vpn, pfn };
          if (vma < 0) return broken(`an entry of kind ${kind} where nothing is mapped`, at);
          const access = vmas.flags[vma] & (VM_READ | VM_WRITE);
          if (kind !== PTE_SWAP && pte & PTE_WRITE && !(access & VM_WRITE)) {
            broken("an entry is writable in a read-only vma", at);
          }
          if (kind === PTE_MIGRATION) return broken("a migration entry is left", at);
          if (kind === PTE_SWAP || kind === PTE_POISON) return; // poison: lost for good, in no resident set
          if (kind !== PTE_PRESENT && kind !== PTE_DEVICE && kind !== PTE_EXCLUSIVE) {
            return broken(`an entry has kind ${kind}`, at);
          }
          if (kind === PTE_PRESENT && ((pte & PTE_PROTNONE) !== 0) !== (access === 0)) {
            broken(`an entry is ${pte & PTE_PROTNONE ? "" : "not "}PROT_NONE, its vma allows ${access}`, at);
          }
          if (kind === PTE_PRESENT && pfn === ZERO_PFN) {
            if (pte & PTE_WRITE) broken("an entry may write to the zero page", at);
            return;
          }
          if (pages.isFree(pfn)) return broken("an entry names a free frame", at);
          if ((kind === PTE_DEVICE) !== pages.isDevicePrivate(pfn)) {
            broken(`an entry of kind ${kind} names a frame of zone ${pages.zoneOf(pfn).name}`, at);
          }
          const head = pages.head(pfn);
          if (
            pages.mapping[head] !== 0 && pte & PTE_WRITE && kind !== PTE_EXCLUSIVE &&
            !(pages.flags[pfn] & PG_ANON_EXCLUSIVE)
          ) broken("an entry is writable, but its page is not exclusive", at);
          if (vmas.flags[vma] & (VM_HUGETLB | VM_MIXEDMAP)) return; // such pages are never looked for by their mapping
          if (!k.places(pfn).some((x) => x.vma === vma && x.vpn === vpn)) {
            broken("the reverse map of a frame does not lead back to an entry that maps it", at);
          }
        });
      }
    },
  }),
};

const counts: Checker = {
  name: "page counts",
  fact: FACT,
  says: "A frame's references and mappings are those that can be found, and what nobody refers to is free.",
  make: ({ kernel: k, census, broken }) => ({
    atRest() {
      const { pages } = k;
      census.spaces();
      for (const zone of pages.zones) {
        const end = pages.unusedFrom(zone);
        for (let pfn = zone.start === ZERO_PFN ? 1 : zone.start; pfn < end; pfn++) {
          const count = pages.refcount[pfn];
          if (pages.isFree(pfn)) {
            if (count !== 0 || pages.flags[pfn] !== 0) broken("a frame is free and in use", { pfn });
            continue;
          }
          const mapped = census.mapped[pfn];
          if (pages.mapcount[pfn] !== mapped) {
            broken(`mapcount is ${pages.mapcount[pfn]}, ${mapped} entries map the frame`, { pfn });
          }
          if (pages.head(pfn) !== pfn) continue;
          const holders = census.holders(pfn);
          if (count !== holders) broken(`refcount is ${count}, ${holders} are accounted for`, { pfn });
          if (holders === 0) broken(`a frame of ${zone.name} is in use and nothing refers to it`, { pfn });
          if (pages.flags[pfn] & PG_ANON_EXCLUSIVE && pages.mapcount[pfn] > 1) {
            broken(`a frame is exclusive and mapped ${pages.mapcount[pfn]} times`, { pfn });
          }
          if (pages.flags[pfn] & PG_LARGE && pfn % HUGE_PAGES !== 0) {
            broken("a large folio is not aligned", { pfn });
          }
        }
      }
    },
  }),
};

const references: Checker = {
  name: "page references",
  fact: FACT,
  says: "At any time a frame that entries map is in use and has at least as many references as mappings.",
  make: ({ kernel: k, broken }) => ({
    atStop() {
      const { pages } = k;
      for (const zone of pages.zones) {
        const end = pages.unusedFrom(zone);
        for (let pfn = zone.start === ZERO_PFN ? 1 : zone.start; pfn < end; pfn++) {
          if (pages.mapcount[pfn] === 0 || pages.flags[pfn] & PG_LARGE) continue;
          if (pages.refcount[pfn] < pages.mapcount[pfn]) {
            broken(
              `${pages.refcount[pfn]} references to a frame that is mapped ${pages.mapcount[pfn]} times`,
              {
                pfn,
              },
            );
          }
        }
      }
    },
  }),
};

const zones: Checker = {
  name: "zone",
  fact: FACT,
  says: "A zone has as many frames in use as it counts.",
  make: ({ kernel: { pages }, broken }) => ({
    atRest() {
      for (const zone of pages.zones) {
        let used = 0;
        for (let pfn = zone.start; pfn < pages.unusedFrom(zone); pfn++) if (!pages.isFree(pfn)) used++;
        if (used !== pages.used(zone)) {
          broken(`${zone.name} counts ${pages.used(zone)} pages and has ${used}`);
        }
      }
    },
  }),
};

const swapSlots: Checker = {
  name: "swap slot",
  fact: FACT,
  says:
    "A swap slot has as many users as entries name it; one that has users or a cached page is counted in use.",
  make: ({ kernel: k, census, broken }) => ({
    atRest() {
      let used = 0;
      census.spaces();
      k.swap.users.forEach((n, slot) => {
        const named = census.slots[slot], cached = k.swap.lookup(slot);
        if (n !== named) broken(`slot ${slot} counts ${n} users, ${named} entries name it`);
        if (n > 0 || cached >= 0) used++;
        if (cached >= 0 && k.pages.swap[cached] !== slot + 1) {
          broken(`slot ${slot} has a page cached that names another`, { pfn: cached });
        }
      });
      if (used !== k.swap.used) broken(`${k.swap.used} slots are counted in use, ${used} are`);
    },
  }),
};

/** Counts the tables of a tree and looks at each one's count of live entries. */
function countTables(tables: PageTables, t: number, level: number, broken: (what: string) => void): number {
  let live = 0, count = 1;
  for (let e = t * TABLE_ENTRIES; e < (t + 1) * TABLE_ENTRIES; e++) {
    const kind = tables.kind[e] & PTE_KIND;
    if (tables.kind[e] === PTE_NONE) continue;
    live++;
    if (level === 0 || level === 1 && kind === PTE_PRESENT) continue;
    if (kind === PTE_TABLE) count += countTables(tables, tables.pfn[e], level - 1, broken);
    else broken(`an upper entry of table ${t} has kind ${kind}`);
  }
  if (live !== tables.live[t]) broken(`table ${t} counts ${tables.live[t]} live entries and has ${live}`);
  return count;
}

const pageTables: Checker = {
  name: "page tables",
  fact: FACT,
  says: "Every page-table page in use can be reached, and counts its live entries.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      const { tables } = k;
      let reached = 0;
      for (const mm of k.spaces()) reached += countTables(tables, k.root[mm], 3, broken);
      if (tables.tables !== reached) broken(`${tables.tables} tables are in use, ${reached} can be reached`);
    },
  }),
};

const vmaTree: Checker = {
  name: "vma tree",
  fact: FACT,
  says: "The vmas of an address space are in order, none is empty, no two overlap.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      const { vmas } = k;
      for (const mm of k.spaces()) {
        let last = 0;
        for (let v = vmas.find(mm, 0); v >= 0; v = vmas.next(v)) {
          const vpn = vmas.start[v];
          if (!(vpn >= last && vmas.end[v] > vpn)) broken(`vma ${v} overlaps the one before`, { mm, vpn });
          last = vmas.end[v];
        }
      }
    },
  }),
};

/** What counts must say when nothing is under way. */
export const CONSERVATION: readonly Checker[] = [
  rss,
  entries,
  counts,
  references,
  zones,
  swapSlots,
  pageTables,
  vmaTree,
];
