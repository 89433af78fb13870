import { expect, test } from "vitest";
import { Search } from "../../lib/explore/search.ts";
import { AccessResult, cpuAccess } from "../../lib/mm/access.ts";
import { exitMm } from "../../lib/mm/exit.ts";
import { forkMm } from "../../lib/mm/fork.ts";
import { mmap } from "../../lib/mm/mmap.ts";
import { PTE_WRITE } from "../../lib/mm/pagetable.ts";
import { VM_READ, VM_WRITE } from "../../lib/mm/vma.ts";
import { DUE, type Proc } from "../../lib/sim/sim.ts";
import { access, run, smallKernel } from "../kernel.ts";

test("a write that makes its page writable in place waits for whoever has the lock of its table", () => {
  const k = smallKernel(), mm = k.newMm(), vpn = 512;
  run(k, mmap(k, 0, mm, vpn, 1, VM_READ | VM_WRITE));
  access(k, mm, vpn, 1, 7);
  // Shared with a child that is gone: read-only, and nobody else's.
  const child = run(k, forkMm(k, 0, mm));
  run(k, exitMm(k, 0, child));
  const e = k.tables.entry(k.root[mm], vpn);
  expect(k.tables.kind[e] & PTE_WRITE).toBe(0);
  let changed = 0;
  function* holder(): Proc {
    k.ptlHold(e - (vpn & 511));
    const before = k.tables.kind[e];
    yield DUE;
    if (k.tables.kind[e] !== before) changed++;
    k.ptlRelease(e - (vpn & 511));
  }
  const write = {
    n: 1,
    vpn: Float64Array.of(vpn),
    pages: Uint32Array.of(1),
    write: Uint8Array.of(1),
    value: Uint32Array.of(8),
  };
  const search = new Search({
    sim: k.sim,
    begin: () => [{ a: 1, proc: holder() }, {
      a: 2,
      proc: cpuAccess(k, 2, mm, write, new AccessResult()),
    }],
    checkEnd: () => k.pages.word[k.tables.pfn[e]] === 8 ? undefined : "the write is lost",
  });
  search.run();
  expect(search.result().violations).toEqual([]);
  expect(search.result().exhaustive).toBe(true);
  expect(changed).toBe(0);
});
