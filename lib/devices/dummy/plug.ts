/**
 * The dummy device comes and goes: unplugged with all that is on it brought back, plugged again, or lost without warning.
 * @module
 */
import { evictDeviceMemory, type Eviction } from "../../hmm/evict.ts";
import { type CopyEngine, NO_PAGE } from "../../bus/link.ts";
import { memremapPages, memunmapPages } from "../../hmm/devmem.ts";
import { EBUSY, EIO, ENODEV } from "../../mm/errno.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { transferNs } from "../../profiles/transfer.ts";
import { DUE, type Proc, site } from "../../sim/sim.ts";
import { PAGE_SIZE } from "../../units.ts";
import type { DummyDevice } from "./device.ts";

const AT_BEGIN = site("unplug: before the device is closed to new work");
const AT_MIRRORS = site("unplug: ending a mirror");
const AT_EVICT = site("unplug: emptying the device");
const AT_REMOVE = site("unplug: removing the memory");
const AT_PLUG = site("plug: adding the memory");
const AT_COPY = site("device copy: under way");
const AT_LOSE = site("the device vanishes");

/** The device's engine as its driver uses it: nothing comes or goes once the device is lost. */
export class DeviceCopier implements CopyEngine {
  constructor(private readonly d: DummyDevice) {}

  /** As the engine; at failure point "device lost" the device vanishes, and with it what is under way. */
  *copy(a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc<number> {
    const { d } = this, { k: { sim }, presence } = d;
    if (!presence.lost && sim.fails(a, "device lost")) d.lose();
    let rc = 0;
    if (!presence.lost) {
      sim.call(a, AT_COPY, d.owner, n);
      rc = yield* d.engine.copy(a, src, dst, n);
      sim.ret(a);
    }
    if (!presence.lost) return rc;
    dst.fill(NO_PAGE, 0, n);
    return -EIO;
  }
}

/** The CPU as copy engine, for memory that it reaches when the device's own engine is gone. */
class CpuCopier implements CopyEngine {
  constructor(private readonly k: Kernel) {}

  *copy(a: number, src: Uint32Array, dst: Uint32Array, n: number): Proc<number> {
    const { k } = this, { sim, pages } = k;
    for (let i = 0; i < n; i++) {
      if (dst[i] === NO_PAGE || src[i] === NO_PAGE) continue;
      if (sim.grain === 1 && sim.due(a)) {
        sim.mark(a, AT_COPY, i, n);
        yield DUE;
      }
      sim.spend(a, k.phase.copy, transferNs(PAGE_SIZE, 0, k.cost.copyBytesPerSecond));
      pages.copy(dst[i], src[i]);
    }
    return 0;
  }
}

/**
 * How a device's memory is emptied: its engine copies. Of a lost device the content is lost too, unless the CPU reaches it.
 *
 * @param d the device
 * @returns for {@linkcode evictDeviceMemory}; the device has memory
 */
export function evictionOf(d: DummyDevice): Eviction {
  const { batches, memory, presence, spec: { coherent }, k, counter } = d;
  const engine = !presence.lost ? d.copier : coherent ? new CpuCopier(k) : undefined;
  return {
    memory: memory!,
    batches,
    engine,
    moved: (pages) => k.sim.counters.values[counter.toSystem] += pages,
  };
}

/**
 * Removes a device from the running machine: closes it to new work and waits for what is under way, ends its mirrors, brings
 * its pages back, removes its memory. Pages of a device that was lost are lost with it: who touches one gets SIGBUS.
 *
 * @param d the device
 * @param a actor
 * @returns 0; -ENODEV when it is away already, or another removal is under way; -ENOMEM, -EIO or -EBUSY when a page could
 * not be brought back: the device stays and can be used again
 */
export function* unplugDevice(d: DummyDevice, a: number): Proc<number> {
  const { k: { sim }, presence, memory } = d;
  if (sim.due(a)) {
    sim.mark(a, AT_BEGIN, d.owner);
    yield DUE;
  }
  if (!presence.leave()) return -ENODEV;
  sim.spans.begin(a, d.kindUnplug, d.owner);
  sim.call(a, AT_MIRRORS, d.owner, 0);
  yield* presence.drain(a);
  for (const mirror of d.mirrors()) yield* mirror.sever(a);
  sim.ret(a);
  let rc = 0;
  if (memory !== undefined) {
    // It can vanish while it is being emptied: what is left then is given up in another round.
    let lost: boolean;
    do {
      lost = presence.lost;
      sim.call(a, AT_EVICT, d.owner, lost ? 1 : 0);
      rc = yield* evictDeviceMemory(d.k, a, evictionOf(d));
      sim.ret(a);
    } while (rc !== 0 && presence.lost !== lost);
    if (rc === 0) {
      sim.call(a, AT_REMOVE, d.owner);
      rc = yield* memunmapPages(d.k, a, memory);
      sim.ret(a);
    }
  }
  if (rc === 0) presence.gone();
  else presence.stay();
  sim.spans.end(a, d.kindUnplug);
  sim.progress++;
  return rc;
}

/**
 * Puts a device back into the running machine, its memory empty.
 *
 * @param d the device
 * @param a actor
 * @returns 0; -EBUSY when it is there; -ERANGE or -ENOMEM when its memory cannot be added
 */
export function* plugDevice(d: DummyDevice, a: number): Proc<number> {
  const { k, presence, memory } = d;
  if (!presence.away) return -EBUSY;
  if (memory !== undefined) {
    k.sim.call(a, AT_PLUG, d.owner);
    const rc = yield* memremapPages(k, a, memory);
    k.sim.ret(a);
    if (rc !== 0) return rc;
  }
  presence.stay();
  k.sim.progress++;
  return 0;
}

/**
 * Lets a device vanish without warning: its table and its engine are gone at once, and what lives only in its memory is
 * lost. The driver's removal ({@linkcode unplugDevice}) is still to come.
 *
 * @param d the device
 * @param a actor
 * @returns 0, or -ENODEV when it is away or lost already
 */
export function* loseDevice(d: DummyDevice, a: number): Proc<number> {
  const { sim } = d.k;
  if (sim.due(a)) {
    sim.mark(a, AT_LOSE, d.owner);
    yield DUE;
  }
  if (d.presence.away || d.presence.lost) return -ENODEV;
  d.lose();
  return 0;
}
