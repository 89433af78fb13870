import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Locks } from "../../lib/sim/locks.ts";
import { type Actor, Clock, complete, steps } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim } from "../../lib/sim/sim.ts";

/** All three runners under one signature. */
const RUNNERS: Record<string, (sim: Sim, actors: readonly Actor[]) => void> = {
  complete: (sim, actors) => complete(sim, actors),
  steps: (sim, actors) => steps(sim, actors),
  clock: (sim, actors) => expect(new Clock(sim, actors).run()).toBe(true),
};

interface Visit {
  lock: number;
  how: "lock" | "read" | "trylock" | "tryRead" | "downgrade";
  workNs: number;
  stops: number;
}
const visit: fc.Arbitrary<Visit> = fc.record({
  lock: fc.nat({ max: 1 }),
  how: fc.constantFrom("lock", "read", "trylock", "tryRead", "downgrade"),
  workNs: fc.nat({ max: 50 }),
  stops: fc.nat({ max: 3 }),
});
const programs = fc.array(fc.array(visit, { maxLength: 8 }), { minLength: 2, maxLength: 6 });

/** Runs the programs, watching who is inside; returns how many sections were entered. */
function watch(run: (sim: Sim, actors: readonly Actor[]) => void, all: readonly Visit[][]): number {
  const sim = new Sim(1, all.length), locks = new Locks(sim, 2), work = sim.spans.phase("work");
  const first = locks.make("lock", 2), writer = [-1, -1], readers = [0, 0];
  let entered = 0;
  function* stay(a: number, { workNs, stops }: Visit, holds: () => void): Proc {
    for (let i = 0; i <= stops; i++) {
      holds();
      sim.spend(a, work, workNs);
      if (sim.due(a)) yield DUE;
    }
  }
  function* asWriter(a: number, v: Visit): Proc {
    expect([writer[v.lock], readers[v.lock]]).toEqual([-1, 0]);
    writer[v.lock] = a;
    entered++;
    yield* stay(a, v, () => expect([writer[v.lock], readers[v.lock]]).toEqual([a, 0]));
    writer[v.lock] = -1;
  }
  function* asReader(a: number, v: Visit): Proc {
    expect(writer[v.lock]).toBe(-1);
    readers[v.lock]++;
    entered++;
    yield* stay(a, v, () => expect(writer[v.lock]).toBe(-1));
    readers[v.lock]--;
  }
  function* program(a: number): Proc {
    for (const v of all[a]) {
      const l = first + v.lock;
      if (v.how === "trylock" && !locks.trylock(a, l)) continue;
      if (v.how === "tryRead" && !locks.tryRead(l)) continue;
      if (v.how === "lock" || v.how === "downgrade") yield* locks.lock(a, l);
      if (v.how === "read") yield* locks.read(a, l);
      if (v.how === "read" || v.how === "tryRead") {
        yield* asReader(a, v);
        locks.readUnlock(a, l);
        continue;
      }
      yield* asWriter(a, v);
      if (v.how === "downgrade") {
        locks.downgrade(a, l);
        yield* asReader(a, v);
        locks.readUnlock(a, l);
      } else locks.unlock(a, l);
    }
    sim.progress++;
  }
  run(sim, all.map((_, a) => ({ a, proc: program(a) })));
  for (const l of [first, first + 1]) {
    expect([locks.owner[l], locks.readers[l], locks.writersWaiting[l]]).toEqual([0, 0, 0]);
  }
  return entered;
}

describe.each(Object.entries(RUNNERS))("on runner %s", (_name, run) => {
  test("nobody is inside with a writer, and everybody gets in at last", () => {
    fc.assert(fc.property(programs, (all) => {
      const sleeping = all.flat().filter((v) => !v.how.startsWith("try"));
      const downgraded = sleeping.filter((v) => v.how === "downgrade").length;
      expect(watch(run, all)).toBeGreaterThanOrEqual(sleeping.length + downgraded);
    }));
  });

  test("a writer is not starved by readers that keep coming", () => {
    const sim = new Sim(1, 3), locks = new Locks(sim, 1), work = sim.spans.phase("work"), l = locks.make("l");
    let reads = 0, readsBefore = -1;
    function* reader(a: number): Proc {
      // The two overlap on purpose: without the writer's turn one of them is always inside.
      for (let i = 0; i < 100; i++) {
        yield* locks.read(a, l);
        sim.spend(a, work, a === 0 ? 10 : 15);
        if (sim.due(a)) yield DUE;
        locks.readUnlock(a, l);
        reads++;
      }
      sim.progress++;
    }
    function* writer(): Proc {
      if (sim.due(2)) yield DUE;
      yield* locks.lock(2, l);
      readsBefore = reads;
      locks.unlock(2, l);
    }
    run(sim, [{ a: 0, proc: reader(0) }, { a: 1, proc: reader(1) }, { a: 2, proc: writer() }]);
    expect(reads).toBe(200);
    // Run to completion each actor is alone; beside others the writer waits for those inside at most.
    if (_name !== "complete") expect(readsBefore).toBeLessThan(10);
  });
});

describe("wrong use", () => {
  const made = () => {
    const sim = new Sim(1, 2), locks = new Locks(sim, 3);
    sim.actorNames.push("alice", "bob");
    return { sim, locks, l: locks.make("mutex") };
  };
  test("who does not hold a lock cannot give it back", () => {
    const { locks, l } = made();
    expect(() => locks.unlock(0, l)).toThrow("alice unlocks a lock that it does not hold");
    expect(locks.trylock(0, l)).toBe(true);
    expect(() => locks.unlock(1, l)).toThrow("bob unlocks a lock that it does not hold");
    expect(() => locks.downgrade(1, l)).toThrow("bob unlocks");
    expect(() => locks.readUnlock(1, l)).toThrow("bob ends a read lock that nobody holds");
    locks.unlock(0, l);
  });

  test("taking a sleeping lock in an atomic context throws", () => {
    const { sim, locks, l } = made();
    sim.enterAtomic(1);
    expect(() => complete(sim, [{ a: 1, proc: locks.lock(1, l) }])).toThrow(
      "bob would sleep in an atomic context",
    );
    expect(() => complete(sim, [{ a: 1, proc: locks.read(1, l) }])).toThrow(
      "bob would sleep in an atomic context",
    );
    expect([locks.trylock(1, l), locks.owner[l]]).toEqual([true, 2]);
  });

  test("trying does not get in where somebody is", () => {
    const { locks, l } = made();
    expect([locks.tryRead(l), locks.tryRead(l), locks.trylock(0, l)]).toEqual([true, true, false]);
    locks.readUnlock(0, l);
    expect(locks.trylock(0, l)).toBe(false);
    locks.readUnlock(0, l);
    expect([locks.trylock(0, l), locks.trylock(1, l), locks.tryRead(l)]).toEqual([true, false, false]);
  });

  test("a machine has only so many locks", () => {
    const { locks } = made();
    expect(() => locks.make("too many", 3)).toThrow('no room for 3 more locks of kind "too many"');
    expect(locks.make("two", 2)).toBe(1);
  });
});
