/** Random programs over all operations of the transcripts, with several processes and devices. */
import fc from "fast-check";
import type { Op } from "../../lib/experiments/conformance/program.ts";

/** Lengths of the regions A, B, … */
const SMALL: Readonly<Record<string, number>> = { A: 4, B: 6, C: 2, D: 70 };
/** The same in programs about huge pages: two, one and a part, one. */
const LARGE: Readonly<Record<string, number>> = { A: 1024, B: 600, C: 512, D: 6 };
const PROCESSES = ["P", "C", "D", "E"];
const ADVICES = [
  "dontneed",
  "free",
  "cold",
  "pageout",
  "willneed",
  "populate_read",
  "populate_write",
  "dontfork",
  "dofork",
  "wipeonfork",
  "keeponfork",
];

const process = fc.constantFrom("P", "P", "P", "C", "C", "D", "E");
const slot = fc.constantFrom(0, 0, 0, 1, 2, 5);
const value = fc.nat({ max: 999 });
const protection = fc.constantFrom("rw", "rw", "rw", "r", "n", "w");

function op(name: string, ...parts: fc.Arbitrary<object>[]): fc.Arbitrary<Op> {
  return fc.tuple(process, ...parts).map(([doer, ...rest]) =>
    Object.assign({ process: doer, name }, ...rest) as unknown as Op
  );
}

const on = fc.record({ slot }), words = fc.record({ value });
/** Operations on regions of given lengths. */
function operations(sizes: Readonly<Record<string, number>>, huge: boolean): fc.Arbitrary<Op> {
  const region = fc.constantFrom(...Object.keys(sizes));
  // A region, a first page that may lie just past its end, and a length that may reach one past it; often few pages.
  const range = region.chain((r) =>
    fc.oneof(fc.nat({ max: sizes[r] }), fc.constant(0), fc.constant(Math.min(sizes[r], 512))).chain((at) =>
      fc.oneof(
        fc.integer({ min: 1, max: Math.min(6, sizes[r] - at + 1) }),
        fc.integer({ min: 1, max: sizes[r] - at + 1 }),
      ).map((pages) => ({ region: r, at, pages }))
    )
  );
  const map = region.chain((r) =>
    fc.record({
      region: fc.constant(r),
      kind: fc.constantFrom("ap", "ap", "ap", ...(huge ? ["ap"] : ["as"]), "fp", "fs"),
      pages: fc.constant(sizes[r]),
      protection,
    })
  );

  return fc.oneof(
    { arbitrary: op("mmap", map), weight: 3 },
    { arbitrary: op("w", range, words), weight: 6 },
    { arbitrary: op("r", range), weight: 3 },
    { arbitrary: op("dread", on, range), weight: 3 },
    { arbitrary: op("dwrite", on, range, words), weight: 3 },
    { arbitrary: op("mig", on, range), weight: 5 },
    { arbitrary: op("sys", on, range), weight: 1 },
    { arbitrary: op("excl", on, range), weight: 2 },
    { arbitrary: op("chk", on, range), weight: 1 },
    { arbitrary: op("snap", on, range), weight: 1 },
    { arbitrary: op("mprotect", range, fc.record({ protection })), weight: 3 },
    {
      arbitrary: op(
        "madvise",
        range,
        fc.record({
          advice: fc.constantFrom(
            ...ADVICES,
            ...(huge ? ["hugepage", "hugepage", "hugepage", "nohugepage"] : ["hugepage"]),
          ),
        }),
      ),
      weight: 4,
    },
    { arbitrary: op("munmap", range), weight: 1 },
    {
      arbitrary: op(
        "mremap",
        range,
        fc.record({ toRegion: region, toAt: fc.nat({ max: 6 }), toPages: fc.integer({ min: 1, max: 8 }) }),
      ),
      weight: 1,
    },
    { arbitrary: op("fork", fc.record({ child: fc.constantFrom("C", "D", "E") })), weight: 3 },
    { arbitrary: op("exit"), weight: 1 },
    { arbitrary: op("open", on, fc.record({ device: fc.nat({ max: 3 }) })), weight: 1 },
    { arbitrary: op("close", on), weight: 1 },
    { arbitrary: op("release", on), weight: 1 },
    { arbitrary: op("pin", range, fc.record({ access: fc.constantFrom("r", "w") })), weight: 1 },
    { arbitrary: op("unpin"), weight: 1 },
    { arbitrary: op("mlock", range), weight: 1 },
    { arbitrary: op("munlock", range), weight: 1 },
    { arbitrary: op("trunc", fc.record({ region, pages: fc.nat({ max: 8 }) })), weight: 1 },
    { arbitrary: op("punch", range), weight: 1 },
    { arbitrary: op("fwrite", fc.record({ region, at: fc.nat({ max: 8 }), value })), weight: 1 },
    { arbitrary: op("fread", fc.record({ region, at: fc.nat({ max: 8 }) })), weight: 1 },
    { arbitrary: op("kr", range), weight: 1 },
    { arbitrary: op("kw", range, words), weight: 1 },
  );
}

const first = (line: Partial<Op>): Op => ({ process: "P", ...line }) as Op;

/** Drops what cannot be: operations of processes that are not there, second forks of a name, second opens of a device. */
function possible(ops: readonly Op[]): Op[] {
  const alive = new Set(["P"]), born = new Set(["P"]), kept: Op[] = [];
  for (const o of ops) {
    if (!alive.has(o.process)) continue;
    if (o.name === "fork") {
      if (born.has(o.child!) || !PROCESSES.includes(o.child!)) continue;
      born.add(o.child!);
      alive.add(o.child!);
    }
    if (o.name === "exit") alive.delete(o.process);
    kept.push(o);
  }
  return kept;
}

/** Programs that open two devices, map two regions, and then do anything. */
function programsOn(sizes: Readonly<Record<string, number>>, huge: boolean): fc.Arbitrary<Op[]> {
  const begin = (device: number): Op[] => [
    first({ name: "open", slot: 0, device: 0 }),
    first({ name: "open", slot: 1, device }),
    first({ name: "mmap", region: "A", kind: "ap", pages: sizes.A, protection: "rw" }),
    ...(huge ? [first({ name: "madvise", region: "A", at: 0, pages: sizes.A, advice: "hugepage" })] : []),
    first({ name: "mmap", region: "B", kind: "ap", pages: sizes.B, protection: "rw" }),
  ];
  return fc.tuple(
    fc.constantFrom(1, 2, 3),
    fc.array(operations(sizes, huge), { minLength: 1, maxLength: 40, size: "max" }),
  ).map(([device, ops]) => possible([...begin(device), ...ops]));
}

/** Programs on small regions. */
export const programs: fc.Arbitrary<Op[]> = programsOn(SMALL, false);
/** Programs on regions with huge pages. */
export const hugePrograms: fc.Arbitrary<Op[]> = programsOn(LARGE, true);
