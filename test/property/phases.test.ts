/** Every nanosecond of every span lies in exactly one phase, whatever programs do and whoever runs them. */
import process from "node:process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { conformanceSpec, type RunnerName } from "../../lib/experiments/conformance/machine.ts";
import { Player } from "../../lib/experiments/conformance/player.ts";
import type { Op } from "../../lib/experiments/conformance/program.ts";
import { machine } from "../../lib/machine/machine.ts";
import type { Columns } from "../../lib/record/columns.ts";
import type { Spans } from "../../lib/record/spans.ts";
import { NOT_KEPT, splits } from "../../lib/record/splits.ts";
import { scatter } from "../../lib/workloads/scatter.ts";
import { stream } from "../../lib/workloads/stream.ts";
import { touch } from "../../lib/workloads/touch.ts";
import { launch, streamGrid } from "../../lib/workloads/launch.ts";
import { hugePrograms, programs } from "./programs.ts";

const RUNS = Number(process.env.HMMLAB_PROGRAMS ?? 120), SEED = Number(process.env.HMMLAB_SEED ?? 6121);
const LIMIT_MS = 30_000 + 60 * RUNS;
const spec = conformanceSpec(), head = { id: "phases", thp: true, faultAroundBytes: 4096 };
const OF_A_SPAN = ["startNs", "durationNs", "actor", "kind", "vpn", "pages"];

/** The sum of a column of numbers by the text in another. */
function sums(table: Columns, by: string, of: string): Map<string, number> {
  const found = new Map<string, number>();
  for (let i = 0; i < table.numRows; i++) {
    const key = String(table.columns[by][i]);
    found.set(key, (found.get(key) ?? 0) + Number(table.columns[of][i]));
  }
  return found;
}

/** Checks each event's split, and of each kind that the splits add up to its phases and its latencies. */
function exact(events: Columns, slices: Columns, phases: Columns, latencyNs: (kind: string) => number): void {
  const split = splits(events, slices), { columns, numRows } = split;
  expect(columns[NOT_KEPT]).toBeUndefined();
  const names = Object.keys(columns).filter((name) => !OF_A_SPAN.includes(name));
  const byKind = new Map<string, number>(), whole = sums(phases, "kind", "ns");
  for (let i = 0; i < numRows; i++) {
    let ns = 0;
    for (const name of names) {
      const part = Number(columns[name][i]), key = `${columns.kind[i]}: ${name}`;
      ns += part;
      if (part > 0) byKind.set(key, (byKind.get(key) ?? 0) + part);
    }
    if (ns !== columns.durationNs[i]) {
      expect(ns, `event ${i}, ${columns.kind[i]}`).toBe(columns.durationNs[i]);
    }
  }
  for (let i = 0; i < phases.numRows; i++) {
    const { kind, phase, ns } = phases.columns;
    expect(byKind.get(`${kind[i]}: ${phase[i]}`), `${kind[i]}: ${phase[i]}`).toBe(Number(ns[i]));
  }
  for (const [kind, ns] of whole) expect(ns, kind).toBe(latencyNs(kind));
}

function exactSpans(spans: Spans): void {
  const events = spans.events.columns(spans.kinds.map((h) => h.name));
  exact(
    events,
    spans.slices.columns(spans.phaseNames),
    spans.phases(),
    (kind) => spans.histogram(kind).sumNs,
  );
}

/** Plays a program with everything logged. Returns the kinds of span that it had. */
function play(ops: readonly Op[], runner: RunnerName): string[] {
  const player = new Player(spec, head, runner), { spans } = player.machine.kernel.sim;
  spans.events.start(100_000);
  spans.slices.start(800_000);
  for (const op of ops) player.step(op);
  expect([spans.events.dropped, spans.slices.dropped]).toEqual([0, 0]);
  exactSpans(spans);
  const seen = spans.kinds.filter((h) => h.sumNs > 0).map((h) => h.name);
  player.end();
  return seen;
}

test.each<[RunnerName, string, number, fc.Arbitrary<Op[]>]>([
  ["complete", "small", 1, programs],
  ["clock", "small", 2, programs],
  ["steps", "small", 4, programs],
  ["clock", "huge", 8, hugePrograms],
])("the phases of every span add up to its latency: runner %s, %s pages", (runner, _, part, any) => {
  const kinds = new Set<string>();
  fc.assert(
    fc.property(any, (ops) => play(ops, runner).forEach((kind) => kinds.add(kind))),
    { numRuns: Math.ceil(RUNS / part), seed: SEED },
  );
  expect([...kinds].sort()).toEqual(
    expect.arrayContaining(["cpu fault", "invalidation", "migration to device", "system call"]),
  );
}, LIMIT_MS);

const job = fc.record({
  regionPages: fc.integer({ min: 8, max: 256 }),
  threads: fc.integer({ min: 1, max: 3 }),
  cores: fc.integer({ min: 1, max: 3 }),
  memoryPages: fc.integer({ min: 64, max: 256 }),
  write: fc.boolean(),
  seed: fc.nat({ max: 1000 }),
});

test.each(["clock", "steps"] as const)(
  "so do those of threads and a device that compete for pages, locks and cores: runner %s",
  async (runner) => {
    let waits = 0;
    await fc.assert(
      fc.asyncProperty(job, async ({ regionPages, threads, cores, memoryPages, write, seed }) => {
        const gpu = { profile: "titan-v", memory: memoryPages * 4096 };
        const m = machine({ memory: "64 MiB", hostParameters: { cores }, devices: { gpu }, seed });
        const heap = m.process().mmap(regionPages * 4096),
          jobs: Record<string, ReturnType<typeof touch>> = {};
        for (let i = 0; i < threads; i++) {
          jobs[`cpu${i}`] = i === 0 ? touch(heap, { write }) : scatter(heap, 64, { write });
        }
        const run = await m.run({ ...jobs, gpu: stream(m.gpu, heap) }, {
          runner,
          events: 20_000,
          slices: 400_000,
        });
        const latencies = sums(run.events, "kind", "durationNs"),
          of = (kind: string) => latencies.get(kind) ?? 0;
        exact(run.events, run.slices, run.phases, of);
        expect([run.cpuFaults.sumNs, run.invalidations.sumNs, run.deviceFaults.sumNs]).toEqual(
          ["cpu fault", "invalidation", "device fault"].map(of),
        );
        waits += run.contention.numRows;
      }),
      { numRuns: Math.ceil(RUNS / 3), seed: SEED },
    );
    if (runner === "clock") expect(waits).toBeGreaterThan(0);
  },
  LIMIT_MS,
);

const kernels = fc.record({
  regionMiB: fc.integer({ min: 1, max: 4 }),
  memoryChunks: fc.integer({ min: 2, max: 12 }),
  write: fc.boolean(),
  passes: fc.integer({ min: 1, max: 2 }),
  prefetch: fc.constantFrom("none", "tree50"),
  seed: fc.nat({ max: 1000 }),
});

test("so do those of a GPU: far faults that overlap, batches, evictions", async () => {
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(kernels, async ({ regionMiB, memoryChunks, write, passes, prefetch, seed }) => {
      const gpu = { kind: "gpu", memory: memoryChunks * 262144, chunk: "256 KiB", prefetch } as const;
      const m = machine({ memory: "64 MiB", devices: { gpu }, seed }),
        p = m.process(),
        heap = p.mmap(regionMiB << 20);
      const steps = Array.from({ length: passes }, () => streamGrid(heap, { write }));
      const run = await m.run(
        { cpu: touch(heap), gpu: launch(m.gpu, p, steps) },
        { events: 50_000, slices: 1_000_000 },
      );
      const latencies = sums(run.events, "kind", "durationNs");
      exact(run.events, run.slices, run.phases, (kind) => latencies.get(kind) ?? 0);
      for (const kind of latencies.keys()) kinds.add(kind);
    }),
    { numRuns: Math.ceil(RUNS / 4), seed: SEED },
  );
  expect([...kinds]).toEqual(expect.arrayContaining(["far fault", "fault batch", "eviction", "gpu kernel"]));
}, LIMIT_MS);
