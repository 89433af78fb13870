/**
 * Device memory: when its pages are handed out, when they are freed, and what a fault on one may rely on.
 * @module
 */
import type { Checker } from "./checker.ts";

const freeAndReuse: Checker = {
  name: "free and reuse",
  fact: "F1 (CVE-2022-3523, 16ce101db85d)",
  says:
    "A device page is not freed during its own CPU fault: the fault holds a reference taken under the page-table lock.",
  make({ kernel: { pages }, memory, broken }) {
    // CPU faults that are in migrate_to_ram() for each frame.
    const faults = memory.u8("faults in migrate_to_ram", pages.frames, () => pages.extents(1));
    return {
      faultBackStarts(_a, pfn) {
        faults[pfn]++;
      },
      devicePageFreed(_a, pfn) {
        if (faults[pfn] > 0) broken("a device page is freed during its own fault", { pfn });
      },
      faultBackEnds(_a, pfn) {
        faults[pfn]--;
        if (pages.isFree(pfn) || pages.refcount[pfn] < 1) {
          broken("migrate_to_ram() returns, and the fault's reference to its page is gone", { pfn });
        }
      },
    };
  },
};

const devicePageFree: Checker = {
  name: "device page free",
  fact: "F2 (ef233450898f, 0dc45ca1ce18)",
  says:
    "A device page has no reference if and only if it is on the free list, and every allocation has one page_free().",
  make({ kernel: { pages }, memory, broken }) {
    const out = memory.u8("device page handed out", pages.frames, () => pages.extents(1));
    return {
      devicePageTaken(_a, pfn) {
        if (out[pfn]) broken("a device page is handed out twice", { pfn });
        out[pfn] = 1;
      },
      devicePageFreed(_a, pfn) {
        if (!out[pfn]) broken("page_free() is called for a device page that was not handed out", { pfn });
        if (pages.refcount[pfn] !== 0) {
          broken(`page_free() is called for a device page with ${pages.refcount[pfn]} references`, { pfn });
        }
        out[pfn] = 0;
      },
      atRest() {
        for (const zone of pages.zones) {
          if (zone.ops === undefined) continue;
          for (let pfn = zone.start; pfn < pages.unusedFrom(zone); pfn++) {
            const free = pages.isFree(pfn), references = pages.refcount[pfn];
            if (free !== (references === 0)) {
              broken(`a device page is ${free ? "" : "not "}free and has ${references} references`, { pfn });
            }
            if (free === (out[pfn] !== 0)) {
              broken(
                free
                  ? "a free device page never had its page_free()"
                  : "a device page in use was not handed out",
                {
                  pfn,
                },
              );
            }
          }
        }
      },
    };
  },
};

/** The rules of device memory. */
export const DEVMEM: readonly Checker[] = [freeAndReuse, devicePageFree];
