/**
 * Holds the lab's observations against a transcript's, and says the first difference as a person wants to read it.
 * @module
 */
import type { MachineSpec } from "../../machine/spec.ts";
import type { RunnerName } from "./machine.ts";
import { NotModelled, Player } from "./player.ts";
import { printOp } from "./program.ts";
import { type FieldName, type Observation, STATE_FIELDS, type Transcript } from "./transcript.ts";

/** The first place where a program's play differs from its transcript. */
export interface Difference {
  /** Index of the operation. */
  readonly op: number;
  /** The field that differs, "not modelled: …", or "threw". */
  readonly reason: string;
  /** What Linux did and what the lab did, as lines. */
  readonly text: string;
}

/** What came of one program. */
export interface Verdict {
  readonly id: string;
  /** First difference of the state fields, if any. */
  readonly state?: Difference;
  /** First difference of the events, if any. */
  readonly events?: Difference;
}

/** Operations whose pairs of events come in the order of device frames, and so are sorted in transcripts. */
const SORTED: ReadonlySet<string> = new Set(["close", "release", "exit"]);

/**
 * Events by address space, in order within each: the order across address spaces is not compared.
 *
 * @param ev events as transcripts write them
 * @param sorted whether the order says nothing
 */
export function eventsByMm(ev: readonly string[], sorted: boolean): Record<string, string[]> {
  const groups: Record<string, string[]> = {};
  let faulting = "";
  for (const e of ev) {
    const parts = e.split(":");
    if (parts[0] === "F") faulting = parts[4];
    const mm = parts[0] === "F" || parts[0] === "R" ? faulting : parts[2];
    (groups[mm] ??= []).push(e);
  }
  if (sorted) { for (const mm of Object.keys(groups)) groups[mm] = [...new Set(groups[mm])].sort(); }
  return groups;
}

/** A form of a field's value in which equal things are equal texts. */
function canonical(o: Observation, field: FieldName, op: string): string {
  if (field !== "ev") return text(o[field]);
  const groups = eventsByMm(o.ev, SORTED.has(op));
  return Object.keys(groups).sort().map((mm) => groups[mm].join(" ")).join("\n");
}

function text(x: unknown): string {
  if (x === undefined) return "";
  if (typeof x !== "object" || x === null) return JSON.stringify(x);
  if (Array.isArray(x)) return `[${x.map(text).join(",")}]`;
  return `{${
    Object.entries(x).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) => `${k}:${text(v)}`).join(",")
  }}`;
}

/** Whether a transcript says that a field is not to be compared: by its name, or for one operation by `N:name`. */
function undetermined(t: Transcript, op: number, field: string): boolean {
  return t.nondet.some((n) => n === field || n === `${op}:${field}`);
}

/**
 * The fields in which two observations of an operation differ.
 *
 * @param fields which to look at
 * @param op name of the operation
 */
export function differingFields(
  linux: Observation,
  lab: Observation,
  fields: readonly FieldName[],
  op: string,
): FieldName[] {
  return fields.filter((f) => canonical(linux, f, op) !== canonical(lab, f, op));
}

/** Long runs of one character shortened, for people. */
function short(map: string): string {
  return map.length <= 96 ? map : map.replace(/(.)\1{7,}/g, (run, c) => `${c}{${run.length}}`);
}

function lines(title: string, x: unknown, indent: string): string[] {
  if (x === undefined) return [`${indent}${title}: nothing`];
  if (typeof x !== "object" || x === null || Array.isArray(x)) {
    return [
      `${indent}${title}: ${typeof x === "string" ? x === "" ? "success" : short(x) : JSON.stringify(x)}`,
    ];
  }
  const entries = Object.entries(x as Record<string, unknown>);
  return entries.flatMap(([k, v]) =>
    typeof v === "object" ? lines(`${title} ${k}`, v, indent) : [
      `${indent}${title} ${k}: ${short(String(v))}`,
    ]
  );
}

/** Both page maps beside each other, one region a line. */
function sideBySide(linux: Observation, lab: Observation): string[] {
  const rows: [string, string, string][] = [];
  for (const p of new Set([...Object.keys(linux.pm), ...Object.keys(lab.pm)])) {
    const a = linux.pm[p] ?? {}, b = lab.pm[p] ?? {};
    for (const r of new Set([...Object.keys(a), ...Object.keys(b)])) {
      rows.push([`${p} ${r}`, short(a[r] ?? "no such map"), short(b[r] ?? "no such map")]);
    }
  }
  const width = Math.max(5, ...rows.map(([, a]) => a.length)),
    names = Math.max(3, ...rows.map(([n]) => n.length));
  return [
    `  ${"map".padEnd(names)}  ${"Linux".padEnd(width)}  lab`,
    ...rows.map(([n, a, b]) => `  ${n.padEnd(names)}  ${a.padEnd(width)}  ${b}${a === b ? "" : "   <"}`),
  ];
}

/**
 * Says a difference.
 *
 * @param i index of the operation
 * @param fields the fields that differ
 */
export function describeDifference(
  t: Transcript,
  i: number,
  lab: Observation,
  fields: readonly FieldName[],
): string {
  const linux = t.observed[i];
  const said = fields.flatMap((f) => {
    if (f === "pm") return [];
    if (f !== "ev") return [...lines(`${f}, Linux`, linux[f], "  "), ...lines(`${f}, lab  `, lab[f], "  ")];
    return [
      `  events, Linux: ${linux.ev.join(" ") || "none"}`,
      `  events, lab:   ${lab.ev.join(" ") || "none"}`,
    ];
  });
  return [
    `${t.id}: operation ${i + 1} of ${t.ops.length}: ${printOp(t.ops[i])}`,
    ...said,
    ...sideBySide(linux, lab),
  ].join("\n");
}

/**
 * Plays a transcript's program and compares.
 *
 * @param spec of `conformanceSpec()`
 * @param runner how operations are driven
 * @param fields which to compare
 * @returns the first difference of state and of events, if there is one
 */
export function playTranscript(
  spec: MachineSpec,
  t: Transcript,
  runner: RunnerName,
  fields: readonly FieldName[],
): Verdict {
  const stateFields = fields.filter((f) => f !== "ev"), watchEvents = fields.includes("ev");
  let state: Difference | undefined, events: Difference | undefined, i = -1;
  const ended = () =>
    (state !== undefined || stateFields.length === 0) && (events !== undefined || !watchEvents);
  try {
    const player = new Player(spec, t, runner);
    for (i = 0; i < t.ops.length && !ended(); i++) {
      const lab = player.step(t.ops[i]), linux = t.observed[i], name = t.ops[i].name;
      const differ = (among: readonly FieldName[]) =>
        differingFields(linux, lab, among.filter((f) => !undetermined(t, i, f)), name);
      if (state === undefined && stateFields.length > 0) {
        const found = differ(stateFields);
        if (found.length > 0) {
          state = { op: i, reason: found[0], text: describeDifference(t, i, lab, found) };
        }
      }
      if (events === undefined && watchEvents && differ(["ev"]).length > 0) {
        events = { op: i, reason: "ev", text: describeDifference(t, i, lab, ["ev"]) };
      }
    }
  } catch (e) {
    const at = i < 0 ? t.id : `${t.id}: operation ${i + 1} of ${t.ops.length}: ${printOp(t.ops[i])}`;
    const failure: Difference = e instanceof NotModelled
      ? { op: i, reason: e.message, text: `${at}\n  ${e.message}` }
      : {
        op: i,
        reason: `threw: ${e instanceof Error ? e.message.split("\n")[0].replace(/\d+/g, "N") : String(e)}`,
        text: `${at}\n  the lab threw: ${e instanceof Error ? e.stack ?? e.message : String(e)}`,
      };
    if (stateFields.length > 0) state ??= failure;
    if (watchEvents) events ??= failure;
  }
  return { id: t.id, ...(state ? { state } : {}), ...(events ? { events } : {}) };
}

export { STATE_FIELDS };
