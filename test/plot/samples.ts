/** Recorded data for tests of charts, the same on every machine. */
import type { Columns } from "../../lib/record/columns.ts";
import { columnsOf } from "../../lib/record/columns.ts";
import { LatencyHistogram } from "../../lib/record/histogram.ts";
import { Timeline } from "../../lib/record/timeline.ts";

/** A histogram of given latencies. */
export function histogram(name: string, latenciesNs: Iterable<number>): LatencyHistogram {
  const h = new LatencyHistogram(name);
  for (const ns of latenciesNs) h.record(ns);
  return h;
}

/** A fast mode, a slower one, and a tail over a decade away. */
export function invalidations(): LatencyHistogram {
  const h = new LatencyHistogram("invalidation");
  for (let i = 0; i < 1000; i++) {
    h.record(i < 900 ? 900 + (i % 400) : i < 985 ? 4000 + 40 * i : 90_000 + 100 * i);
  }
  return h;
}

/** A transfer that stops twice. */
export function migration(): Timeline {
  const t = new Timeline("migration to the device", "bytes");
  let now = 0;
  for (let i = 0; i < 300; i++) {
    t.addSpan(now, now + 200_000, 2 << 20);
    now += i % 100 === 99 ? 5_000_000 : 200_000 + (i % 7) * 1000;
  }
  return t;
}

/** Phases of two kinds. */
export const phaseTable: Columns = columnsOf(
  "Where the time went",
  [
    { kind: "cpu fault", phase: "entry", ns: 2_000 },
    { kind: "cpu fault", phase: "copy", ns: 9_000 },
    { kind: "cpu fault", phase: "TLB flush", ns: 1_000 },
    { kind: "invalidation", phase: "TLB flush", ns: 3_000 },
    { kind: "invalidation", phase: "device", ns: 1_000 },
  ],
  { ns: "ns" },
);

/** A sweep for lines. */
export const sweep: Columns = columnsOf(
  "Invalidation latency",
  [1, 4, 16].flatMap((mirrors) =>
    [1, 8, 64, 512].map((pages) => ({
      mirrors: `${mirrors} mirrors`,
      pages,
      p50Ns: mirrors * 900 + pages * 20,
    }))
  ),
  { pages: "pages", p50Ns: "ns" },
);

/** Counts for bars. */
export const programs: Columns = columnsOf("Faults by program", [
  { program: "sqlite3", faults: 1_234_567 },
  { program: "gzip", faults: 45_678 },
  { program: "cc1", faults: 987_654 },
]);
