/** Pages a second: first touch, migration, device faults and faults back, on every runner, against the bare loop. */
import type { DummyDevice } from "../../devices/dummy/device.ts";
import { type Machine, machine } from "../../machine/machine.ts";
import type { Region } from "../../machine/process.ts";
import type { Workload } from "../../machine/workload.ts";
import { AccessResult } from "../../mm/access.ts";
import type { Proc } from "../../sim/sim.ts";
import { PAGE_SIZE } from "../../units.ts";
import { stream } from "../../workloads/stream.ts";
import { touch } from "../../workloads/touch.ts";
import { FloorColumns } from "./floor.ts";
import { type BenchSizes, median, type PageRow } from "./report.ts";

type Runner = "complete" | "clock" | "steps";

const TOUCH = "first touch", BACK = "fault back, 1 page", FAULT = "device fault, 64 KiB";
const migrationOf = (batchPages: number) => `migrate to device, batches of ${batchPages}`;
const MIGRATE = migrationOf(512), MIGRATE_SMALL = migrationOf(16);
const OPERATIONS = [TOUCH, MIGRATE, MIGRATE_SMALL, FAULT, BACK];

/** The bare loop beneath each operation. */
const FLOOR_OF: Readonly<Record<string, string>> = {
  [TOUCH]: TOUCH,
  [MIGRATE]: MIGRATE,
  [MIGRATE_SMALL]: MIGRATE,
  [FAULT]: MIGRATE,
  [BACK]: BACK,
};

const AIMS: Readonly<Record<string, Readonly<Record<number, number>>>> = {
  [TOUCH]: { 1: 5e6, 8: 2e6 },
  [MIGRATE]: { 1: 2e6, 8: 2e6 },
  [MIGRATE_SMALL]: { 1: 2e6, 8: 2e6 },
};

const CASES: readonly { readonly runner: Runner; readonly actors: number; readonly part: number }[] = [
  { runner: "complete", actors: 1, part: 1 },
  { runner: "complete", actors: 8, part: 1 },
  { runner: "clock", actors: 1, part: 1 },
  { runner: "clock", actors: 8, part: 1 },
  // Stopping everywhere is for small models: a sixteenth of the pages tells enough.
  { runner: "steps", actors: 1, part: 16 },
  { runner: "steps", actors: 8, part: 16 },
];

/** Device work that only migrates, as a driver's prefetch does. */
function migrate(device: DummyDevice, region: Region): Workload {
  return {
    name: `migrate ${region.pages} pages to ${device.name}`,
    start(_m, a) {
      const out = new AccessResult(), mirror = device.mirror(region.process.mm);
      function* proc(): Proc {
        out.pages = yield* device.migrateToDevice(a, mirror, region.vpn, region.vpn + region.pages);
      }
      return { proc: proc(), out, total: region.pages, done: () => out.pages };
    },
  };
}

/** Wall nanoseconds by operation and runner, one a repeat. */
class Samples {
  private readonly byKey = new Map<string, { pages: number; ns: number[] }>();

  add(operation: string, runner: string, actors: number, pages: number, ns: number): void {
    const key = `${operation}/${runner}/${actors}`;
    const known = this.byKey.get(key);
    if (known === undefined) this.byKey.set(key, { pages, ns: [ns] });
    else known.ns.push(ns);
  }

  row(operation: string, runner: string, actors: number): PageRow {
    const of = (op: string, by: string, n: number) => {
      const { pages, ns } = this.byKey.get(`${op}/${by}/${n}`)!;
      return { pages, nsPerPage: median(ns) / pages };
    };
    const { pages, nsPerPage } = of(operation, runner, actors),
      floor = of(FLOOR_OF[operation], "bare loop", 1);
    return {
      operation,
      runner,
      actors,
      pages,
      nsPerPage,
      pagesPerSecond: 1e9 / nsPerPage,
      timesFloor: nsPerPage / floor.nsPerPage,
      aimPerSecond: runner === "clock" ? AIMS[operation]?.[actors] ?? null : null,
    };
  }
}

function benchFloor(pages: number, add: (operation: string, ns: number) => void): void {
  const timed = (operation: string, body: () => void) => {
    const t0 = performance.now();
    body();
    add(operation, (performance.now() - t0) * 1e6);
  };
  // Loops of a few microseconds: without this most of them would run before they are compiled.
  const warm = new FloorColumns(512);
  for (let i = 0; i < 64; i++) {
    warm.touch();
    warm.move(true);
    warm.move(false);
  }
  const columns = new FloorColumns(pages);
  timed(TOUCH, () => columns.touch());
  timed(MIGRATE, () => columns.move(true));
  timed(BACK, () => columns.move(false));
  if (!Number.isFinite(columns.checksum())) throw new Error("the bare loop wrote nonsense");
}

async function benchModel(
  pages: number,
  { runner, actors }: { readonly runner: Runner; readonly actors: number },
  batchPages: number,
  add: (operation: string, ns: number) => void,
): Promise<void> {
  const memory = pages * PAGE_SIZE + 2 ** 24;
  const m: Machine & { readonly device: DummyDevice } = machine({
    devices: { device: { profile: "titan-v", memory, granule: "64 KiB" } },
    memory,
    batchPages,
  });
  const heap = m.process().mmap(pages * PAGE_SIZE), share = (pages / actors) * PAGE_SIZE;
  const timed = async (operation: string, work: (part: Region) => Workload) => {
    const parts = Array.from({ length: actors }, (_, i) => heap.slice(i * share, share));
    const run = await m.run(Object.fromEntries(parts.map((part, i) => [`a${i}`, work(part)])), { runner });
    if (run.actors.some((x) => x.pages !== pages / actors || x.signals > 0)) {
      throw new Error(`${operation}: the model did not do what was asked`);
    }
    add(operation, run.wallSeconds * 1e9);
  };
  await timed(TOUCH, (part) => touch(part));
  await timed(migrationOf(batchPages), (part) => migrate(m.device, part));
  if (batchPages < 512) return;
  await timed(BACK, (part) => touch(part));
  await timed(FAULT, (part) => stream(m.device, part));
}

/**
 * Times all operations on all runners in turns, so that what disturbs the computer disturbs them alike.
 *
 * @param sizes how many pages, how often
 * @returns the floors first, then each operation on each runner
 */
export async function benchPages(sizes: BenchSizes): Promise<PageRow[]> {
  const samples = new Samples();
  for (let r = 0; r <= sizes.repeats; r++) {
    // The first round compiles and does not count.
    const note = (operation: string, runner: string, actors: number, pages: number, ns: number) => {
      if (r > 0) samples.add(operation, runner, actors, pages, ns);
    };
    benchFloor(sizes.pages, (operation, ns) => note(operation, "bare loop", 1, sizes.pages, ns));
    for (const c of CASES) {
      const pages = sizes.pages / c.part;
      for (const batchPages of [512, 16]) {
        await benchModel(pages, c, batchPages, (operation, ns) => {
          note(operation, c.runner, c.actors, pages, ns);
        });
      }
    }
  }
  return [
    ...[TOUCH, MIGRATE, BACK].map((operation) => samples.row(operation, "bare loop", 1)),
    ...OPERATIONS.flatMap((operation) => CASES.map((c) => samples.row(operation, c.runner, c.actors))),
  ];
}
