import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Arena } from "../../lib/sim/arena.ts";

/** An arena with a column of each kind, one that fills from the front, and one with two extents. */
function example() {
  const arena = new Arena();
  const count = arena.u32("count", 2);
  const columns = {
    u8: arena.u8("u8", 37),
    u16: arena.u16("u16", 21),
    u32: arena.u32("u32", 16),
    i32: arena.i32("i32", 16),
    f64: arena.f64("f64", 9),
    front: arena.u16("front", 64, () => count[0]),
    // Two zones that fill from their starts, as the frames of RAM and of a device do.
    zones: arena.u8("zones", 64, () => [0, count[1] >>> 1, 32, 32 + (count[1] >>> 1)]),
  };
  return { arena, count, columns };
}
type Example = ReturnType<typeof example>;
const NAMES = ["u8", "u16", "u32", "i32", "f64", "front", "zones"] as const;

const write = fc.record({
  column: fc.constantFrom(...NAMES),
  row: fc.nat({ max: 63 }),
  value: fc.nat({ max: 0xffff_ffff }),
});
const writes = fc.array(write, { maxLength: 40 });

/** Performs writes as the model would: a row beyond what is in use comes into use first. */
function apply(
  { count, columns }: Example,
  program: readonly { column: (typeof NAMES)[number]; row: number; value: number }[],
): void {
  for (const { column, row, value } of program) {
    const data = columns[column], i = row % data.length;
    if (column === "front") count[0] = Math.max(count[0], i + 1);
    if (column === "zones") count[1] = Math.max(count[1], 2 * ((i % 32) + 1));
    data[i] = value;
  }
}

/** Everything in use, as plain numbers. */
function contents({ count, columns }: Example): unknown {
  const used = count[1] >>> 1;
  return [
    [...count],
    ...NAMES.slice(0, 5).map((n) => [...columns[n]]),
    [...columns.front.slice(0, count[0])],
    [...columns.zones.slice(0, used)],
    [...columns.zones.slice(32, 32 + used)],
  ];
}

describe("Arena", () => {
  test("restore brings back exactly what was saved, and zeroes what came into use since", () => {
    fc.assert(fc.property(writes, writes, (before, after) => {
      const e = example();
      apply(e, before);
      const saved = e.arena.snapshot(), was = contents(e), hash = e.arena.hash(), digest = e.arena.digest();
      apply(e, after);
      e.arena.restore(saved);
      expect(contents(e)).toEqual(was);
      expect([e.arena.hash(), e.arena.digest()]).toEqual([hash, digest]);
      expect(e.arena.differences(saved)).toEqual([]);
      expect([...e.columns.front.slice(e.count[0])].every((x) => x === 0)).toBe(true);
      expect([...e.columns.zones.slice(e.count[1] >>> 1, 32)].every((x) => x === 0)).toBe(true);
    }));
  });

  test("a snapshot can be restored again and again", () => {
    fc.assert(fc.property(writes, writes, writes, (a, b, c) => {
      const e = example();
      apply(e, a);
      const first = e.arena.snapshot(), was = contents(e);
      apply(e, b);
      const second = e.arena.snapshot(), then = contents(e);
      apply(e, c);
      e.arena.restore(first);
      expect(contents(e)).toEqual(was);
      e.arena.restore(second);
      expect(contents(e)).toEqual(then);
      e.arena.restore(first);
      expect(contents(e)).toEqual(was);
    }));
  });

  test("equal states have equal hashes and digests, however they came about", () => {
    fc.assert(fc.property(writes, writes, (program, detour) => {
      const straight = example(), around = example();
      apply(straight, program);
      apply(around, program);
      const saved = around.arena.snapshot();
      apply(around, detour);
      around.arena.restore(saved);
      expect(around.arena.hash()).toBe(straight.arena.hash());
      expect(around.arena.digest()).toBe(straight.arena.digest());
    }));
  });

  test("states that differ in one value differ in hash, digest and differences()", () => {
    fc.assert(fc.property(writes, write, (program, { column, row, value }) => {
      const e = example();
      apply(e, program);
      apply(e, [{ column, row, value: 0 }]);
      const saved = e.arena.snapshot(), hash = e.arena.hash(), digest = e.arena.digest();
      apply(e, [{ column, row, value }]);
      const data = e.columns[column], i = row % data.length;
      fc.pre(data[i] !== 0);
      expect(e.arena.hash()).not.toBe(hash);
      expect(e.arena.digest()).not.toBe(digest);
      expect(e.arena.differences(saved).join()).toMatch(new RegExp(`^${column}\\[`));
    }));
  });

  test("the same value in another place is another state", () => {
    const hashes = new Set<number>();
    for (const name of NAMES) {
      for (let row = 0; row < 32; row++) {
        const e = example();
        if (row >= e.columns[name].length) continue;
        e.count.set([64, 64]);
        e.columns[name][row] = 1;
        hashes.add(e.arena.hash());
      }
    }
    expect(hashes.size).toBe(32 + 21 + 16 + 16 + 9 + 32 + 32);
  });

  test("hashes of small states collide no more than chance says", () => {
    const e = example(), seen = new Set<number>();
    let n = 0;
    for (let x = 0; x < 64; x++) {
      for (let y = 0; y < 64; y++) {
        for (let z = 0; z < 8; z++) {
          e.columns.u32[0] = x;
          e.columns.u32[1] = y;
          e.columns.i32[15] = z - 4;
          seen.add(e.arena.hash());
          n++;
        }
      }
    }
    expect(seen.size).toBe(n);
  });

  test("what lies past the rows in use is not state", () => {
    const e = example();
    e.count.set([2, 8]);
    const hash = e.arena.hash(), digest = e.arena.digest();
    e.columns.front[2] = 9;
    e.columns.zones[4] = 9;
    expect([e.arena.hash(), e.arena.digest()]).toEqual([hash, digest]);
  });

  test("differences name column and row", () => {
    const e = example(), saved = e.arena.snapshot();
    e.columns.u32[7] = 5;
    e.columns.f64[3] = 2 ** 32 + 0.5;
    expect(e.arena.differences(saved)).toEqual(["u32[7]: word 0 → 5", expect.stringMatching(/^f64\[3\]/)]);
  });

  test("counts what it reserves and what is in use", () => {
    const e = example(), at = e.arena.usedBytes;
    expect(e.arena.reservedBytes).toBe(8 + 40 + 44 + 64 + 64 + 72 + 128 + 64);
    e.count[0] = 10;
    expect(e.arena.usedBytes).toBe(at + 20);
  });

  test("refuses a second column of a name and another arena's snapshot", () => {
    const arena = new Arena();
    arena.u8("x", 1);
    expect(() => arena.u32("x", 1)).toThrow('a column "x" already');
    expect(() => arena.restore(new Arena().snapshot())).toThrow("another arena");
  });
});
