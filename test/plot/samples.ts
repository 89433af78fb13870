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

/** Three passes over three chunks of 2 MiB, two of which fit: first in, first out. */
export const residencyMoves: Columns = columnsOf(
  "Residency",
  (() => {
    const rows = [], here: number[] = [];
    let timeNs = 0;
    for (let i = 0; i < 9; i++) {
      const chunk = i % 3;
      if (here.includes(chunk)) continue;
      if (here.length === 2) {
        rows.push({ timeNs, firstVpn: 4096 + here.shift()! * 512, pages: 512, onDevice: 0 });
      }
      rows.push({ timeNs: timeNs += 150_000, firstVpn: 4096 + chunk * 512, pages: 512, onDevice: 1 });
      here.push(chunk);
    }
    return rows.slice(0, -1);
  })(),
  { timeNs: "ns", pages: "pages" },
);

/** Batches that shrink and grow. */
export const faultBatches: Columns = columnsOf(
  "Fault batches",
  Array.from({ length: 500 }, (_, i) => ({
    startNs: i * 90_000 + (i % 7) * 1000,
    faults: 256 - (i % 60) * 2,
    duplicates: 20 + (i % 60),
    blocks: 3 + (i % 5),
  })),
  { startNs: "ns" },
);

/** Time of two policies from a quarter to twice of memory. */
export const oversubscribed: Columns = columnsOf(
  "Three passes of stream",
  ["lru", "random"].flatMap((policy) =>
    [0.25, 0.5, 0.75, 1, 1.1, 1.5, 2].map((x) => ({
      policy,
      x,
      elapsedNs: Math.round(4e7 * x * (x <= 1 ? 1 : policy === "lru" ? 14 : 1 + 6 * (x - 1))),
    }))
  ),
  { elapsedNs: "ns" },
);

/** Sixty-four pages: untouched, then three quarters written by the CPU, then a quarter taken by a device. */
export const lookMoments: { label: string; table: Columns }[] = [
  { label: "nothing touched", entry: () => "none" },
  { label: "the CPU wrote", entry: (page: number) => page < 48 ? "present" : "none" },
  {
    label: "the device read",
    entry: (page: number) => page >= 16 && page < 32 ? "device-private" : page < 48 ? "present" : "none",
  },
].map(({ label, entry }) => ({
  label,
  table: columnsOf("Pages", Array.from({ length: 64 }, (_, page) => ({ page, entry: entry(page) }))),
}));
