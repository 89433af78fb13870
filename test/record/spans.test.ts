import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Columns } from "../../lib/record/columns.ts";
import { Spans } from "../../lib/record/spans.ts";

const KINDS = ["fault", "migration", "invalidation"], PHASES = ["copy", "wait", "table", "never"];

/** One thing that an actor does: open a span, close the innermost, let time pass. */
const step = fc.record({
  a: fc.nat({ max: 2 }),
  what: fc.constantFrom("begin", "end", "spend", "spend"),
  kind: fc.nat({ max: KINDS.length - 1 }),
  phase: fc.nat({ max: PHASES.length - 2 }),
  ns: fc.nat({ max: 1e6 }),
});

function phaseSums(c: Columns): Map<string, number> {
  const sums = new Map<string, number>(), kind = c.columns.kind as string[] | undefined;
  kind?.forEach((k, i) => sums.set(k, (sums.get(k) ?? 0) + (c.columns.ns as Float64Array)[i]));
  return sums;
}

describe("Spans", () => {
  test("phases of a kind add up to its latencies, to the nanosecond, over random nested spans", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 300 }), (program) => {
      const s = new Spans(3), kinds = KINDS.map((k) => s.kind(k)), phases = PHASES.map((p) => s.phase(p));
      const open: number[][] = [[], [], []], total = [0, 0, 0];
      const latencies = new Map<string, number[]>();
      const since: number[][] = [[], [], []];
      const end = (a: number) => {
        const kind = open[a].pop()!, ns = s.end(a, kinds[kind]);
        expect(ns).toBe(total[a] - since[a].pop()!);
        latencies.set(KINDS[kind], [...latencies.get(KINDS[kind]) ?? [], ns]);
      };
      for (const { a, what, kind, phase, ns } of program) {
        // A span of a kind that is open already would count its inner time twice, as it should.
        if (what === "begin" && open[a].length < 8) {
          s.begin(a, kinds[kind]);
          open[a].push(kind);
          since[a].push(total[a]);
        } else if (what === "end" && open[a].length > 0) end(a);
        else if (what === "spend") {
          s.spend(a, phases[phase], ns);
          total[a] += ns;
        }
      }
      for (const a of [0, 1, 2]) while (open[a].length > 0) end(a);
      expect([...s.nowNs]).toEqual(total);
      const sums = phaseSums(s.phases());
      for (const k of KINDS) {
        const all = latencies.get(k) ?? [], h = s.histogram(k), sum = all.reduce((x, y) => x + y, 0);
        expect(h.count).toBe(all.length);
        expect(h.sumNs).toBe(sum);
        expect(sums.get(k) ?? 0).toBe(sum);
      }
      expect(s.phases().columns.phase ?? []).not.toContain("never");
    }));
  });

  test("a span must be closed by its own kind, innermost first", () => {
    const s = new Spans(1), outer = s.kind("outer"), inner = s.kind("inner");
    expect(() => s.end(0, outer)).toThrow('span "outer" of actor 0');
    s.begin(0, outer);
    s.begin(0, inner);
    expect(() => s.end(0, outer)).toThrow("is not the innermost open one");
    s.end(0, inner);
    s.end(0, outer);
    expect(s.openSpans(0)).toBe(0);
  });

  test("too deep a nest throws instead of writing into the next actor's spans", () => {
    const s = new Spans(2), k = s.kind("k");
    for (let i = 0; i < 8; i++) s.begin(0, k);
    expect(() => s.begin(0, k)).toThrow("nested deeper than 8");
  });

  test("the same name gives the same number", () => {
    const s = new Spans(1);
    expect([s.phase("x"), s.phase("y"), s.phase("x")]).toEqual([0, 1, 0]);
    expect([s.kind("x"), s.kind("y"), s.kind("x")]).toEqual([0, 1, 0]);
    for (let i = 0; i < 126; i++) s.phase(`p${i}`);
    expect(() => s.phase("one more")).toThrow("more than 128 phases");
  });

  test("kinds named later keep the phases of earlier ones", () => {
    const s = new Spans(1), p = s.phase("p"), first = s.kind("first");
    s.begin(0, first);
    s.spend(0, p, 5);
    s.kind("second");
    s.spend(0, p, 6);
    s.end(0, first);
    expect(phaseSums(s.phases()).get("first")).toBe(11);
  });

  test("reset begins afresh and leaves what readers hold", () => {
    const s = new Spans(1), p = s.phase("p"), k = s.kind("k");
    s.begin(0, k);
    s.spend(0, p, 5);
    s.end(0, k);
    s.begin(0, k);
    const held = s.histogram("k");
    s.reset();
    expect(held.count).toBe(1);
    expect([s.histogram("k").count, s.phases().numRows, s.openSpans(0)]).toEqual([0, 0, 0]);
    expect(s.summary().numRows).toBe(0);
  });

  test("a run that was cut short leaves no open span and no latency", () => {
    const s = new Spans(1), k = s.kind("k");
    s.begin(0, k);
    s.abandon(0);
    expect([s.openSpans(0), s.histogram("k").count]).toEqual([0, 0]);
  });

  test("digestParts change with a count, a sum and a phase", () => {
    const digest = (f: (s: Spans) => void) => {
      const s = new Spans(1);
      s.phase("p");
      s.phase("q");
      s.kind("k");
      s.begin(0, 0);
      f(s);
      return [...s.digestParts()].map((part) => [...part]);
    };
    const one = digest((s) => (s.spend(0, 0, 64), s.end(0, 0)));
    expect(digest((s) => (s.spend(0, 0, 64), s.end(0, 0)))).toEqual(one);
    expect(digest((s) => (s.spend(0, 1, 64), s.end(0, 0)))).not.toEqual(one);
    expect(digest((s) => (s.spend(0, 0, 65), s.end(0, 0)))).not.toEqual(one);
    expect(digest((s) => s.spend(0, 0, 64))).not.toEqual(one);
  });
});
