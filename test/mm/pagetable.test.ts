import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../lib/errors.ts";
import {
  PageTables,
  PTE_KIND,
  PTE_NONE,
  PTE_PRESENT,
  PTE_TABLE,
  PTE_WRITE,
  TABLE_ENTRIES,
  VPN_END,
} from "../../lib/mm/pagetable.ts";
import { Arena } from "../../lib/sim/arena.ts";

/** Where the regions of the transcripts lie, and the ends of the address space: bit operations on these go wrong. */
const BASES = [0, 0x1_0000_0000, 0x1_0004_0000, 2 ** 31 - 4, 2 ** 32 - 2, 2 ** 35, VPN_END - 600];
const page = fc.record({ base: fc.constantFrom(...BASES), off: fc.nat({ max: 599 }) })
  .map(({ base, off }) => base + off);

function made(capacity = 400) {
  const arena = new Arena(), tables = new PageTables(arena, "pte", capacity);
  return { arena, tables, root: tables.newRoot() };
}

/** Tables that exist, told by the upper entries. */
function reachable(tables: PageTables, t: number, level = 3): number {
  let n = 1;
  if (level === 0) return n;
  for (let e = t * TABLE_ENTRIES; e < (t + 1) * TABLE_ENTRIES; e++) {
    if ((tables.kind[e] & PTE_KIND) === PTE_TABLE) n += reachable(tables, tables.pfn[e], level - 1);
  }
  return n;
}

/** Tables that a set of pages needs: the root and one for each 512 GiB, 1 GiB and 2 MiB that has a page. */
function needed(pages: Iterable<number>): number {
  const all = [...pages];
  return 1 +
    [512 ** 3, 512 ** 2, 512].reduce((n, span) => n + new Set(all.map((v) => Math.floor(v / span))).size, 0);
}

const operation = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constant("set" as const), v: page, pfn: fc.nat({ max: 1e6 }) }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("clear" as const), v: page, pfn: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("free" as const),
      v: page,
      pfn: fc.integer({ min: 1, max: 1500 }),
    }),
  },
);

describe("page tables", () => {
  test("hold what a map by page number holds, and are freed when their range is", () => {
    fc.assert(fc.property(fc.array(operation, { maxLength: 80 }), (program) => {
      const { tables, root } = made(), model = new Map<number, number>();
      for (const { op, v, pfn } of program) {
        if (op === "set") {
          const leaf = tables.leafAlloc(root, v);
          tables.set(leaf + (v & 511), PTE_PRESENT | PTE_WRITE, pfn);
          model.set(v, pfn);
        } else if (op === "clear") {
          const e = tables.entry(root, v);
          if (e >= 0) tables.clear(e);
          model.delete(v);
        } else {
          // As munmap() does: the pages go first, then the tables that nothing else needs.
          const end = Math.min(VPN_END, v + pfn), others = [...model.keys()].filter((x) => x < v || x >= end);
          for (const x of model.keys()) if (x >= v && x < end) tables.clear(tables.entry(root, x));
          for (const x of [...model.keys()]) if (x >= v && x < end) model.delete(x);
          const floor = Math.max(0, ...others.filter((x) => x < v).map((x) => x + 1));
          const ceiling = Math.min(VPN_END, ...others.filter((x) => x >= end));
          tables.freeRange(root, v, end, floor, ceiling);
          for (const span of [512, 512 ** 2, 512 ** 3]) {
            // No table is left over the range unless it also covers a page outside it.
            const first = Math.floor(v / span) * span,
              covers = others.some((x) => x >= first && x < first + span);
            if (span === 512 && !covers) expect(tables.leaf(root, v)).toBe(-1);
          }
        }
        for (const x of [v, v + 1, v - 1, v + 512]) {
          if (x < 0 || x >= VPN_END) continue;
          const e = tables.entry(root, x), kind = e < 0 ? PTE_NONE : tables.kind[e];
          expect(kind === PTE_NONE ? undefined : tables.pfn[e]).toBe(model.get(x));
          expect(tables.populated(root, x) || !model.has(x)).toBe(true);
        }
      }
      expect(tables.tables).toBe(reachable(tables, root));
      expect(tables.tables).toBeGreaterThanOrEqual(needed(model.keys()));
      // Freed whole, nothing is left but the root.
      for (const x of model.keys()) tables.clear(tables.entry(root, x));
      tables.freeRange(root, 0, VPN_END, 0, VPN_END);
      expect([tables.tables, reachable(tables, root)]).toEqual([1, 1]);
    }));
  });

  test("as many exist as the pages need, none before", () => {
    fc.assert(fc.property(fc.array(page, { maxLength: 30 }), (pages) => {
      const { tables, root } = made(), seen = new Set<number>();
      for (const v of pages) {
        expect(tables.entry(root, v) < 0).toBe(
          ![...seen].some((x) => Math.floor(x / 512) === Math.floor(v / 512)),
        );
        tables.leafAlloc(root, v);
        seen.add(v);
        expect(tables.tables).toBe(needed(seen));
      }
    }));
  });

  test("nextLive finds the pages that a scan would find, a table at a time", () => {
    fc.assert(fc.property(fc.array(page, { maxLength: 30 }), page, page, (pages, x, y) => {
      const { tables, root } = made(), from = Math.min(x, y), to = Math.max(x, y);
      for (const v of pages) tables.set(tables.leafAlloc(root, v) + (v & 511), PTE_PRESENT, 1);
      // A table that was emptied again is no place to look.
      const emptied = tables.leafAlloc(root, 2 ** 34);
      tables.set(emptied, PTE_PRESENT, 1);
      tables.clear(emptied);
      const found: number[] = [];
      let looked = 0;
      for (let v = tables.nextLive(root, from, to); v < to; v = tables.nextLive(root, v, to)) {
        looked++;
        const leaf = tables.leaf(root, v);
        for (const stop = Math.min(to, v - (v & 511) + 512); v < stop; v++) {
          if (tables.kind[leaf + (v & 511)] !== PTE_NONE) found.push(v);
        }
      }
      const expected = [...new Set(pages)].filter((v) => v >= from && v < to).sort((a, b) => a - b);
      expect(found).toEqual(expected);
      expect(looked).toBeLessThanOrEqual(new Set(pages.map((v) => Math.floor(v / 512))).size);
    }));
  });

  test("two trees share the pool and nothing else", () => {
    const { tables, root } = made(), other = tables.newRoot(), v = 0x1_0000_0000;
    tables.set(tables.leafAlloc(root, v), PTE_PRESENT, 7);
    expect(tables.entry(other, v)).toBe(-1);
    tables.set(tables.leafAlloc(other, v), PTE_PRESENT, 8);
    expect([root, other].map((r) => tables.pfn[tables.entry(r, v)])).toEqual([7, 8]);
  });

  test("equal trees are equal states: tables are taken lowest first", () => {
    const { arena, tables, root } = made(),
      map = (v: number, pfn: number) => tables.set(tables.leafAlloc(root, v) + (v & 511), PTE_PRESENT, pfn);
    map(5, 1);
    map(2 ** 32, 2);
    const before = arena.snapshot();
    tables.clear(tables.entry(root, 5));
    expect(tables.freeRange(root, 5, 6, 0, 2 ** 32)).toBe(3);
    expect(tables.tables).toBe(4);
    map(5, 1);
    expect(arena.differences(before).map((d) => d.replace(/\[.*/, ""))).toEqual(["pte.tables"]);
  });

  test("a pool that is used up says so: -1 for a page, an error for a tree", () => {
    const { tables, root } = made(5);
    expect(tables.leafAlloc(root, 0)).toBeGreaterThanOrEqual(0);
    expect(tables.leafAlloc(root, 512)).toBeGreaterThanOrEqual(0);
    expect(tables.leafAlloc(root, 1024)).toBe(-1);
    expect(tables.leafAlloc(root, 511)).toBeGreaterThanOrEqual(0);
    expect(() => tables.newRoot()).toThrow(UsageError);
  });

  test("a table is not freed while something is in it", () => {
    const { tables, root } = made();
    tables.set(tables.leafAlloc(root, 3), PTE_PRESENT, 1);
    expect(tables.freeRange(root, 0, VPN_END, 0, VPN_END)).toBe(0);
    expect(() => tables.freeRoot(root)).toThrow("is freed with 1 entries");
  });
});
