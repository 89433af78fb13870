/**
 * Device memory as struct pages: added to the machine and removed from it while it runs, handed out, taken back by the
 * free callback.
 * @module
 */
import { UsageError } from "../errors.ts";
import { EBUSY, ENODEV, ENOMEM, ERANGE } from "../mm/errno.ts";
import type { Kernel } from "../mm/kernel.ts";
import {
  type DeviceFaultBack,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_PRIVATE,
  type Zone,
} from "../mm/zone.ts";
import { defineRevert } from "../sim/revert.ts";
import { DUE, type Proc, site, type Wait } from "../sim/sim.ts";
import { formatBytes, PAGE_SIZE } from "../units.ts";

/**
 * Without it a device's page that was in use keeps a reference when it is free, as before ef233450898f: who looks at the
 * device's pages by frame cannot tell it from one in use.
 */
export const REVERT_FREE_PAGE_COUNT: string = defineRevert(
  "free device page count",
  "a driver that empties its device takes and locks a free page, and who is handed that page finds it locked",
);

/** Without it a page in use holds no reference to the pagemap, and the memory goes with the page: 0dc45ca1ce18. */
export const REVERT_PAGEMAP_REFERENCE: string = defineRevert(
  "pagemap reference",
  "a device's memory is removed while entries still name its pages",
);

/** What the driver of a device with memory provides. */
export interface DevmemOps {
  /** Brings a page back because the CPU touched it; 0, or the toucher gets SIGBUS: migrate_to_ram(). */
  migrateToRam(a: number, fault: DeviceFaultBack): Proc<number>;
  /** Told when the last reference to a page is gone, before the frame can be used again: page_free(). */
  pageFree?(a: number, pfn: number): void;
}

/** What a device's memory is: not there; there; still there, but no page is handed out. */
const ABSENT = 0, LIVE = 1, KILLED = 2;

const AT_ADD = site("memremap_pages: before the memory is added");
const AT_REMOVE = site("memunmap_pages: waiting for pages in use");

/** Memory of one device: private to it, or coherent with the CPU's. */
export class DeviceMemory {
  /** The frames; none while the memory is not there. */
  readonly zone: Zone;
  /** How many frames it has when it is there. */
  readonly pages: number;
  /** Pages handed out and not yet freed: the references of the pagemap. */
  private readonly inUse: Int32Array;
  private readonly phase: Uint8Array;
  /** Woken when the last page of killed memory is freed. */
  private readonly drained: Wait;
  private readonly kernel: Kernel;

  /**
   * Declares the memory, and adds it to the machine unless that shall come later ({@link memremapPages}).
   *
   * @param k the machine
   * @param name the device's name
   * @param pages how many frames
   * @param owner who may see the pages: pgmap->owner, 1 or more
   * @param ops the driver's calls; a coherent page never needs migrateToRam
   * @param coherent whether the CPU addresses the memory like its own (MEMORY_DEVICE_COHERENT)
   * @param present whether it is there from now on
   * @throws UsageError when the machine has no room for it
   */
  constructor(
    k: Kernel,
    name: string,
    pages: number,
    owner: number,
    ops: DevmemOps,
    coherent = false,
    present = true,
  ) {
    this.kernel = k;
    this.pages = pages;
    this.inUse = k.sim.state.i32(`devmem.${name}.inUse`, 1);
    this.phase = k.sim.state.u8(`devmem.${name}.phase`, 1);
    this.drained = k.sim.queue(`pages of ${name} in use`, () => `${this.inUse[0]} pages`);
    const free = (a: number, pfn: number): void => {
      if (--this.inUse[0] === 0 && this.phase[0] === KILLED) k.sim.wake(this.drained);
      k.watch?.devicePageFreed(a, pfn);
      ops.pageFree?.(a, pfn);
      if (k.reverts(REVERT_FREE_PAGE_COUNT)) k.pages.refcount[pfn] = 1;
    };
    const zone = k.pages.declareZone(
      name,
      coherent ? MEMORY_DEVICE_COHERENT : MEMORY_DEVICE_PRIVATE,
      { migrateToRam: (a, fault) => ops.migrateToRam(a, fault), pageFree: free },
      owner,
    );
    if (zone === undefined) {
      throw new UsageError(
        `Cannot add device memory for "${name}": the machine has as many kinds of memory as it can; declare fewer devices.`,
      );
    }
    this.zone = zone;
    if (present && this.add() !== 0) {
      throw new UsageError(
        `Cannot add ${
          formatBytes(PAGE_SIZE * pages)
        } of device memory for "${name}": the machine was built for less. ` +
          `Name the device in machine({ devices: … }), or give machine({ hotplug }) room for it.`,
      );
    }
  }

  /** Pages in use. */
  get used(): number {
    return this.inUse[0];
  }

  /** Whether its frames are part of the machine. */
  get present(): boolean {
    return this.phase[0] !== ABSENT;
  }

  /** Whether pages are handed out: there and not killed. */
  get live(): boolean {
    return this.phase[0] === LIVE;
  }

  /** Hands out no page from now on: percpu_ref_kill() of the pagemap. */
  kill(): void {
    if (this.phase[0] === LIVE) this.phase[0] = KILLED;
  }

  /** Takes {@link kill} back, where a driver gives up removing the memory. */
  revive(): void {
    if (this.phase[0] === KILLED) this.phase[0] = LIVE;
  }

  /** Puts the frames in place. Returns 0, -EBUSY when they are, or -ERANGE when no free range is that large. */
  add(): number {
    const { pages } = this.kernel;
    if (this.phase[0] !== ABSENT) return -EBUSY;
    const start = pages.freeRegion(this.pages);
    if (start < 0) return -ERANGE;
    pages.open(this.zone, start, this.pages);
    this.phase[0] = LIVE;
    return 0;
  }

  /** Takes the frames away if no page is in use. Returns whether it did. */
  remove(): boolean {
    const used = this.inUse[0] > 0 && !this.kernel.reverts(REVERT_PAGEMAP_REFERENCE);
    if (used || this.phase[0] === ABSENT) return false;
    this.kernel.pages.close(this.zone);
    this.phase[0] = ABSENT;
    this.kernel.sim.wake(this.drained);
    return true;
  }

  /** The queue that is woken when the last page of killed memory is free. */
  get queue(): Wait {
    return this.drained;
  }

  /**
   * Hands out a page, locked and with one reference: zone_device_page_init().
   *
   * @param a actor
   * @returns the frame, or -1 when the device is full, not there or about to go (or at failure point "device page
   * allocation")
   */
  alloc(a: number): number {
    const { sim, pages, cost, phase } = this.kernel;
    if (this.phase[0] !== LIVE || sim.fails(a, "device page allocation")) return -1;
    const pfn = pages.take(this.zone);
    if (pfn < 0) return -1;
    sim.hold(a, this.zone.lock, phase.alloc, cost.pageAllocNs);
    if (!pages.trylock(pfn)) throw new Error(`free device page ${pfn} is locked`);
    this.inUse[0]++;
    this.kernel.watch?.devicePageTaken(a, pfn);
    return pfn;
  }

  /**
   * Hands out one particular page as {@link alloc} does, for drivers that give their memory out in chunks.
   *
   * @param a actor
   * @param pfn which frame
   * @returns whether it was free (false as well where {@link alloc} gives -1)
   */
  allocAt(a: number, pfn: number): boolean {
    const { sim, pages, cost, phase } = this.kernel;
    if (this.phase[0] !== LIVE || sim.fails(a, "device page allocation")) return false;
    if (!pages.takeAt(this.zone, pfn)) return false;
    sim.hold(a, this.zone.lock, phase.alloc, cost.pageAllocNs);
    if (!pages.trylock(pfn)) throw new Error(`free device page ${pfn} is locked`);
    this.inUse[0]++;
    this.kernel.watch?.devicePageTaken(a, pfn);
    return true;
  }
}

/**
 * Adds declared device memory to the machine, at the highest free range that begins at a section: memremap_pages() on
 * what request_free_mem_region() found. No figure for its duration was found: it takes no time.
 *
 * @param k the machine
 * @param a actor
 * @param memory what to add
 * @returns 0; -EBUSY when it is there already; -ERANGE when no free range is that large; -ENOMEM when there is no memory for
 * its struct pages (failure point "page allocation")
 */
export function* memremapPages(k: Kernel, a: number, memory: DeviceMemory): Proc<number> {
  const { sim } = k;
  sim.mightSleep(a, "memremap_pages");
  if (sim.due(a)) {
    sim.mark(a, AT_ADD, memory.zone.number);
    yield DUE;
  }
  if (!memory.present && sim.fails(a, "page allocation")) return -ENOMEM;
  return memory.add();
}

/**
 * Removes device memory from the machine: memunmap_pages(). From now on no page is handed out; it sleeps until the last one
 * that is in use has been freed, for every such page holds a reference to the pagemap. It moves nothing: that is for the
 * driver to do before.
 *
 * @param k the machine
 * @param a actor
 * @param memory what to remove
 * @returns 0, or -ENODEV when it is not there, or another actor has removed it meanwhile
 */
export function* memunmapPages(k: Kernel, a: number, memory: DeviceMemory): Proc<number> {
  const { sim } = k;
  sim.mightSleep(a, "memunmap_pages");
  memory.kill();
  while (memory.present && memory.used > 0 && !k.reverts(REVERT_PAGEMAP_REFERENCE)) {
    sim.mark(a, AT_REMOVE, memory.zone.number);
    yield memory.queue;
  }
  return memory.remove() ? 0 : -ENODEV;
}
