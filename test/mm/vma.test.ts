import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { VM_READ, VM_WRITE, Vmas } from "../../lib/mm/vma.ts";
import { Sim } from "../../lib/sim/sim.ts";

const SPACES = 2, PAGES = 24;
/** Where the window of pages lies: past 32 bits, as region A of the transcripts. */
const BASE = 0x1_0000_0000;

const step = fc.record({
  op: fc.constantFrom("insert", "insert", "split", "merge", "remove", "prepare"),
  mm: fc.nat({ max: SPACES - 1 }),
  at: fc.nat({ max: PAGES - 1 }),
  n: fc.integer({ min: 1, max: 8 }),
  flags: fc.constantFrom(VM_READ, VM_READ | VM_WRITE),
});

interface Page {
  readonly flags: number;
  readonly offset: number;
  anon: number;
}

/** The window of one address space, page by page. */
function windowOf(vmas: Vmas, mm: number): (Page | undefined)[] {
  return Array.from({ length: PAGES }, (_, i) => {
    const v = vmas.lookup(mm, BASE + i);
    if (v < 0) return undefined;
    const offset = vmas.pgoff[v] + (BASE + i - vmas.start[v]);
    return { flags: vmas.flags[v], offset, anon: vmas.anonVma[v] };
  });
}

describe("vmas", () => {
  test("cover what a list of pages covers, through insert, split, merge and remove", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (program) => {
      const vmas = new Vmas(new Sim(1, 1), 64);
      const model = Array.from({ length: SPACES }, () => Array<Page | undefined>(PAGES).fill(undefined));
      for (const { op, mm, at, n, flags } of program) {
        const pages = model[mm], v = vmas.lookup(mm, BASE + at), end = Math.min(PAGES, at + n);
        expect(v >= 0).toBe(pages[at] !== undefined);
        if (op === "insert") {
          if (pages.slice(at, end).some((p) => p !== undefined)) continue;
          const made = vmas.insert(mm, BASE + at, BASE + end, flags, BASE + at);
          expect(vmas.lookup(mm, BASE + at)).toBe(made);
          for (let i = at; i < end; i++) pages[i] = { flags, offset: BASE + i, anon: 0 };
        } else if (v < 0) continue;
        else if (op === "split") {
          if (vmas.start[v] === BASE + at) continue;
          const before = vmas.length, upper = vmas.split(v, BASE + at);
          expect([vmas.length, vmas.end[v], vmas.start[upper]]).toEqual([before + 1, BASE + at, BASE + at]);
        } else if (op === "merge") {
          const row = vmas.merge(v);
          expect(vmas.lookup(mm, BASE + at)).toBe(row);
        } else if (op === "remove") {
          const from = vmas.start[v] - BASE, to = vmas.end[v] - BASE;
          vmas.remove(v);
          pages.fill(undefined, from, to);
        } else {
          vmas.prepareAnon(v);
          const anon = vmas.anonVma[v];
          expect(anon).toBeGreaterThan(0);
          for (let i = vmas.start[v] - BASE; i < vmas.end[v] - BASE; i++) pages[i]!.anon = anon;
        }
        model.forEach((expected, space) => {
          const found = windowOf(vmas, space);
          // A merge may give an anon_vma to pages of a vma that had none, and never takes one away.
          found.forEach((p, i) => p !== undefined && expected[i]?.anon === 0 && (expected[i]!.anon = p.anon));
          expect(found).toEqual(expected);
        });
        // Order, neighbours, gaps.
        for (let space = 0; space < SPACES; space++) {
          let last = 0;
          for (let x = vmas.find(space, 0); x >= 0; x = vmas.next(x)) {
            expect(vmas.start[x]).toBeGreaterThanOrEqual(last);
            expect(vmas.endBefore(space, vmas.start[x])).toBe(last);
            last = vmas.end[x];
          }
          expect(vmas.find(space, BASE + PAGES)).toBe(-1);
        }
      }
    }));
  });

  test("neighbours that map on with the same flags join, with one anon_vma between them at most", () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (program) => {
      const vmas = new Vmas(new Sim(1, 1), 64);
      for (const { op, mm, at, n, flags } of program) {
        const v = vmas.lookup(mm, BASE + at);
        if (op === "insert" && v < 0) {
          const next = vmas.find(mm, BASE + at);
          const end = Math.min(BASE + at + n, next < 0 ? Infinity : vmas.start[next]);
          vmas.merge(vmas.insert(mm, BASE + at, end, flags, BASE + at));
        } else if (op === "prepare" && v >= 0) vmas.prepareAnon(v);
      }
      for (let mm = 0; mm < SPACES; mm++) {
        for (let v = vmas.find(mm, 0), w = vmas.next(v); w >= 0; v = w, w = vmas.next(v)) {
          if (vmas.end[v] !== vmas.start[w] || vmas.flags[v] !== vmas.flags[w]) continue;
          expect([vmas.anonVma[v] > 0, vmas.anonVma[w] > 0, vmas.anonVma[v] === vmas.anonVma[w]])
            .toEqual([true, true, false]);
        }
      }
    }));
  });

  test("a vma without an anon_vma takes its neighbour's, so that they can join when their flags agree again", () => {
    const vmas = new Vmas(new Sim(1, 1), 8);
    const low = vmas.insert(0, BASE, BASE + 4, VM_READ, BASE);
    const high = vmas.insert(0, BASE + 4, BASE + 8, VM_READ | VM_WRITE, BASE + 4);
    vmas.prepareAnon(high);
    vmas.prepareAnon(low);
    expect(vmas.anonVma[low]).toBe(vmas.anonVma[high]);
    vmas.flags[low] = VM_READ | VM_WRITE;
    vmas.merge(low);
    expect(vmas.length).toBe(1);
  });

  test("neighbours with anon_vmas of their own do not join", () => {
    const vmas = new Vmas(new Sim(1, 1), 8);
    const low = vmas.insert(0, BASE, BASE + 4, VM_READ, BASE);
    vmas.prepareAnon(low);
    const high = vmas.insert(0, BASE + 8, BASE + 12, VM_READ, BASE + 8);
    vmas.prepareAnon(high);
    const between = vmas.insert(0, BASE + 4, BASE + 8, VM_READ, BASE + 4);
    vmas.merge(between);
    expect(vmas.length).toBe(2);
    expect([vmas.start[vmas.find(0, BASE)], vmas.end[vmas.find(0, BASE)]]).toEqual([BASE, BASE + 8]);
  });

  test("the reverse map leads from a page's place to the vma that maps it, across splits", () => {
    const vmas = new Vmas(new Sim(1, 1), 8), v = vmas.insert(0, BASE, BASE + 8, VM_READ, BASE);
    vmas.prepareAnon(v);
    const anon = vmas.anonVma[v], upper = vmas.split(v, BASE + 5);
    expect(vmas.mapping(anon, BASE + 4)).toMatchObject([{ vma: v, vpn: BASE + 4 }]);
    expect(vmas.mapping(anon, BASE + 5)).toMatchObject([{ vma: upper, vpn: BASE + 5 }]);
    expect(vmas.mapping(anon, BASE + 8)).toEqual([]);
    vmas.remove(upper);
    expect(vmas.mapping(anon, BASE + 5)).toEqual([]);
  });

  test("rows are taken lowest first: the same areas are the same state", () => {
    const sim = new Sim(1, 1), vmas = new Vmas(sim, 8);
    vmas.insert(0, 10, 20, VM_READ, 10);
    const b = vmas.insert(0, 30, 40, VM_READ, 30), before = sim.state.snapshot();
    vmas.remove(b);
    vmas.insert(0, 30, 40, VM_READ, 30);
    expect(sim.state.differences(before)).toEqual([]);
  });

  test("there is an end to vmas: no insert, no split, and nothing is changed", () => {
    const sim = new Sim(1, 1), vmas = new Vmas(sim, 2), v = vmas.insert(0, 0, 10, VM_READ, 0);
    vmas.insert(1, 0, 10, VM_READ, 0);
    const before = sim.state.snapshot();
    expect([vmas.insert(0, 20, 30, VM_READ, 20), vmas.split(v, 5)]).toEqual([-1, -1]);
    expect(sim.state.differences(before)).toEqual([]);
  });

  test("a vma is not removed under a fault", () => {
    const vmas = new Vmas(new Sim(1, 1), 2), v = vmas.insert(0, 0, 10, VM_READ, 0);
    vmas.faulting[v] = 1;
    expect(() => vmas.remove(v)).toThrow("goes while 1 faults are inside");
  });
});
