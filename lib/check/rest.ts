/**
 * Nothing is left behind when every actor has ended, and what devices and CPUs remember of page tables is true.
 * @module
 */
import { MEMORY_SYSTEM, PG_HUGETLB, PG_LOCKED, PG_LRU } from "../mm/pages.ts";
import { PTE_DEVICE, PTE_EXCLUSIVE, PTE_KIND, PTE_PRESENT, PTE_WRITE } from "../mm/pagetable.ts";
import { forEachEntry, lookAt } from "./census.ts";
import type { Checker } from "./checker.ts";

const FACT = "conservation";

const leftBehind: Checker = {
  name: "left behind",
  fact: FACT,
  says:
    "When every actor has ended, no lock is held, nobody sleeps or is in reclaim, no invalidation runs, every page that is " +
    "mapped is on its list, and no batch is in use.",
  make: ({ kernel: k, batches, broken }) => ({
    atRest() {
      const { sim, locks, tables, notifiers, vmas, pages } = k;
      locks.owner.forEach((o, l) =>
        o !== 0 && broken(`${locks.nameOf(l)} is held by ${sim.actorName(o - 1)}`)
      );
      locks.readers.forEach((n, l) => n !== 0 && broken(`${locks.nameOf(l)} has ${n} readers`));
      locks.writersWaiting.forEach((n, l) => n !== 0 && broken(`${n} writers wait for ${locks.nameOf(l)}`));
      sim.waitingOn.forEach((q, a) => q !== 0 && broken(`an actor sleeps: ${sim.waitText(a)}`));
      tables.locked.forEach((x, t) => x !== 0 && broken(`the lock of page table ${t} is held`));
      for (const mm of k.spaces()) {
        if (notifiers.active[mm] !== 0) {
          broken(`${notifiers.active[mm]} invalidations of space ${mm} run`, { mm });
        }
        if (notifiers.seq[mm] % 2 !== 0) broken(`the notifier sequence of space ${mm} is odd`, { mm });
        for (let v = vmas.find(mm, 0); v >= 0; v = vmas.next(v)) {
          if (vmas.faulting[v] !== 0) broken(`${vmas.faulting[v]} faults are inside vma ${v}`, { mm });
        }
      }
      for (const zone of pages.zones) {
        for (let pfn = zone.start; pfn < pages.unusedFrom(zone); pfn++) {
          const flags = pages.flags[pfn];
          if (flags & PG_LOCKED) broken("a page is locked", { pfn });
          const listed = zone.type !== MEMORY_SYSTEM || (flags & (PG_LRU | PG_HUGETLB)) !== 0;
          if (!listed && pages.mapcount[pfn] > 0) broken("a page is mapped and on no list", { pfn });
        }
      }
      k.reclaim.inside.forEach((x, a) => x !== 0 && broken(`${sim.actorName(a)} is in reclaim`));
      for (const what of batches?.left() ?? []) broken(what);
    },
  }),
};

const pageLock: Checker = {
  name: "page lock owner",
  fact: FACT,
  says: "At most one actor has a folio locked, and only that one unlocks it.",
  make({ kernel: { pages, sim }, memory, broken }) {
    // Owner + 1 by first frame.
    const owner = memory.u16("page lock owner", pages.frames, () => pages.extents(1));
    return {
      pageLocked(pfn) {
        owner[pfn] = sim.current + 1;
      },
      pageUnlocked(pfn) {
        const o = owner[pfn];
        owner[pfn] = 0;
        // A lock that moved with a split folio, or was taken before anybody watched, has no owner here.
        if (o === 0 || sim.current < 0 || o === sim.current + 1) return;
        broken(`a page is unlocked that ${sim.actorName(o - 1)} has locked`, { pfn });
      },
    };
  },
};

const mirror: Checker = {
  name: "mirror",
  fact: "A1 (a virtual address never resolves to different memory on CPU and device)",
  says:
    "An entry of a device's table names the frame of the process's own entry, and allows no more than that one.",
  make: ({ kernel: k, mirrors, broken }) => ({
    atRest() {
      for (const { name, root, mm, odd, isAtomic } of mirrors()) {
        if (odd) continue;
        forEachEntry(k.deviceTables, root, (vpn, pte, pfn) => {
          const own = lookAt(k, mm, vpn), kind = own.kind & PTE_KIND, at = { mm, vpn, pfn };
          const there = kind === PTE_PRESENT || kind === PTE_DEVICE || kind === PTE_EXCLUSIVE;
          if (!there || own.pfn !== pfn) broken(`stale: ${name} maps a frame that the process does not`, at);
          else if ((pte & PTE_WRITE || isAtomic(vpn)) && !(own.kind & PTE_WRITE)) {
            broken(`${name} may write, the CPU's entry may not`, at);
          } else if (isAtomic(vpn) !== (kind === PTE_EXCLUSIVE)) {
            broken(`a page is exclusive to ${name} on one side only`, at);
          }
        });
      }
    },
  }),
};

const tlb: Checker = {
  name: "cpu tlb",
  fact: "F3 (8c3328f1f36a)",
  says: "A CPU has cached no translation that its page table does not have.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      for (const { a, mm, vpn, pfn, write } of k.tlb.cached()) {
        const own = lookAt(k, mm, vpn);
        const there = (own.kind & PTE_KIND) === PTE_PRESENT && own.pfn === pfn;
        if (there && (!write || own.kind & PTE_WRITE)) continue;
        broken(`${k.sim.actorName(a)} has a stale translation cached`, { mm, vpn, pfn });
      }
    },
  }),
};

/** What must hold of a machine in which nothing is under way. */
export const REST: readonly Checker[] = [leftBehind, pageLock, mirror, tlb];
