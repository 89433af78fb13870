import { expect, test } from "vitest";
import { replayModel } from "../../lib/explore/replay.ts";
import { type Model, Search } from "../../lib/explore/search.ts";
import { Locks } from "../../lib/sim/locks.ts";
import { DUE, type Proc, Sim, site } from "../../lib/sim/sim.ts";

const AT_WORK = site("test: between two locks"),
  AT_SPIN = site("test: spinning"),
  AT_ADD = site("test: adding");

function search(model: Model, options = {}) {
  const s = new Search(model, options);
  s.run();
  return s.result();
}

/** Two actors that take two mutexes, the second one in the given order. */
function twoLocks(reversed: boolean): Model {
  const sim = new Sim(1, 3),
    locks = new Locks(sim, 2),
    first = locks.make("first"),
    second = locks.make("second");
  sim.actorNames[1] = "P0";
  sim.actorNames[2] = "P1";
  function* both(a: number, x: number, y: number): Proc {
    yield* locks.lock(a, x);
    sim.call(a, AT_WORK, x);
    yield* locks.lock(a, y);
    sim.ret(a);
    locks.unlock(a, y);
    locks.unlock(a, x);
  }
  return {
    sim,
    begin: () => [
      { a: 1, proc: both(1, first, second) },
      { a: 2, proc: reversed ? both(2, second, first) : both(2, first, second) },
    ],
  };
}

test("Search finds the deadlock of two locks taken in opposite orders, names the holders, and replays it", () => {
  const model = twoLocks(true), { violations: [found] } = search(model);
  expect(found.rule).toMatch(/^deadlock: P0 waits for second, held by P1.*; P1 waits for first, held by P0/);
  expect(replayModel(model, found.schedule).rule).toBe("deadlock");
  expect(search(twoLocks(false))).toMatchObject({ exhaustive: true, violations: [] });
});

/** Two actors that add to a cell: read, stop, write. With `atomic` there is no stop in between. */
function counter(atomic: boolean): Model {
  const sim = new Sim(1, 3), cell = sim.state.u32("cell", 1);
  function* add(a: number): Proc {
    const read = cell[0];
    if (!atomic && sim.due(a)) {
      sim.mark(a, AT_ADD, read);
      yield DUE;
    }
    cell[0] = read + 1;
  }
  return {
    sim,
    begin: () => [{ a: 1, proc: add(1) }, { a: 2, proc: add(2) }],
    checkEnd: () => cell[0] === 2 ? undefined : "lost update",
    outcome: () => String(cell[0]),
  };
}

test("Search finds every outcome of a race, and the rule that one of them breaks", () => {
  const racing = search(counter(false), { all: true });
  expect([...racing.outcomes.keys()].sort()).toEqual(["1", "2"]);
  expect(racing.violations[0].rule).toBe("lost update");
  expect([...search(counter(true), { all: true }).outcomes.keys()]).toEqual(["2"]);
});

test("Search with visited states finds the same outcomes as every schedule run to its end", () => {
  const merged = search(counter(false), { all: true }),
    full = search(counter(false), { all: true, visited: false });
  expect([...merged.outcomes.keys()].sort()).toEqual([...full.outcomes.keys()].sort());
  expect(merged.transitions).toBeLessThanOrEqual(full.transitions);
});

test("Search branches at a choice, and its schedules name it", () => {
  const sim = new Sim(1, 2);
  let drawn = -1;
  function* roll(a: number): Proc {
    drawn = sim.choose(a, 3);
    sim.note(a, drawn);
    sim.mark(a, AT_ADD, drawn);
    yield DUE;
  }
  const model: Model = { sim, begin: () => [{ a: 1, proc: roll(1) }], outcome: () => `rolled ${drawn}` };
  const { outcomes } = search(model);
  expect(Object.fromEntries(outcomes)).toEqual({ "rolled 0": "?0", "rolled 1": "?1", "rolled 2": "?2" });
  replayModel(model, "?2");
  expect(drawn).toBe(2);
});

test("Search calls it a livelock when no schedule ends any more", () => {
  const sim = new Sim(1, 3), cell = sim.state.u32("cell", 1);
  function* spin(a: number): Proc {
    while (cell[0] !== 2) {
      sim.mark(a, AT_SPIN);
      yield DUE;
    }
  }
  // deno-lint-ignore require-yield -- an actor that ends at once
  function* set(value: number): Proc {
    cell[0] = value;
  }
  const model = (value: number): Model => ({
    sim,
    begin: () => [{ a: 1, proc: spin(1) }, { a: 2, proc: set(value) }],
  });
  expect(search(model(1)).violations).toEqual([{
    rule: "livelock: from here no schedule ends",
    schedule: expect.any(String),
  }]);
  expect(search(model(2))).toMatchObject({ exhaustive: true, violations: [] });
});

test("Search reports what the model throws as a broken rule with its schedule", () => {
  const sim = new Sim(1, 3), cell = sim.state.u32("cell", 1);
  function* first(a: number): Proc {
    cell[0] = 1;
    sim.mark(a, AT_ADD);
    yield DUE;
    cell[0] = 0;
  }
  // deno-lint-ignore require-yield -- an actor that ends at once
  function* second(): Proc {
    if (cell[0] === 1) throw new Error("met in the middle");
  }
  const model: Model = { sim, begin: () => [{ a: 1, proc: first(1) }, { a: 2, proc: second() }] };
  const { violations: [found] } = search(model);
  expect(found.rule).toBe("error: met in the middle");
  expect(replayModel(model, found.schedule).rule).toBe("error: met in the middle");
});

test("Search says when it stopped at its limit of states", () => {
  expect(search(twoLocks(false), { maxStates: 3 })).toMatchObject({ exhaustive: false, violations: [] });
});

test("replayModel() refuses a schedule of another model", () => {
  expect(() => replayModel(counter(false), "9")).toThrow(/Cannot replay "9"/);
  expect(() => replayModel(counter(false), "?0")).toThrow(/it is of another model/);
  expect(() => replayModel(counter(true), "0101010101")).toThrow(/goes on after everything has ended/);
});
