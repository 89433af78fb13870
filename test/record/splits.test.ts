import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import type { Columns } from "../../lib/record/columns.ts";
import { Spans } from "../../lib/record/spans.ts";
import { NOT_KEPT, splits } from "../../lib/record/splits.ts";

const KINDS = ["fault", "migration"], PHASES = ["copy", "wait", "table"];

/** One thing that an actor does: open a span, close the innermost, let time pass. */
const step = fc.record({
  a: fc.nat({ max: 2 }),
  what: fc.constantFrom("begin", "end", "spend", "spend", "spend"),
  kind: fc.nat({ max: 1 }),
  phase: fc.nat({ max: 2 }),
  ns: fc.nat({ max: 20 }),
});

/** Does the steps; returns the accounts and, by event in their order, what each phase should have. */
function play(
  program: readonly { a: number; what: string; kind: number; phase: number; ns: number }[],
  room = 1e4,
) {
  const s = new Spans(3), kinds = KINDS.map((k) => s.kind(k)), phases = PHASES.map((p) => s.phase(p));
  s.events.start(1e4);
  s.slices.start(room);
  const open: { kind: number; parts: number[] }[][] = [[], [], []], expected: number[][] = [];
  const end = (a: number) => {
    const { kind, parts } = open[a].pop()!;
    s.end(a, kinds[kind]);
    expected.push(parts);
  };
  for (const { a, what, kind, phase, ns } of program) {
    if (what === "begin" && open[a].length < 8) {
      s.begin(a, kinds[kind]);
      open[a].push({ kind, parts: [0, 0, 0] });
    } else if (what === "end" && open[a].length > 0) end(a);
    else if (what === "spend") {
      s.spend(a, phases[phase], ns);
      for (const { parts } of open[a]) parts[phase] += ns;
    }
  }
  for (const a of [0, 1, 2]) while (open[a].length > 0) end(a);
  return { s, expected, split: splits(s.events.columns(KINDS), s.slices.columns(PHASES)) };
}

function cells(split: Columns, i: number): number[] {
  return PHASES.map((phase) => Number(split.columns[phase]?.[i] ?? 0));
}

function phasesOf(s: Spans, name: string): Map<string, number> {
  const { kind, phase, ns } = s.phases().columns, found = new Map<string, number>();
  (kind as string[] | undefined)?.forEach((k, i) => k === name && found.set(String(phase[i]), Number(ns[i])));
  return found;
}

describe("splits()", () => {
  test("gives each span what it spent, whatever is nested in it", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (program) => {
      const { expected, split } = play(program);
      expect(split.numRows).toBe(expected.length);
      expect(expected.map((_, i) => cells(split, i))).toEqual(expected);
      expect(split.columns[NOT_KEPT]).toBeUndefined();
    }));
  });

  test("says what a full log has not kept, and the parts still add up", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 1, max: 10 }), (program, room) => {
        const { s, split } = play(program, room);
        for (let i = 0; i < split.numRows; i++) {
          const rest = Number(split.columns[NOT_KEPT]?.[i] ?? 0);
          expect(rest).toBeGreaterThanOrEqual(0);
          expect(cells(split, i).reduce((x, y) => x + y, rest)).toBe(split.columns.durationNs[i]);
        }
        expect(s.slices.rows).toBeLessThanOrEqual(room);
        if (s.slices.dropped > 0) expect(s.slices.columns(PHASES).title).toContain("more did not fit");
      }),
    );
  });

  test("gives overlapping latencies their own parts, not what their actor did meanwhile", () => {
    const latency = fc.record({
      startNs: fc.nat({ max: 50 }),
      parts: fc.array(fc.nat({ max: 9 }), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(
        fc.array(latency, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 80 }),
        (all, room) => {
          const s = new Spans(2),
            far = s.kind("far"),
            work = s.kind("work"),
            phases = PHASES.map((p) => s.phase(p));
          s.events.start(100);
          s.slices.start(room);
          s.begin(1, work);
          for (const { startNs, parts } of all) {
            s.spend(1, phases[0], 3);
            parts.forEach((ns, i) => s.book(far, phases[i], ns));
            s.overlapping(1, far, startNs, parts.reduce((x, y) => x + y, 0), 7);
          }
          s.end(1, work);
          const split = splits(s.events.columns(["far", "work"]), s.slices.columns(PHASES)),
            whole = s.slices.dropped === 0;
          all.forEach(({ parts }, i) => {
            const rest = Number(split.columns[NOT_KEPT]?.[i] ?? 0);
            expect(cells(split, i).reduce((x, y) => x + y, rest)).toBe(split.columns.durationNs[i]);
            if (whole) expect(cells(split, i)).toEqual(PHASES.map((_, p) => parts[p] ?? 0));
          });
          if (whole) expect(cells(split, all.length)).toEqual([3 * all.length, 0, 0]);
          const sums = phasesOf(s, "far");
          expect(PHASES.map((p) => sums.get(p) ?? 0)).toEqual(
            PHASES.map((_, p) => all.reduce((sum, { parts }) => sum + (parts[p] ?? 0), 0)),
          );
        },
      ),
    );
  });

  test("names the column that a table lacks", () => {
    const { s } = play([]);
    const events = s.events.columns(KINDS);
    expect(() => splits(events, events)).toThrow(UsageError);
    expect(() => splits(events, events)).toThrow("got a table without phase");
  });
});

test("a log of slices grows to its limit and no further", () => {
  const s = new Spans(1), k = s.kind("k"), p = s.phase("p"), q = s.phase("q");
  s.slices.start(5000);
  s.begin(0, k);
  for (let i = 0; i < 3000; i++) {
    s.spend(0, p, 1);
    s.spend(0, q, 2);
  }
  expect([s.slices.rows, s.slices.dropped]).toEqual([5000, 1000]);
  const { columns } = s.slices.columns(["p", "q"]);
  expect(columns.startNs[4999]).toBe(2499 * 3 + 1);
  expect(columns.phase[4999]).toBe("q");
});

test("stretches outside of spans are not logged, and those of one phase are one row", () => {
  const s = new Spans(1), k = s.kind("k"), p = s.phase("p");
  s.slices.start(100);
  s.spend(0, p, 5);
  s.begin(0, k);
  s.spend(0, p, 1);
  s.spend(0, p, 2);
  s.end(0, k);
  s.spend(0, p, 7);
  const { columns, numRows } = s.slices.columns(["p"]);
  expect([numRows, columns.startNs[0], columns.durationNs[0]]).toEqual([1, 5, 3]);
});

test("time of spans that were cut short is known apart from latencies", () => {
  const s = new Spans(1), outer = s.kind("outer"), inner = s.kind("inner"), p = s.phase("p");
  s.begin(0, outer);
  s.spend(0, p, 5);
  s.begin(0, inner);
  s.spend(0, p, 2);
  s.abandon(0);
  expect([s.cutShort("outer"), s.cutShort("inner"), s.cutShort("none")]).toEqual([7, 2, 0]);
  expect(s.phases().columns.ns).toEqual(Float64Array.of(7, 2));
  s.reset();
  expect(s.cutShort("outer")).toBe(0);
});
