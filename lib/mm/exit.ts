/**
 * The end of an address space: exit_mmap().
 * @module
 */
import { type Proc, site } from "../sim/sim.ts";
import type { Kernel } from "./kernel.ts";
import { type Invalidation, MMU_NOTIFY_RELEASE, MMU_NOTIFY_UNMAP } from "./notifier.ts";
import { VPN_END } from "./pagetable.ts";
import { zapRange } from "./zap.ts";

const AT_RELEASE = site("exit: telling the subscribers");
const AT_NOTIFY = site("exit: notifying");
const AT_VMA = site("exit: unmapping a vma");
const AT_PUT = site("mmput: the last reference");

/**
 * Tears an address space down: its subscribers let go of everything, its pages are dropped, its tables freed.
 *
 * Subscriptions stay registered (their owner removes them); a later operation on the address space finds nothing.
 */
export function* exitMm(k: Kernel, a: number, mm: number): Proc {
  const { sim, vmas, tables } = k;
  k.watch?.mmGone(a, mm);
  k.mmUsers[mm] = 0;
  const whole = { mm, start: 0, end: VPN_END, owner: 0, blockable: true, seq: 0 };
  const release: Invalidation = { ...whole, event: MMU_NOTIFY_RELEASE };
  sim.call(a, AT_RELEASE, mm);
  yield* k.notifiers.start(a, release);
  sim.ret(a);
  k.notifiers.end(a, release);
  const unmap: Invalidation = { ...whole, event: MMU_NOTIFY_UNMAP };
  sim.call(a, AT_NOTIFY, mm);
  yield* k.notifiers.start(a, unmap);
  sim.ret(a);
  for (let vma = vmas.find(mm, 0); vma >= 0; vma = vmas.next(vma)) {
    sim.call(a, AT_VMA, mm, vma);
    yield* zapRange(k, a, mm, vmas.start[vma], vmas.end[vma]);
    sim.ret(a);
  }
  k.notifiers.end(a, unmap);
  for (let vma = vmas.find(mm, 0); vma >= 0; vma = vmas.find(mm, 0)) vmas.remove(vma);
  tables.freeRange(k.root[mm], 0, VPN_END, 0, VPN_END);
  sim.progress++;
}

/**
 * Drops a reference to an address space; the last one tears it down: mmput().
 *
 * Tearing down sleeps and tells the subscribers, so whoever may be called by them must not drop the last one.
 */
export function* mmput(k: Kernel, a: number, mm: number): Proc {
  if (k.mmUsers[mm] === 0 || --k.mmUsers[mm] > 0) return;
  k.sim.call(a, AT_PUT, mm);
  yield* exitMm(k, a, mm);
  k.sim.ret(a);
}
