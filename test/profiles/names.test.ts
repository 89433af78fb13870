import { describe, expect, test } from "vitest";
import { didYouMean, nearestName } from "../../lib/profiles/names.ts";

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
