/** Facts 23 and 24: pages that are a device's alone, when the CPU takes them back and when their process forks. */
import { expect, test } from "vitest";
import { litmus } from "../../lib/explore/litmus.ts";
import type { Machine } from "../../lib/machine/machine.ts";
import { PG_LOCKED } from "../../lib/mm/pages.ts";
import { PTE_DEVICE, PTE_EXCLUSIVE, PTE_WRITE } from "../../lib/mm/pagetable.ts";
import { breaks, entryOf, holds, needs } from "./facts.ts";
import { brokenAtRest } from "../rest.ts";

test("24 (7c7b962938dd): a CPU fault on an exclusive page has a reference before it locks", async () => {
  const race = litmus(
    "CPU fault on an exclusive page against MADV_DONTNEED",
    { written: 5 },
    ({ m, t, dev, A }) => {
      const { pages } = m.kernel, { pfn } = entryOf(m.kernel, t.process.mm, A.vpn);
      m.complete(dev.exclusive(A));
      return {
        P0: () => t.read(A),
        P1: () => t.madvise(A, "dontneed"),
        never: { lockedButFree: () => pages.isFree(pfn) && (pages.flags[pfn] & PG_LOCKED) !== 0 },
        finally: { atRest: () => brokenAtRest(m).length === 0 },
      };
    },
  );
  await needs(
    race,
    "exclusive page reference",
    /^lockedButFree|^error: page \d+ is freed while it is locked/,
  );
});

/** The child of the process, as fork() told it. */
const child = { mm: -1 };

/** Whether a page of device memory that two address spaces map can be written through one of them. */
function sharedAndWritable({ kernel: k }: Machine, mm: number, vpn: number): boolean {
  if (child.mm < 0) return false;
  return [mm, child.mm].some((space) => {
    const { kind, bits, pfn } = entryOf(k, space, vpn);
    return kind === PTE_DEVICE && (bits & PTE_WRITE) !== 0 && k.pages.mapcount[pfn] > 1;
  });
}

const forkDevice = litmus("fork against a device write to its memory", { written: 5 }, ({ m, t, dev, A }) => {
  m.complete(dev.migrate(A));
  const k = m.kernel, { mm } = t.process;
  return {
    *P0() {
      child.mm = yield* t.fork();
    },
    P1: () => dev.write(A, 7),
    finally: {
      forked: () => child.mm >= 0,
      notWritableWhereShared: () => !sharedAndWritable(m, mm, A.vpn),
      countedOnce: () => k.rssAnon[mm] === 1 && k.rssAnon[child.mm] === 1,
      atRest: () => brokenAtRest(m).length === 0,
    },
    outcome: () => `${entryOf(k, mm, A.vpn).kind} ${entryOf(k, child.mm, A.vpn).kind}`,
  };
});

test("23: after fork no device entry is writable that two share; each counts once", async () => {
  const r = await holds(forkDevice, { all: true });
  expect(r.found.outcomes.size).toBeGreaterThan(1);
  await breaks(forkDevice, "notWritableWhereShared", { revert: ["fork write protection"] });
});

const forkExclusive = litmus(
  "fork against a CPU fault on an exclusive page",
  { written: 5 },
  ({ m, t, dev, A }) => {
    m.complete(dev.exclusive(A));
    const k = m.kernel, { mm } = t.process;
    return {
      *P0() {
        child.mm = yield* t.fork();
      },
      // It has the page's lock while it takes the page back: fork() must wait, and try again.
      P1: () => t.read(A),
      finally: {
        forked: () => child.mm >= 0,
        notExclusive: () => [mm, child.mm].every((space) => entryOf(k, space, A.vpn).kind !== PTE_EXCLUSIVE),
        mirrorInStep: () => !dev.stale(A),
        countedOnce: () =>
          k.rssAnon[mm] === 1 && k.rssAnon[child.mm] === 1 &&
          k.pages.mapcount[entryOf(k, mm, A.vpn).pfn] === 2,
        atRest: () => brokenAtRest(m).length === 0,
      },
    };
  },
);

test("23: fork gives exclusive pages back first, and waits for who has the lock of one", async () => {
  await holds(forkExclusive);
});
