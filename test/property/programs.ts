/** Random programs over all operations of the transcripts, with several processes and devices. */
import fc from "fast-check";
import type { Op } from "../../lib/experiments/conformance/program.ts";

/** Lengths of the regions A, B, … */
const SIZES: Readonly<Record<string, number>> = { A: 4, B: 6, C: 2, D: 70 };
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

const region = fc.constantFrom(...Object.keys(SIZES));
const process = fc.constantFrom("P", "P", "P", "C", "C", "D", "E");
const slot = fc.constantFrom(0, 0, 0, 1, 2, 5);
const value = fc.nat({ max: 999 });
const protection = fc.constantFrom("rw", "rw", "rw", "r", "n", "w");

/** A region, a first page that may lie just past its end, and a length that may reach one past it. */
const range = region.chain((r) =>
  fc.nat({ max: SIZES[r] }).chain((at) =>
    fc.integer({ min: 1, max: SIZES[r] - at + 1 }).map((pages) => ({ region: r, at, pages }))
  )
);

function op(name: string, ...parts: fc.Arbitrary<object>[]): fc.Arbitrary<Op> {
  return fc.tuple(process, ...parts).map(([doer, ...rest]) =>
    Object.assign({ process: doer, name }, ...rest) as unknown as Op
  );
}

const on = fc.record({ slot }), words = fc.record({ value });
const map = region.chain((r) =>
  fc.record({
    region: fc.constant(r),
    kind: fc.constantFrom("ap", "ap", "ap", "as", "fp", "fs"),
    pages: fc.constant(SIZES[r]),
    protection,
  })
);

const anyOp: fc.Arbitrary<Op> = fc.oneof(
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
  { arbitrary: op("madvise", range, fc.record({ advice: fc.constantFrom(...ADVICES) })), weight: 4 },
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
export const programs: fc.Arbitrary<Op[]> = fc.tuple(
  fc.constantFrom(1, 2, 3),
  fc.array(anyOp, { minLength: 1, maxLength: 40, size: "max" }),
).map(([device, ops]) =>
  possible([
    first({ name: "open", slot: 0, device: 0 }),
    first({ name: "open", slot: 1, device }),
    first({ name: "mmap", region: "A", kind: "ap", pages: SIZES.A, protection: "rw" }),
    first({ name: "mmap", region: "B", kind: "ap", pages: SIZES.B, protection: "rw" }),
    ...ops,
  ])
);
