/**
 * Programs as the transcripts write them: one operation a line, read with errors that name line and column, and printed.
 * @module
 */
import { didYouMean } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";

/** What a mapping is of. */
export type MapKind = "ap" | "as" | "fp" | "fs" | "hp" | "dp";
/** What a mapping allows. */
export type MapProtection = "r" | "w" | "rw" | "n";

/** One operation of a program; which fields it has depends on its name. */
export interface Op {
  /** The process that does it, one capital letter. */
  readonly process: string;
  /** What is done: "open", "mmap", "w", … */
  readonly name: string;
  /** The file descriptor, by the program's own number. */
  readonly slot?: number;
  /** The device that is opened. */
  readonly device?: number;
  /** The region, one capital letter. */
  readonly region?: string;
  /** First page of the region. */
  readonly at?: number;
  /** Pages. */
  readonly pages?: number;
  /** Word of the first page; the next page's is one more. */
  readonly value?: number;
  readonly kind?: MapKind;
  readonly protection?: MapProtection;
  /** The child that a fork makes. */
  readonly child?: string;
  readonly advice?: string;
  /** Region to which mremap moves. */
  readonly toRegion?: string;
  /** Page of it. */
  readonly toAt?: number;
  /** Pages at the new place. */
  readonly toPages?: number;
  /** How a pin wants the pages. */
  readonly access?: "r" | "w";
  /** Region and page at which a new region begins. */
  readonly place?: { readonly region: string; readonly at: number };
  /** Region whose file is mapped again. */
  readonly file?: string;
  /** Length of a new file. */
  readonly filePages?: number;
}

/** A program: what its first line says, and its operations. */
export interface Program {
  readonly id: string;
  readonly seed?: number;
  /** Transparent huge pages are on where advised. */
  readonly thp: boolean;
  /** Bytes around a fault of a file that are mapped too. */
  readonly faultAroundBytes: number;
  readonly ops: readonly Op[];
}

/** A line that is no operation: `message` names what is wrong, `column` (from 1) where. */
export class LineError extends UsageError {
  override name = "LineError";
  constructor(readonly column: number, readonly what: string, readonly line?: number) {
    super(`${line === undefined ? "" : `line ${line}, `}column ${column}: ${what}`);
  }

  /** The same at a line of a text. */
  at(line: number): LineError {
    return new LineError(this.column, this.what, line);
  }
}

type Field = Exclude<keyof Op, "process" | "name" | "place" | "file" | "filePages">;
type Form = readonly (Field | `${Field}?`)[];

/** The words after an operation's name, in their order. */
const FORMS: Readonly<Record<string, Form>> = {
  open: ["slot", "device?"],
  close: ["slot"],
  release: ["slot"],
  mmap: ["region", "kind", "pages", "protection"],
  munmap: ["region", "at", "pages"],
  mprotect: ["region", "at", "pages", "protection"],
  mlock: ["region", "at", "pages"],
  munlock: ["region", "at", "pages"],
  madvise: ["region", "at", "pages", "advice"],
  mremap: ["region", "at", "pages", "toRegion", "toAt", "toPages?"],
  trunc: ["region", "pages"],
  punch: ["region", "at", "pages"],
  fwrite: ["region", "at", "value"],
  fread: ["region", "at"],
  w: ["region", "at", "pages", "value"],
  r: ["region", "at", "pages"],
  kw: ["region", "at", "pages", "value"],
  kr: ["region", "at", "pages"],
  fork: ["child"],
  exit: [],
  dread: ["slot", "region", "at", "pages"],
  dwrite: ["slot", "region", "at", "pages", "value"],
  mig: ["slot", "region", "at", "pages"],
  sys: ["slot", "region", "at", "pages"],
  snap: ["slot", "region", "at", "pages"],
  excl: ["slot", "region", "at", "pages"],
  chk: ["slot", "region", "at", "pages"],
  pin: ["region", "at", "pages", "access"],
  unpin: [],
};

/** The operations that there are. */
export const OPERATIONS: readonly string[] = Object.keys(FORMS);

const KINDS: readonly string[] = ["ap", "as", "fp", "fs", "hp", "dp"];
const PROTECTIONS: readonly string[] = ["r", "w", "rw", "n"];
/** Advices by the kernel's names, without MADV_. */
export const ADVICES: readonly string[] = [
  "normal",
  "random",
  "sequential",
  "willneed",
  "dontneed",
  "free",
  "hugepage",
  "nohugepage",
  "pageout",
  "cold",
  "remove",
  "populate_read",
  "populate_write",
  "dontfork",
  "dofork",
  "wipeonfork",
  "keeponfork",
  "mergeable",
  "unmergeable",
  "collapse",
];

interface Token {
  readonly text: string;
  readonly column: number;
}

function tokens(line: string): Token[] {
  return [...line.matchAll(/\S+/g)].map((m) => ({ text: m[0], column: m.index + 1 }));
}

function wholeNumber(t: Token, most = Number.MAX_SAFE_INTEGER): number {
  const n = /^\d+$/.test(t.text) ? Number(t.text) : NaN;
  if (n <= most) return n;
  throw new LineError(t.column, `"${t.text}" is not a whole number from 0 to ${most}`);
}

function letter(t: Token, what: string): string {
  if (/^[A-Z]$/.test(t.text)) return t.text;
  throw new LineError(t.column, `"${t.text}" is no ${what}; it is one capital letter`);
}

function oneOf(t: Token, what: string, names: readonly string[]): string {
  if (names.includes(t.text)) return t.text;
  throw new LineError(
    t.column,
    `there is no ${what} "${t.text}"${didYouMean(t.text, names)}; there are ${names.join(", ")}`,
  );
}

/** Farthest page of a region that an operation may name: the address space has 2^36. */
const FARTHEST_PAGE = 2 ** 30;
/** Most pages of one operation, 4 GiB or four regions: each is looked at and has a place in what is observed. */
export const MOST_PAGES: number = 2 ** 20;

function readField(field: Field, t: Token): string | number {
  switch (field) {
    case "slot":
    case "device":
      return wholeNumber(t, 99);
    case "at":
    case "toAt":
      return wholeNumber(t, FARTHEST_PAGE);
    case "pages":
    case "toPages":
      return wholeNumber(t, MOST_PAGES);
    case "value":
      return wholeNumber(t, 0xffff_ffff);
    case "region":
    case "toRegion":
      return letter(t, "region");
    case "child":
      return letter(t, "process");
    case "kind":
      return oneOf(t, "kind of mapping", KINDS);
    case "protection":
      return oneOf(t, "protection", PROTECTIONS);
    case "advice":
      return oneOf(t, "advice", ADVICES);
    case "access":
      return oneOf(t, "way to pin", ["r", "w"]);
  }
}

/** One of mmap's `key=value` words. */
function readOption(t: Token): Partial<Op> {
  const equals = t.text.indexOf("="), key = t.text.slice(0, equals);
  const value = { text: t.text.slice(equals + 1), column: t.column + equals + 1 };
  if (equals > 0 && key === "file") return { file: letter(value, "region") };
  if (equals > 0 && key === "fsize") return { filePages: wholeNumber(value, MOST_PAGES) };
  if (equals > 0 && key === "at") {
    const plus = value.text.indexOf("+");
    if (plus < 0) throw new LineError(value.column, `"${value.text}" is no place; write for example at=A+8`);
    const at = { text: value.text.slice(plus + 1), column: value.column + plus + 1 };
    const region = letter({ text: value.text.slice(0, plus), column: value.column }, "region");
    return { place: { region, at: wholeNumber(at, FARTHEST_PAGE) } };
  }
  throw new LineError(t.column, `"${t.text}" is no option of mmap; there are at=A+8, file=A, fsize=8`);
}

/**
 * Reads one operation.
 *
 * @param line for example `C> mprotect A 0 4 r`
 * @param process who does it if the line does not say
 * @returns the operation
 * @throws LineError naming the column
 */
export function parseOp(line: string, process = "P"): Op {
  const words = tokens(line);
  let doer = process;
  if (words.length > 0 && words[0].text.endsWith(">")) {
    const t = words.shift()!;
    doer = letter({ text: t.text.slice(0, -1), column: t.column }, "process");
  }
  const name = words.shift();
  if (name === undefined) throw new LineError(line.length + 1, "an operation is missing");
  oneOf(name, "operation", OPERATIONS);
  const op: Record<string, unknown> = { process: doer, name: name.text };
  const form = FORMS[name.text];
  for (const entry of form) {
    const optional = entry.endsWith("?"), field = (optional ? entry.slice(0, -1) : entry) as Field;
    const t = words.shift();
    if (t === undefined) {
      if (optional) break;
      throw new LineError(line.length + 1, `${name.text} is missing its ${field}: ${usage(name.text)}`);
    }
    op[field] = readField(field, t);
  }
  if (name.text === "mmap") { for (; words.length > 0;) Object.assign(op, readOption(words.shift()!)); }
  if (words.length > 0) {
    throw new LineError(words[0].column, `"${words[0].text}" is too much: ${usage(name.text)}`);
  }
  return op as unknown as Op;
}

function usage(name: string): string {
  return `write ${[name, ...FORMS[name].map((f) => f.endsWith("?") ? `[${f.slice(0, -1)}]` : f)].join(" ")}`;
}

/**
 * Prints one operation as a program line.
 *
 * @param named whether to name the process even if it is P
 */
export function printOp(op: Op, named = false): string {
  const words: string[] = named || op.process !== "P" ? [`${op.process}>`] : [];
  words.push(op.name);
  for (const entry of FORMS[op.name]) {
    const value = op[(entry.endsWith("?") ? entry.slice(0, -1) : entry) as Field];
    if (value !== undefined) words.push(String(value));
  }
  if (op.place !== undefined) words.push(`at=${op.place.region}+${op.place.at}`);
  if (op.file !== undefined) words.push(`file=${op.file}`);
  if (op.filePages !== undefined) words.push(`fsize=${op.filePages}`);
  return words.join(" ");
}

function pageMultiple(t: Token): number {
  const n = wholeNumber(t, 2 ** 21);
  if (n >= 4096 && n % 4096 === 0) return n;
  throw new LineError(
    t.column,
    `"${t.text}" bytes are not whole pages of 4096, at least one and at most 512`,
  );
}

function readHeader(line: string): Omit<Program, "ops"> {
  const head: { id: string; seed?: number; thp: boolean; faultAroundBytes: number } = {
    id: "",
    thp: false,
    faultAroundBytes: 4096,
  };
  for (const t of tokens(line).slice(1)) {
    const equals = t.text.indexOf("="), key = t.text.slice(0, equals);
    const value = { text: t.text.slice(equals + 1), column: t.column + equals + 1 };
    if (key === "name" && value.text !== "") head.id = value.text;
    else if (key === "seed") head.seed = wholeNumber(value);
    else if (key === "thp") head.thp = wholeNumber(value, 1) === 1;
    else if (key === "fa") head.faultAroundBytes = pageMultiple(value);
    else if (key === "autosnap") wholeNumber(value, 1);
    else throw new LineError(t.column, `"${t.text}" is none of name=X, seed=N, thp=1, fa=BYTES, autosnap=0`);
  }
  if (head.id === "") throw new LineError(line.length + 1, "a program has no name; write @ name=X");
  return head;
}

/**
 * Reads programs: `@ name=X` begins one, then one operation a line; `#` begins a comment.
 *
 * @throws LineError naming line and column of the first line that cannot be read
 */
export function parsePrograms(text: string): Program[] {
  const programs: (Omit<Program, "ops"> & { ops: Op[] })[] = [];
  text.split("\n").forEach((whole, i) => {
    const line = whole.replace(/#.*/, "").trimEnd();
    if (line.trim() === "") return;
    try {
      if (/^\s*@/.test(line)) programs.push({ ...readHeader(line), ops: [] });
      else if (programs.length === 0) throw new LineError(1, "no program has begun; write @ name=X first");
      else programs.at(-1)!.ops.push(parseOp(line));
    } catch (e) {
      throw e instanceof LineError ? e.at(i + 1) : e;
    }
  });
  return programs;
}

/** Prints a program as {@link parsePrograms} reads it. */
export function printProgram(p: Program): string {
  const head = [`@ name=${p.id}`];
  if (p.seed !== undefined) head.push(`seed=${p.seed}`);
  if (p.thp) head.push("thp=1");
  if (p.faultAroundBytes !== 4096) head.push(`fa=${p.faultAroundBytes}`);
  return [head.join(" "), ...p.ops.map((op) => printOp(op))].join("\n") + "\n";
}
