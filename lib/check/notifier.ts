/**
 * MMU notifiers: the sequence protocol, calls that must not sleep, what a callback must not do.
 * @module
 */
import {
  type Invalidation,
  MMU_NOTIFY_NAMES,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
} from "../mm/notifier.ts";
import { HMM_PFN_ERROR, HMM_PFN_MASK } from "../hmm/range.ts";
import { PTE_NONE } from "../mm/pagetable.ts";
import type { Checker, Scene } from "./checker.ts";

/** Calls that have returned and whose invalidation goes on, at once, of a whole machine. */
const MOST_TOLD = 256;

/** The first page of a range for which a device's table has an entry, or -1. */
function firstMapped({ kernel: { deviceTables } }: Scene, root: number, start: number, end: number): number {
  for (let v = deviceTables.nextLive(root, start, end); v < end; v = deviceTables.nextLive(root, v, end)) {
    const leaf = deviceTables.leaf(root, v);
    for (const stop = Math.min(end, v - (v % 512) + 512); v < stop; v++) {
      if (deviceTables.kind[leaf + (v % 512)] !== PTE_NONE) return v;
    }
  }
  return -1;
}

const sequenceProtocol: Checker = {
  name: "sequence protocol",
  fact: "F12",
  says:
    "No device entry of a range stands between the return of the invalidate callback and the end of the invalidation.",
  make(scene) {
    const { kernel: k, memory, mirrors, broken } = scene;
    // One row for each call that has returned, lowest free first: actor + 1, address space, subscription, range.
    const actor = memory.u16("told.actor", MOST_TOLD), mm = memory.u16("told.mm", MOST_TOLD);
    const sub = memory.u16("told.sub", MOST_TOLD), event = memory.u8("told.event", MOST_TOLD);
    const start = memory.f64("told.start", MOST_TOLD), end = memory.f64("told.end", MOST_TOLD);
    const used = memory.u32("told.used", 1);
    const forget = (a: number, e: Invalidation) => {
      for (let i = 0; i < used[0]; i++) {
        if (
          actor[i] !== a + 1 || mm[i] !== e.mm || event[i] !== e.event || start[i] !== e.start ||
          end[i] !== e.end
        ) continue;
        for (const column of [actor, mm, sub, event, start, end]) column[i] = 0;
      }
      while (used[0] > 0 && actor[used[0] - 1] === 0) used[0]--;
    };
    return {
      callbackEnds(a, s, e, _sleeping, done) {
        if (!done || s < 0) return;
        const views = mirrors().filter((d) => d.sub === s && d.mm === e.mm);
        if (views.length === 0 || views.some((d) => d.odd)) return;
        if (k.notifiers.subSeq[s] !== e.seq) {
          // Without the new sequence a fault that is under way is not told to begin again: right only for one's own event.
          if (e.owner !== 0 || e.event === MMU_NOTIFY_RELEASE || e.event === MMU_NOTIFY_SOFT_DIRTY) return;
          broken(
            `${views[0].name} returns from a ${
              MMU_NOTIFY_NAMES[e.event]
            } event without mmu_interval_set_seq()`,
            { mm: e.mm, vpn: e.start },
          );
        }
        for (const d of views) {
          const vpn = firstMapped(scene, d.root, e.start, e.end);
          if (vpn < 0) continue;
          broken(`${d.name} still has an entry when its callback for ${MMU_NOTIFY_NAMES[e.event]} returns`, {
            mm: e.mm,
            vpn,
          });
        }
        let i = 0;
        while (i < used[0] && actor[i] !== 0) i++;
        if (i === MOST_TOLD) return;
        if (i === used[0]) used[0]++;
        [actor[i], mm[i], sub[i], event[i], start[i], end[i]] = [a + 1, e.mm, s, e.event, e.start, e.end];
      },
      deviceMapped(root, vpn, n) {
        if (used[0] === 0) return;
        const view = mirrors().find((d) => d.root === root);
        if (view === undefined || view.odd) return;
        for (let i = 0; i < used[0]; i++) {
          if (actor[i] === 0 || sub[i] !== view.sub || mm[i] !== view.mm) continue;
          const at = firstMapped(scene, root, Math.max(vpn, start[i]), Math.min(vpn + n, end[i]));
          if (at < 0) continue;
          broken(
            `${view.name} maps a page between the return of its callback and the end of the invalidation`,
            {
              mm: view.mm,
              vpn: at,
            },
          );
        }
      },
      invalidationEnds: forget,
      invalidationRefused: forget,
    };
  },
};

const requestFlags: Checker = {
  name: "request flags",
  fact: "F11 (0cafc62e4daf)",
  says: "What hmm_range_fault() is asked for single pages is a request, not what an earlier round answered.",
  make: ({ broken }) => ({
    rangeFaultStarts(_a, { mm, start, end, pfns, pfnFlagsMask }) {
      if (pfnFlagsMask === 0) return; // no entry is looked at
      for (let i = 0; i < end - start; i++) {
        if ((pfns[i] & (HMM_PFN_MASK | HMM_PFN_ERROR)) === 0) continue;
        broken("an entry still holds what an earlier round answered", { mm, vpn: start + i });
      }
    },
  }),
};

const nonBlockable: Checker = {
  name: "non-blockable",
  fact: "F13",
  says:
    "A callback that must not sleep does not; only such a one refuses; starts and ends of invalidations balance.",
  make({ kernel: { sim }, memory, broken }) {
    // Invalidations that each actor has begun and not ended.
    const open = memory.u16("invalidations begun", sim.maxActors);
    return {
      sleepsInAtomic(_a, what) {
        broken(`an actor would sleep where it must not: ${what}`);
      },
      callbackEnds(_a, _s, e, sleeping, done) {
        if (done || !sleeping || !e.blockable) return;
        broken("a callback refuses a range that lets it sleep", { mm: e.mm, vpn: e.start });
      },
      invalidationStarts(a) {
        open[a]++;
      },
      invalidationRefused(a) {
        open[a]--;
      },
      invalidationEnds(a, e) {
        if (open[a] === 0) {
          broken("an invalidation ends that has not begun, or was refused", { mm: e.mm, vpn: e.start });
        } else open[a]--;
      },
      atRest() {
        open.forEach((n, a) => n !== 0 && broken(`${n} invalidations of ${sim.actorName(a)} have no end`));
      },
    };
  },
};

const lastReference: Checker = {
  name: "last mm reference",
  fact: "F19 (a29e067bd389)",
  says: "The last reference to an address space is not dropped inside a notifier callback.",
  make({ kernel: { sim }, memory, broken }) {
    // Callbacks that each actor is inside of.
    const inside = memory.u16("inside callbacks", sim.maxActors);
    return {
      callbackStarts(a) {
        inside[a]++;
      },
      callbackEnds(a) {
        inside[a]--;
      },
      mmGone(a, mm) {
        if (a < 0 || inside[a] === 0) return;
        broken("a notifier callback drops the last reference to an address space", { mm });
      },
    };
  },
};

/** The rules of MMU notifiers. */
export const NOTIFIER: readonly Checker[] = [sequenceProtocol, requestFlags, nonBlockable, lastReference];
