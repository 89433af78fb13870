import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import { defineRevert, reverts } from "../../lib/sim/revert.ts";
import { complete, resume, steps } from "../../lib/sim/runners.ts";
import { DUE, type Proc, Sim, site } from "../../lib/sim/sim.ts";

const OUTER = site("test: outer"), INNER = site("test: inner");

describe("frames", () => {
  test("show where an actor stands, outermost call first", () => {
    const sim = new Sim(1, 3);
    sim.call(1, OUTER, 1, 2);
    sim.mark(1, INNER, 2 ** 40, 4, 5, 6);
    expect(sim.where(1)).toEqual(["test: outer (1 2 0 0)", `test: inner (${2 ** 40} 4 5 6)`]);
    expect(sim.where(0)).toEqual(["start (0 0 0 0)"]);
    sim.ret(1);
    expect(sim.where(1)).toEqual(["test: outer (1 2 0 0)"]);
  });

  test("are state: two places, two hashes; the same place by another way, the same hash", () => {
    const sim = new Sim(1, 2);
    sim.horizonNs = -1;
    sim.mark(0, OUTER, 7);
    const here = sim.state.hash();
    sim.mark(0, OUTER, 8);
    expect(sim.state.hash()).not.toBe(here);
    sim.call(0, INNER, 3);
    sim.mark(0, INNER, 4);
    sim.ret(0);
    sim.mark(0, OUTER, 7);
    expect(sim.state.hash()).toBe(here);
  });

  test("an ended actor is one state, wherever it was, and another than one that has not begun", () => {
    const sim = new Sim(1, 2), fresh = sim.state.hash();
    sim.call(0, OUTER, 7);
    sim.note(0, 99);
    sim.clearFrame(0);
    const ended = sim.state.hash();
    expect(ended).not.toBe(fresh);
    sim.mark(0, INNER, 1);
    sim.clearFrame(0);
    expect(sim.state.hash()).toBe(ended);
    expect(sim.where(0)).toEqual(["ended (0 0 0 0)"]);
  });

  test("a return without a call and too deep a nest throw", () => {
    const sim = new Sim(1, 2);
    expect(() => sim.ret(0)).toThrow("ret of actor 0 without call");
    const deep = new Sim(1, 2);
    for (let i = 0; i < 23; i++) deep.call(0, OUTER);
    const other = deep.where(1);
    expect(() => deep.call(0, OUTER)).toThrow("nested deeper than 24");
    expect(deep.where(1)).toEqual(other);
  });
});

describe("note", () => {
  test("tells histories apart: by what was told, and by the order", () => {
    const history = (...told: number[]) => {
      const sim = new Sim(1, 1);
      told.forEach((x) => sim.note(0, x));
      return sim.state.hash();
    };
    const all = [[], [0], [1], [-14], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 36 + 1], [0, 0, 0]];
    expect(new Set(all.map((told) => history(...told))).size).toBe(all.length);
    expect(history(3, 4)).toBe(history(3, 4));
  });
});

describe("choose", () => {
  const draws = (seed: number, n: number, count = 200) => {
    const sim = new Sim(seed, 1);
    return Array.from({ length: count }, () => sim.choose(0, n));
  };

  test("is decided by the seed", () => {
    expect(draws(5, 1000)).toEqual(draws(5, 1000));
    expect(draws(5, 1000)).not.toEqual(draws(6, 1000));
    // Seeds past 32 bits count in full.
    expect(draws(2 ** 33 + 5, 1000)).not.toEqual(draws(5, 1000));
  });

  test("draws every number below n about equally, and nothing else", () => {
    const counts = new Array(7).fill(0);
    for (const x of draws(1, 7, 70_000)) counts[x]++;
    expect(counts).toHaveLength(7);
    for (const c of counts) expect(Math.abs(c - 10_000)).toBeLessThan(500);
  });

  test("one alternative is no choice and draws nothing", () => {
    const sim = new Sim(1, 1), before = sim.state.hash();
    expect([sim.choose(0, 1), sim.choose(0, 0)]).toEqual([0, 0]);
    expect(sim.state.hash()).toBe(before);
    sim.choose(0, 2);
    expect(sim.state.hash()).not.toBe(before);
  });

  test("a state that is put back draws the same again", () => {
    const sim = new Sim(9, 1), saved = sim.state.snapshot();
    const first = [1, 2, 3].map(() => sim.choose(0, 1e6));
    sim.state.restore(saved);
    expect([1, 2, 3].map(() => sim.choose(0, 1e6))).toEqual(first);
  });
});

describe("fails", () => {
  test("never without an injection, always at a million, in proportion between", () => {
    const sim = new Sim(1, 1);
    const rate = () => Array.from({ length: 20_000 }, () => +sim.fails(0, "p")).reduce((s, x) => s + x, 0);
    expect(rate()).toBe(0);
    sim.injectFailure("p", 1_000_000);
    expect(rate()).toBe(20_000);
    sim.injectFailure("p", 250_000);
    expect(Math.abs(rate() - 5000)).toBeLessThan(300);
    expect(sim.fails(0, "q")).toBe(false);
    sim.injectFailure("p", 0);
    const before = sim.state.hash();
    expect(rate()).toBe(0);
    expect(sim.state.hash()).toBe(before);
  });

  test("is a choice of two where every boundary is a stop", () => {
    const sim = new Sim(1, 1), asked: number[] = [];
    sim.injectFailure("p", 1);
    sim.chooser = (_a, n) => (asked.push(n), 1);
    sim.horizonNs = -1;
    expect([sim.fails(0, "p"), sim.fails(0, "q"), asked]).toEqual([true, false, [2]]);
  });

  test("a deadline is time on the clock, and a choice (or never) in the explorer", () => {
    const sim = new Sim(1, 1), p = sim.spans.phase("p");
    expect(sim.expired(0, 100)).toBe(false);
    sim.spend(0, p, 100);
    expect(sim.expired(0, 100)).toBe(true);
    sim.horizonNs = -1;
    expect(sim.expired(0, 100)).toBe(false);
    sim.chooser = () => 1;
    sim.injectFailure("timeout", 1);
    expect(sim.expired(0, 1e12)).toBe(true);
  });
});

describe("time", () => {
  test("a resource serves first come, first served, and books the wait", () => {
    const sim = new Sim(1, 3), work = sim.spans.phase("work"), kind = sim.spans.kind("use");
    const r = sim.resource("bus"), other = sim.resource("bus");
    sim.spans.begin(1, kind);
    expect(sim.hold(0, r, work, 10)).toBe(0);
    expect(sim.hold(1, r, work, 10)).toBe(10);
    expect(sim.hold(2, other, work, 10)).toBe(0);
    sim.spans.end(1, kind);
    expect([...sim.nowNs]).toEqual([10, 20, 10]);
    const phases = sim.spans.phases().columns;
    expect(phases.phase).toEqual(["work", "wait: bus"]);
    expect([...phases.ns as Float64Array]).toEqual([10, 10]);
  });

  test("resetAccounts forgets times, counts and free times, and keeps the state", () => {
    const sim = new Sim(1, 2), work = sim.spans.phase("work"), r = sim.resource("bus");
    sim.hold(0, r, work, 10);
    const before = sim.state.hash();
    sim.resetAccounts();
    expect([...sim.nowNs]).toEqual([0, 0]);
    expect(sim.hold(1, r, work, 10)).toBe(0);
    expect(sim.state.hash()).toBe(before);
  });
});

describe("wake", () => {
  test("moves the sleeper to the waker's time and books the wait under the queue's kind", () => {
    const sim = new Sim(1, 3), work = sim.spans.phase("work"), kind = sim.spans.kind("sleep");
    const q = sim.queue("page lock 12"), log: string[] = [];
    function* sleeper(a: number): Proc {
      sim.spend(a, work, 5);
      sim.spans.begin(a, kind);
      yield q;
      log.push(`${a} at ${sim.nowNs[a]}`);
      sim.spans.end(a, kind);
    }
    function* waker(): Proc {
      if (sim.due(2)) yield DUE;
      sim.spend(2, work, 100);
      sim.wake(q);
    }
    complete(sim, [{ a: 0, proc: sleeper(0) }, { a: 1, proc: sleeper(1) }, { a: 2, proc: waker() }]);
    expect(log).toEqual(["0 at 100", "1 at 100"]);
    expect(sim.spans.phases().columns.phase).toEqual(["wait: page lock"]);
    expect(sim.spans.histogram("sleep").sumNs).toBe(190);
  });

  test("never moves a sleeper back in time", () => {
    const sim = new Sim(1, 2), work = sim.spans.phase("work"), q = sim.queue("q");
    function* sleeper(): Proc {
      sim.spend(0, work, 100);
      yield q;
    }
    function* waker(): Proc {
      if (sim.due(1)) yield DUE;
      sim.wake(q);
    }
    complete(sim, [{ a: 0, proc: sleeper() }, { a: 1, proc: waker() }]);
    expect([...sim.nowNs]).toEqual([100, 0]);
  });

  test("wakes only who sleeps on this queue", () => {
    const sim = new Sim(1, 2), q = sim.queue("q"), r = sim.queue("r");
    function* sleeper(on: number): Proc {
      yield on;
    }
    const actors = [{ a: 0, proc: sleeper(q) }, { a: 1, proc: sleeper(r) }];
    for (const actor of actors) resume(sim, actor);
    sim.wake(q);
    expect([...sim.waitingOn]).toEqual([DUE, r]);
  });
});

test("sleeping in an atomic context is an assertion", () => {
  const sim = new Sim(1, 1);
  sim.actorNames[0] = "worker";
  sim.mightSleep(0, "mutex");
  sim.enterAtomic(0);
  sim.enterAtomic(0);
  sim.exitAtomic(0);
  expect(() => sim.mightSleep(0, "mutex")).toThrow("worker would sleep in an atomic context: mutex");
  sim.exitAtomic(0);
  sim.mightSleep(0, "mutex");
});

test("a stop is due to who has reached the horizon", () => {
  const sim = new Sim(1, 2), p = sim.spans.phase("p"), stops: number[] = [];
  expect(sim.due(0)).toBe(false);
  sim.horizonNs = 5;
  expect(sim.due(0)).toBe(false);
  sim.spend(0, p, 5);
  expect([sim.due(0), sim.due(1)]).toEqual([true, false]);
  function* counting(a: number): Proc {
    for (let i = 0; i < 3; i++) {
      if (sim.due(a)) {
        stops.push(a);
        yield DUE;
      }
    }
  }
  steps(sim, [{ a: 0, proc: counting(0) }, { a: 1, proc: counting(1) }]);
  expect(stops).toEqual([0, 1, 0, 1, 0, 1]);
  expect(sim.horizonNs).toBe(5);
});

describe("reverts", () => {
  test("take known names only, and name those that there are", () => {
    defineRevert("test switch", "nothing goes wrong");
    expect([...reverts(["test switch"])]).toEqual(["test switch"]);
    expect(() => reverts(["tset switch"])).toThrow(UsageError);
    expect(() => reverts(["tset switch"])).toThrow("did you mean test switch?");
  });
});
