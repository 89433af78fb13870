import { expect, test } from "vitest";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { madvise } from "../../lib/mm/madvise.ts";
import { removeMigrationPtes, tryToMigrate } from "../../lib/mm/migration_entry.ts";
import { mmap } from "../../lib/mm/mmap.ts";
import { PTE_KIND, PTE_MIGRATION, PTE_PRESENT, PTE_SWAP } from "../../lib/mm/pagetable.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import { type Actor, resume } from "../../lib/sim/runners.ts";
import { DUE, type Proc } from "../../lib/sim/sim.ts";
import { access, brokenIn, run, smallKernel } from "../kernel.ts";

const VPN = 512;

/** A process with one written page, its entry, and who holds the lock of its table until told to let go. */
function scene() {
  const k = smallKernel(), mm = k.newMm();
  run(k, mmap(k, 0, mm, VPN, 1, VM_READ | VM_WRITE));
  access(k, mm, VPN, 1, 7);
  const e = k.tables.entry(k.root[mm], VPN);
  let held = true;
  function* holder(): Proc {
    k.ptlHold(e - (VPN & 511));
    while (held) yield DUE;
    k.ptlRelease(e - (VPN & 511));
  }
  const kind = () => k.tables.kind[e] & PTE_KIND;
  /** Resumes an actor until it has ended or sleeps. */
  const drive = (actor: Actor) => {
    while (k.sim.waitingOn[actor.a] === 0) if (resume(k.sim, actor)) return true;
    return false;
  };
  const release = () => held = false;
  k.sim.horizonNs = -1;
  k.sim.grain = 1;
  return { k, mm, kind, drive, release, holding: { a: 1, proc: holder() } };
}

test("a walk of the reverse map waits for whoever has the lock of a page table", () => {
  const { k, mm, kind, drive, release, holding } = scene();
  resume(k.sim, holding);
  const out = { a: 2, proc: madvise(k, 2, mm, VPN, 1, "pageout") };
  expect([drive(out), kind()]).toEqual([false, PTE_PRESENT]);
  release();
  expect([drive(holding), drive(out), kind()]).toEqual([true, true, PTE_SWAP]);
});

test("a fork that copies a migration entry past the walk that replaces them is visited too", () => {
  const { k, mm, drive, release, holding } = scene(), { pages, tables } = k;
  const pfn = tables.pfn[tables.entry(k.root[mm], VPN)],
    kindIn = (of: number) => tables.kind[tables.entry(k.root[of], VPN)] & PTE_KIND;
  const child = run(k, forkMm(k, 0, mm));
  pages.get(pfn);
  expect(pages.trylock(pfn)).toBe(true);
  expect(run(k, tryToMigrate(k, 0, pfn))).toBe(2);
  resume(k.sim, holding);
  const back = { a: 2, proc: removeMigrationPtes(k, 2, pfn, pfn) };
  expect([drive(back), kindIn(child)]).toEqual([false, PTE_MIGRATION]);
  const grandchild = run(k, forkMm(k, 0, child));
  release();
  expect([drive(holding), drive(back)]).toEqual([true, true]);
  pages.unlock(pfn);
  pages.put(0, pfn);
  expect([mm, child, grandchild].map(kindIn)).toEqual([PTE_PRESENT, PTE_PRESENT, PTE_PRESENT]);
  expect(pages.mapcount[pfn]).toBe(3);
  expect(brokenIn(k)).toEqual([]);
});

test("a swap-in that had to wait maps what its slot holds then", () => {
  const { k, mm, kind, drive, release, holding } = scene();
  const all = (proc: Proc<unknown>) => expect(drive({ a: 3, proc })).toBe(true);
  const write = (value: number) => {
    const one = Uint8Array.of(1);
    return { n: 1, vpn: Float64Array.of(VPN), pages: one, write: one, value: Uint32Array.of(value) };
  };
  all(madvise(k, 3, mm, VPN, 1, "pageout"));
  resume(k.sim, holding);
  const out = new AccessResult(true);
  const read = { ...write(0), write: Uint8Array.of(0), pages: Uint32Array.of(1) };
  const reader = { a: 2, proc: cpuAccess(k, 2, mm, read, out) };
  expect([drive(reader), kind()]).toEqual([false, PTE_SWAP]);
  release();
  expect(drive(holding)).toBe(true);
  // The reader can go on, but another thread is first: it brings the page in, writes to it, and it goes out again.
  all(cpuAccess(k, 3, mm, { ...write(8), pages: Uint32Array.of(1) }, new AccessResult()));
  all(madvise(k, 3, mm, VPN, 1, "pageout"));
  expect(kind()).toBe(PTE_SWAP);
  expect([drive(reader), out.words]).toEqual([true, [8]]);
});
