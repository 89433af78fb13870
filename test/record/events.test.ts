import { describe, expect, test } from "vitest";
import { columnsOf } from "../../lib/record/columns.ts";
import { Counters } from "../../lib/record/counters.ts";
import { DISPLAY, isDisplayable } from "../../lib/record/display.ts";
import { EventLog } from "../../lib/record/events.ts";
import { Spans } from "../../lib/record/spans.ts";

describe("EventLog", () => {
  test("is bounded: it keeps the first rows and counts the rest", () => {
    const log = new EventLog();
    log.start(3);
    for (let i = 0; i < 5; i++) log.add(i, 10 * i, 1, i % 2, 2 ** 32 + i, 7);
    expect([log.rows, log.dropped]).toEqual([3, 2]);
    const c = log.columns(["even", "odd"]);
    expect(c.title).toBe("Events (2 more did not fit)");
    expect(c.numRows).toBe(3);
    expect(c.columns.kind).toEqual(["even", "odd", "even"]);
    expect([...c.columns.vpn as Float64Array]).toEqual([2 ** 32, 2 ** 32 + 1, 2 ** 32 + 2]);
    for (const data of Object.values(c.columns)) expect(data).toHaveLength(3);
    log.start(2);
    expect([log.rows, log.dropped]).toEqual([0, 0]);
  });

  test("takes nothing while it is off", () => {
    const s = new Spans(1), k = s.kind("k"), p = s.phase("p");
    s.begin(0, k);
    s.end(0, k);
    expect(s.events.rows).toBe(0);
    s.events.start(10);
    s.begin(0, k, 99);
    s.spend(0, p, 4);
    s.end(0, k, 3);
    expect(s.events.columns(["k"]).columns).toMatchObject({
      startNs: Float64Array.of(0),
      durationNs: Float64Array.of(4),
      vpn: Float64Array.of(99),
      pages: Uint32Array.of(3),
    });
  });
});

describe("Counters", () => {
  test("have one number a name and show what is not zero", () => {
    const c = new Counters(), faults = c.define("faults"), moves = c.define("moves");
    expect(c.define("faults")).toBe(faults);
    c.values[moves] += 2;
    expect([c.get("faults"), c.get("moves"), c.get("nobody")]).toEqual([0, 2, 0]);
    expect(c.columns().columns.counter).toEqual(["moves"]);
  });

  test("refuse one too many", () => {
    const c = new Counters();
    for (let i = 0; i < c.values.length; i++) c.define(`c${i}`);
    expect(() => c.define("one more")).toThrow("more than 128 counters");
  });
});

test("columnsOf tells numbers from names by the first row", () => {
  const c = columnsOf("t", [{ name: "a", n: 1 }, { name: "b", n: 2 }], { n: "ns" });
  expect(c).toEqual({
    title: "t",
    numRows: 2,
    columns: { name: ["a", "b"], n: Float64Array.of(1, 2) },
    units: { n: "ns" },
  });
  expect(columnsOf("empty", [])).toEqual({ title: "empty", numRows: 0, columns: {}, units: {} });
});

test("isDisplayable knows what show can print", () => {
  expect(isDisplayable({ [DISPLAY]: () => ({ text: "x" }) })).toBe(true);
  for (const x of [null, undefined, 3, "x", {}]) expect(isDisplayable(x)).toBe(false);
});
