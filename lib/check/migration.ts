/**
 * Migration: what must hold of sources and destinations between setup and finalize.
 * @module
 */
import { MIGRATE_PFN_MIGRATE, MIGRATE_PFN_VALID, migratePfnToPage } from "../hmm/migrate.ts";
import type { Kernel } from "../mm/kernel.ts";
import { HUGE_PAGES, PG_DIRTY, PG_LARGE, ZERO_PFN } from "../mm/pages.ts";
import { PTE_DEVICE, PTE_DIRTY, PTE_KIND, PTE_PRESENT, PTE_WRITE } from "../mm/pagetable.ts";
import type { MigrationRows, MirrorView } from "../mm/watch.ts";
import { lookAt } from "./census.ts";
import type { Checker } from "./checker.ts";

/** A page that goes: neither refused nor a hole. */
const GOES = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;

/** The frame that a device's table has for a page, or -1. */
function mirrored(k: Kernel, { root }: MirrorView, vpn: number): number {
  const { deviceTables } = k, e = deviceTables.entry(root, vpn);
  return e < 0 || (deviceTables.kind[e] & PTE_KIND) !== PTE_PRESENT ? -1 : deviceTables.pfn[e];
}

/** Looks for a device that maps a frame of a row where the process itself does not. */
function whoMaps(
  k: Kernel,
  mirrors: readonly MirrorView[],
  m: MigrationRows,
  i: number,
  pfn: number,
): string {
  const vpn = m.start + i, own = lookAt(k, m.mm, vpn), kind = own.kind & PTE_KIND;
  if (own.pfn === pfn && (kind === PTE_PRESENT || kind === PTE_DEVICE)) return "";
  return mirrors.find((d) => d.mm === m.mm && !d.odd && mirrored(k, d, vpn) === pfn)?.name ?? "";
}

const tlbFlush: Checker = {
  name: "copy after flush",
  fact: "F3 (8c3328f1f36a)",
  says:
    "From migrate_vma_setup() on no CPU store lands in a source; none uses a translation that was to be flushed.",
  make({ kernel: k, memory, broken }) {
    const { pages } = k, source = memory.u8("source of a copy", pages.frames, () => pages.extents(1));
    const landed = (pfn: number, mm: number, vpn: number) => {
      if (pfn === ZERO_PFN) return broken("a CPU store lands in the zero page", { mm, vpn });
      if (source[pfn]) {
        return broken("a CPU store lands in a page whose copy may have begun", { mm, vpn, pfn });
      }
      if (pages.isFree(pfn)) broken("a CPU store lands in a free frame", { mm, vpn, pfn });
    };
    return {
      migrationCollected(_a, m) {
        for (let i = 0; i < m.end - m.start; i++) {
          if ((m.src[i] & GOES) === GOES) source[migratePfnToPage(m.src[i])] = 1;
        }
      },
      migrationFinalizes(_a, m) {
        for (let i = 0; i < m.end - m.start; i++) {
          if (m.src[i] & MIGRATE_PFN_VALID) source[migratePfnToPage(m.src[i])] = 0;
        }
      },
      cpuStored(_a, mm, from, to, pfn) {
        if (pfn >= 0) {
          landed(pfn, mm, from);
          const own = lookAt(k, mm, from), leaf = k.tables.leaf(k.root[mm], from);
          // Between an entry's change and the flush its table is locked: until then the old translation may be used.
          if ((own.kind & PTE_KIND) === PTE_PRESENT && own.pfn === pfn || k.tables.locked[leaf >>> 9]) return;
          broken("a CPU stores through a translation that was to be flushed", { mm, vpn: from, pfn });
        } else for (let v = from; v < to; v++) landed(lookAt(k, mm, v).pfn, mm, v);
      },
    };
  },
};

const dirtyBit: Checker = {
  name: "dirty bit",
  fact: "F4",
  says:
    "A page that a CPU wrote before a migration is dirty after it, in its folio or its entry, wherever it is then.",
  make({ kernel: k, memory, broken }) {
    const { pages, tables } = k,
      written = memory.u8("written by a cpu", pages.frames, () => pages.extents(1));
    const isDirty = (pfn: number): boolean =>
      (pages.flags[pfn] & PG_DIRTY) !== 0 || k.places(pfn).some(({ vma, vpn }) => {
        const e = tables.entry(k.root[k.vmas.mm[vma]], vpn);
        return e >= 0 && tables.pfn[e] === pfn && (tables.kind[e] & PTE_KIND) === PTE_PRESENT &&
          (tables.kind[e] & PTE_DIRTY) !== 0;
      });
    return {
      cpuStored(_a, mm, from, to, pfn) {
        if (pfn >= 0) written[pfn] = 1;
        else for (let v = from; v < to; v++) written[lookAt(k, mm, v).pfn] = 1;
      },
      pagesTaken(_a, pfn, n) {
        if (pfn >= 0) written.fill(0, pfn, pfn + n);
      },
      devicePageTaken(_a, pfn) {
        written[pfn] = 0;
      },
      pageCleaned(pfn) {
        const n = pages.flags[pfn] & PG_LARGE ? HUGE_PAGES : 1;
        written.fill(0, pages.head(pfn), pages.head(pfn) + n);
      },
      migrationFinalizes(_a, m) {
        for (let i = 0; i < m.end - m.start; i++) {
          const page = migratePfnToPage(m.src[i]), to = migratePfnToPage(m.dst[i]);
          if ((m.src[i] & GOES) === GOES && to >= 0) written[to] = written[page];
        }
      },
      migrationEnds(_a, m) {
        for (let i = 0; i < m.end - m.start; i++) {
          const page = migratePfnToPage(m.src[i]), to = migratePfnToPage(m.dst[i]);
          if (page < 0) continue;
          const now = (m.src[i] & GOES) === GOES && to >= 0 ? to : page;
          if (!written[now] || pages.isFree(now) || isDirty(now)) continue;
          const vpn = m.mm < 0 ? undefined : m.start + i;
          broken("a page that was written is clean after its migration", { mm: m.mm, vpn, pfn: now });
        }
      },
    };
  },
};

const holeRace: Checker = {
  name: "hole race",
  fact: "F9",
  says:
    "Of a migration and a CPU fault that fill one hole exactly one inserts its page; the loser's is never mapped.",
  make({ kernel: k, mirrors, broken }) {
    const { pages } = k;
    /** Rows of a hole for which there is a page. */
    const each = (m: MigrationRows, visit: (i: number, to: number, won: boolean) => void) => {
      if (m.mm < 0) return;
      for (let i = 0; i < m.end - m.start; i++) {
        const to = migratePfnToPage(m.dst[i]);
        if (!(m.src[i] & MIGRATE_PFN_VALID) && to >= 0) visit(i, to, (m.src[i] & MIGRATE_PFN_MIGRATE) !== 0);
      }
    };
    const lost = (m: MigrationRows) =>
      each(m, (i, pfn, won) => {
        if (won) return;
        const name = whoMaps(k, mirrors(), m, i, pfn);
        if (name === "") return;
        broken(`${name} maps a page that was not inserted: another came first`, {
          mm: m.mm,
          vpn: m.start + i,
          pfn,
        });
      });
    return {
      migrationMoved(_a, m) {
        each(m, (i, pfn, won) => {
          const vpn = m.start + i, at = { mm: m.mm, vpn, pfn }, own = lookAt(k, m.mm, vpn);
          const kind = own.kind & PTE_KIND, mapped = kind === PTE_PRESENT || kind === PTE_DEVICE;
          if (!won && pages.mapcount[pfn] > 0) {
            broken("a page is mapped, but its migration says that it lost", at);
          }
          if (won && pages.mapcount[pfn] > 1) broken("a page went into a hole twice", at);
          if (won && pages.mapcount[pfn] === 1 && mapped && own.pfn !== pfn) {
            broken(`two pages were inserted into one hole: frame ${own.pfn} is there too`, at);
          }
        });
      },
      migrationFinalizes: (_a, m) => lost(m),
      migrationEnds: (_a, m) => lost(m),
    };
  },
};

/** What was known of a pinned page before a migration looked at it. */
const SEEN = 1, WRITABLE = 2, DIRTY = 4;

const pinnedPage: Checker = {
  name: "pinned page",
  fact: "F10",
  says:
    "A pinned page does not migrate: it keeps frame, permission and dirtiness, and cpages does not count it.",
  make({ kernel: k, memory, broken }) {
    const { pages } = k,
      before = memory.u8("pinned before a migration", pages.frames, () => pages.extents(1));
    return {
      migrationStarts(_a, m) {
        for (let vpn = m.start; vpn < m.end; vpn++) {
          const { kind, pfn } = lookAt(k, m.mm, vpn);
          if ((kind & PTE_KIND) !== PTE_PRESENT || pages.pins[pfn] === 0) continue;
          const dirty = kind & PTE_DIRTY || pages.flags[pfn] & PG_DIRTY;
          before[pfn] = SEEN | (kind & PTE_WRITE ? WRITABLE : 0) | (dirty ? DIRTY : 0);
        }
      },
      migrationCollected(_a, m) {
        let collected = 0;
        for (let i = 0; i < m.end - m.start; i++) {
          if (m.src[i] & MIGRATE_PFN_MIGRATE) collected++;
          const page = migratePfnToPage(m.src[i]);
          if ((m.src[i] & GOES) === GOES && pages.pins[page] > 0) {
            broken("a pinned page was collected for migration", { mm: m.mm, pfn: page });
          }
        }
        if (collected !== m.cpages) broken(`cpages is ${m.cpages}, ${collected} pages were collected`);
        for (let vpn = m.start; m.mm >= 0 && vpn < m.end; vpn++) {
          const { kind, pfn } = lookAt(k, m.mm, vpn), was = before[pfn], at = { mm: m.mm, vpn, pfn };
          if (!(was & SEEN)) continue;
          before[pfn] = 0;
          // Meanwhile it may have been unpinned, or another migration may have it: then it is not ours to give back.
          if (pages.pins[pfn] === 0 || (kind & PTE_KIND) !== PTE_PRESENT) continue;
          if (was & WRITABLE && !(kind & PTE_WRITE)) broken("a pinned page came back read-only", at);
          if (was & DIRTY && !(kind & PTE_DIRTY) && !(pages.flags[pfn] & PG_DIRTY)) {
            broken("a pinned page came back clean", at);
          }
        }
      },
    };
  },
};

const ownerSkip: Checker = {
  name: "owner skip",
  fact: "F14",
  says:
    "A device that lets its own MIGRATE event pass maps no source page once migrate_vma_finalize() has returned.",
  make: ({ kernel: k, mirrors, broken }) => ({
    migrationEnds(_a, m) {
      if (m.mm < 0) return;
      const all = mirrors();
      if (!all.some((d) => d.mm === m.mm)) return;
      for (let i = 0; i < m.end - m.start; i++) {
        const pfn = migratePfnToPage(m.src[i]), to = migratePfnToPage(m.dst[i]);
        if ((m.src[i] & GOES) !== GOES || to < 0 || to === pfn) continue;
        const name = whoMaps(k, all, m, i, pfn);
        if (name === "") continue;
        broken(`${name} still maps the page that migrated away`, { mm: m.mm, vpn: m.start + i, pfn });
      }
    },
  }),
};

/** The rules of migrations. */
export const MIGRATION: readonly Checker[] = [tlbFlush, dirtyBit, holeRace, pinnedPage, ownerSkip];
