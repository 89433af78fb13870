/** Every failure point at every operation that can meet it: an errno or a signal, nothing leaked, nothing lost that was kept. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asDummy } from "../../lib/devices/dummy/device.ts";
import { FAILURE_POINTS } from "../../lib/explore/check.ts";
import { explore, litmus, type LitmusContext } from "../../lib/explore/litmus.ts";
import { type Machine, machine } from "../../lib/machine/machine.ts";
import type { Process, Region } from "../../lib/machine/process.ts";
import { DeviceThread } from "../../lib/machine/device_thread.ts";
import { Thread } from "../../lib/machine/thread.ts";
import { ENODEV } from "../../lib/mm/errno.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { mremap } from "../../lib/mm/mremap.ts";
import { Clock, complete, steps } from "../../lib/sim/runners.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { brokenAtRest, deviceEntries } from "../rest.ts";

type Step = (c: LitmusContext) => Proc<unknown>;

/** What is raced: on a page that is on the device, or beside it. */
const OPERATIONS: Readonly<Record<string, Step>> = {
  "a device fault": (c) => c.dev.fault(c.A, true),
  *"out and back"(c) {
    yield* c.dev.migrateBack(c.A);
    yield* c.dev.migrate(c.A);
  },
  "a CPU read": (c) => c.t.read(c.A),
  "a CPU write": (c) => c.t.write(c.A, 9),
  *"fork and a write"(c) {
    yield* c.t.fork();
    yield* c.t.write(c.A, 9);
  },
  "exclusive access": (c) => c.dev.exclusive(c.A),
  *"unplug and plug"(c) {
    yield* c.dev.unplug();
    yield* c.dev.plug();
  },
  "fresh memory": (c) => c.t.mmapAt(c.A),
  *"a move"(c) {
    const { machine: { kernel: k }, mm } = c.t.process;
    yield* mremap(k, k.sim.current, mm, c.A.vpn, 1, c.A.vpn + 4096, 1);
    yield* mremap(k, k.sim.current, mm, c.A.vpn + 4096, 1, c.A.vpn, 1);
  },
};

describe("in every interleaving with a CPU read", () => {
  for (const point of FAILURE_POINTS) {
    test.each(Object.entries(OPERATIONS))(`"${point}" at %s leaves nothing behind`, async (name, op) => {
      const device = { memory: "64 KiB", onFault: "migrate" as const };
      const race = litmus(`${point}: ${name}`, { pages: 1, device, failures: [point] }, (c) => {
        const { sim } = c.m.kernel;
        sim.withoutFailures(() => c.t.process.complete(c.dev.migrate(c.A)));
        return {
          P0: () => op(c as LitmusContext),
          P1: () => c.t.read(c.A),
          finally: {
            conserved: () => brokenAtRest(c.m).length === 0,
            // Whatever failed, the device can be removed, and no entry names its memory then.
            removable: () => {
              c.m.unplug(c.m.devices.dev);
              return deviceEntries(c.m.kernel) === 0 && brokenAtRest(c.m).length === 0;
            },
          },
        };
      });
      const found = await explore(race, { maxStates: 20_000 });
      expect([found.violated, found.schedule, found.found.exhaustive]).toEqual([undefined, "", true]);
    });
  }
});

const OPS = [
  "write",
  "read",
  "dwrite",
  "dread",
  "fault",
  "migrate",
  "back",
  "exclusive",
  "munmap",
  "fork",
  "move",
] as const;
const PLUGS = ["unplug", "plug", "vanish", "nothing"] as const;

interface Op {
  readonly op: (typeof OPS)[number];
  readonly d: number;
  readonly at: number;
  readonly n: number;
}

const ops = fc.array(
  fc.record({
    op: fc.constantFrom(...OPS),
    d: fc.nat({ max: 1 }),
    at: fc.nat({ max: 7 }),
    n: fc.integer({ min: 1, max: 4 }),
  }),
  { maxLength: 12 },
);
const plugs = fc.array(fc.record({ op: fc.constantFrom(...PLUGS), d: fc.nat({ max: 1 }) }), { maxLength: 6 });
const rates = fc.dictionary(fc.constantFrom(...FAILURE_POINTS), fc.constantFrom(20_000, 200_000, 500_000));

/** Words are written with the page's place in them: a page that holds another page's word is found. */
function wordOf(page: number, count: number): number {
  return 1000 * count + page + 1;
}

class Shop {
  readonly m: Machine;
  readonly p: Process;
  readonly heap: Region;
  readonly devices: readonly DeviceThread[];
  readonly t: Thread;
  count = 0;

  constructor(seed: number, coherent: boolean) {
    const small = { memory: "32 KiB", granule: "8 KiB", onFault: "migrate" as const };
    this.m = machine({
      memory: "512 KiB",
      seed,
      processes: 6,
      actors: 5,
      vmas: 64,
      pageTables: 96,
      batchPages: 4,
      devices: { one: small, two: { ...small, coherent } },
    });
    this.p = this.m.process();
    this.heap = this.p.mmap("32 KiB");
    this.devices = this.m.deviceList.map((d) => new DeviceThread(asDummy(d), this.p));
    this.t = new Thread(this.p);
  }

  *play(program: readonly Op[]): Proc {
    const { t, p, heap, devices, m: { kernel: k } } = this;
    for (const { op, d, at, n } of program) {
      const end = Math.min(8, at + n), part = heap.slice(at * 4096, (end - at) * 4096), dev = devices[d];
      const value = wordOf(at, ++this.count);
      if (op === "write") yield* t.write(part, value);
      else if (op === "read") yield* t.read(part);
      else if (op === "dwrite") yield* dev.write(part, value);
      else if (op === "dread") yield* dev.read(part);
      else if (op === "fault") yield* dev.fault(part);
      else if (op === "migrate") yield* dev.migrate(part);
      else if (op === "back") yield* dev.migrateBack(part);
      else if (op === "exclusive") yield* dev.exclusive(part);
      else if (op === "munmap") {
        yield* t.munmap(part);
        yield* t.mmapAt(part);
      } else if (op === "fork") {
        const child = yield* t.fork();
        if (child > 0 && this.count % 2 === 0) {
          yield* exitMm(k, k.sim.current, child);
        }
      } else {
        const away = heap.vpn + 4096;
        if ((yield* mremap(k, k.sim.current, p.mm, part.vpn, part.pages, away + at, part.pages)) >= 0) {
          yield* mremap(k, k.sim.current, p.mm, away + at, part.pages, part.vpn, part.pages);
        }
      }
    }
  }

  *plugs(program: readonly { readonly op: (typeof PLUGS)[number]; readonly d: number }[]): Proc {
    for (const { op, d } of program) {
      const dev = this.devices[d];
      if (op === "unplug") yield* dev.unplug();
      if (op === "plug") yield* dev.plug();
      if (op === "vanish") yield* dev.vanish();
    }
  }

  /** Looks at the end that everything can be had or is a signal, that devices can be removed, and that all is free then. */
  end(): void {
    const { m, p, heap } = this, { kernel: k } = m;
    for (const point of FAILURE_POINTS) k.sim.injectFailure(point, 0);
    expect(brokenAtRest(m)).toEqual([]);
    const look = () =>
      p.read(heap).forEach((word, page) => {
        if (typeof word === "number" && word !== 0) expect([page, word % 1000]).toEqual([page, page + 1]);
        else if (word !== 0) expect(["SIGBUS", "SEGV_MAPERR"]).toContain(word);
      });
    look();
    for (const d of m.deviceList) expect([0, -ENODEV]).toContain(m.unplug(d));
    expect(deviceEntries(m.kernel)).toBe(0);
    look();
    expect(brokenAtRest(m)).toEqual([]);
    for (const mm of k.spaces()) m.complete(exitMm(k, 0, mm));
    expect(brokenAtRest(m)).toEqual([]);
    expect(k.pages.zones.map((z) => k.pages.used(z))).toEqual(k.pages.zones.map((_, i) => i === 0 ? 1 : 0));
  }
}

describe("programs of two threads and two devices that come, go and fail", () => {
  test.each(["complete", "steps", "clock"] as const)("lose nothing on runner %s", (runner) => {
    fc.assert(
      fc.property(ops, ops, plugs, rates, fc.nat(), fc.boolean(), (one, two, plug, rate, seed, coherent) => {
        const shop = new Shop(seed, coherent), { sim } = shop.m.kernel;
        for (const [point, perMillion] of Object.entries(rate)) sim.injectFailure(point, perMillion);
        const actors = [shop.play(one), shop.play(two), shop.plugs(plug)].map((proc, i) => ({
          a: i + 1,
          proc,
        }));
        if (runner === "complete") complete(sim, actors);
        else if (runner === "steps") steps(sim, actors);
        else expect(new Clock(sim, actors).run()).toBe(true);
        shop.end();
      }),
      { numRuns: 150 },
    );
  });
});
