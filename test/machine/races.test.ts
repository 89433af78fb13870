import { describe, expect, test } from "vitest";
import { DeviceThread, Thread } from "../../lib/machine/thread.ts";
import { machine } from "../../lib/machine/machine.ts";
import { Region } from "../../lib/machine/process.ts";
import type { Proc } from "../../lib/sim/sim.ts";
import { brokenRules } from "../invariants.ts";
import { draws, interleave } from "../schedule.ts";

/** A small machine with one device and a process. */
function small(device: { onFault?: "migrate" | "map" } = {}) {
  const m = machine({
    memory: "128 KiB",
    devices: { dev: { memory: "64 KiB", granule: "4 KiB", ...device } },
    processes: 2,
    actors: 6,
    vmas: 16,
    pageTables: 24,
    batchPages: 8,
  });
  const p = m.process();
  return { m, p, t: new Thread(p), dev: new DeviceThread(m.dev, p) };
}
type Small = ReturnType<typeof small>;

function rules({ m, p }: Small): string[] {
  const mirrors = m.deviceList.map((d) => d.mirror(p.mm));
  return brokenRules({ kernel: m.kernel, spaces: [p.mm], mirrors, batches: m.deviceList[0]["batches"] });
}

/** Runs a race by many schedules; `build` sets the scene, `check` looks at the end. */
function race(
  schedules: number,
  build: (s: Small) => { actors: (() => Proc<unknown>)[]; check?: () => void },
  device: { onFault?: "migrate" | "map" } = {},
): void {
  for (let seed = 0; seed < schedules; seed++) {
    const s = small(device), { actors, check } = build(s);
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
