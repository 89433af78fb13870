/**
 * Pages that more than one could claim: another device's, a forked child's, a page that is exclusive to a device, those of
 * memory that is gone.
 * @module
 */
import { PTE_DEVICE, PTE_KIND, PTE_NONE, PTE_WRITE } from "../mm/pagetable.ts";
import { forEachEntry } from "./census.ts";
import type { Checker } from "./checker.ts";

const foreignPage: Checker = {
  name: "foreign device page",
  fact: "F6 (8a295dbbaf72)",
  says: "A device maps no page of another device's private memory: such a page is faulted back first.",
  make: ({ kernel: { pages, deviceTables: tables }, mirrors, broken }) => ({
    deviceMapped(root, vpn, n) {
      const mirror = mirrors().find((m) => m.root === root);
      if (mirror === undefined) return;
      for (let v = vpn; v < vpn + n; v++) {
        const e = tables.entry(root, v);
        if (e < 0 || (tables.kind[e] & PTE_KIND) === PTE_NONE) continue;
        const pfn = tables.pfn[e];
        if (!pages.isDevicePrivate(pfn) || pages.zoneOf(pfn).name === mirror.name) continue;
        broken(`${mirror.name} maps a page of ${pages.zoneOf(pfn).name}'s private memory`, {
          mm: mirror.mm,
          vpn: v,
          pfn,
        });
      }
    },
  }),
};

const sharedEntry: Checker = {
  name: "shared device entry",
  fact: "F23",
  says: "No device entry is writable whose page another entry maps too: a fork leaves both read-only.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      for (const mm of k.spaces()) {
        forEachEntry(k.tables, k.root[mm], (vpn, pte, pfn) => {
          if ((pte & PTE_KIND) !== PTE_DEVICE || !(pte & PTE_WRITE) || k.pages.mapcount[pfn] < 2) return;
          broken(`a writable device entry names a page that ${k.pages.mapcount[pfn]} entries map`, {
            mm,
            vpn,
            pfn,
          });
        });
      }
    },
  }),
};

const lockedFree: Checker = {
  name: "lock of a free page",
  fact: "F24 (7c7b962938dd)",
  says: "Nobody locks a page that has no reference, and no page is freed while it is locked.",
  make: ({ kernel: { pages }, broken }) => ({
    pageLocked(pfn) {
      if (pages.refs(pfn) === 0) broken("a page without a reference is locked", { pfn });
    },
  }),
};

const removedMemory: Checker = {
  name: "removed device memory",
  fact: "F26 (249881232e14, e778406b40db)",
  says: "No device entry names a frame that no device has: memory goes only when no address space names it.",
  make: ({ kernel: k, broken }) => ({
    atRest() {
      for (const mm of k.spaces()) {
        forEachEntry(k.tables, k.root[mm], (vpn, pte, pfn) => {
          if ((pte & PTE_KIND) !== PTE_DEVICE || k.pages.isDevicePrivate(pfn)) return;
          broken("a device entry names a frame that no device has", { mm, vpn, pfn });
        });
      }
    },
  }),
};

/** The rules of pages that more than one could claim. */
export const SHARING: readonly Checker[] = [foreignPage, sharedEntry, lockedFree, removedMemory];
