import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { machine } from "../../lib/machine/machine.ts";
import { Cores } from "../../lib/sim/cores.ts";
import { Locks } from "../../lib/sim/locks.ts";
import { Clock } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim, site } from "../../lib/sim/sim.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { touch } from "../../lib/workloads/touch.ts";

const HERE = site("test: here");

interface Work {
  a: number;
  from: number;
  to: number;
}

/** Threads that compute for the given times on `cores` cores; what each did when. */
function compute(times: readonly (readonly number[])[], cores: number, sliceNs: number) {
  const sim = new Sim(1, times.length), work = sim.spans.phase("work"), done: Work[] = [];
  function* thread(a: number): Proc {
    for (const ns of times[a]) {
      if (sim.due(a)) {
        sim.mark(a, HERE, ns);
        yield DUE;
      }
      done.push({ a, from: sim.nowNs[a], to: sim.nowNs[a] + ns });
      sim.spend(a, work, ns);
      sim.progress++;
    }
  }
  const threads = times.map((_, a) => a);
  new Clock(
    sim,
    threads.map((a) => ({ a, proc: thread(a) })),
    new Cores(sim, cores, sliceNs, threads),
  ).run();
  return { sim, done };
}

const times = fc.array(fc.array(fc.integer({ min: 1, max: 20 }), { maxLength: 20 }), {
  minLength: 1,
  maxLength: 9,
});
const total = (xs: readonly number[]) => xs.reduce((n, x) => n + x, 0);

describe("Cores", () => {
  test("never run more threads at a time than there are cores, and idle only when none waits", () => {
    fc.assert(
      fc.property(
        times,
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 50 }),
        (all, cores, slice) => {
          const { sim, done } = compute(all, cores, slice);
          for (const { from } of done) {
            const busy = new Set(done.filter((w) => w.from <= from && from < w.to).map((w) => w.a));
            expect(busy.size).toBeLessThanOrEqual(cores);
          }
          const sum = total(all.map(total)), longest = Math.max(...all.map(total)), end = sim.latestNs;
          expect(end).toBeGreaterThanOrEqual(Math.max(longest, Math.ceil(sum / cores)));
          // Graham's bound for lists without idling.
          expect(end).toBeLessThanOrEqual(sum / cores + longest);
        },
      ),
    );
  });

  test("what a thread did not compute, it waited", () => {
    fc.assert(fc.property(times, fc.integer({ min: 1, max: 3 }), (all, cores) => {
      const { sim } = compute(all, cores, 7), waits = sim.spans.contention();
      const waited = total([...sim.nowNs].map((t, a) => t - total(all[a])));
      expect(waits.numRows === 0 ? 0 : (waits.columns.totalNs as Float64Array)[0]).toBe(waited);
    }));
  });

  test("share a core in slices", () => {
    const { sim } = compute([Array(100).fill(10), Array(100).fill(10)], 1, 50);
    expect([...sim.nowNs]).toEqual([1950, 2000]);
  });

  test("are given up by who sleeps: a lock's holder can run", () => {
    const sim = new Sim(1, 2),
      locks = new Locks(sim, 1),
      l = locks.make("lock"),
      work = sim.spans.phase("work");
    function* thread(a: number): Proc {
      yield* locks.lock(a, l);
      for (let i = 0; i < 10; i++) {
        if (sim.due(a)) {
          sim.mark(a, HERE, i);
          yield DUE;
        }
        sim.spend(a, work, 10);
      }
      locks.unlock(a, l);
    }
    const actors = [0, 1].map((a) => ({ a, proc: thread(a) }));
    expect(new Clock(sim, actors, new Cores(sim, 1, 30, [0, 1])).run()).toBe(true);
    expect([...sim.nowNs]).toEqual([100, 200]);
  });
});

test("a machine's threads compete for its cores, and the run says for what they waited", async () => {
  const run = async (cores: number) => {
    const m = machine({ memory: "64 MiB", hostParameters: { cores } }), p = m.process();
    const regions = [p.mmap("4 MiB"), p.mmap("4 MiB"), p.mmap("4 MiB"), p.mmap("4 MiB")];
    return await m.run(Object.fromEntries(regions.map((r, i) => [`t${i}`, touch(r)])));
  };
  const [four, one] = [await run(4), await run(1)];
  const waited = (r: typeof one) => [...r.contention.columns.contended as readonly string[]];
  expect(one.virtualNs).toBeGreaterThan(3 * four.virtualNs);
  expect(waited(one)[0]).toBe("cpu core");
  expect(waited(four)).not.toContain("cpu core");
  expect(one.cpuFaults.count).toBe(four.cpuFaults.count);
});

test("who has nothing to do waits for nothing", async () => {
  const m = machine({ memory: "64 MiB", devices: { gpu: { kind: "gpu", memory: "16 MiB" } } }),
    p = m.process();
  const run = await m.run({ gpu: launch(m.gpu, p, [streamGrid(p.mmap("4 MiB"))]) });
  expect(run.farFaults.count).toBeGreaterThan(0);
  expect(run.faultBatches.count).toBeGreaterThan(0);
  expect(run.contention.columns.contended ?? []).not.toContain("gpu faults");
});
