import { expect, test } from "vitest";
import {
  describeDifference,
  differingFields,
  eventsByMm,
  playTranscript,
} from "../../lib/experiments/conformance/compare.ts";
import { conformanceSpec } from "../../lib/experiments/conformance/machine.ts";
import { FIELDS, type Observation, type Transcript } from "../../lib/experiments/conformance/transcript.ts";
import { parseOp } from "../../lib/experiments/conformance/program.ts";

const seen: Observation = {
  err: "",
  cpages: 2,
  faults: 1,
  data: [3, 4],
  sig: [[1, "SEGV", 2]],
  snap: "0202",
  ev: ["F:A+0:w:cpu:P", "S:CLEAR:P:A+0:1:-", "E:CLEAR:P:A+0:1:-"],
  pm: { P: { A: "AA" }, C: { A: "..", "A=": "--" } },
  sn: { A: "0202" },
  mr: { P0: { A: "w." } },
};

test.for<[field: typeof FIELDS[number], other: Partial<Observation>]>([
  ["err", { err: "EPERM" }],
  ["cpages", { cpages: 1 }],
  ["cpages", { cpages: undefined }],
  ["faults", { faults: 0 }],
  ["data", { data: [3, 5] }],
  ["data", { data: [3] }],
  ["sig", { sig: undefined }],
  ["sig", { sig: [[1, "SEGV", 1]] }],
  ["snap", { snap: "0201" }],
  ["pm", { pm: { P: { A: "Aa" }, C: { A: "..", "A=": "--" } } }],
  ["pm", { pm: { P: { A: "AA" } } }],
  ["pm", { pm: { P: { A: "AA" }, C: { A: "..", "A=": "-=" } } }],
  ["sn", { sn: { A: "02ff" } }],
  ["sn", { sn: undefined }],
  ["mr", { mr: { P0: { A: "r." } } }],
  ["mr", { mr: {} }],
  ["ev", { ev: [] }],
  ["ev", { ev: ["F:A+0:r:cpu:P", "S:CLEAR:P:A+0:1:-", "E:CLEAR:P:A+0:1:-"] }],
  ["ev", { ev: ["S:CLEAR:P:A+0:1:-", "F:A+0:w:cpu:P", "E:CLEAR:P:A+0:1:-"] }],
  ["ev", { ev: ["F:A+0:w:cpu:P", "S:CLEAR:P:A+0:2:-", "E:CLEAR:P:A+0:2:-"] }],
])("a difference in %s is found", ([field, other]) => {
  const lab = { ...seen, ...other };
  expect(differingFields(seen, lab, FIELDS, "w")).toEqual([field]);
  expect(differingFields(seen, lab, FIELDS.filter((f) => f !== field), "w")).toEqual([]);
});

test("the order of keys is no difference, and neither is that of events of different address spaces", () => {
  const reordered = { ...seen, pm: { C: { "A=": "--", A: ".." }, P: { A: "AA" } } };
  expect(differingFields(seen, reordered, FIELDS, "w")).toEqual([]);
  const ev = (...events: string[]) => ({ ...seen, ev: events });
  const p = ["S:CLEAR:P:A+0:1:-", "E:CLEAR:P:A+0:1:-"], c = ["S:CLEAR:C:A+0:1:-", "E:CLEAR:C:A+0:1:-"];
  expect(differingFields(ev(...p, ...c), ev(...c, ...p), FIELDS, "mig")).toEqual([]);
  expect(differingFields(ev(...p, ...c), ev(...c, p[1], p[0]), FIELDS, "mig")).toEqual(["ev"]);
  expect(eventsByMm(["F:A+0:r:cpu:C", "R:A+0", ...p], false)).toEqual({
    C: ["F:A+0:r:cpu:C", "R:A+0"],
    P: p,
  });
});

test("events of close, release and exit are compared as a set", () => {
  const at = (i: number) => [`S:CLEAR:P:A+${i}:1:-`, `E:CLEAR:P:A+${i}:1:-`];
  const one = { ...seen, ev: [...at(0), ...at(1)] }, other = { ...seen, ev: [...at(1), ...at(0), ...at(1)] };
  for (const op of ["close", "release", "exit"]) expect(differingFields(one, other, FIELDS, op)).toEqual([]);
  expect(differingFields(one, other, FIELDS, "mig")).toEqual(["ev"]);
  expect(differingFields(one, { ...seen, ev: at(0) }, FIELDS, "close")).toEqual(["ev"]);
});

/** A transcript of one process that writes two pages, with what Linux saw changed by `wrong`. */
function written(wrong: Partial<Observation>, nondet: string[] = []): Transcript {
  const lines = ["open 0", "mmap A ap 2 rw", "w A 0 2 3"];
  const empty = { err: "", ev: [], pm: { P: {} }, sn: {}, mr: { P0: {} } };
  const mapped = { ...empty, pm: { P: { A: ".." } }, sn: { A: "0000" }, mr: { P0: { A: ".." } } };
  const touched = {
    ...mapped,
    ev: ["F:A+0:w:cpu:P", "F:A+1:w:cpu:P"],
    pm: { P: { A: "AA" } },
    sn: { A: "0202" },
  };
  return {
    id: "written",
    thp: false,
    faultAroundBytes: 4096,
    ops: lines.map((line) => parseOp(line)),
    observed: [empty, mapped, { ...touched, ...wrong }],
    nondet,
  };
}

test("a program that agrees has no difference, with every runner", () => {
  const spec = conformanceSpec();
  for (const runner of ["complete", "clock", "steps"] as const) {
    expect(playTranscript(spec, written({}), runner, FIELDS)).toEqual({ id: "written" });
  }
});

test("the first difference names operation, both sides and both page maps", () => {
  const spec = conformanceSpec(), wrong = { pm: { P: { A: "AM" } }, ev: ["F:A+0:w:cpu:P"], err: "EPERM" };
  const { state, events } = playTranscript(spec, written(wrong), "complete", FIELDS);
  expect(state).toMatchObject({ op: 2, reason: "err" });
  expect(state!.text).toBe([
    "written: operation 3 of 3: w A 0 2 3",
    "  err, Linux: EPERM",
    "  err, lab  : success",
    "  map  Linux  lab",
    "  P A  AM     AA   <",
  ].join("\n"));
  expect(events).toMatchObject({ op: 2, reason: "ev" });
  expect(events!.text).toContain(
    "events, Linux: F:A+0:w:cpu:P\n  events, lab:   F:A+0:w:cpu:P F:A+1:w:cpu:P",
  );
  // Only what is asked for, and nothing that the transcript does not vouch for.
  expect(playTranscript(spec, written(wrong), "complete", ["ev"]).state).toBeUndefined();
  expect(playTranscript(spec, written(wrong), "complete", ["sn", "mr"])).toEqual({ id: "written" });
  expect(playTranscript(spec, written(wrong, ["err", "2:pm", "ev"]), "complete", FIELDS)).toEqual({
    id: "written",
  });
  expect(playTranscript(spec, written(wrong, ["err", "1:pm", "ev"]), "complete", FIELDS).state).toBeDefined();
});

test("what the model does not have counts as a difference and says so", () => {
  const t = written({}), bad = { ...t, ops: [...t.ops.slice(0, 2), parseOp("Q> w A 0 1 1")] };
  const { state, events } = playTranscript(conformanceSpec(), bad, "complete", FIELDS);
  expect(state?.reason).toMatch(/^not modelled: operation of process Q/);
  expect(events?.op).toBe(2);
});

test("long maps are shortened for people", () => {
  const long = (c: string) => ({ ...seen, pm: { P: { A: c.repeat(200) } } });
  const t: Transcript = { ...written({}), observed: [long("A")], ops: [parseOp("w A 0 1 1")] };
  expect(describeDifference(t, 0, long("M"), ["pm"])).toContain("P A  A{200}  M{200}   <");
});
