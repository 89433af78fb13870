/** Programs that nobody would write: any operation, any place, any length, on machines with next to nothing. */
import fc from "fast-check";
import {
  ADVICES,
  MOST_PAGES,
  type Op,
  OPERATIONS,
  parseOp,
} from "../../lib/experiments/conformance/program.ts";

const PROCESSES = ["P", "P", "P", "C", "D", "E", "P", "C"], REGIONS = ["A", "A", "A", "B", "C", "D", "Y"];

/** Mostly small, at times at the edge of a table, a region, or of what can be written at all. */
const pages = fc.oneof(
  { arbitrary: fc.nat({ max: 9 }), weight: 12 },
  { arbitrary: fc.constantFrom(0, 16, 63, 64, 65, 511, 512, 513, 600), weight: 4 },
  { arbitrary: fc.constantFrom(4096, 2 ** 18 - 1, 2 ** 18, MOST_PAGES), weight: 1 },
);
/** Pages that are looked at one by one are fewer: the largest is a matter of patience, not of rules. */
const fewPages = fc.oneof(
  { arbitrary: fc.nat({ max: 9 }), weight: 12 },
  { arbitrary: fc.constantFrom(0, 16, 63, 64, 65, 513, 2000), weight: 3 },
);
const place = fc.oneof(
  { arbitrary: fc.nat({ max: 9 }), weight: 12 },
  { arbitrary: fc.constantFrom(63, 511, 512, 2 ** 18 - 1, 2 ** 18, 2 ** 26, 2 ** 30), weight: 2 },
);
const WORDS: Readonly<Record<string, fc.Arbitrary<string | number>>> = {
  slot: fc.constantFrom(0, 0, 0, 1, 2, 3, 9, 99),
  device: fc.constantFrom(0, 0, 1, 2, 3, 4, 99),
  region: fc.constantFrom(...REGIONS),
  at: place,
  pages,
  fewPages,
  value: fc.constantFrom(0, 1, 7, 0xffff_ffff, 0xffff_fffe),
  kind: fc.constantFrom("ap", "ap", "ap", "as", "fp", "fs", "hp", "dp"),
  protection: fc.constantFrom("rw", "rw", "rw", "r", "w", "n"),
  child: fc.constantFrom("C", "C", "D", "E", "P"),
  advice: fc.constantFrom(...ADVICES),
  access: fc.constantFrom("r", "w"),
};

/** The words of each operation; a word with "?" may be missing. */
const FORMS: Readonly<Record<string, string>> = {
  open: "slot device?",
  close: "slot",
  release: "slot",
  mmap: "region kind fewPages protection",
  munmap: "region at pages",
  mprotect: "region at pages protection",
  mlock: "region at pages",
  munlock: "region at pages",
  madvise: "region at pages advice",
  mremap: "region at pages region at pages?",
  trunc: "region pages",
  punch: "region at pages",
  fwrite: "region at value",
  fread: "region at",
  w: "region at fewPages value",
  r: "region at fewPages",
  kw: "region at fewPages value",
  kr: "region at fewPages",
  fork: "child",
  exit: "",
  dread: "slot region at fewPages",
  dwrite: "slot region at fewPages value",
  mig: "slot region at fewPages",
  sys: "slot region at fewPages",
  snap: "slot region at fewPages",
  excl: "slot region at fewPages",
  chk: "slot region at fewPages",
  pin: "region at pages access",
  unpin: "",
};
/** How often the operations come that are not as frequent as others. */
const WEIGHTS: Readonly<Record<string, number>> = {
  w: 8,
  mmap: 6,
  mig: 6,
  open: 5,
  fork: 3,
  dwrite: 3,
  r: 3,
};

const mapOption = fc.oneof(
  { arbitrary: fc.constant(""), weight: 4 },
  fc.tuple(WORDS.region, place).map(([r, at]) => ` at=${r}+${at}`),
  WORDS.region.map((r) => ` file=${r}`),
  fewPages.map((n) => ` fsize=${n}`),
);

const line: fc.Arbitrary<Op> = fc.oneof(
  ...OPERATIONS.map((name) => {
    const words = FORMS[name].split(" ").filter((w) => w !== "").map((w) =>
      w.endsWith("?") ? fc.option(WORDS[w.slice(0, -1)], { nil: "" }) : WORDS[w]
    );
    const parts: fc.Arbitrary<string>[] = [
      fc.constantFrom(...PROCESSES),
      fc.tuple(...words).map((ws) => ws.join(" ")),
      name === "mmap" ? mapOption : fc.constant(""),
    ];
    const arbitrary = fc.tuple(...parts).map(([p, ws, more]) => parseOp(`${p}> ${name} ${ws}${more}`));
    return { arbitrary, weight: WEIGHTS[name] ?? 1 };
  }),
);

/** Some operations to begin with, so that what follows meets pages. */
const BEGIN = ["open 0", "mmap A ap 9 rw", "w A 0 5 1", "mig 0 A 0 2"].map((text) => parseOp(text));

/** Odd programs. */
export const oddPrograms: fc.Arbitrary<readonly Op[]> = fc.tuple(
  fc.nat({ max: BEGIN.length }),
  fc.array(line, { minLength: 1, maxLength: 40, size: "max" }),
).map(([n, ops]) => [...BEGIN.slice(0, n), ...ops]);
