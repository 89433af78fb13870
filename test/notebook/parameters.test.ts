import { afterEach, beforeEach, expect, test } from "vitest";
import process from "node:process";
import { UsageError } from "../../lib/errors.ts";
import { parameters } from "../../lib/notebook/parameters.ts";

const VARIABLE = "HMMLAB_PARAMETERS";
let before: string | undefined;
beforeEach(() => {
  before = process.env[VARIABLE];
  delete process.env[VARIABLE];
});
afterEach(() => {
  if (before === undefined) delete process.env[VARIABLE];
  else process.env[VARIABLE] = before;
});

const defaults = { heap: "1 GiB", seed: 1, check: true, steps: [1, 2], names: ["a"] };
const refused = (json: string) => {
  process.env[VARIABLE] = json;
  try {
    parameters(defaults);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error(`${json} was taken`);
};

test("the defaults stand when nothing is given", () => {
  expect(parameters(defaults)).toEqual(defaults);
  process.env[VARIABLE] = "  ";
  expect(parameters(defaults)).toEqual(defaults);
  expect(parameters({})).toEqual({});
});

test("values from outside take their place, each of its default's type", () => {
  process.env[VARIABLE] = '{"heap": "64 MiB", "seed": 2, "check": false, "steps": [3], "names": []}';
  const { heap, seed, check, steps, names } = parameters(defaults);
  // Widened: a default is no literal type.
  const typed: [string, number, boolean, readonly number[], readonly string[]] = [
    heap,
    seed,
    check,
    steps,
    names,
  ];
  expect(typed).toEqual(["64 MiB", 2, false, [3], []]);
  expect(Object.isFrozen(parameters(defaults))).toBe(true);
  expect(defaults.seed).toBe(1);
});

test("what is no object, unknown or of another type is refused with what to write", () => {
  expect(refused("{seed: 2}")).toBe(
    'Cannot read HMMLAB_PARAMETERS: got "{seed: 2}"; a JSON object is allowed; ' +
      `write for example HMMLAB_PARAMETERS='{"seed": 2}'`,
  );
  for (const json of ["[1]", "null", "3", '"x"', "{"]) {
    expect(refused(json)).toContain("a JSON object is allowed");
  }
  expect(refused('{"sed": 2}')).toBe(
    'Cannot set a parameter: HMMLAB_PARAMETERS has "sed"; this notebook knows heap, seed, check, steps, names; ' +
      "write one of these; did you mean seed?",
  );
  expect(refused('{"seed": "2"}')).toBe(
    'Cannot set parameter seed: HMMLAB_PARAMETERS has "2"; a number is allowed; write for example {"seed":1}',
  );
  expect(refused('{"check": 1}')).toContain("true or false is allowed");
  expect(refused('{"heap": null}')).toContain("a string is allowed");
  expect(refused('{"steps": ["a"]}')).toContain("a list of numbers is allowed");
  expect(refused('{"steps": [1, "a"]}')).toContain("a list of numbers is allowed");
  expect(refused('{"steps": 1}')).toContain("a list of numbers is allowed");
  expect(refused('{"seed": [1]}')).toContain("a number is allowed");
  // No name is taken from Object's prototype.
  expect(refused('{"toString": 1}')).toContain('has "toString"');
});
