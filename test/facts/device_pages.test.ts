/** Facts 1, 2 and 6: pages of device memory while they are free, while the CPU faults on them, before another device. */
import { expect, test } from "vitest";
import { dummyRelease } from "../../lib/devices/dummy/ioctl.ts";
import { memunmapPages } from "../../lib/hmm/devmem.ts";
import { PTE_DEVICE } from "../../lib/mm/pagetable.ts";
import { litmus } from "../../lib/explore/litmus.ts";
import type { Kernel } from "../../lib/mm/kernel.ts";
import { breaks, entryOf, firstFrame, holds, needs } from "./facts.ts";
import { brokenAtRest } from "../rest.ts";

/** The frames that CPU faults are about which are at their driver now, as the actors' frames have them. */
function atTheirDriver(k: Kernel): number[] {
  const frames: number[] = [];
  for (let a = 0; a < k.sim.maxActors; a++) {
    for (const at of k.sim.where(a)) {
      const said = /^device-private fault: migrate_to_ram \(\d+ (\d+)/.exec(at);
      if (said !== null) frames.push(Number(said[1]));
    }
  }
  return frames;
}

const dontneed = litmus(
  "CPU fault on a device page against MADV_DONTNEED",
  { written: 5 },
  ({ m, t, dev, A }) => {
    m.complete(dev.migrate(A));
    return {
      P0: () => t.read(A),
      P1: () => t.madvise(A, "dontneed"),
      never: { freedDuringItsFault: () => atTheirDriver(m.kernel).some((pfn) => m.kernel.pages.isFree(pfn)) },
      finally: { atRest: () => brokenAtRest(m).length === 0 },
    };
  },
);

test("1 (16ce101db85d): a device page is not freed during its own fault", async () => {
  await needs(dontneed, "fault page reference", "freedDuringItsFault");
});

test("1: nor is it used again for another page", async () => {
  const race = litmus("CPU fault, MADV_DONTNEED, new page", { pages: 2, written: 5 }, ({ m, t, dev, A }) => {
    const [a, b] = [A.slice(0, "4 KiB"), A.slice("4 KiB")], { kernel: k } = m, zone = dev.device.memory!.zone;
    m.complete(dev.migrate(a));
    const pfn = firstFrame(dev.device);
    return {
      P0: () => t.read(a),
      *P1() {
        yield* t.madvise(a, "dontneed");
        yield* dev.migrate(b);
      },
      // Of the fault's page, whether it belongs to the other place by now.
      never: {
        usedAgain: () =>
          atTheirDriver(k).includes(pfn) && k.pages.used(zone) > 0 && k.pages.index[pfn] === b.vpn,
      },
      finally: { kept: () => t.process.read(b)[0] === 6 },
    };
  });
  await needs(race, "fault page reference", "usedAgain");
});

/** Emptying a device against a migration to it; page 1 of A was on the device and came back: its frame there is free. */
const emptied = (watched: boolean) =>
  litmus("emptying a device against a migration to it", { pages: 2, written: 5 }, ({ m, t, dev, A }) => {
    const { device } = dev, { sim, pages } = m.kernel, zone = device.memory!.zone;
    m.complete(dev.migrate(A));
    m.complete(t.read(A.slice("4 KiB")));
    const freeWithReference = () =>
      [zone.start, zone.start + 1].some((pfn) => pages.isFree(pfn) && pages.refcount[pfn] !== 0);
    return {
      *P0() {
        yield* dummyRelease(device, sim.current);
      },
      P1: () => dev.migrate(A.slice("4 KiB")),
      ...(watched ? { never: { freeWithReference } } : {}),
      finally: {
        kept: () => t.process.read(A).join() === "5,6",
        counted: () => device.memory!.used === pages.used(zone),
      },
    };
  });

test("2 (ef233450898f): a free device page has no reference", async () => {
  await needs(emptied(true), "free device page count", "freeWithReference");
});

test("2: without that, who is handed a free page finds it locked by who empties the device", async () => {
  await breaks(emptied(false), /^error: free device page \d+ is locked/, {
    revert: ["free device page count"],
  });
});

test("2 (0dc45ca1ce18): device memory is removed only when no page of it is in use", async () => {
  let rc = 1;
  const race = litmus(
    "removing memory against the CPU fault on its last page",
    { written: 5 },
    ({ m, t, dev, A }) => {
      const k = m.kernel, memory = dev.device.memory!;
      m.complete(dev.migrate(A));
      return {
        *P0() {
          rc = yield* memunmapPages(k, k.sim.current, memory);
        },
        P1: () => t.read(A),
        finally: { removed: () => rc === 0 && !memory.present, kept: () => t.process.read(A)[0] === 5 },
      };
    },
  );
  await needs(race, "pagemap reference", /^error: 1 pages of dev are in use/);
});

test("6 (8a295dbbaf72): a device fault on another device's private page ends with a page of system memory", async () => {
  let rc = 1;
  const device = { onFault: "map" } as const;
  const race = litmus(
    "device fault on a foreign page",
    { written: 5, device, device2: device },
    ({ m, t, dev, dev2, A }) => {
      m.complete(dev2!.migrate(A));
      return {
        *P0() {
          rc = yield* dev.fault(A);
        },
        P1: () => t.read(A),
        finally: {
          faulted: () => rc === 0,
          systemPage: () =>
            dev.text(A) === "." ||
            dev.device.mirror(t.process.mm).table.translate(A.vpn, false) < m.kernel.ram.end,
          mirrorInStep: () => !dev.stale(A) && !dev2!.stale(A),
          kept: () => t.process.read(A)[0] === 5,
        },
        outcome: () => `${rc} ${dev.text(A)}${dev2!.text(A)}`,
      };
    },
  );
  const r = await holds(race);
  expect([...r.found.outcomes.keys()].every((o) => o.startsWith("0 "))).toBe(true);
  await breaks(race, "faulted", { revert: ["foreign device page"] });
});

test("26 (249881232e14, e778406b40db): a removed device leaves no entry, in no address space", async () => {
  let rc = 1, child = -1;
  const race = litmus("removal of a device against a fork", { written: 5 }, ({ m, t, dev, A }) => {
    const k = m.kernel, { mm } = t.process;
    m.complete(dev.migrate(A));
    return {
      *P0() {
        rc = yield* dev.unplug();
      },
      *P1() {
        child = yield* t.fork();
      },
      finally: {
        removed: () => rc === 0 && !dev.device.memory!.present,
        noDeviceEntry: () => [mm, child].every((space) => entryOf(k, space, A.vpn).kind !== PTE_DEVICE),
        countedOnce: () => k.rssAnon[mm] === 1 && k.rssAnon[child] === 1,
        kept: () => t.process.read(A)[0] === 5,
      },
    };
  });
  await needs(
    race,
    "eviction before removal",
    /^deadlock: P0 waits for pages of dev in use, held by 1 pages/,
  );
});
