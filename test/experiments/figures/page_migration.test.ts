import { expect, test } from "vitest";
import { pageMigration } from "../../../lib/experiments/figures/page_migration.ts";

test("six figures come out of the six parameters that were fitted on them; what is predicted misses, and says so", async () => {
  const rows = await pageMigration(), of = (verdict: string) => rows.filter((r) => r.verdict === verdict);
  expect(of("calibrated").map((r) => [r.figure, r.fittedOn === ""])).toEqual([
    ["1 CPU thread, 4 KiB, GB/s", false],
    ["1 CPU thread, 2 MiB, GB/s", false],
    ["16 CPU threads, 2 MiB, GB/s", false],
    ["1 DMA channel, 4 KiB, GB/s", false],
    ["16 DMA channels, 2 MiB, GB/s", false],
    ["1 DMA channel, 2 MiB, GB/s (V4)", false],
  ]);
  expect(of("missed").length).toBe(rows.length - 6);
  expect(of("missed").every((r) => r.fittedOn === "")).toBe(true);
  // The published ranking of what was measured on one kernel is kept.
  const one = rows.filter((r) => !r.figure.endsWith("(V4)"));
  const rank = (key: "published" | "ours") => [...one].sort((a, b) => a[key] - b[key]).map((r) => r.figure);
  expect(rank("ours")).toEqual(rank("published"));
});

test("the same figures come out again, to the digit", async () => {
  expect(await pageMigration()).toEqual(await pageMigration());
});
