/**
 * What a zone is: a contiguous range of page frames of one kind, and what the owner of a device's memory provides.
 * @module
 */
import type { Proc } from "../sim/sim.ts";

/** Ordinary memory. */
export const MEMORY_SYSTEM = 0;
/** Device memory that the CPU cannot address: MEMORY_DEVICE_PRIVATE. */
export const MEMORY_DEVICE_PRIVATE = 1;
/** Device memory that the CPU addresses like its own: MEMORY_DEVICE_COHERENT. */
export const MEMORY_DEVICE_COHERENT = 2;

/** What the owner of a device's memory provides: dev_pagemap_ops. */
export interface PagemapOps {
  /** Brings a page back to system memory because the CPU touched it; 0, or the page's process gets SIGBUS. */
  migrateToRam(a: number, fault: DeviceFaultBack): Proc<number>;
  /** Takes a page back whose last reference was dropped. */
  pageFree(a: number, pfn: number): void;
}

/** A CPU fault on a device-private page: struct vm_fault as migrate_to_ram() sees it. */
export interface DeviceFaultBack {
  /** Address space. */
  mm: number;
  /** The vma of the faulting address. */
  vma: number;
  /** Faulting page. */
  vpn: number;
  /** The device page that its entry names; the fault holds a reference to it. */
  pfn: number;
}

/** A contiguous range of page frames of one kind. A device's can be empty: `start` and `end` are then equal. */
export interface Zone {
  /** "RAM", "RAM of node 1", or the device's name. */
  readonly name: string;
  /** MEMORY_SYSTEM, MEMORY_DEVICE_PRIVATE or MEMORY_DEVICE_COHERENT. */
  readonly type: number;
  /** Its place among the zones. */
  readonly number: number;
  /** First frame. */
  readonly start: number;
  /** First frame past it. */
  readonly end: number;
  /** Short lock of the free list, for its time. */
  readonly lock: number;
  /** Calls of the memory's owner; RAM has none. */
  readonly ops: PagemapOps | undefined;
  /** Who may see the pages of device memory: pgmap->owner. 0 for RAM. */
  readonly owner: number;
}

/** A zone over the columns of all zones: one shape for all, so that reading its ends costs no call of its own. */
export class ZoneRow implements Zone {
  /**
   * Names a row.
   *
   * @param number its place among the zones
   * @param name "RAM", or the device's name
   * @param type MEMORY_SYSTEM, MEMORY_DEVICE_PRIVATE or MEMORY_DEVICE_COHERENT
   * @param lock resource of its short lock
   * @param ops calls of its owner
   * @param owner who may see its pages
   * @param starts first frame by zone
   * @param ends first frame past it by zone
   */
  constructor(
    readonly number: number,
    readonly name: string,
    readonly type: number,
    readonly lock: number,
    readonly ops: PagemapOps | undefined,
    readonly owner: number,
    private readonly starts: Uint32Array,
    private readonly ends: Uint32Array,
  ) {}

  /** First frame. */
  get start(): number {
    return this.starts[this.number];
  }

  /** First frame past it. */
  get end(): number {
    return this.ends[this.number];
  }
}
