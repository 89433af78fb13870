/**
 * Device memory in the words of patchset v13 (patches 17, 18): a thin wrapper that drivers did without from 5.3 on.
 * @module
 */
import { allocPage } from "../../mm/alloc.ts";
import { describe } from "../../arguments.ts";
import { UsageError } from "../../errors.ts";
import { ENOMEM, ERANGE, VM_FAULT_SIGBUS } from "../../mm/errno.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { type DeviceFaultBack, MAX_ZONES, SECTION_PAGES } from "../../mm/pages.ts";
import type { Proc } from "../../sim/sim.ts";
import { PAGE_SIZE } from "../../units.ts";
import { DeviceMemory } from "../devmem.ts";
import { HMM_PFN_ERROR } from "./flags.ts";
import { HmmSpaces } from "./hmm.ts";
import { MmStruct, tell, VmArea } from "./mm.ts";
import { type HmmMigrateOps, hmmVmaMigrate } from "./migrate.ts";

/** Owners of v13 memory begin here; those of the machine's own devices are below. */
const FIRST_OWNER = 0x1000;
/** What a driver with memory provides: v13 `struct hmm_devmem_ops` (patch 17). */
export interface HmmDevmemOps {
  /** The last reference to a page is gone; the driver may hand it out again. */
  free(devmem: HmmDevmem, page: number): void;
  /**
   * The CPU touched a page of the device. v13 gave the fault's flags and pmd too.
   *
   * @returns 0, or VM_FAULT_SIGBUS
   */
  fault(devmem: HmmDevmem, vma: VmArea, vpn: number, page: number): Proc<number>;
}

/** Memory of a device: v13 `struct hmm_devmem` (patch 17). */
export class HmmDevmem {
  private memory: DeviceMemory | undefined;
  private kernel: Kernel | undefined;
  private drvdata: Float64Array | undefined;
  /** The driver's calls; undefined before {@linkcode hmmDevmemAdd}. */
  ops: HmmDevmemOps | undefined;

  /** First frame. */
  get pfnFirst(): number {
    return this.added().zone.start;
  }

  /** First frame past it. */
  get pfnLast(): number {
    return this.added().zone.end;
  }

  /** Whether pages of it are in use. */
  get inuse(): boolean {
    return this.memory !== undefined && this.memory.used > 0;
  }

  /** Whether pages are handed out: added, and nobody has begun to remove it. */
  get live(): boolean {
    return this.memory !== undefined && this.memory.live;
  }

  /** Binds the memory; for {@linkcode hmmDevmemAdd}. */
  bind(kernel: Kernel, memory: DeviceMemory, drvdata: Float64Array): void {
    this.kernel = kernel;
    this.memory = memory;
    this.drvdata = drvdata;
  }

  /** Hands out no page from now on and goes if none is in use; for {@linkcode hmmDevmemRemove}. */
  remove(): boolean {
    const memory = this.added();
    memory.kill();
    return !memory.present || memory.remove();
  }

  /** The cell of a page's driver data. */
  cell(page: number): { readonly cells: Float64Array; readonly at: number } {
    const { zone } = this.added(), at = page - zone.start;
    if (!Number.isInteger(at) || at < 0 || page >= zone.end) {
      throw new UsageError(
        `Cannot find a page's driver data: got frame ${describe(page)}; ${zone.start} to ${
          zone.end - 1
        } are allowed; ` +
          "use a page that this device's memory handed out",
      );
    }
    return { cells: this.drvdata!, at };
  }

  private added(): DeviceMemory {
    if (this.memory !== undefined) return this.memory;
    throw new UsageError(
      "Cannot use device memory: got one that was never added; one that hmmDevmemAdd returned 0 for is allowed; " +
        "call hmmDevmemAdd(devmem, ops, device, size) first",
    );
  }

  /**
   * Hands out a page, locked and with one reference. In v13 this was the driver's own affair, from a list that its `free`
   * fed; the pages' references began at 1, here at 0.
   *
   * @param a actor; the one that runs, if left out
   * @returns the frame, or -1 when the device is full or removed
   */
  alloc(a?: number): number {
    return this.added().alloc(a ?? this.kernel!.sim.current);
  }
}

/** How many v13 memories a machine has got, for names and owners. */
const counts = new WeakMap<Kernel, number>();

/**
 * Adds device memory that the CPU cannot address: v13 `hmm_devmem_add()` (patch 17); a pointer from 4.14, gone in 5.3:
 * `memremap_pages()`.
 *
 * It takes a free physical range, looking from the top of what the machine can address down, in whole sections of 128 MiB.
 * The machine must have been built with room for it: `machine({ hotplug })`, or a device without memory, which leaves one
 * section. It is added before a race is explored, not in it.
 *
 * @param devmem takes the memory
 * @param ops the driver's calls
 * @param device a device of the machine ({@linkcode hmmDeviceNew}), or any address space of it
 * @param size how many bytes, 1 or more; they are rounded up to whole sections
 * @returns 0; -ERANGE when no free range is that large; -ENOMEM when there is no memory for its struct pages (failure point
 * "page allocation"), or the machine has as many kinds of memory as it can
 * @throws {UsageError} for memory that was added already
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", hotplug: "128 MiB" }), mm = new v13.MmStruct(m.process());
 * const devmem = new v13.HmmDevmem();
 * console.log(v13.hmmDevmemAdd(devmem, { free() {}, *fault() { return 0; } }, mm, 1 << 20)); // 0
 * console.log(devmem.pfnLast - devmem.pfnFirst, devmem.inuse); // 32768 false
 * ```
 */
export function hmmDevmemAdd(
  devmem: HmmDevmem,
  ops: HmmDevmemOps,
  device: HmmDevice | MmStruct,
  size: number,
): number {
  const { kernel: k } = device, { state } = k.sim;
  if (devmem.ops !== undefined) {
    throw new UsageError(
      "Cannot add device memory: got one that was added already; a new HmmDevmem is allowed; " +
        "make one for each device",
    );
  }
  const pages = Math.ceil(size / (SECTION_PAGES * PAGE_SIZE)) * SECTION_PAGES;
  if (!(pages > 0) || k.pages.freeRegion(pages) < 0) return -ERANGE;
  if (k.pages.zones.length === MAX_ZONES || k.sim.fails(Math.max(0, k.sim.current), "page allocation")) {
    return -ENOMEM;
  }
  const n = counts.get(k) ?? 0, name = `v13 devmem ${n}`;
  counts.set(k, n + 1);
  const memory = new DeviceMemory(k, name, pages, FIRST_OWNER + n, {
    *migrateToRam(_a: number, f: DeviceFaultBack): Proc<number> {
      const mm = new MmStruct({ machine: { kernel: k }, mm: f.mm });
      return yield* ops.fault(devmem, new VmArea(mm, f.vma), f.vpn, f.pfn);
    },
    pageFree: (_a, page) => ops.free(devmem, page),
  });
  devmem.ops = ops;
  // A page's data outlives its use, as page->hmm_data did: rows count up to the highest page that was ever handed out.
  devmem.bind(k, memory, state.f64(`${name}.drvdata`, pages, () => k.pages.touched(memory.zone)));
  return 0;
}

/**
 * Removes device memory: v13 `hmm_devmem_remove()` (patch 17), to be called until it is true. `memunmap_pages()` today.
 *
 * From the first call on no page is handed out. It moves nothing: pages in use must come back by faults, exits or the
 * driver's own migration. Once it is true the physical range is free for others.
 *
 * @param devmem added memory
 * @returns whether no page was in use and it is gone; v13 could also sleep until that was so
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", hotplug: "128 MiB" }), mm = new v13.MmStruct(m.process());
 * const devmem = new v13.HmmDevmem();
 * v13.hmmDevmemAdd(devmem, { free() {}, *fault() { return 0; } }, mm, 65536);
 * const page = devmem.alloc(0);
 * console.log(v13.hmmDevmemRemove(devmem)); // false
 * m.kernel.pages.unlock(page);
 * m.kernel.pages.put(0, page);
 * console.log(v13.hmmDevmemRemove(devmem)); // true
 * ```
 */
export function hmmDevmemRemove(devmem: HmmDevmem): boolean {
  return devmem.remove();
}

/**
 * Brings a range back because the CPU touched a page of it: v13 `hmm_devmem_fault_range()` (patch 17), for
 * {@linkcode HmmDevmemOps.fault}. 4.14 has it with two arrays; today a driver calls `migrate_vma_setup()` itself.
 *
 * @param devmem whose page it is
 * @param vma the area, as `fault` was given it
 * @param ops migration callbacks; `allocAndCopy` leaves ERROR in an entry that cannot come back
 * @param start first page to bring back
 * @param addr the page that was touched
 * @param end page past the last
 * @param pfns room for one entry a page
 * @param priv handed to the callbacks
 * @param page the page of the fault, as `fault` was given it
 * @returns 0, or VM_FAULT_SIGBUS for a range that cannot be asked for and when the touched page's entry has ERROR
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", hotplug: "128 MiB" });
 * const p = m.process(), heap = p.mmap("4 KiB"), mm = new v13.MmStruct(p), { pages } = m.kernel;
 * const move = (take: (vma: v13.VmArea, vpn: number) => number): v13.HmmMigrateOps<null> => ({
 *   *allocAndCopy(vma, start, _end, pfns) {
 *     const to = take(vma, start);
 *     pages.copy(to, v13.hmmPfnToPage(pfns[0]));
 *     pfns[0] = v13.hmmPfnFromPage(to) | v13.HMM_PFN_MIGRATE | v13.HMM_PFN_LOCKED;
 *   },
 *   *finalizeAndMap() {},
 * });
 * const back = move(v13.hmmVmaAllocLockedPage), out = move(() => devmem.alloc());
 * const devmem = new v13.HmmDevmem();
 * v13.hmmDevmemAdd(devmem, {
 *   free() {},
 *   *fault(devmem, vma, vpn, page) {
 *     const pfns = new BigUint64Array(1);
 *     return yield* v13.hmmDevmemFaultRange(devmem, vma, back, vpn, vpn, vpn + 1, pfns, null, page);
 *   },
 * }, mm, 65536);
 * p.write(heap, 7);
 * const vma = v13.findVma(mm, heap.vpn)!;
 * p.complete(v13.hmmVmaMigrate(out, vma, heap.vpn, heap.vpn + 1, new BigUint64Array(1), null));
 * console.log(devmem.inuse, p.read(heap), devmem.inuse); // true [ 7 ] false
 * ```
 */
export function* hmmDevmemFaultRange<P>(
  devmem: HmmDevmem,
  vma: VmArea,
  ops: HmmMigrateOps<P>,
  start: number,
  addr: number,
  end: number,
  pfns: BigUint64Array,
  priv: P,
  page: number,
): Proc<number> {
  const { kernel: k } = vma.vmMm;
  devmem.cell(page);
  if (addr < start || addr >= end) return tell(k, VM_FAULT_SIGBUS);
  if ((yield* hmmVmaMigrate(ops, vma, start, end, pfns, priv, page)) !== 0) return tell(k, VM_FAULT_SIGBUS);
  return tell(k, pfns[addr - start] & HMM_PFN_ERROR ? VM_FAULT_SIGBUS : 0);
}

/**
 * Takes a page of ordinary memory for an address, locked and with one reference: v13 `hmm_vma_alloc_locked_page()`
 * (patch 17); `alloc_page_vma()` and `lock_page()` today. As a plain call it cannot sleep, and so does not reclaim.
 *
 * @param vma the area
 * @param vpn the page's address; it chose the node in v13
 * @returns the frame, or -1 when there is none (or at failure point "page allocation")
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB" }), p = m.process(), heap = p.mmap("4 KiB");
 * function* take() {
 *   return v13.hmmVmaAllocLockedPage(v13.findVma(new v13.MmStruct(p), heap.vpn)!, heap.vpn);
 * }
 * const page = p.complete(take());
 * m.kernel.pages.unlock(page);
 * m.kernel.pages.put(0, page);
 * ```
 */
export function hmmVmaAllocLockedPage(vma: VmArea, vpn: number): number {
  const { kernel: k } = vma.vmMm;
  const page = vpn < vma.vmStart || vpn >= vma.vmEnd ? -1 : allocPage(k, k.sim.current);
  if (page >= 0) k.pages.trylock(page);
  return tell(k, page);
}

/**
 * Stores a number of the driver's own with a page: v13 `hmm_devmem_page_set_drvdata()` (patch 17), today
 * `page->zone_device_data`.
 *
 * @param devmem whose page it is
 * @param page a frame of it
 * @param data any integer up to 2^53
 * @throws {UsageError} for a frame of something else
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", hotplug: "128 MiB" }), mm = new v13.MmStruct(m.process());
 * const devmem = new v13.HmmDevmem();
 * v13.hmmDevmemAdd(devmem, { free() {}, *fault() { return 0; } }, mm, 65536);
 * v13.hmmDevmemPageSetDrvdata(devmem, devmem.pfnFirst, 42);
 * console.log(v13.hmmDevmemPageGetDrvdata(devmem, devmem.pfnFirst)); // 42
 * ```
 */
export function hmmDevmemPageSetDrvdata(devmem: HmmDevmem, page: number, data: number): void {
  const { cells, at } = devmem.cell(page);
  cells[at] = data;
}

/**
 * What {@linkcode hmmDevmemPageSetDrvdata} stored: v13 `hmm_devmem_page_get_drvdata()` (patch 17).
 *
 * @param devmem whose page it is
 * @param page a frame of it
 * @returns the number; 0 before anything was stored
 * @throws {UsageError} for a frame of something else
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const m = machine({ memory: "64 MiB", hotplug: "128 MiB" }), mm = new v13.MmStruct(m.process());
 * const devmem = new v13.HmmDevmem();
 * v13.hmmDevmemAdd(devmem, { free() {}, *fault() { return 0; } }, mm, 65536);
 * console.log(v13.hmmDevmemPageGetDrvdata(devmem, devmem.pfnFirst)); // 0
 * ```
 */
export function hmmDevmemPageGetDrvdata(devmem: HmmDevmem, page: number): number {
  const { cells, at } = devmem.cell(page);
  return cells[at];
}

/** A device of no bus, for drivers that need one: v13 `struct hmm_device` (patch 18). */
export interface HmmDevice {
  /** The machine that it is in. */
  readonly kernel: Kernel;
  /** Its number, from 0; the lowest that was free. */
  readonly minor: number;
}

/**
 * Makes a device that is only a name: v13 `hmm_device_new()` (patch 18), gone in 5.3.
 *
 * @param of an address space of the machine
 * @returns the device, or null when there are 256
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const mm = new v13.MmStruct(machine({ memory: "64 MiB" }).process()), first = v13.hmmDeviceNew(mm)!;
 * console.log(first.minor, v13.hmmDeviceNew(mm)!.minor); // 0 1
 * v13.hmmDevicePut(first);
 * console.log(v13.hmmDeviceNew(mm)!.minor); // 0
 * ```
 */
export function hmmDeviceNew(of: MmStruct): HmmDevice | null {
  const { devices } = HmmSpaces.of(of.kernel), minor = devices.indexOf(0);
  if (minor < 0) return null;
  devices[minor] = 1;
  return { kernel: of.kernel, minor };
}

/**
 * Gives a device up: v13 `hmm_device_put()` (patch 18).
 *
 * @param device what {@linkcode hmmDeviceNew} made; it must not be used again
 *
 * @example
 * ```ts
 * import { machine, v13 } from "hmmlab";
 *
 * const mm = new v13.MmStruct(machine({ memory: "64 MiB" }).process());
 * v13.hmmDevicePut(v13.hmmDeviceNew(mm)!);
 * ```
 */
export function hmmDevicePut(device: HmmDevice): void {
  HmmSpaces.of(device.kernel).devices[device.minor] = 0;
}
