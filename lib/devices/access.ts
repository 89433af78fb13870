/**
 * What a program on a device does to memory: batches of accesses through the device's own table.
 * @module
 */
import { type DeviceLink, TO_DEVICE, TO_HOST } from "../bus/way.ts";
import type { Accesses, AccessResult } from "../mm/access.ts";
import type { Kernel } from "../mm/kernel.ts";
import { PTE_KIND, PTE_PRESENT, PTE_WRITE } from "../mm/pagetable.ts";
import { LivelockError } from "../sim/runners.ts";
import { DUE, type Proc, site } from "../sim/sim.ts";
import { PAGE_SIZE } from "../units.ts";
import type { DeviceTable } from "./table.ts";

/** What a device's accesses cost and how far one fault reaches. */
export interface DeviceTiming {
  /** Pages that one fault serves, aligned to their number. */
  readonly granulePages: number;
  /** Time of one access to a mapped page. */
  readonly accessNs: number;
  /** Phase under which that is booked. */
  readonly phase: number;
  /** The way to system memory; accesses to pages there cross it. */
  readonly link: DeviceLink | undefined;
}

/** How a device resolves a fault of pages `start` to `end`: 0, or a negated errno. */
export interface FaultHandler {
  fault(start: number, end: number, write: boolean): Proc<number>;
}

/** Faults of one page in a row, all of them answered with success, after which something must be wrong. */
const MOST_FRUITLESS_FAULTS = 10_000;

const AT_ACCESS = site("before a device access");
const AT_LINK = site("device access: pages cross the link");
const AT_FAULT = site("device access: in its fault");

/**
 * Performs a batch of accesses as a device, faulting where its table has nothing.
 *
 * @param mm the address space that the table mirrors
 * @param table the device's table
 * @param acc the batch; it must not change before this ends
 * @param out takes errors (as signals with an errno), words and mismatches
 * @param device costs and the fault handler
 */
export function* deviceAccess(
  k: Kernel,
  a: number,
  mm: number,
  table: DeviceTable,
  acc: Accesses,
  out: AccessResult,
  device: DeviceTiming & FaultHandler,
): Proc {
  const { sim, deviceTables: tables, pages, vmas } = k,
    { kind, pfn } = tables,
    { granulePages: granule } = device;
  for (let row = 0; row < acc.n; row++) {
    const first = acc.vpn[row], end = first + acc.pages[row], write = acc.write[row] !== 0;
    const value = (acc.value?.[row] ?? 0) - first;
    let v = first, fruitless = 0;
    while (v < end) {
      if (sim.due(a)) {
        sim.mark(a, AT_ACCESS, row, v);
        yield DUE;
      }
      const chunk = Math.min(end, sim.grain === 1 ? v + 1 : v - (v & 511) + 512);
      const leaf = tables.leaf(table.root, v), from = v;
      let remote = 0;
      for (; leaf >= 0 && v < chunk; v++) {
        const e = leaf + (v & 511), flags = kind[e];
        if ((flags & PTE_KIND) !== PTE_PRESENT || (write && !(flags & PTE_WRITE))) break;
        const i = pfn[e] * pages.wordsPerPage;
        if (pfn[e] < k.pages.ramEnd) remote++;
        if (write) pages.word[i] = value + v;
        else if (out.keepWords || out.check) out.note(v, pages.word[i], (value + v) >>> 0);
      }
      if (v > from) {
        sim.spend(a, device.phase, device.accessNs * (v - from));
        if (remote > 0 && device.link !== undefined) {
          const direction = write ? TO_HOST : TO_DEVICE, bytes = remote * PAGE_SIZE;
          if (!device.link.tryTransfer(a, direction, bytes)) {
            sim.call(a, AT_LINK, row, v, from);
            yield* device.link.transfer(a, direction, bytes);
            sim.ret(a);
          }
        }
        out.pages += v - from;
        sim.progress++;
        fruitless = 0;
        continue;
      }
      if (++fruitless > MOST_FRUITLESS_FAULTS) {
        throw new LivelockError(
          `livelock: the driver's fault returned 0 for page ${v} ${MOST_FRUITLESS_FAULTS} times in a row, and the ` +
            `device's table still does not let it ${
              write ? "write" : "read"
            } there. A fault that returns 0 must have ` +
            "entered the page: fill a range with hmmRangeFault, then call map(range) on the device's table under the " +
            `driver's lock${
              write ? "; for a write ask for HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE" : ""
            }. Return a negated errno for a page that cannot be had.`,
        );
      }
      // A fault serves its granule as far as the vma reaches; the layout is read without a lock, so if a neighbour
      // could not be had meanwhile, this page alone decides.
      const vma = vmas.lookup(mm, v), aligned = v - (v % granule);
      const low = vma < 0 ? v : Math.max(aligned, vmas.start[vma]);
      const high = vma < 0 ? v + 1 : Math.min(aligned + granule, vmas.end[vma]);
      sim.call(a, AT_FAULT, row, v);
      let rc = yield* device.fault(low, high, write);
      if (rc !== 0 && high - low > 1) rc = yield* device.fault(v, v + 1, write);
      sim.ret(a);
      if (rc !== 0) {
        out.fail(v, rc);
        fruitless = 0;
        v++;
      }
    }
  }
}
