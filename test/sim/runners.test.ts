import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Locks } from "../../lib/sim/locks.ts";
import { type Actor, Clock, complete, DeadlockError, LivelockError, steps } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim, site } from "../../lib/sim/sim.ts";

const HERE = site("test: here");

/** Actors that spend the given times, with a stop before each, and log "actor@time". */
function spenders(sim: Sim, times: readonly (readonly number[])[], log: string[]): Actor[] {
  const work = sim.spans.phase("work");
  function* spender(a: number): Proc {
    for (const ns of times[a]) {
      if (sim.due(a)) {
        sim.mark(a, HERE, ns);
        yield DUE;
      }
      log.push(`${a}@${sim.nowNs[a]}`);
      sim.spend(a, work, ns);
      sim.progress++;
    }
  }
  return times.map((_, a) => ({ a, proc: spender(a) }));
}

const times = fc.array(fc.array(fc.nat({ max: 20 }), { maxLength: 20 }), { minLength: 1, maxLength: 9 });

describe("Clock", () => {
  test("goes by time, then by actor number", () => {
    fc.assert(fc.property(times, fc.array(fc.nat()), (all, keys) => {
      const sim = new Sim(1, all.length), log: string[] = [];
      const actors = spenders(sim, all, log);
      // The order in which actors are given does not matter.
      const shuffled = actors.toSorted((x, y) => (keys[x.a] ?? 0) - (keys[y.a] ?? 0));
      expect(new Clock(sim, shuffled).run()).toBe(true);
      const expected: { a: number; t: number; i: number }[] = [];
      all.forEach((list, a) => list.reduce((t, ns, i) => (expected.push({ a, t, i }), t + ns), 0));
      expected.sort((x, y) => x.t - y.t || x.a - y.a || x.i - y.i);
      expect(log).toEqual(expected.map(({ a, t }) => `${a}@${t}`));
    }));
  });

  test("in slices gives the same as in one go", () => {
    fc.assert(fc.property(times, fc.integer({ min: 1, max: 7 }), (all, slice) => {
      const result = (maxEvents?: number) => {
        const sim = new Sim(1, all.length), log: string[] = [];
        const clock = new Clock(sim, spenders(sim, all, log));
        let calls = 1;
        while (!clock.run(maxEvents)) calls++;
        return { log, times: [...sim.nowNs], digest: sim.state.digest(), events: clock.events, calls };
      };
      const whole = result(), sliced = result(slice);
      expect(whole.calls).toBe(1);
      expect({ ...sliced, calls: 1 }).toEqual(whole);
      expect(sliced.calls).toBe(Math.max(1, Math.ceil(whole.events / slice)));
    }));
  });

  test("resumes an actor only when another's time has come", () => {
    const sim = new Sim(1, 2), log: string[] = [];
    const clock = new Clock(sim, spenders(sim, [[10, 10, 10], [100]], log));
    clock.run();
    // 0 goes on from 0 to 30 and ends before 1 has spent its 100.
    expect(log).toEqual(["0@0", "1@0", "0@10", "0@20"]);
    expect(clock.events).toBe(3);
  });

  test("a woken actor is due at the waker's time", () => {
    const sim = new Sim(1, 3), work = sim.spans.phase("work"), q = sim.queue("q"), log: string[] = [];
    function* sleeper(): Proc {
      yield q;
      log.push(`woken@${sim.nowNs[0]}`);
    }
    function* waker(): Proc {
      sim.spend(1, work, 50);
      if (sim.due(1)) yield DUE;
      sim.wake(q);
      // The sleeper has the lower number: at the same time it comes first.
      if (sim.due(1)) yield DUE;
      log.push(`waker@${sim.nowNs[1]}`);
    }
    function* late(): Proc {
      sim.spend(2, work, 70);
      if (sim.due(2)) yield DUE;
      log.push(`late@${sim.nowNs[2]}`);
    }
    new Clock(sim, [{ a: 0, proc: sleeper() }, { a: 1, proc: waker() }, { a: 2, proc: late() }]).run();
    expect(log).toEqual(["woken@50", "waker@50", "late@70"]);
  });

  test("a lone actor comes back now and then, so that a long run can be watched", () => {
    const sim = new Sim(1, 1), log: string[] = [];
    const clock = new Clock(sim, spenders(sim, [Array(100).fill(1_000_000)], log));
    expect(clock.run(10)).toBe(false);
    expect(log.length).toBeGreaterThan(5);
    expect(log.length).toBeLessThan(40);
    expect(clock.run()).toBe(true);
    expect(sim.horizonNs).toBe(Infinity);
  });

  test("an actor that throws leaves the machine off the clock", () => {
    const sim = new Sim(1, 2);
    function* broken(): Proc {
      yield DUE;
      throw new Error("a bug");
    }
    expect(() => new Clock(sim, [{ a: 1, proc: broken() }]).run()).toThrow("a bug");
    expect([sim.current, sim.horizonNs]).toEqual([-1, Infinity]);
  });
});

/** A small program with locks, a wait queue and shared words; what comes of it does not depend on the runner. */
function program(sim: Sim): { actors: Actor[]; words: Float64Array } {
  const words = sim.state.f64("test.words", 4), locks = new Locks(sim, 2), l = locks.make("word lock");
  const ready = sim.queue("all counted"), work = sim.spans.phase("work");
  function* counter(a: number): Proc {
    for (let i = 0; i < 5; i++) {
      yield* locks.lock(a, l);
      const seen = words[0];
      sim.spend(a, work, 10 * (a + 1));
      if (sim.due(a)) {
        sim.mark(a, HERE, i, seen);
        yield DUE;
      }
      words[0] = seen + 1;
      if (words[0] === 15) sim.wake(ready);
      locks.unlock(a, l);
      sim.progress++;
    }
  }
  function* collector(a: number): Proc {
    while (words[0] < 15) {
      sim.mark(a, HERE, words[0]);
      yield ready;
    }
    words[1] = words[0] * 2;
  }
  return {
    words,
    actors: [3, 0, 1, 2].map((a) => ({ a, proc: a === 3 ? collector(a) : counter(a) })),
  };
}

test("complete, steps and the clock come to the same end", () => {
  const ends = [complete, steps, (sim: Sim, actors: readonly Actor[]) => void new Clock(sim, actors).run()]
    .map(
      (run) => {
        const sim = new Sim(1, 4), { actors, words } = program(sim);
        run(sim, actors);
        expect([words[0], words[1]]).toEqual([15, 30]);
        return { digest: sim.state.digest(), busy: sim.spans.nowNs[2] >= 150 };
      },
    );
  expect(ends[1]).toEqual(ends[0]);
  expect(ends[2]).toEqual(ends[0]);
});

test("steps gives every actor a turn at every stop; complete runs each as far as it goes", () => {
  const order = (run: typeof steps) => {
    const sim = new Sim(1, 3), log: string[] = [];
    run(sim, spenders(sim, [[1, 1], [1, 1], [1]], log));
    return log.map((x) => x[0]).join("");
  };
  expect(order(complete)).toBe("00112");
  expect(order(steps)).toBe("01201");
});

describe("hangs", () => {
  /** Two actors that take two locks in opposite orders. */
  function embrace(sim: Sim): Actor[] {
    const locks = new Locks(sim, 2),
      x = locks.make("lock X"),
      y = locks.make("lock Y"),
      work = sim.spans.phase("w");
    sim.actorNames.push("alice", "bob");
    function* take(a: number, one: number, two: number): Proc {
      yield* locks.lock(a, one);
      sim.spend(a, work, 10 + a);
      if (sim.due(a)) yield DUE;
      sim.call(a, HERE, 42);
      yield* locks.lock(a, two);
    }
    return [{ a: 0, proc: take(0, x, y) }, { a: 1, proc: take(1, y, x) }];
  }
  test.each(["steps", "clock"])(
    "a deadlock names who waits for what, held by whom, since when, where (%s)",
    (how) => {
      const sim = new Sim(1, 2), actors = embrace(sim);
      const run = () => how === "steps" ? steps(sim, actors) : new Clock(sim, actors).run();
      expect(run).toThrow(DeadlockError);
      const text = ((): string => {
        const again = new Sim(1, 2), two = embrace(again);
        try {
          how === "steps" ? steps(again, two) : new Clock(again, two).run();
        } catch (e) {
          return (e as Error).message;
        }
        return "";
      })();
      expect(text).toMatch(/^deadlock:\n/);
      expect(text).toContain(
        "alice waits for lock Y, held by bob, since 10 ns, at: test: here (42 0 0 0) > ",
      );
      expect(text).toContain(
        "bob waits for lock X, held by alice, since 11 ns, at: test: here (42 0 0 0) > ",
      );
    },
  );

  test("a deadlock names only who waits, not who has ended", () => {
    const sim = new Sim(1, 2), q = sim.queue("godot");
    sim.actorNames.push("done", "vladimir");
    function* end(): Proc {
      yield DUE;
    }
    function* wait(): Proc {
      yield q;
    }
    for (const run of [complete, steps, (s: Sim, x: readonly Actor[]) => new Clock(s, x).run()]) {
      sim.waitingOn.fill(0);
      const actors = [{ a: 0, proc: end() }, { a: 1, proc: wait() }];
      expect(() => run(sim, actors)).toThrow(/^deadlock:\n {2}vladimir waits for godot, since 0 ns[^\n]*$/);
    }
  });

  test("a livelock is noticed: many resumes and nothing finished", () => {
    function* spin(sim: Sim, a: number): Proc {
      for (;;) {
        sim.mark(a, HERE, a);
        yield DUE;
      }
    }
    for (
      const run of [
        complete,
        steps,
        (s: Sim, x: readonly Actor[], n?: number) => new Clock(s, x, undefined, n).run(),
      ]
    ) {
      const sim = new Sim(1, 2);
      const actors = [{ a: 0, proc: spin(sim, 0) }, { a: 1, proc: spin(sim, 1) }];
      expect(() => run(sim, actors, 100)).toThrow(LivelockError);
      expect(sim.current).toBe(-1);
    }
  });

  test("who finishes something now and then is no livelock", () => {
    const sim = new Sim(1, 1);
    function* slow(): Proc {
      for (let i = 0; i < 1000; i++) {
        if (i % 90 === 0) sim.progress++;
        yield DUE;
      }
    }
    steps(sim, [{ a: 0, proc: slow() }], 100);
    expect(() => new Clock(sim, [{ a: 0, proc: slow() }], undefined, 50).run()).toThrow(
      "nothing was finished in 50 resumes",
    );
  });
});
