/**
 * A GPU comes and goes between its kernels: unplugged with all that is on it brought back, plugged again.
 * @module
 */
import { evictDeviceMemory } from "../../hmm/evict.ts";
import { memremapPages, memunmapPages } from "../../hmm/devmem.ts";
import { EBUSY, ENODEV } from "../../mm/errno.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import type { Gpu } from "./device.ts";

const AT_BEGIN = site("gpu unplug: before the GPU is closed to new kernels");
const AT_MIRRORS = site("gpu unplug: ending a mirror");
const AT_EVICT = site("gpu unplug: emptying the memory");
const AT_REMOVE = site("gpu unplug: removing the memory");
const AT_PLUG = site("gpu plug: adding the memory");

/**
 * Removes a GPU from the running machine: closes it to new kernels and waits for those that run, ends its mirrors, brings its
 * pages back, removes its memory.
 *
 * @param d the GPU
 * @param a actor
 * @returns 0; -ENODEV when it is away, or another removal is under way; -ENOMEM, -EIO or -EBUSY when a page could not be
 * brought back: the GPU stays and can be used again
 */
export function* unplugGpu(d: Gpu, a: number): Proc<number> {
  const { k, k: { sim }, presence, memory, batches, engine, counter } = d;
  if (sim.due(a)) {
    sim.mark(a, AT_BEGIN, d.owner);
    yield DUE;
  }
  if (!presence.leave()) return -ENODEV;
  sim.spans.begin(a, d.kindUnplug, d.owner);
  sim.call(a, AT_MIRRORS, d.owner);
  yield* presence.drain(a);
  for (const mirror of d.openMirrors()) {
    sim.call(a, AT_MIRRORS, mirror.mm);
    yield* mirror.sever(a);
    sim.ret(a);
  }
  sim.ret(a);
  const moved = (pages: number) => sim.counters.values[counter.toSystem] += pages;
  sim.call(a, AT_EVICT, d.owner);
  let rc = yield* evictDeviceMemory(k, a, { memory, batches, engine, moved });
  sim.ret(a);
  if (rc === 0) {
    sim.call(a, AT_REMOVE, d.owner);
    rc = yield* memunmapPages(k, a, memory);
    sim.ret(a);
  }
  if (rc === 0) presence.gone();
  else presence.stay();
  sim.spans.end(a, d.kindUnplug);
  sim.progress++;
  return rc;
}

/**
 * Puts a GPU back into the running machine, its memory empty.
 *
 * @param d the GPU
 * @param a actor
 * @returns 0; -EBUSY when it is there; -ERANGE or -ENOMEM when its memory cannot be added
 */
export function* plugGpu(d: Gpu, a: number): Proc<number> {
  const { k, presence, memory } = d;
  if (!presence.away) return -EBUSY;
  k.sim.call(a, AT_PLUG, d.owner);
  const rc = yield* memremapPages(k, a, memory);
  k.sim.ret(a);
  if (rc === 0) presence.stay();
  k.sim.progress++;
  return rc;
}
