/** Facts 3, 4, 9 and 10: what a migration must not lose, and whom it must not overtake. */
import { expect, test } from "vitest";
import { litmus } from "../../lib/explore/litmus.ts";
import { pinLongterm } from "../../lib/hmm/pin.ts";
import { PG_DIRTY } from "../../lib/mm/pages.ts";
import { PTE_DEVICE, PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../../lib/mm/pagetable.ts";
import { breaks, entryOf, holds, needs, wordOf } from "./facts.ts";
import { brokenAtRest } from "../rest.ts";

test("3 (60bae7370896): no CPU stores into a page that MADV_DONTNEED dropped while a migration collects it", async () => {
  const race = litmus("migration against MADV_DONTNEED and a store", { tlbEntries: 2 }, ({ t, dev, A }) => ({
    P0: () => dev.migrate(A),
    *P1() {
      yield* t.write(A, 7);
      yield* t.madvise(A, "dontneed");
      yield* t.write(A, 9);
    },
    finally: { kept: () => wordOf(A) === 9, mirrorInStep: () => !dev.stale(A) },
  }));
  await needs(race, "collect flush under lock", "kept");
  // The flush itself, which the older switch takes out everywhere.
  await breaks(race, "kept", { revert: ["tlb flush"] });
});

/** MADV_FREE, then a write: the page must not be dropped. Its migration may fail. */
const freed = litmus(
  "a written page whose migration fails, and MADV_PAGEOUT",
  { failures: ["dma map"] },
  ({ m, t, dev, A }) => {
    m.complete(t.madvise(A, "free"));
    m.complete(t.write(A, 8));
    return {
      *P0() {
        yield* dev.migrate(A);
        yield* t.madvise(A, "pageout");
      },
      P1: () => t.read(A),
      finally: {
        kept: () => t.process.read(A)[0] === 8,
        atRest: () => brokenAtRest(m).length === 0,
      },
    };
  },
);

test("4: what a page-table entry knew of a write survives a migration that fails", async () => {
  await needs(freed, "dirty bit", "kept");
});

const intoHole = litmus("migration of a hole against a store", { written: null }, ({ m, t, dev, A }) => {
  const { memory } = dev.device, k = m.kernel, { mm } = t.process;
  const onDevice = () => entryOf(k, mm, A.vpn).kind === PTE_DEVICE;
  return {
    P0: () => dev.migrate(A),
    P1: () => t.write(A, 9),
    finally: {
      stored: () => wordOf(A) === 9,
      oneMapped: () => k.rssAnon[mm] === 1 && memory!.used === (onDevice() ? 1 : 0),
      notMappedByLoser: () => onDevice() || dev.text(A) === ".",
      atRest: () => brokenAtRest(m).length === 0,
    },
    outcome: () => onDevice() ? "device" : "system",
  };
});

test("9: of a migration and a CPU fault on one hole exactly one puts its page in", async () => {
  await needs(intoHole, "second look at a hole", /stored|oneMapped/);
});

const pinned = litmus("migration against a pin", { written: 5 }, ({ m, t, dev, A }) => {
  const k = m.kernel,
    { mm } = t.process,
    pfns = new Uint32Array(1).fill(0xffff_ffff),
    told = { rc: 1, moved: -1 };
  m.complete(t.write(A, 6));
  return {
    *P0() {
      told.rc = yield* pinLongterm(k, k.sim.current, mm, A.vpn, 1, true, pfns);
      k.sim.note(k.sim.current, pfns[0]);
    },
    *P1() {
      told.moved = yield* dev.migrate(A);
    },
    finally: {
      // Who has a pin has the page that the process has.
      pinnedIsMapped: () => told.rc === 0 && entryOf(k, mm, A.vpn).pfn === pfns[0],
      writable: () => (entryOf(k, mm, A.vpn).bits & PTE_WRITE) !== 0,
      dirty: () =>
        (entryOf(k, mm, A.vpn).bits & PTE_DIRTY) !== 0 || (k.pages.flags[pfns[0]] & PG_DIRTY) !== 0,
      kept: () => wordOf(A) === 6,
    },
    outcome: () => told.moved === 0 ? "stayed" : "went and came back",
  };
});

test("10: a pinned page does not move, and keeps frame, permission and dirtiness", async () => {
  const r = await holds(pinned, { all: true });
  expect([...r.found.outcomes.keys()].sort()).toEqual(["stayed", "went and came back"]);
  await breaks(pinned, "pinnedIsMapped", { revert: ["pinned page refusal"] });
});

test("10: cpages leaves a page out that was pinned before", async () => {
  const race = litmus(
    "migration of a pinned and a free page",
    { pages: 2, written: 5 },
    ({ m, t, dev, A }) => {
      const k = m.kernel, { mm } = t.process, pfns = new Uint32Array(1), told = { moved: -1 };
      m.complete(pinLongterm(k, 0, mm, A.vpn, 1, true, pfns));
      const before = entryOf(k, mm, A.vpn);
      return {
        *P0() {
          told.moved = yield* dev.migrate(A);
        },
        finally: {
          onlyTheOther: () => told.moved === 1 && entryOf(k, mm, A.vpn + 1).kind === PTE_DEVICE,
          untouched: () => {
            const { kind, pfn, bits } = entryOf(k, mm, A.vpn), writable = before.bits & PTE_WRITE;
            return kind === PTE_PRESENT && pfn === before.pfn && (bits & PTE_WRITE) === writable;
          },
          atRest: () => brokenAtRest(m).length === 0,
        },
      };
    },
  );
  await needs(race, "pinned page refusal", /onlyTheOther/);
});
