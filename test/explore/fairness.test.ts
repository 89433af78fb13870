import fc from "fast-check";
import { expect, test } from "vitest";
import { fairCycle } from "../../lib/explore/fairness.ts";
import { replayModel } from "../../lib/explore/replay.ts";
import { FAIR_LIVELOCK, type Model, Search } from "../../lib/explore/search.ts";
import { DUE, type Proc, Sim, site } from "../../lib/sim/sim.ts";

const AT_SPIN = site("test: spinning"), AT_HELD = site("test: holding one, trying the other");

function search(model: Model) {
  const s = new Search(model, { fair: true });
  s.run();
  return s.result();
}

test("who asks again until another has done its part is no livelock: that other is let go on", () => {
  const sim = new Sim(1, 3), cell = sim.state.u32("cell", 1);
  function* spin(a: number): Proc {
    while (cell[0] === 0) {
      sim.mark(a, AT_SPIN);
      yield DUE;
    }
  }
  function* set(a: number): Proc {
    sim.mark(a, AT_SPIN);
    yield DUE;
    cell[0] = 1;
  }
  const begin = () => [{ a: 1, proc: spin(1) }, { a: 2, proc: set(2) }];
  expect(search({ sim, begin })).toMatchObject({ exhaustive: true, violations: [] });
});

test("two who give up what they have because the other has what they want can do so for ever", () => {
  const sim = new Sim(1, 3), held = sim.state.u8("held", 2);
  function* both(a: number, first: number, second: number): Proc {
    for (;;) {
      if (held[first] === 0) {
        held[first] = 1;
        sim.mark(a, AT_HELD, first);
        yield DUE;
        held[first] = 0;
        if (held[second] === 0) return;
      }
      sim.mark(a, AT_SPIN, first);
      yield DUE;
    }
  }
  const model = { sim, begin: () => [{ a: 1, proc: both(1, 0, 1) }, { a: 2, proc: both(2, 1, 0) }] };
  const { violations: [found] } = search(model);
  expect(found.rule).toBe(FAIR_LIVELOCK);
  expect(replayModel(model, found.schedule).rule).toBe(FAIR_LIVELOCK);
  // One step less, and it has not come round.
  expect(replayModel(model, found.schedule.slice(0, -1)).rule).not.toBe(FAIR_LIVELOCK);
});

test("fairCycle() finds a cycle exactly where the states that lead to each other hold a fair one", () => {
  const edge = fc.tuple(fc.nat(5), fc.nat(5), fc.nat(2));
  fc.assert(fc.property(fc.array(edge, { maxLength: 14 }), (edges) => {
    const [from, to, actor] = [0, 1, 2].map((x) => edges.map((e) => e[x]));
    const found = fairCycle(6, { from, to, actor, decided: edges.map((_, i) => `(${i})`) }, 3);
    // Who leads to whom, by multiplying out.
    const leads = Array.from(
      { length: 6 },
      (_, s) => new Set(edges.filter((e) => e[0] === s).map((e) => e[1])),
    );
    for (let i = 0; i < 6; i++) {
      for (const set of leads) for (const t of [...set]) for (const u of leads[t]) set.add(u);
    }
    const fair = [0, 1, 2, 3, 4, 5].some((s) => {
      if (!leads[s].has(s)) return false;
      const all = [0, 1, 2, 3, 4, 5].filter((t) => leads[s].has(t) && leads[t].has(s));
      const inside = edges.filter((e) => all.includes(e[0]) && all.includes(e[1]));
      return [0, 1, 2].every((i) =>
        inside.some((e) => e[2] === i) || all.some((t) => !edges.some((e) => e[0] === t && e[2] === i))
      );
    });
    expect(found !== undefined).toBe(fair);
    if (found === undefined) return;
    let at = found.state;
    for (const [, i] of found.around.matchAll(/\((\d+)\)/g)) {
      expect(from[Number(i)]).toBe(at);
      at = to[Number(i)];
    }
    expect(at).toBe(found.state);
  }));
});
