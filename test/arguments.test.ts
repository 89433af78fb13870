import { describe, expect, test } from "vitest";
import {
  checkOptions,
  checkWord,
  describe as describeArgument,
  didYouMean,
  during,
  nearestName,
  wholeNumber,
} from "../lib/arguments.ts";
import { UsageError } from "../lib/errors.ts";

describe("nearestName()", () => {
  const names = ["fault", "faultBatch", "link", "linkLatency", "memory"];

  test.each([
    ["fault", "fault"],
    ["fautl", "fault"],
    ["faultbatch", "faultBatch"],
    ["LINK", "link"],
    ["latency", "linkLatency"],
    ["mem", "memory"],
    ["batch", "faultBatch"],
    ["zebra", undefined],
    ["", undefined],
  ])("for %j is %j", (given, expected) => {
    expect(nearestName(given, names)).toBe(expected);
  });

  test("finds nothing among no names", () => {
    expect(nearestName("fault", [])).toBeUndefined();
  });
});

test("didYouMean() asks only when a name is near", () => {
  expect(didYouMean("titanv", ["titan-v"])).toBe("; did you mean titan-v?");
  expect(didYouMean("h100", ["titan-v"])).toBe("");
});

test.each([
  [undefined, "undefined"],
  [null, "null"],
  ["64 gib", '"64 gib"'],
  [NaN, "NaN"],
  [[1, 2], "an array of 2"],
  [new Uint8Array(3), "a Uint8Array of 3 bytes"],
  [() => 1, "a function"],
  [Symbol("x"), "a symbol"],
  [Promise.resolve(1), "a Promise (was an await forgotten?)"],
  [new Map(), "a Map"],
  [(function* () {})(), "a generator"],
  [new UsageError("x"), "a UsageError"],
  [{ host: 1, seed: 2 }, "an object with host, seed"],
  [Object.create(null), "an object with no keys"],
])("describe(%j)", (x, expected) => {
  expect(describeArgument(x)).toBe(expected);
});

describe("checkOptions()", () => {
  const check = (options: unknown) => () =>
    checkOptions("build", options, { seed: 1, memory: 1 }, "{ seed: 1 }");

  test("lets known options and none pass", () => {
    expect(check({})).not.toThrow();
    expect(check({ seed: 0, memory: undefined })).not.toThrow();
  });

  test.each([
    [{ sed: 1 }, 'Cannot build: got option "sed"; allowed are seed, memory; did you mean seed?'],
    [{ constructor: 1 }, 'Cannot build: got option "constructor"; allowed are seed, memory'],
    [{ seed: null }, "Cannot build: got null for seed; leave seed out to have its default"],
    ["seed", 'Cannot build: got "seed" for the options; an object is allowed; write for example { seed: 1 }'],
    [null, "Cannot build: got null for the options; an object is allowed; write for example { seed: 1 }"],
    [
      [],
      "Cannot build: got an array of 0 for the options; an object is allowed; write for example { seed: 1 }",
    ],
  ])("refuses %j", (options, message) => {
    expect(check(options)).toThrow(new UsageError(message));
  });
});

test.each([-1, 5, 1.5, NaN, "2", undefined])("wholeNumber() refuses %j", (x) => {
  expect(() => wholeNumber("build", "actors", x, 0, 4)).toThrow(
    /^Cannot build: got .* for actors; a whole number, 0 to 4, is allowed; write for example \d/,
  );
  expect(wholeNumber("build", "actors", 4, 0, 4)).toBe(4);
});

test.each([-1, 2 ** 32, 0.5, NaN, "1"])("checkWord() refuses %j", (x) => {
  expect(() => checkWord("write", "value", x)).toThrow(/^Cannot write: got .* for value; /);
  expect(checkWord("write", "value", 2 ** 32 - 1)).toBe(2 ** 32 - 1);
});

test("during() says where a value was read, and lets other errors pass", () => {
  const read = () => {
    throw new UsageError('Cannot read a length: got "x"; bytes are allowed');
  };
  expect(() => during("build the machine: memory", read)).toThrow(
    new UsageError('Cannot build the machine: memory: got "x"; bytes are allowed'),
  );
  expect(() =>
    during("build", () => {
      throw new TypeError("x");
    })
  ).toThrow(TypeError);
});
