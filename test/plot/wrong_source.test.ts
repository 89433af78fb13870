/** A chart that is given a run in place of a table says which of its tables it draws. */
import { describe } from "vitest";
import { plot } from "../../lib/plot/mod.ts";
import { refuses, wrong } from "../refusal.ts";

describe("a chart of a run, not of a table,", () => {
  const run = wrong({ batches: 1 });
  refuses([
    [
      "of batches",
      () => plot.batches(run),
      "an object with batches",
      "plot.batches(run.records.gpu.batches)",
    ],
    ["of residency", () => plot.residency(run), "plot.residency(run.records.gpu.residency)"],
    ["of phases", () => plot.phases(run), "plot.phases(run.phases)"],
    ["of bars", () => plot.bars(run, wrong({})), "write for example run.summary()"],
  ]);
});
