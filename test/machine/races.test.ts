import { describe, expect, test } from "vitest";
import { Search } from "../../lib/explore/search.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { dummyExclusive, IoctlResult } from "../../lib/devices/dummy/ioctl.ts";
import type { DummyOptions } from "../../lib/devices/dummy/spec.ts";
import { machine } from "../../lib/machine/machine.ts";
import { oneRun, Region } from "../../lib/machine/process.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { complete } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { draws, interleave } from "../schedule.ts";

interface Options {
  readonly device?: DummyOptions;
  readonly revert?: readonly string[];
}

/** A small machine with one device and a process. */
function small({ device, revert }: Options) {
  const m = machine({
    memory: "128 KiB",
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", onFault: "map", ...device } },
    revert,
    processes: 2,
    actors: 6,
    vmas: 16,
    pageTables: 24,
    batchPages: 8,
    checkers: "all",
  });
  const p = m.process();
  return { m, p, t: new Thread(p), dev: new DeviceThread(m.dev, p), spaces: [p.mm] };
}
type Small = ReturnType<typeof small>;

function rules({ m }: Small): string[] {
  return m.checkers!.brokenAtRest().map(({ rule, what, page }) => `${rule}: ${what}, ${page}`);
}

/** Runs a race by many schedules and counts those in which something went wrong. */
function failures(schedules: number, build: Parameters<typeof race>[1], options: Options): number {
  let failed = 0;
  for (let seed = 0; seed < schedules; seed++) {
    try {
      race(1, build, options, seed);
    } catch {
      failed++;
    }
  }
  return failed;
}

/** Explores a race until some schedule breaks something; undefined if none does. */
function explored(build: Parameters<typeof race>[1], options: Options): string | undefined {
  const s = small(options), { actors, check } = build(s), { sim } = s.m.kernel;
  const begin = () => actors.map((make, i) => ({ a: i + 1, proc: make() }));
  const checkEnd = () => {
    try {
      check?.();
      return rules(s)[0];
    } catch (e) {
      return (e as Error).message;
    }
  };
  const search = new Search({ sim, memory: s.m.checkers!.memory, begin, checkEnd });
  search.run();
  return search.result().violations[0]?.rule;
}

/** Runs a race by many schedules; `build` sets the scene, `check` looks at the end. */
function race(
  schedules: number,
  build: (s: Small) => { actors: (() => Proc<unknown>)[]; check?: () => void },
  options: Options = {},
  first = 0,
): void {
  for (let seed = first; seed < first + schedules; seed++) {
    const s = small(options), { actors, check } = build(s);
    const procs = actors.map((make, i) => ({ a: i + 1, proc: make() }));
    try {
      interleave(s.m.kernel.sim, procs, draws(seed));
      expect(rules(s)).toEqual([]);
      check?.();
    } catch (e) {
      throw new Error(`schedule of seed ${seed}: ${(e as Error).message}`, { cause: e });
    }
  }
}

const page = (r: Region, i: number, n = 1) => new Region(r.process, r.vpn + i, n);

describe("a fault under the vma's lock", () => {
  test("ends before mmap() joins its vma with a neighbour", () => {
    race(200, ({ p, t, dev }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 3), 5);
      const below = new Region(p, r.vpn - 2, 2);
      return {
        actors: [() => t.write(page(r, 0), 77), () => t.mmapAt(below), () => t.write(page(r, 1), 78)],
        check() {
          p.machine.complete(dev.device.migrateToDevice(0, dev.device.mirror(p.mm), below.vpn, r.vpn + 4));
          expect(p.read(r)).toEqual([77, 78, 0, 5]);
        },
      };
    });
  });

  test("ends before munmap() of a part cuts its vma", () => {
    race(300, ({ p, t }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 3), 5);
      return {
        actors: [() => t.write(page(r, 1), 77), () => t.munmap(page(r, 1)), () => t.read(page(r, 2))],
      };
    });
  });

  test("ends before mprotect() of a part cuts its vma, and before it joins it again", () => {
    race(300, ({ p, t }) => {
      const r = p.mmap("16 KiB");
      p.write(page(r, 3), 5);
      function* there(): Proc {
        yield* t.mprotect(page(r, 1), "r");
        yield* t.mprotect(page(r, 1), "rw");
      }
      return {
        actors: [() => t.write(page(r, 0), 76), () => t.write(page(r, 2), 78), there],
        check: () => expect(p.read(r)).toEqual([76, 0, 78, 5]),
      };
    });
  });
});

describe("CPU threads that touch one device page at a time", () => {
  const touched = ({ p, t, dev, m }: Small) => {
    const r = p.mmap("4 KiB");
    p.write(r, 5);
    m.complete(dev.migrate(r));
    const said: unknown[] = [];
    function* read(): Proc {
      said.push(yield* t.read(r));
    }
    return {
      actors: [read, read, read],
      check() {
        expect(said).toEqual([5, 5, 5]);
        expect([p.residentPages, dev.device.memory?.used]).toEqual([1, 0]);
        expect(m.kernel.sim.counters.get("pages_not_migrated")).toBe(0);
      },
    };
  };

  test("all get it: who comes second waits for who is at it", () => {
    race(300, touched);
  });

  test("without the lock of the faulting page their references veto each other's migration, but none dies of it", () => {
    expect(failures(100, touched, { revert: ["fault page lock"] })).toBeGreaterThan(0);
    race(100, (s) => {
      const { actors } = touched(s);
      return { actors, check: () => expect(s.p.residentPages).toBe(1) };
    }, { revert: ["fault page lock"] });
  });

  test("one gets SIGBUS only where the copy failed", () => {
    const s = small({}), r = s.p.mmap("4 KiB");
    s.p.write(r, 5);
    s.m.complete(s.dev.migrate(r));
    s.m.kernel.sim.injectFailure("dma map", 1_000_000);
    expect(s.p.read(r)).toEqual(["SIGBUS"]);
    expect(s.p.write(r, 6)).toEqual({ 0: "SIGBUS" });
    expect(rules(s)).toEqual([]);
    s.m.kernel.sim.injectFailure("dma map", 0);
    expect(s.p.read(r)).toEqual([5]);
  });
});

describe("what a device stores through its mirror", () => {
  /** The device writes the page twice while something moves it; the last word must stand. */
  const moved = (how: "there" | "back" | "cpu read") => ({ p, t, dev, m }: Small) => {
    const r = p.mmap("8 KiB");
    p.write(r, 5);
    if (how !== "there") m.complete(dev.migrate(r));
    m.complete(dev.write(r, 6));
    function* twice(): Proc {
      expect(yield* dev.write(page(r, 0), 7)).toBe(0);
      expect(yield* dev.write(page(r, 0), 8)).toBe(0);
    }
    const move: () => Proc<unknown> = how === "there"
      ? () => dev.migrate(r)
      : how === "back"
      ? () => dev.migrateBack(r)
      : () => t.read(r);
    return { actors: [twice, move], check: () => expect(p.read(r)).toEqual([8, 7]) };
  };

  test.each(["there", "back", "cpu read"] as const)("is not lost while the page moves (%s)", (how) => {
    race(200, moved(how));
  });

  test.each(["there", "back"] as const)("is lost with the quirks of the kernel's test driver (%s)", (how) => {
    expect(explored(moved(how), { device: { quirks: "test_hmm-6.12" } })).toContain("[ 8, 7 ]");
  });
});

describe("a device fault on a page of its own that the CPU brings back", () => {
  const fought = ({ p, t, dev, m }: Small) => {
    const r = p.mmap("16 KiB");
    p.write(r, 5);
    m.complete(dev.migrate(r));
    m.complete(t.mprotect(r, "r")); // empties the mirror
    m.complete(t.mprotect(r, "rw"));
    return { actors: [() => dev.fault(r), () => t.read(page(r, 2)), () => t.write(page(r, 1), 9)] };
  };

  test("leaves no entry to the page that was", () => {
    race(300, fought);
  });

  test("leaves one with the quirks of the kernel's test driver", () => {
    expect(explored(fought, { device: { quirks: "test_hmm-6.12" } })).toContain("owner skip");
  });
});

describe("with a forked child", () => {
  test("a write that breaks sharing does not take a migration's or an exclusive entry for its page", () => {
    race(300, ({ m, p, t, dev, spaces }) => {
      const r = p.mmap("8 KiB");
      p.write(r, 5);
      const child = m.complete(forkMm(m.kernel, 0, p.mm));
      spaces.push(child);
      const { device } = dev, mirror = device.mirror(p.mm);
      return {
        actors: [
          () => t.write(page(r, 0), 7),
          () => dev.migrate(r),
          () => dummyExclusive(device, 3, mirror, r.vpn, 1, new IoctlResult()),
        ],
        check() {
          const out = new AccessResult(true);
          m.complete(cpuAccess(m.kernel, 0, child, oneRun(r, false, 0), out));
          expect([out.words, p.read(r)]).toEqual([[5, 6], [7, 6]]);
        },
      };
    });
  });
});

describe("exclusive access against MADV_DONTNEED, which only reads the mmap lock", () => {
  const fought = ({ m, p, dev }: Small) => {
    const r = p.mmap("8 KiB"), { device } = dev, mirror = device.mirror(p.mm);
    p.write(r, 5);
    return {
      actors: [
        () => dummyExclusive(device, 1, mirror, r.vpn, 2, new IoctlResult()),
        () => madvise(m.kernel, 2, p.mm, r.vpn, 2, "dontneed"),
      ],
    };
  };

  test("leaves no entry to a page that went", () => {
    race(300, fought);
  });

  test("leaves one with the quirks of the kernel's test driver", () => {
    expect(explored(fought, { device: { quirks: "test_hmm-6.12" } })).toContain("sequence protocol");
  });
});

test("run to completion, a fault on a vma that somebody changes sleeps and does not ask for ever", () => {
  const { m, p, t } = small({}),
    { sim, notifiers } = m.kernel,
    r = p.mmap("8 KiB"),
    driver = sim.queue("a driver");
  p.write(page(r, 0), 1);
  let busy = true;
  notifiers.insert(p.mm, r.vpn, r.vpn + 2, { tryInvalidate: () => !busy, waitOn: () => driver });
  function* release(): Proc {
    yield* t.read(page(r, 0));
    busy = false;
    sim.wake(driver);
  }
  const said: string[] = [];
  function* write(): Proc {
    said.push(yield* t.write(page(r, 1), 2));
  }
  complete(sim, [{ a: 1, proc: t.mprotect(r, "r") }, { a: 2, proc: write() }, { a: 3, proc: release() }]);
  expect(said).toEqual(["SEGV_ACCERR"]);
});
