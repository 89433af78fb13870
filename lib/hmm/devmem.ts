/**
 * Device memory as struct pages: added to the machine, handed out, taken back by the free callback.
 * @module
 */
import type { Kernel } from "../mm/kernel.ts";
import {
  type DeviceFaultBack,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_PRIVATE,
  type Zone,
} from "../mm/pages.ts";
import type { Proc } from "../sim/sim.ts";

/** What the driver of a device with memory provides. */
export interface DevmemOps {
  /** Brings a page back because the CPU touched it; 0, or the toucher gets SIGBUS: migrate_to_ram(). */
  migrateToRam(a: number, fault: DeviceFaultBack): Proc<number>;
  /** Told when the last reference to a page is gone, before the frame can be used again: page_free(). */
  pageFree?(a: number, pfn: number): void;
}

/** Memory of one device: private to it, or coherent with the CPU's. */
export class DeviceMemory {
  /** The frames. */
  readonly zone: Zone;
  /** Pages handed out and not yet freed. */
  private readonly inUse: Int32Array;
  private readonly kernel: Kernel;

  /**
   * Adds the memory to the machine: memremap_pages().
   *
   * @param k the machine
   * @param name the device's name
   * @param pages how many frames
   * @param owner who may see the pages: pgmap->owner, 1 or more
   * @param ops the driver's calls; a coherent page never needs migrateToRam
   * @param coherent whether the CPU addresses the memory like its own (MEMORY_DEVICE_COHERENT)
   */
  constructor(k: Kernel, name: string, pages: number, owner: number, ops: DevmemOps, coherent = false) {
    this.kernel = k;
    this.inUse = k.sim.state.i32(`devmem.${name}.inUse`, 1);
    const free = (a: number, pfn: number): void => {
      this.inUse[0]--;
      ops.pageFree?.(a, pfn);
    };
    this.zone = k.pages.addZone(
      name,
      coherent ? MEMORY_DEVICE_COHERENT : MEMORY_DEVICE_PRIVATE,
      pages,
      { migrateToRam: (a, fault) => ops.migrateToRam(a, fault), pageFree: free },
      owner,
    );
  }

  /** Pages in use. */
  get used(): number {
    return this.inUse[0];
  }

  /**
   * Hands out a page, locked and with one reference: zone_device_page_init().
   *
   * @param a actor
   * @returns the frame, or -1 when the device is full (or at failure point "device page allocation")
   */
  alloc(a: number): number {
    const { sim, pages, cost, phase } = this.kernel;
    if (sim.fails(a, "device page allocation")) return -1;
    const pfn = pages.take(this.zone);
    if (pfn < 0) return -1;
    sim.hold(a, this.zone.lock, phase.alloc, cost.pageAllocNs);
    if (!pages.trylock(pfn)) throw new Error(`free device page ${pfn} is locked`);
    this.inUse[0]++;
    return pfn;
  }
}
