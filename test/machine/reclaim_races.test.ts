/** Reclaim that an allocation enters, against everything else: a device's faults, migrations, faults, forks, unmaps. */
import { describe, expect, test } from "vitest";
import { Search } from "../../lib/explore/search.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import type { DummyOptions } from "../../lib/devices/dummy/spec.ts";
import { machine } from "../../lib/machine/machine.ts";
import { oneRun, Region } from "../../lib/machine/process.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { type Invalidation, MMU_NOTIFY_CLEAR } from "../../lib/mm/notifier.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { brokenAtRest } from "../rest.ts";
import { draws, interleave } from "../schedule.ts";

const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);

/** A process with a device, in a machine of which the test itself holds all frames but `frames`. */
function tight(frames: number, device: DummyOptions = {}, swapPages = 16) {
  const m = machine({
    memory: "64 KiB",
    swapPages,
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", onFault: "map", ...device } },
    processes: 2,
    actors: 6,
    vmas: 16,
    pageTables: 24,
    batchPages: 4,
    checkers: "all",
  });
  const p = m.process(), k = m.kernel, held = new Map<number, number>();
  for (let n = 15 - frames; n > 0; n--) held.set(k.pages.take(k.ram), 1);
  const spaces = [p.mm];
  const rules = () => brokenAtRest(m, held);
  return { m, p, k, t: new Thread(p), dev: new DeviceThread(m.dev, p), spaces, rules };
}
type Tight = ReturnType<typeof tight>;

interface Race {
  readonly actors: readonly (() => Proc<unknown>)[];
  readonly check?: () => void;
  /** Enters the address spaces that the race has made. */
  readonly children?: () => void;
}

function broken(s: Tight, { check, children }: Race): string | undefined {
  try {
    children?.();
    const [first] = s.rules();
    if (first !== undefined) return first;
    check?.();
  } catch (e) {
    return (e as Error).message;
  }
}

/** Every interleaving, up to `maxStates` states; what was found. */
function explored(s: Tight, race: Race, maxStates = 30_000) {
  const search = new Search({
    sim: s.k.sim,
    memory: s.m.checkers!.memory,
    begin: () => race.actors.map((make, i) => ({ a: i + 1, proc: make() })),
    checkEnd: () => broken(s, race),
  }, { maxStates });
  search.run();
  const { violations, exhaustive, states } = search.result();
  return { violations, exhaustive, states };
}

/** As many schedules drawn by seed, each from the start. */
function drawn(schedules: number, build: () => { s: Tight; race: Race }): void {
  for (let seed = 0; seed < schedules; seed++) {
    const { s, race } = build();
    try {
      interleave(s.k.sim, race.actors.map((make, i) => ({ a: i + 1, proc: make() })), draws(seed));
      expect(broken(s, race)).toBeUndefined();
    } catch (e) {
      throw new Error(`schedule of seed ${seed}: ${(e as Error).message}`, { cause: e });
    }
  }
}

test("reclaim takes a page out of a device's mirror, and the device faults it in again with its data", () => {
  const s = tight(4), { p, k, dev, m } = s, r = p.mmap("32 KiB"), events: Invalidation[] = [];
  p.write(page(r, 0, 4), 1);
  m.complete(dev.write(page(r, 0, 4), 10));
  const { table } = m.dev.mirror(p.mm);
  expect([0, 1, 2, 3].map((i) => table.translate(r.vpn + i, true) >= 0)).toEqual([true, true, true, true]);
  k.notifiers.watch = (_a, e, start) => {
    if (start) events.push(e);
  };
  p.write(page(r, 4), 50);
  expect(events.map((e) => [e.event, e.start - r.vpn, e.end - e.start])).toEqual(
    [0, 1, 2, 3].map((i) => [MMU_NOTIFY_CLEAR, i, 1]),
  );
  expect([0, 1, 2, 3].map((i) => table.translate(r.vpn + i, false))).toEqual([-1, -1, -1, -1]);
  expect([0, 1, 2, 3].map((i) => m.complete(dev.read(page(r, i))))).toEqual([10, 11, 12, 13]);
  expect(k.sim.counters.get("pswpin")).toBe(4);
  expect(s.rules()).toEqual([]);
});

const RACES: Readonly<Record<string, { frames: number; device?: DummyOptions; race: (s: Tight) => Race }>> = {
  "a device's fault on the page that goes": {
    frames: 2,
    race: ({ p, t, dev, m }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      m.complete(dev.read(page(r, 0)));
      return {
        actors: [() => t.write(page(r, 2), 3), () => dev.write(page(r, 0), 9)],
        check: () => expect(p.read(r)).toEqual([9, 2, 3]),
      };
    },
  },
  "a migration to the device of the page that goes": {
    frames: 2,
    race: ({ p, t, dev }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      return {
        actors: [() => t.write(page(r, 2), 3), () => dev.migrate(page(r, 0, 2))],
        check: () => expect(p.read(r)).toEqual([1, 2, 3]),
      };
    },
  },
  "a touch of a device page, which allocates with that page locked": {
    frames: 2,
    race: ({ p, t, dev, m }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 0, 2), 1);
      m.complete(dev.migrate(page(r, 0, 2)));
      p.write(page(r, 2, 2), 3);
      return {
        actors: [() => t.read(page(r, 0)), () => t.write(page(r, 0), 7)],
        check: () => expect(p.read(r)).toEqual([7, 2, 3, 4]),
      };
    },
  },
  "an unmap of the page that goes": {
    frames: 2,
    race: ({ p, t }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      return { actors: [() => t.write(page(r, 2), 3), () => t.munmap(page(r, 0))] };
    },
  },
  "MADV_DONTNEED of the pages that go": {
    frames: 2,
    race: ({ p, t }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      return { actors: [() => t.write(page(r, 2), 3), () => t.madvise(page(r, 0, 2), "dontneed")] };
    },
  },
  "a fork that shares the page that goes": {
    frames: 3,
    race: ({ p, t, spaces, m }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 0, 3), 1);
      let child = -1;
      function* fork(): Proc {
        child = yield* t.fork();
      }
      return {
        actors: [() => t.write(page(r, 3), 4), fork],
        check() {
          expect(p.read(r)).toEqual([1, 2, 3, 4]);
          const out = new AccessResult(true);
          m.complete(cpuAccess(m.kernel, 0, child, oneRun(page(r, 0, 3), false, 0), out));
          expect(out.words).toEqual([1, 2, 3]);
        },
        children: () => spaces.splice(1, spaces.length, child),
      };
    },
  },
  "exclusive access to the page that goes": {
    frames: 2,
    race: ({ p, t, dev }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      return {
        actors: [() => t.write(page(r, 2), 3), () => dev.exclusive(page(r, 0))],
        check: () => expect(p.read(r)).toEqual([1, 2, 3]),
      };
    },
  },
  "another reclaim": {
    frames: 2,
    race: ({ p, t }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 0, 2), 1);
      return {
        actors: [() => t.write(page(r, 2), 3), () => t.write(page(r, 3), 4)],
        check: () => expect(p.read(r)).toEqual([1, 2, 3, 4]),
      };
    },
  },
  "page-out by advice": {
    frames: 2,
    race: ({ p, t }) => {
      const r = p.mmap("12 KiB");
      p.write(page(r, 0, 2), 1);
      return {
        actors: [() => t.write(page(r, 2), 3), () => t.madvise(page(r, 0, 2), "pageout")],
        check: () => expect(p.read(r)).toEqual([1, 2, 3]),
      };
    },
  },
  "a swap-in of the same page by two threads": {
    frames: 2,
    race: ({ p, t }) => {
      const r = p.mmap("16 KiB");
      p.write(r, 1);
      return {
        actors: [() => t.write(page(r, 0), 9), () => t.read(page(r, 0))],
        check: () => expect(p.read(r)).toEqual([9, 2, 3, 4]),
      };
    },
  },
};
describe.each(Object.entries(RACES))("reclaim against %s", (_name, { frames, device, race }) => {
  test("breaks nothing in any interleaving", () => {
    const s = tight(frames, device), found = explored(s, race(s));
    expect(found.violations).toEqual([]);
    expect(found.exhaustive, `${found.states} states`).toBe(true);
  });

  test("breaks nothing in schedules drawn at random", () => {
    drawn(100, () => {
      const s = tight(frames, device);
      return { s, race: race(s) };
    });
  });

  test("breaks nothing when allocations fail, whatever then becomes of the data", () => {
    const s = tight(frames, device), { actors, children } = race(s);
    s.k.sim.injectFailure("page allocation", 1);
    const found = explored(s, { actors, children }, 3_000);
    expect(found.violations).toEqual([]);
  });
});
