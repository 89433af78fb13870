import fc from "fast-check";
import { expect, test } from "vitest";
import { Tlbs } from "../../lib/mm/tlb.ts";
import { Sim } from "../../lib/sim/sim.ts";

const PAGES = [0, 1, 2, 0x1_0000_0000, 0x1_0000_0001, 0x1_0000_0005, 2 ** 36 - 1];
const step = fc.record({
  op: fc.constantFrom("fill", "fill", "lookup", "flush"),
  a: fc.nat({ max: 2 }),
  mm: fc.nat({ max: 1 }),
  v: fc.constantFrom(...PAGES),
  n: fc.integer({ min: 1, max: 6 }),
  write: fc.boolean(),
});

test("a TLB holds a translation until it is flushed or pushed out by one of the same slot", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 5 }), (program, entries) => {
      const tlb = new Tlbs(new Sim(1, 3), entries);
      const model = new Map<string, { mm: number; v: number; pfn: number; write: boolean }>();
      program.forEach(({ op, a, mm, v, n, write }, pfn) => {
        const slot = `${a}.${v % entries}`;
        if (op === "fill") {
          tlb.fill(a, mm, v, pfn, write);
          model.set(slot, { mm, v, pfn, write });
        } else if (op === "flush") {
          tlb.flush(mm, v, v + n);
          for (const [key, x] of model) if (x.mm === mm && x.v >= v && x.v < v + n) model.delete(key);
        } else {
          const x = model.get(slot), hit = x !== undefined && x.mm === mm && x.v === v && (!write || x.write);
          expect(tlb.lookup(a, mm, v, write)).toBe(hit ? x.pfn : -1);
        }
      });
    }),
  );
});

test("a machine without TLBs has none", () => {
  const tlb = new Tlbs(new Sim(1, 3), 0);
  tlb.flush(0, 0, 100);
  expect(tlb.entries).toBe(0);
});
