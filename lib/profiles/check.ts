/**
 * Checks that a profile has everything, in units and amounts that make sense, and names what has not.
 *
 * @module
 */

import * as v from "valibot";
import { UsageError } from "../errors.ts";
import { didYouMean } from "../arguments.ts";
import {
  CERTAINTIES,
  type Certainty,
  inFirstUnit,
  isKind,
  PARAMETERS,
  type ParameterSpec,
  type ProfileKind,
  type Specs,
  toWhole,
} from "./parameters.ts";

/** One parameter of a profile, with what is needed to judge it. */
export interface Parameter {
  /** The amount, in `unit`. */
  readonly value: number;
  /** The unit of `value`: "us", "GiB", "GB/s", "cores". */
  readonly unit: string;
  /** The hardware (or the simulator's model of it) that the value belongs to. */
  readonly hardware: string;
  /** Where the value comes from: work and table, figure or address; for an assumed one, why this value. */
  readonly source: string;
  /** How far the value can be trusted. */
  readonly certainty: Certainty;
  /** What else a reader must know. */
  readonly note?: string;
}

/** A profile as a JSON file holds it. */
export interface ProfileData {
  /** The name by which it is asked for, in lower case with hyphens. */
  readonly name: string;
  /** What the hardware is. */
  readonly kind: ProfileKind;
  /** The hardware in words. */
  readonly title: string;
  /** The profile whose parameters hold where this one has none of its own. */
  readonly extends?: string;
  /** The parameters by name. */
  readonly parameters: Readonly<Record<string, Parameter>>;
}

const NAME = /^[a-z0-9]+([.-][a-z0-9]+)*$/;
const words = v.pipe(v.string(), v.regex(/\S/));
const name = v.pipe(v.string(), v.regex(NAME));
const SHAPE = v.strictObject({
  $schema: v.optional(v.string()),
  name,
  kind: v.picklist(Object.keys(PARAMETERS) as ProfileKind[]),
  title: words,
  extends: v.optional(name),
  parameters: v.record(
    v.string(),
    v.strictObject({
      value: v.pipe(v.number(), v.finite()),
      unit: words,
      hardware: words,
      source: words,
      certainty: v.picklist(CERTAINTIES as Certainty[]),
      note: v.optional(words),
    }),
  ),
});

const PROFILE_HAS = "a profile has name, kind, title, parameters";
const SHAPES: Readonly<Record<string, string>> = {
  Object: "an object with named fields",
  number: "a number",
  string: "a text",
};

function complaint(issue: v.BaseIssue<unknown>): string {
  const at = v.getDotPath(issue)?.replace(/^parameters\./, "") ?? "the profile";
  if (issue.type === "strict_object" && issue.expected === "never") {
    return `${at}: no such key; it must be left out`;
  }
  if (issue.type === "strict_object" && issue.received === "undefined") {
    const inParameter = issue.path !== undefined && issue.path.length > 1;
    const has = inParameter ? "a parameter has value, unit, hardware, source, certainty" : PROFILE_HAS;
    return `${at}: missing; ${has}`;
  }
  return `${at}: got ${issue.received}; allowed is ${allowed(issue)}`;
}

function allowed(issue: v.BaseIssue<unknown>): string {
  if (issue.type === "regex") {
    return issue.requirement === NAME
      ? "a name in lower case with hyphens, such as titan-v"
      : "a text with words";
  }
  if (issue.type === "finite") return "a finite number";
  const expected = String(issue.expected);
  return SHAPES[expected] ?? expected;
}

function rangeOf(spec: ParameterSpec): string {
  const multiple = spec.multipleOf === 1 ? "a whole number" : `a multiple of ${spec.multipleOf}`;
  return `${multiple} in ${spec.least} .. ${spec.most} ${spec.units[0]}`;
}

function parameterComplaints(key: string, p: Parameter, spec: ParameterSpec): string[] {
  if (!spec.units.includes(p.unit)) {
    return [`${key}.unit: got "${p.unit}"; allowed is one of ${spec.units.join(", ")}`];
  }
  const found: string[] = [];
  const whole = toWhole(spec, p.value, p.unit);
  // A time or a rate may be rounded to what the model counts; half a core or half a byte is a slip.
  const mayRound = spec.suffix === "Ns" || spec.suffix === "BytesPerSecond";
  const rounded = Math.abs(inFirstUnit(spec, p.value, p.unit) - whole) > 0.01;
  if (
    (rounded && !mayRound) || p.value < 0 || whole < spec.least || whole > spec.most ||
    whole % spec.multipleOf !== 0
  ) {
    const compiled = p.unit === spec.units[0] ? "" : ` (${whole} ${spec.units[0]})`;
    found.push(`${key}.value: got ${p.value} ${p.unit}${compiled}; allowed is ${rangeOf(spec)}`);
  }
  if (p.certainty !== "assumed" && /\brecall/i.test(`${p.source} ${p.note ?? ""}`)) {
    found.push(`${key}.certainty: got "${p.certainty}"; what is only recalled is allowed as "assumed"`);
  }
  return found;
}

/** A device's memory moves in powers of two that fit it. */
function powerComplaints(data: ProfileData, key: "granule" | "chunk"): string[] {
  const specs: Specs = PARAMETERS[data.kind], { memory, [key]: asked } = data.parameters;
  const [most, given] = [
    toWhole(specs.memory, memory.value, memory.unit),
    toWhole(specs[key], asked.value, asked.unit),
  ];
  if (given <= most && (given & (given - 1)) === 0) return [];
  return [`${key}.value: got ${given} B; allowed is a power of two of at most the memory, ${most} B`];
}

function keyComplaints(data: ProfileData): string[] {
  const specs = PARAMETERS[data.kind];
  const found: string[] = [];
  for (const [key, p] of Object.entries(data.parameters)) {
    if (Object.hasOwn(specs, key)) found.push(...parameterComplaints(key, p, specs[key]));
    else found.push(`${key}: ${unknownParameter(data.kind, key)}`);
  }
  for (const key of Object.keys(specs)) {
    if (!Object.hasOwn(data.parameters, key)) {
      found.push(`${key}: missing; allowed is ${rangeOf(specs[key])}`);
    }
  }
  if (found.length === 0 && isKind(data.kind, "device")) {
    found.push(...powerComplaints(data, "granule"));
    if (data.kind === "gpu") found.push(...powerComplaints(data, "chunk"));
  }
  return found;
}

/** What a profile of a kind takes from its parent: a device that extends a GPU leaves out what only a GPU has. */
function inheritedBy(kind: ProfileKind, parent: ProfileData): ProfileData["parameters"] {
  const own = Object.entries(parent.parameters).filter(([key]) => Object.hasOwn(PARAMETERS[kind], key));
  return Object.fromEntries(own);
}

/**
 * Says that a kind of hardware has no such parameter.
 *
 * @param kind What the hardware is.
 * @param key The name that was given.
 * @returns The rest of a message: what is allowed and what was probably meant.
 */
export function unknownParameter(kind: ProfileKind, key: string): string {
  const names = Object.keys(PARAMETERS[kind]);
  return `no such parameter of a ${kind}; allowed is one of ${names.join(", ")}${didYouMean(key, names)}`;
}

/**
 * Checks a profile as it came out of a file, and fills in what it inherits.
 *
 * @param x Anything.
 * @param parent Finds a profile by name and kind; throws a UsageError when there is none.
 * @returns The profile with every parameter of its kind.
 * @throws {UsageError} If anything is missing, unknown, in a wrong unit or senseless: one line for each, with what was
 * given and what is allowed.
 */
export function checkData(x: unknown, parent: (name: string, kind: ProfileKind) => ProfileData): ProfileData {
  const result = v.safeParse(SHAPE, x);
  const given = typeof x === "object" && x !== null && "name" in x && typeof x.name === "string"
    ? ` "${x.name}"`
    : "";
  const fail = (complaints: readonly string[]): never => {
    const list = complaints.length === 1 ? ` ${complaints[0]}` : complaints.map((c) => `\n- ${c}`).join("");
    throw new UsageError(`Cannot use profile${given}:${list}`);
  };
  if (!result.success) return fail(result.issues.map(complaint));
  const { $schema: _, ...own } = result.output;
  const inherited = own.extends === undefined ? {} : inheritedBy(own.kind, parent(own.extends, own.kind));
  const data = { ...own, parameters: { ...inherited, ...own.parameters } };
  const complaints = keyComplaints(data);
  return complaints.length > 0 ? fail(complaints) : data;
}
