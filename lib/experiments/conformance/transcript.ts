/**
 * Transcripts: programs with what was observed after each operation, one JSON object a line.
 * @module
 */
import { UsageError } from "../../errors.ts";
import { LineError, MOST_PAGES, type Op, parseOp, type Program } from "./program.ts";

/** Pages of regions by region; a key like `A=` compares the frames of region A with those of the first process. */
export type RegionText = Readonly<Record<string, string>>;

/** A page at which a signal came: index in the range, signal, its code. */
export type Signal = readonly [index: number, signal: string, code: number];

/** What is seen after one operation. Page maps have one character (`sn`: two hexadecimal digits) a page. */
export interface Observation {
  /** Name of the errno, "" for success. */
  readonly err: string;
  readonly cpages?: number;
  readonly faults?: number;
  /** Words read, at most 64. */
  readonly data?: readonly number[];
  readonly sig?: readonly Signal[];
  /** Protection bytes of at most 64 pages. */
  readonly snap?: string;
  /** Events in order. */
  readonly ev: readonly string[];
  /** Page maps by process. */
  readonly pm: Readonly<Record<string, RegionText>>;
  /** Snapshot of every region by the first open file of the first process. */
  readonly sn?: RegionText;
  /** Mirrors by process and slot, such as P0. */
  readonly mr?: Readonly<Record<string, RegionText>>;
}

/** The fields that are compared as state. */
export const STATE_FIELDS = ["err", "cpages", "faults", "data", "sig", "snap", "pm", "sn", "mr"] as const;
/** All fields that can be compared. */
export const FIELDS = [...STATE_FIELDS, "ev"] as const;
/** Name of a field. */
export type FieldName = typeof FIELDS[number];

/** A program with what was observed after each of its operations. */
export interface Transcript extends Program {
  readonly observed: readonly Observation[];
  /** Fields that are not to be compared. */
  readonly nondet: readonly string[];
}

type Runs = string | readonly (readonly [string, number])[];

function fail(what: string): never {
  throw new UsageError(what);
}

function isObject(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

/** Most characters of a page map: two a page. */
const MOST_TEXT = 2 * MOST_PAGES;

/** A page map, written out where it is a list of runs. */
function expand(x: unknown, where: string): string {
  if (typeof x === "string") return x;
  if (!Array.isArray(x)) fail(`${where} is neither a string nor a list of [text, count]`);
  let length = 0;
  return (x as Runs & unknown[]).map((run: unknown) => {
    if (!Array.isArray(run) || typeof run[0] !== "string" || !Number.isInteger(run[1]) || run[1] < 0) {
      fail(`${where} has a run that is not [text, count]`);
    }
    const [text, count] = run as [string, number];
    length += text.length * count;
    if (length > MOST_TEXT) fail(`${where} has more than ${MOST_TEXT} characters`);
    return text.repeat(count);
  }).join("");
}

function regions(x: unknown, where: string): RegionText {
  if (!isObject(x)) fail(`${where} is no object`);
  return Object.fromEntries(Object.entries(x).map(([r, v]) => [r, expand(v, `${where}.${r}`)]));
}

function byKey(x: unknown, where: string): Record<string, RegionText> {
  if (!isObject(x)) fail(`${where} is no object`);
  return Object.fromEntries(Object.entries(x).map(([p, v]) => [p, regions(v, `${where}.${p}`)]));
}

function readObservation(o: Record<string, unknown>): Observation {
  if (typeof o.err !== "string") fail("err is no string");
  if (!Array.isArray(o.ev) || o.ev.some((e) => typeof e !== "string")) fail("ev is no list of strings");
  const seen: Record<string, unknown> = { err: o.err, ev: o.ev, pm: byKey(o.pm, "pm") };
  for (const field of ["cpages", "faults"]) {
    if (o[field] === undefined) continue;
    if (!Number.isInteger(o[field])) fail(`${field} is no whole number`);
    seen[field] = o[field];
  }
  if (o.data !== undefined) {
    if (!Array.isArray(o.data) || o.data.some((w) => !Number.isInteger(w))) fail("data is no list of words");
    seen.data = o.data;
  }
  if (o.sig !== undefined) {
    if (!Array.isArray(o.sig)) fail("sig is no list");
    seen.sig = o.sig;
  }
  if (o.snap !== undefined) seen.snap = expand(o.snap, "snap");
  if (o.sn !== undefined) seen.sn = regions(o.sn, "sn");
  if (o.mr !== undefined) seen.mr = byKey(o.mr, "mr");
  return seen as unknown as Observation;
}

function faultAround(fa: unknown): number {
  if (fa === undefined) return 4096;
  if (typeof fa === "number" && fa >= 4096 && fa % 4096 === 0 && fa <= 2 ** 21) return fa;
  fail("fa is no whole number of pages of 4096 bytes, at most 512");
}

/**
 * Reads one line of a transcript file.
 *
 * @param line one JSON object
 * @throws UsageError saying what is wrong, for an operation with its number and the column within it
 */
export function parseTranscript(line: string): Transcript {
  let x: unknown;
  try {
    x = JSON.parse(line);
  } catch (e) {
    fail(`no JSON: ${(e as Error).message}`);
  }
  if (!isObject(x)) fail("no JSON object");
  if (typeof x.id !== "string" || !Array.isArray(x.ops)) fail("a program needs id and ops");
  const ops: Op[] = [], observed: Observation[] = [];
  x.ops.forEach((o: unknown, i: number) => {
    try {
      if (!isObject(o) || typeof o.op !== "string") fail("no object with op");
      if (o.p !== undefined && !/^[A-Z]$/.test(String(o.p))) fail(`p is "${o.p}"; it is one capital letter`);
      ops.push(parseOp(o.op, (o.p as string | undefined) ?? "P"));
      observed.push(readObservation(o));
    } catch (e) {
      if (!(e instanceof UsageError)) throw e;
      const text = isObject(o) && e instanceof LineError ? ` of "${o.op}"` : "";
      fail(`operation ${i + 1}, ${e.message}${text}`);
    }
  });
  return {
    id: x.id,
    ...(typeof x.seed === "number" ? { seed: x.seed } : {}),
    thp: x.thp === 1 || x.thp === true,
    faultAroundBytes: faultAround(x.fa),
    ops,
    observed,
    nondet: Array.isArray(x.nondet) ? x.nondet.map(String) : [],
  };
}
