/**
 * Litmus files: one race a line, with every end that a real kernel showed.
 * @module
 */
import { UsageError } from "../../errors.ts";
import { LineError, type Op, parseOp } from "../conformance/program.ts";

/** One operation of a race: those of the transcripts, and three on single words. */
export interface LitmusOp {
  /** The line as the file has it, without its process. */
  readonly text: string;
  /** The operation; `ww`, `rr`, `inc` stand as `w`, `r`, `w` with {@link word} and {@link add}. */
  readonly op: Op;
  /** Which word of each page is meant. */
  readonly word: number;
  /** Whether 1 is added to the word, atomically. */
  readonly add: boolean;
}

/** An end of a race that the kernel showed. */
export interface ObservedEnd {
  /** The end in the canonical form of {@link canonical}. */
  readonly text: string;
  /** How often. */
  readonly count: number;
  /** What was wrong with it: a stale mirror entry, a device write that was lost. */
  readonly flags: readonly string[];
}

/** A race: a common start, actors, ends. */
export interface LitmusTest {
  readonly id: string;
  readonly question: string;
  /** Words of each page that are looked at. */
  readonly words: number;
  readonly initial: readonly LitmusOp[];
  /** Lines of each actor by its name: P0, P1, P2 are threads of the first process, C is its child. */
  readonly actors: Readonly<Record<string, readonly LitmusOp[]>>;
  readonly observed: readonly ObservedEnd[];
}

/**
 * A text in which equal values are equal texts: JSON with sorted keys.
 *
 * @param x plain data
 */
export function canonical(x: unknown): string {
  if (Array.isArray(x)) return `[${x.map(canonical).join(",")}]`;
  if (typeof x !== "object" || x === null) return JSON.stringify(x) ?? "null";
  return `{${
    Object.entries(x).sort(([a], [b]) => a < b ? -1 : 1).map(([k, v]) =>
      `${JSON.stringify(k)}:${canonical(v)}`
    )
      .join(",")
  }}`;
}

const EXTRA: Readonly<Record<string, string>> = {
  ww: "ww REGION PAGE WORD VALUE",
  rr: "rr REGION PAGE WORD",
  inc: "inc REGION PAGE PAGES",
};

/**
 * Reads one line of an actor.
 *
 * @param line as in the transcripts, or `ww R page word VALUE`, `rr R page word`, `inc R page pages`
 * @throws LineError naming the column
 */
export function parseLitmusOp(line: string): LitmusOp {
  const found = /^(\s*(?:[A-Z]>)?\s*)(ww|rr|inc)\b(.*)$/.exec(line);
  if (found === null) {
    const op = parseOp(line);
    return { text: line.replace(/^\s*[A-Z]>\s*/, ""), op, word: 0, add: false };
  }
  const [, before, name, rest] = found, words = rest.trim().split(/\s+/);
  const wanted = EXTRA[name].split(" ").length - 1;
  if (words.length !== wanted || words.slice(1).some((w) => !/^\d+$/.test(w))) {
    throw new LineError(before.length + 1, `${name} is written as: ${EXTRA[name]}`);
  }
  const [region, at, third, value] = words;
  const plain = name === "ww"
    ? `w ${region} ${at} 1 ${value}`
    : name === "rr"
    ? `r ${region} ${at} 1`
    : `w ${region} ${at} ${third} 1`;
  const word = name === "inc" ? 0 : Number(third);
  if (word > 63) {
    throw new LineError(before.length + 1, `${name} names word ${word}; words 0 to 63 are modelled`);
  }
  return { text: `${name}${rest}`, op: parseOp(`${before}${plain}`), word, add: name === "inc" };
}

/** Most pages of one operation of a race: the explorer stops at each. */
const MOST_RACED = 512;

/** Refuses operations that no search would come to the end of. */
function checkLength({ op: { name, pages = 0, toPages = 0 } }: LitmusOp): void {
  if (Math.max(pages, toPages) <= MOST_RACED) return;
  const what = `${name} of ${Math.max(pages, toPages)} pages; a race has operations of at most ${MOST_RACED}`;
  throw new LineError(1, what);
}

function fail(what: string): never {
  throw new UsageError(what);
}

function isObject(x: unknown): x is Record<string, unknown> {
  return typeof x === "object" && x !== null && !Array.isArray(x);
}

function readLines(x: unknown, where: string): LitmusOp[] {
  if (!Array.isArray(x)) fail(`${where} is no list of lines`);
  return x.map((line: unknown, i) => {
    if (typeof line !== "string") fail(`${where}, line ${i + 1} is no text`);
    try {
      const read = parseLitmusOp(line);
      checkLength(read);
      return read;
    } catch (e) {
      if (e instanceof LineError) fail(`${where}, line ${i + 1}, ${e.message} of "${line}"`);
      throw e;
    }
  });
}

/**
 * Reads one line of a litmus file.
 *
 * @param line one JSON object
 * @throws UsageError saying what is wrong with it and where
 */
export function parseLitmus(line: string): LitmusTest {
  let x: unknown;
  try {
    x = JSON.parse(line);
  } catch (e) {
    fail(`no JSON: ${(e as Error).message}`);
  }
  if (!isObject(x)) fail("no JSON object");
  if (typeof x.id !== "string" || !isObject(x.actors) || !Array.isArray(x.outcomes)) {
    fail("a race needs id, actors and outcomes");
  }
  const words = x.words ?? 1;
  if (!Number.isInteger(words) || (words as number) < 1 || (words as number) > 64) {
    fail("words is no whole number from 1 to 64");
  }
  const names = Object.keys(x.actors);
  if (names.length < 1 || names.length > 4) {
    fail(`${names.length} actors; 1 to 4 are allowed, P0, P1, P2 and C`);
  }
  for (const name of names) {
    if (!/^(P[0-9]|C)$/.test(name)) fail(`actor "${name}"; there are P0, P1, P2 and C`);
  }
  return {
    id: x.id,
    question: String(x.question ?? ""),
    words: words as number,
    initial: readLines(x.initial ?? [], "initial"),
    actors: Object.fromEntries(names.map((n) => [n, readLines((x.actors as Record<string, unknown>)[n], n)])),
    observed: x.outcomes.map((o: unknown, i) => {
      if (!isObject(o) || !isObject(o.outcome)) fail(`outcome ${i + 1} is no object with outcome`);
      return {
        text: canonical(o.outcome),
        count: typeof o.count === "number" ? o.count : 0,
        flags: Array.isArray(o.flags) ? o.flags.map(String) : [],
      };
    }),
  };
}
