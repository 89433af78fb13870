import { describe, expect, test } from "vitest";
import { Thread } from "../../lib/machine/thread.ts";
import { machine } from "../../lib/machine/machine.ts";
import { PG_ANON_EXCLUSIVE, PG_LOCKED, PG_LRU } from "../../lib/mm/pages.ts";
import {
  PTE_DEVICE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_WRITE,
} from "../../lib/mm/pagetable.ts";

/** A process with pages of every kind: written, zero, on the device, read-only; a mirror; a TLB. */
function scene() {
  const m = machine({
    memory: "256 KiB",
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", onFault: "map" } },
    processes: 2,
    actors: 2,
    vmas: 16,
    pageTables: 24,
    batchPages: 8,
    tlbEntries: 4,
    checkers: "all",
  });
  const p = m.process(), r = p.mmap("32 KiB"), mirror = m.dev.mirror(p.mm), { kernel: k } = m;
  p.write(r.slice(0, "16 KiB"), 1);
  p.read(r.slice("16 KiB", "4 KiB"));
  m.complete(m.dev.fault(0, mirror, r.vpn, r.vpn + 2, true));
  m.complete(m.dev.migrateToDevice(0, mirror, r.vpn + 2, r.vpn + 3));
  m.complete(new Thread(p).mprotect(r.slice("28 KiB"), "r"));
  const e = (i: number) => k.tables.entry(k.root[p.mm], r.vpn + i);
  const d = (i: number) => k.deviceTables.entry(mirror.table.root, r.vpn + i);
  const broken = () => m.checkers!.brokenAtRest().map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
  return { m, k, mm: p.mm, vpn: r.vpn, e, d, pfn: (i: number) => k.tables.pfn[e(i)], broken };
}
type Scene = ReturnType<typeof scene>;

/** What breaks a rule on purpose, and how the checker names it. */
const BREAKS: [string, RegExp, (s: Scene) => void][] = [
  ["an entry where nothing is mapped", /^page-table entry: .* where nothing is mapped/, ({ k, e, vpn }) => {
    k.tables.set(e(0) - (vpn & 511) + ((vpn + 100) & 511), PTE_PRESENT, 3);
  }],
  [
    "a writable entry in a read-only vma",
    /^page-table entry: .* writable in a read-only vma/,
    ({ k, e, vpn, mm }) => {
      k.vmas.flags[k.vmas.lookup(mm, vpn)] = 1;
      k.tables.kind[e(0)] |= PTE_WRITE;
    },
  ],
  ["a migration entry at rest", /^page-table entry: a migration entry is left/, ({ k, e }) => {
    k.tables.kind[e(0)] = PTE_MIGRATION;
  }],
  ["an entry of no kind", /^page-table entry: an entry has kind 9/, ({ k, e }) => {
    k.tables.kind[e(0)] = 9;
  }],
  ["PROT_NONE where reading is allowed", /^page-table entry: .* PROT_NONE/, ({ k, e }) => {
    k.tables.kind[e(0)] |= PTE_PROTNONE;
  }],
  ["a writable zero page", /^page-table entry: .* may write to the zero page/, ({ k, e }) => {
    k.tables.kind[e(4)] |= PTE_WRITE;
  }],
  ["an entry to a free page", /^page-table entry: an entry names a free frame/, ({ k, e }) => {
    k.tables.pfn[e(0)] = 60;
  }],
  ["a CPU entry to device memory", /^page-table entry: .* names a frame of zone dev/, ({ k, e }) => {
    k.tables.kind[e(2)] = PTE_PRESENT;
  }],
  ["a device entry to RAM", /^page-table entry: .* names a frame of zone RAM/, ({ k, e }) => {
    k.tables.kind[e(3)] = PTE_DEVICE;
  }],
  [
    "a writable entry to a page that is not exclusive",
    /^page-table entry: .* is not exclusive/,
    ({ k, pfn }) => {
      k.pages.flags[pfn(3)] &= ~PG_ANON_EXCLUSIVE;
    },
  ],
  ["a page that the reverse map does not find", /^page-table entry: the reverse map/, ({ k, pfn }) => {
    k.pages.index[pfn(3)]++;
  }],
  ["a wrong resident set", /^rss: space 0 counts/, ({ k, mm }) => {
    k.rssAnon[mm]++;
  }],
  ["a page locked at rest", /^left behind: a page is locked/, ({ k, pfn }) => {
    k.pages.flags[pfn(3)] |= PG_LOCKED;
  }],
  ["a reference too many", /^page counts: refcount is/, ({ k, pfn }) => {
    k.pages.refcount[pfn(3)]++;
  }],
  ["a mapping too few", /^page counts: mapcount is/, ({ k, pfn }) => {
    k.pages.mapcount[pfn(3)]--;
  }],
  ["a frame that nothing refers to", /^page counts: .*nothing refers to it/, ({ k }) => {
    k.pages.take(k.ram);
  }],
  ["a free frame with a flag", /^page counts: a frame is free and in use/, ({ k }) => {
    const pfn = k.pages.take(k.ram);
    k.pages.put(0, pfn);
    k.pages.flags[pfn] = PG_ANON_EXCLUSIVE;
  }],
  ["a zone that miscounts", /^zone: RAM counts/, ({ k }) => {
    k.pages["inUse"][0]++;
  }],
  ["a swap slot that miscounts", /^swap slot: slot 3/, ({ k }) => {
    k.swap.users[3]++;
  }],
  ["a swap slot in use that is not counted", /^swap slot: 1 slots are counted in use, 0 are/, ({ k }) => {
    k.swap["count"][1]++;
  }],
  [
    "a page of the swap cache that names another slot",
    /^swap slot: slot 0 has a page cached that/,
    ({ k, pfn }) => {
      k.swap.add(k, pfn(3));
      k.pages.swap[pfn(3)]++;
    },
  ],
  ["an isolated page at rest", /^left behind: a page is mapped and on no list/, ({ k, pfn }) => {
    k.pages.flags[pfn(3)] &= ~PG_LRU;
  }],
  ["an actor that never left reclaim", /^left behind: .* is in reclaim/, ({ k }) => {
    k.reclaim.inside[1] = 1;
  }],
  ["a mirror of another frame", /^mirror: stale: dev maps a frame/, ({ k, d }) => {
    k.deviceTables.pfn[d(0)]++;
  }],
  ["a mirror of a page that is gone", /^mirror: stale/, ({ k, e }) => {
    k.tables.set(e(0), PTE_NONE, 0);
  }],
  [
    "a mirror that may write what the CPU may not",
    /^mirror: dev may write, the CPU's entry may not/,
    ({ k, e }) => {
      k.tables.kind[e(0)] &= ~PTE_WRITE;
    },
  ],
  ["a translation of another frame", /^cpu tlb: .* stale translation/, ({ k }) => {
    const i = k.tlb["vpn"].findIndex((v) => v > 0);
    k.tlb["pfn"][i]++;
  }],
  ["a table that miscounts", /^page tables: table \d+ counts/, ({ k, e }) => {
    k.tables.live[e(0) >>> 9]++;
  }],
  ["a table that nothing leads to", /^page tables: \d+ tables are in use/, ({ k }) => {
    k.tables.newRoot();
  }],
  ["an odd sequence", /^left behind: the notifier sequence/, ({ k, mm }) => {
    k.notifiers.seq[mm]++;
  }],
  ["an invalidation without an end", /^left behind: 1 invalidations/, ({ k, mm }) => {
    k.notifiers.active[mm]++;
  }],
  ["vmas that overlap", /^vma tree: vma \d+ overlaps/, ({ k, mm, vpn }) => {
    k.vmas.start[k.vmas.lookup(mm, vpn + 7)]--;
  }],
  ["a fault inside a vma", /^left behind: 1 faults are inside/, ({ k, mm, vpn }) => {
    k.vmas.faulting[k.vmas.lookup(mm, vpn)]++;
  }],
  ["a lock that is held", /^left behind: driver lock of dev is held by/, ({ m, k }) => {
    k.locks.trylock(0, m.dev.lock);
  }],
  ["a reader that stays", /^left behind: mmap lock has 1 readers/, ({ k, mm }) => {
    k.locks.tryRead(k.mmapLock(mm));
  }],
  ["a page-table lock that is held", /^left behind: the lock of page table/, ({ k, e }) => {
    k.ptlHold(e(0));
  }],
  ["an actor that sleeps", /^left behind: an actor sleeps/, ({ k }) => {
    k.sim.park(1, k.locks.queue(0));
  }],
  ["a batch in use", /^left behind: batch: 0 is in use/, ({ m }) => {
    m.dev.batches.take();
  }],
  ["a batch that was not emptied", /^left behind: batch: 1 was not emptied/, ({ m }) => {
    m.dev.batches["all"][1].dst[2] = 5;
  }],
];

describe("conservation", () => {
  test("finds nothing where nothing is broken", () => {
    expect(scene().broken()).toEqual([]);
  });

  test.each(BREAKS)("finds %s", (_what, named, breakIt) => {
    const s = scene();
    breakIt(s);
    expect(s.broken()).toContainEqual(expect.stringMatching(named));
  });
});
