/**
 * What the process's page table says of a range, in the bytes of the kernel's test driver: HMM_DMIRROR_SNAPSHOT.
 * @module
 */
import {
  HMM_PFN_ERROR,
  HMM_PFN_MASK,
  HMM_PFN_ORDER_PMD,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmRangeFault,
} from "../../hmm/range.ts";
import { EINVAL, ENODEV } from "../../mm/errno.ts";
import { MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE, ZERO_PFN } from "../../mm/pages.ts";
import { type Proc, site } from "../../sim/sim.ts";
import type { DummyDevice } from "./device.ts";
import { chunkPages } from "./ioctl.ts";
import type { DummyMirror } from "./mirror.ts";

/** No vma, or none that can be read. */
export const PROT_ERROR = 0xff;
/** Nothing mapped that the device could use. */
export const PROT_NONE = 0;
/** The page may be read. */
export const PROT_READ = 1;
/** The page may be written. */
export const PROT_WRITE = 2;
/** Part of a 2 MiB page. */
export const PROT_PMD = 4;
/** The shared page of zeros. */
export const PROT_ZERO = 0x10;
/** In the device's own memory, which the CPU cannot address. */
export const PROT_PRIVATE_LOCAL = 0x20;
/** In the device's own memory, which the CPU addresses too. */
export const PROT_COHERENT_LOCAL = 0x40;
/** In another device's memory that all address. */
export const PROT_COHERENT_REMOTE = 0x50;

const AT_BEGIN = site("dummy snapshot: reading the sequence");
const AT_RANGE = site("dummy snapshot: hmm_range_fault");

/** The byte of one page: dmirror_mkentry(). */
function protectionByte(d: DummyDevice, entry: number): number {
  if (entry & HMM_PFN_ERROR) return PROT_ERROR;
  if (!(entry & HMM_PFN_VALID)) return PROT_NONE;
  const pfn = entry & HMM_PFN_MASK, { pages } = d.k;
  let byte = entry & HMM_PFN_WRITE ? PROT_WRITE : PROT_READ;
  if (entry & HMM_PFN_ORDER_PMD) return byte | PROT_PMD;
  if (pfn === ZERO_PFN) return byte | PROT_ZERO;
  const zone = pages.zoneOf(pfn);
  if (zone.type === MEMORY_DEVICE_PRIVATE) byte |= PROT_PRIVATE_LOCAL;
  if (zone.type === MEMORY_DEVICE_COHERENT) {
    byte |= zone.owner === d.owner ? PROT_COHERENT_LOCAL : PROT_COHERENT_REMOTE;
  }
  return byte;
}

/**
 * Looks at a range without faulting anything in.
 *
 * @param start first page
 * @param pages how many, 1 or more
 * @param out takes one byte a page
 * @returns 0; -EINVAL when the address space is gone; -ENODEV when the device is
 */
export function* dummySnapshot(
  d: DummyDevice,
  a: number,
  m: DummyMirror,
  start: number,
  pages: number,
  out: number[],
): Proc<number> {
  const { k, batches } = d, { sim, locks, notifiers } = k, end = start + pages, chunk = chunkPages(d);
  if (pages <= 0) return -EINVAL;
  if (m.severed || !d.presence.enter()) return -ENODEV;
  if (!m.alive) {
    d.presence.exit();
    return -EINVAL;
  }
  const batch = batches.take();
  for (let v = start; v < end;) {
    const stop = Math.min(end, v + chunk);
    sim.call(a, AT_BEGIN, v, end, batch.slot);
    const seq = yield* notifiers.readBegin(a, m.sub);
    sim.ret(a);
    sim.call(a, AT_RANGE, v, end, batch.slot, seq);
    yield* locks.read(a, k.mmapLock(m.mm));
    const rc = yield* hmmRangeFault(k, a, {
      sub: m.sub,
      seq,
      mm: m.mm,
      start: v,
      end: stop,
      pfns: batch.src,
      defaultFlags: 0,
      pfnFlagsMask: 0,
      owner: d.owner,
    });
    locks.readUnlock(a, k.mmapLock(m.mm));
    yield* locks.lock(a, d.lock);
    sim.ret(a);
    // An invalidation came: what was found may be gone already.
    const stale = rc !== 0 || notifiers.readRetry(m.sub, seq);
    if (!stale) { for (let i = 0; i < stop - v; i++) out.push(protectionByte(d, batch.src[i])); }
    locks.unlock(a, d.lock);
    if (!stale) v = stop;
  }
  batches.give(batch, chunk);
  d.presence.exit();
  return 0;
}
