import fc from "fast-check";
import { expect, test } from "vitest";
import {
  ADVICES,
  LineError,
  type Op,
  OPERATIONS,
  parseOp,
  parsePrograms,
  printOp,
  printProgram,
} from "../../lib/experiments/conformance/program.ts";
import { parseTranscript } from "../../lib/experiments/conformance/transcript.ts";

/** The error of something that must fail. */
function failure<E>(act: () => unknown): E {
  try {
    act();
  } catch (e) {
    return e as E;
  }
  throw new Error("nothing was thrown");
}

test.for<[line: string, column: number, what: RegExp]>([
  ["", 1, /missing/],
  ["mmpa A ap 4 rw", 1, /no operation "mmpa"; did you mean mmap/],
  ["mmap a ap 4 rw", 6, /"a" is no region/],
  ["mmap A xp 4 rw", 8, /no kind of mapping "xp".*ap, as/],
  ["mmap A ap -4 rw", 11, /"-4" is not a whole number/],
  ["mmap A ap 4 rwx", 13, /no protection "rwx"/],
  ["mmap A ap 4", 12, /missing its protection: write mmap region kind pages protection/],
  ["mmap A ap 4 rw at=A", 16, /no place/],
  ["mmap A ap 4 rw at=1+4", 16, /"1" is no region/],
  ["mmap A ap 4 rw on=A", 16, /no option of mmap/],
  ["w A 0 4", 8, /missing its value/],
  ["w A 0 4 4294967296", 9, /from 0 to 4294967295/],
  ["  dread 0 A 0 1 7", 17, /"7" is too much/],
  ["pin A 0 1 x", 11, /no way to pin "x"/],
  ["madvise A 0 1 dontned", 15, /did you mean dontneed/],
  ["CC> exit", 1, /"CC" is no process/],
  ["fork child", 6, /"child" is no process/],
  ["open zero", 6, /"zero" is not a whole number/],
  ["mremap A 0 4 B", 15, /missing its toAt/],
  ["munmap A 0 1048577", 12, /from 0 to 1048576/],
])("%j is refused at column %i", ([line, column, what]) => {
  const e = failure<LineError>(() => parseOp(line));
  expect(e).toBeInstanceOf(LineError);
  expect(e.what).toMatch(what);
  // The tables above count columns by hand: where a word is wrong it begins there.
  expect(e.column, e.message).toBe(line.startsWith("mmap A ap 4 rw at=") ? 19 : column);
});

test("a program's broken line is named with its number", () => {
  const text =
    "# two programs\n@ name=a seed=3\nopen 0\n\n@ name=b thp=1 fa=65536 autosnap=0\nC> r A 0 x # hm\n";
  const e = failure<LineError>(() => parsePrograms(text));
  expect(e.message).toBe('line 6, column 10: "x" is not a whole number from 0 to 1048576');
  expect(failure<LineError>(() => parsePrograms("open 0")).message).toMatch(/^line 1, column 1: no program/);
  expect(failure<LineError>(() => parsePrograms("@ seed=1")).message).toMatch(/no name/);
  expect(failure<LineError>(() => parsePrograms("@ name=a seed=x")).message).toMatch(/^line 1, column 15/);
  const [a, b] = parsePrograms(text.replace("x #", "4 #"));
  expect(a).toEqual({ id: "a", seed: 3, thp: false, faultAroundBytes: 4096, ops: [parseOp("open 0")] });
  expect([b.thp, b.faultAroundBytes, b.ops[0].process]).toEqual([true, 65536, "C"]);
});

const number = fc.nat({ max: 300 }), letter = fc.constantFrom("A", "B", "Z");
const FIELDS: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  slot: fc.nat({ max: 9 }),
  device: fc.nat({ max: 9 }),
  region: letter,
  toRegion: letter,
  child: letter,
  at: number,
  pages: number,
  toAt: number,
  toPages: number,
  value: fc.nat({ max: 0xffff_ffff }),
  kind: fc.constantFrom("ap", "as", "fp", "fs", "hp", "dp"),
  protection: fc.constantFrom("r", "w", "rw", "n"),
  advice: fc.constantFrom(...ADVICES),
  access: fc.constantFrom("r", "w"),
};

/** The fields of an operation, read off an example of it. */
const EXAMPLES: Readonly<Record<string, string>> = {
  open: "open 0 1",
  close: "close 0",
  release: "release 0",
  mmap: "mmap A ap 4 rw",
  munmap: "munmap A 0 1",
  mprotect: "mprotect A 0 1 r",
  mlock: "mlock A 0 1",
  munlock: "munlock A 0 1",
  madvise: "madvise A 0 1 free",
  mremap: "mremap A 0 1 B 0 2",
  trunc: "trunc A 1",
  punch: "punch A 0 1",
  fwrite: "fwrite A 0 7",
  fread: "fread A 0",
  w: "w A 0 1 7",
  r: "r A 0 1",
  kw: "kw A 0 1 7",
  kr: "kr A 0 1",
  fork: "fork C",
  exit: "exit",
  dread: "dread 0 A 0 1",
  dwrite: "dwrite 0 A 0 1 7",
  mig: "mig 0 A 0 1",
  sys: "sys 0 A 0 1",
  snap: "snap 0 A 0 1",
  excl: "excl 0 A 0 1",
  chk: "chk 0 A 0 1",
  pin: "pin A 0 1 w",
  unpin: "unpin",
};

/** Any operation that a line can say. */
const anyOp: fc.Arbitrary<Op> = fc.constantFrom(...OPERATIONS).chain((name) => {
  const fields = Object.keys(parseOp(EXAMPLES[name])).filter((f) => f in FIELDS);
  const place = fc.record({ region: letter, at: number });
  const extra = name === "mmap"
    ? fc.record({ place, file: letter, filePages: number }, { requiredKeys: [] })
    : fc.constant({});
  return fc.tuple(
    fc.record(Object.fromEntries(fields.map((f) => [f, FIELDS[f]]))),
    extra,
    fc.constantFrom("P", "C"),
  ).map(([own, more, process]) => ({ process, name, ...own, ...more }) as unknown as Op);
});

test("what is printed is read back as the same", () => {
  expect(Object.keys(EXAMPLES).sort()).toEqual([...OPERATIONS].sort());
  fc.assert(fc.property(anyOp, (op) => {
    expect(parseOp(printOp(op))).toEqual(op);
    expect(parseOp(printOp(op, true), "Q")).toEqual(op);
  }));
  fc.assert(fc.property(fc.array(anyOp, { maxLength: 8 }), fc.boolean(), (ops, thp) => {
    const p = { id: "p", seed: 5, thp, faultAroundBytes: thp ? 65536 : 4096, ops };
    expect(parsePrograms(printProgram(p) + printProgram({ ...p, id: "q" }))).toEqual([p, { ...p, id: "q" }]);
  }));
});

test("a line that no program can be printed as never throws from inside", () => {
  fc.assert(fc.property(fc.string(), (line) => {
    try {
      parseOp(line);
    } catch (e) {
      expect(e).toBeInstanceOf(LineError);
      expect((e as LineError).column).toBeGreaterThan(0);
      expect((e as LineError).column).toBeLessThanOrEqual(line.length + 1);
    }
  }));
});

test("a transcript's broken line says what is wrong with it", () => {
  const op = (o: object) =>
    JSON.stringify({ id: "x", ops: [{ p: "P", op: "open 0", err: "", ev: [], pm: {}, ...o }] });
  const message = (text: string) => failure<Error>(() => parseTranscript(text)).message;
  expect(message("{")).toMatch(/no JSON/);
  expect(message("[]")).toMatch(/no JSON object/);
  expect(message('{"id":"x"}')).toMatch(/needs id and ops/);
  expect(message(op({ op: "opne 0" }))).toMatch(
    /^operation 1, column 1: .*did you mean open\? .*|open.* of "opne 0"$/,
  );
  expect(message(op({ err: 3 }))).toMatch(/^operation 1, err is no string/);
  expect(message(op({ ev: [1] }))).toMatch(/ev is no list of strings/);
  expect(message(op({ pm: { P: { A: 7 } } }))).toMatch(/pm\.P\.A/);
  expect(message(op({ pm: { P: { A: [["x"]] } } }))).toMatch(/run/);
  expect(message(op({ data: ["x"] }))).toMatch(/data/);
  expect(message(op({ p: "PP" }))).toMatch(/one capital letter/);
  const t = parseTranscript(
    op({ pm: { P: { A: [["A", 2], [".", 3]] } }, sn: { A: [["02", 2], ["ff", 1]] } }),
  );
  expect(t.observed[0].pm).toEqual({ P: { A: "AA..." } });
  expect(t.observed[0].sn).toEqual({ A: "0202ff" });
});
