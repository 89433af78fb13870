import { expect, test } from "vitest";
import { type Claim, figureRow, VERDICTS } from "../../../lib/experiments/figures/row.ts";
import { refusal } from "../../refusal.ts";

const verdict = (published: number, ours: number, claim: Claim) =>
  figureRow({ work: "w", figure: "f", published, ours, note: "" }, claim).verdict;

test.each<[number, number, Claim, string]>([
  [3072, 3072, { verdict: "reproduces" }, "reproduces"],
  [3072, 3071, { verdict: "reproduces" }, "missed"],
  [1051.85, 1051.845337, { verdict: "reproduces", decimals: 2 }, "reproduces"],
  [1051.85, 1051.84, { verdict: "reproduces", decimals: 2 }, "missed"],
  [100, 109, { verdict: "predicted", within: 0.1 }, "predicted"],
  [100, 111, { verdict: "predicted", within: 0.1 }, "missed"],
  [100, 89, { verdict: "predicted", within: 0.1 }, "missed"],
  [25, 24.9, { verdict: "predicted", atMost: true }, "predicted"],
  [25, 1, { verdict: "predicted", atMost: true }, "predicted"],
  [25, 25.1, { verdict: "predicted", atMost: true }, "missed"],
  [100, 101, { verdict: "calibrated", within: 0.02, fittedOn: "a, b" }, "calibrated"],
  [100, 103, { verdict: "calibrated", within: 0.02, fittedOn: "a, b" }, "missed"],
  [100, 199, { verdict: "trend", factor: 2, ranked: true }, "trend"],
  [100, 49, { verdict: "trend", factor: 2, ranked: true }, "missed"],
  [100, 100, { verdict: "trend", factor: 2, ranked: false }, "missed"],
])("%d published, %d ours, %o: %s", (published, ours, claim, expected) => {
  expect(verdict(published, ours, claim)).toBe(expected);
  expect(VERDICTS).toContain(expected);
});

test("a line keeps the parameters that were fitted, hit or miss", () => {
  const line = { work: "w", figure: "f", published: 1, ours: 9, note: "n" };
  expect(figureRow(line, { verdict: "calibrated", within: 0.1, fittedOn: "latency" })).toEqual({
    ...line,
    ratio: 9,
    verdict: "missed",
    fittedOn: "latency",
  });
  expect(figureRow({ ...line, published: 0, ours: 0 }, { verdict: "reproduces" }).ratio).toBe(1);
});

test("what was not measured makes no line", async () => {
  expect(await refusal(() => verdict(1, NaN, { verdict: "reproduces" }))).toMatch("NaN ours");
});
