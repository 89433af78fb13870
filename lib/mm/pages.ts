/**
 * Struct pages as columns, zones, and the allocator of page frames.
 *
 * A page frame number indexes every column. RAM is the first zone, or the first few, one a NUMA node; each device's
 * memory is a zone of its own that begins at a section boundary (128 MiB) and can come and go, as memremap_pages() and
 * memunmap_pages() have it. Frame 0 is the shared zero page.
 * @module
 */
import { UsageError } from "../errors.ts";
import { formatBytes } from "../units.ts";
import { type Proc, type Sim, site, type Wait } from "../sim/sim.ts";
import {
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_PRIVATE,
  MEMORY_SYSTEM,
  type PagemapOps,
  type Zone,
  ZoneRow,
} from "./zone.ts";
import { PG_LARGE, PG_LOCKED } from "./page_flags.ts";
import { HUGE_PAGES, MAX_PAGES, ramSections, SECTION_PAGES, ZERO_PFN } from "./page_sizes.ts";
import type { Watch } from "./watch.ts";

export * from "./page_flags.ts";
export * from "./page_sizes.ts";
export { MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE, MEMORY_SYSTEM } from "./zone.ts";
export type { DeviceFaultBack, PagemapOps, Zone } from "./zone.ts";

/** Bytes of host memory that the columns of one frame take beside its words. */
export const FRAME_BYTES: number = 1 + 4 + 4 + 1 + 4 + 2 + 4 + 8;
const FULL = 0xffff_ffff;
/** Zones of a machine, there or not: ordinary memory by node (up to 8) and what devices have (up to 15). */
export const MAX_ZONES = 23;
const PAGE_QUEUES = 64;
const AT_PAGE_LOCK = site("waiting for a page lock");

/** All struct pages of a machine. */
export class Pages {
  /** PG_ flags by frame. */
  readonly flags: Uint8Array;
  /** References: 0 is free, mapped once and otherwise unused is 1. */
  readonly refcount: Int32Array;
  /** Page-table entries that map the page (device entries count, migration entries do not). */
  readonly mapcount: Int32Array;
  /** Long-term pins; each is a reference too. */
  readonly pins: Uint8Array;
  /** The page's anon_vma; 0 when it belongs to nobody. */
  readonly mapping: Uint32Array;
  /** The file whose cache has the page; 0 for none. */
  readonly inode: Uint16Array;
  /** Slot of a page in the swap cache, plus 1; 0 for none. */
  readonly swap: Uint32Array;
  /** The page's place in its mapping: a page of its file, or a virtual page number for anonymous memory. */
  readonly index: Float64Array;
  /** Content: `wordsPerPage` words of each page are modelled. */
  readonly word: Uint32Array;
  /** Modelled words of a page. */
  readonly wordsPerPage: number;
  /** RAM, then each device's memory that was ever declared; one that is not there has no frames. */
  readonly zones: Zone[] = [];
  /** First frame past ordinary memory: from here on pages are devices'. */
  readonly ramEnd: number = 0;
  /** Told of page locks. */
  watch: Pick<Watch, "pageLocked" | "pageUnlocked" | "pageAwaited"> | undefined = undefined;
  private readonly sim: Sim;
  private readonly limit: number;
  private readonly lastRamZone: number;
  /** By zone: first frame, and first frame past it; equal where nothing is. */
  private readonly starts: Uint32Array;
  private readonly ends: Uint32Array;
  /** Bits by level: a frame in use; 32 frames in use; 1,024 frames in use. */
  private readonly used0: Uint32Array;
  private readonly used1: Uint32Array;
  private readonly used2: Uint32Array;
  /** By zone: first frame that was never used, a frame below which all are in use, number in use. */
  private readonly fresh: Uint32Array;
  private readonly lowest: Uint32Array;
  private readonly inUse: Uint32Array;
  private readonly queues: Wait[] = [];

  /**
   * Makes the struct pages of a machine, all free but for the zero page.
   *
   * @param sim the machine's contract
   * @param ram frames of ordinary memory, or of each NUMA node
   * @param devicePages frames that devices may add, in all
   * @param devices how many devices may add memory
   * @param wordsPerPage modelled words of each page
   * @throws UsageError when the frames in all exceed what a frame number can name
   */
  constructor(
    sim: Sim,
    ram: number | readonly number[],
    devicePages: number,
    devices: number,
    wordsPerPage: number,
  ) {
    const nodes = typeof ram === "number" ? [ram] : ram, ramPages = nodes.reduce((n, x) => n + x, 0);
    const sections = ramSections(nodes) + Math.ceil(devicePages / SECTION_PAGES) + devices;
    this.limit = sections * SECTION_PAGES;
    if (this.limit > MAX_PAGES) {
      const asked = formatBytes(4096 * (ramPages + devicePages)), most = formatBytes(4096 * MAX_PAGES);
      throw new UsageError(
        `Cannot build the machine: ${asked} of memory in all were asked for; at most ${most} can be addressed. ` +
          "Give the host or its devices less memory.",
      );
    }
    this.sim = sim;
    this.wordsPerPage = wordsPerPage;
    const n = this.limit, { state } = sim;
    const by = (pagesEach: number) => () => this.extents(pagesEach);
    this.flags = state.u8("page.flags", n, by(1));
    this.refcount = state.i32("page.refcount", n, by(1));
    this.mapcount = state.i32("page.mapcount", n, by(1));
    this.pins = state.u8("page.pins", n, by(1));
    this.mapping = state.u32("page.mapping", n, by(1));
    this.inode = state.u16("page.inode", n, by(1));
    this.swap = state.u32("page.swap", n, by(1));
    this.index = state.f64("page.index", n, by(1));
    this.word = state.u32("page.word", n * wordsPerPage, by(1 / wordsPerPage));
    this.used0 = state.u32("zone.used0", n >>> 5, by(32));
    this.used1 = state.u32("zone.used1", n >>> 10, by(1024));
    this.used2 = state.u32("zone.used2", n >>> 15, by(SECTION_PAGES));
    this.starts = state.u32("zone.start", MAX_ZONES);
    this.ends = state.u32("zone.end", MAX_ZONES);
    this.fresh = state.u32("zone.fresh", MAX_ZONES);
    this.lowest = state.u32("zone.lowest", MAX_ZONES);
    this.inUse = state.u32("zone.inUse", MAX_ZONES);
    for (let i = 0; i < PAGE_QUEUES; i++) this.queues.push(sim.queue(`page lock ${i}`));
    let start = 0;
    for (const [i, frames] of nodes.entries()) {
      const name = nodes.length === 1 ? "RAM" : `RAM of node ${i}`;
      this.open(this.declareZone(name, MEMORY_SYSTEM, undefined, 0)!, start, frames);
      this.ramEnd = start + frames;
      start += SECTION_PAGES * Math.ceil(frames / SECTION_PAGES);
    }
    this.lastRamZone = nodes.length - 1;
    const zero = this.take(this.zones[0]);
    if (zero !== ZERO_PFN) throw new Error("the first frame must be the zero page");
  }

  /** Rows in use of a column with a row for `pagesEach` frames: of each zone those up to the highest ever taken. */
  extents(pagesEach: number): number[] {
    const rows: number[] = [], { starts, ends, fresh } = this;
    const there = this.zones.map((z) => z.number).filter((z) => ends[z] > starts[z]);
    for (const z of there.sort((x, y) => starts[x] - starts[y])) {
      rows.push(starts[z] / pagesEach, Math.ceil(fresh[z] / pagesEach));
    }
    return rows;
  }

  /**
   * Declares memory that can be there or not, so far without a frame. A machine does so while it is built, or between runs.
   *
   * @param name "RAM", or the device's name
   * @param type MEMORY_SYSTEM, MEMORY_DEVICE_PRIVATE or MEMORY_DEVICE_COHERENT
   * @param ops the owner's calls
   * @param owner who may see the pages, 1 or more; 0 for RAM
   * @returns the zone, or undefined when there are as many as there can be
   */
  declareZone(name: string, type: number, ops: PagemapOps | undefined, owner: number): Zone | undefined {
    const number = this.zones.length, { starts, ends } = this;
    if (number === MAX_ZONES) return undefined;
    const lock = this.sim.resource("zone lock");
    const zone = new ZoneRow(number, name, type, lock, ops, owner, starts, ends);
    this.zones.push(zone);
    return zone;
  }

  /**
   * Finds a range of frames for a device: request_free_mem_region(), which looks from the top down, as hmm_devmem_add() did.
   *
   * @param pages how many frames
   * @returns the first frame, at a section boundary; -1 when no free range is that large
   */
  freeRegion(pages: number): number {
    const { starts, ends } = this;
    for (let at = Math.floor((this.limit - pages) / SECTION_PAGES) * SECTION_PAGES; at >= this.ramEnd;) {
      const over = this.zones.find(({ number: z }) => starts[z] < at + pages && at < ends[z]);
      if (over === undefined) return at;
      at = Math.floor((starts[over.number] - pages) / SECTION_PAGES) * SECTION_PAGES;
    }
    return -1;
  }

  /** Puts frames into a zone that has none: `start` is what {@link freeRegion} found. */
  open(zone: Zone, start: number, pages: number): void {
    const z = zone.number;
    if (this.ends[z] !== this.starts[z]) throw new Error(`zone ${zone.name} has frames already`);
    this.starts[z] = this.fresh[z] = this.lowest[z] = start;
    this.ends[z] = start + pages;
  }

  /** Takes the frames out of a zone, all of which must be free, and forgets what was in them. */
  close(zone: Zone): void {
    const z = zone.number, from = this.starts[z], to = this.fresh[z];
    if (this.inUse[z] !== 0) throw new Error(`${this.inUse[z]} pages of ${zone.name} are in use`);
    this.word.fill(0, from * this.wordsPerPage, to * this.wordsPerPage);
    this.starts[z] =
      this.ends[z] =
      this.fresh[z] =
      this.lowest[z] =
        0;
  }

  /** Frames of a zone up to the highest that was ever taken. */
  touched(zone: Zone): number {
    return this.fresh[zone.number] - this.starts[zone.number];
  }

  /** The zone of a frame. */
  zoneOf(pfn: number): Zone {
    const { starts, ends } = this;
    let z = pfn < this.ramEnd ? this.lastRamZone : this.zones.length - 1;
    while (z > 0 && !(pfn >= starts[z] && pfn < ends[z])) z--;
    return this.zones[z];
  }

  /** Whether the page is a device's, addressable by the CPU or not: folio_is_zone_device(). */
  isZoneDevice(pfn: number): boolean {
    return pfn >= this.ramEnd;
  }

  /** Whether the page is a device's that the CPU addresses like its own. */
  isDeviceCoherent(pfn: number): boolean {
    return pfn >= this.ramEnd && this.zoneOf(pfn).type === MEMORY_DEVICE_COHERENT;
  }

  /** Whether the CPU cannot address the page. */
  isDevicePrivate(pfn: number): boolean {
    return pfn >= this.ramEnd && this.zoneOf(pfn).type === MEMORY_DEVICE_PRIVATE;
  }

  /** Frames that the columns have rows for. */
  get frames(): number {
    return this.limit;
  }

  /** The first frame of a zone that was never used: those from it on are free and untouched. */
  unusedFrom(zone: Zone): number {
    return this.fresh[zone.number];
  }

  /** Frames of a zone that are free. */
  free({ number: z }: Zone): number {
    return this.ends[z] - this.starts[z] - this.inUse[z];
  }

  /** Frames of a zone that are in use. */
  used(zone: Zone): number {
    return this.inUse[zone.number];
  }

  /**
   * Takes the lowest free frame of a zone, so that equal states are equal; its reference count becomes 1.
   *
   * @returns the frame, or -1 when none is free
   */
  take(zone: Zone): number {
    const z = zone.number, { used0, used1, used2 } = this, end = (zone.end + 31) >>> 5;
    let w = this.lowest[z] >>> 5;
    while (w < end && used0[w] === FULL) {
      w++;
      while ((w & 31) === 0 && w < end && used1[w >>> 5] === FULL) {
        w += 32;
        while ((w & 1023) === 0 && w < end && used2[w >>> 10] === FULL) w += 1024;
      }
    }
    if (w >= end) return -1;
    const free = ~used0[w], pfn = (w << 5) + 31 - Math.clz32(free & -free);
    if (pfn >= zone.end) return -1;
    return this.use(z, this.lowest[z] = pfn);
  }

  /** Takes one particular frame as {@link take} does. Returns false when it is in use, or no frame of the zone. */
  takeAt(zone: Zone, pfn: number): boolean {
    return pfn >= zone.start && pfn < zone.end && this.isFree(pfn) && this.use(zone.number, pfn) >= 0;
  }

  /** Marks a free frame as in use, with one reference, and returns it. */
  private use(z: number, pfn: number): number {
    const { used0, used1, used2 } = this, w = pfn >>> 5;
    if ((used0[w] |= 1 << (pfn & 31), used0[w]) === FULL) {
      used1[w >>> 5] |= 1 << (w & 31);
      if (used1[w >>> 5] === FULL) used2[w >>> 10] |= 1 << ((w >>> 5) & 31);
    }
    if (pfn >= this.fresh[z]) this.fresh[z] = pfn + 1;
    this.inUse[z]++;
    this.refcount[pfn] = 1;
    return pfn;
  }

  /**
   * Takes 512 aligned free frames as one large folio with one reference.
   *
   * @returns the first frame, or -1 when there are none
   */
  takeHuge(zone: Zone): number {
    const z = this.zones.indexOf(zone), { used0, used1, used2 } = this, words = HUGE_PAGES / 32;
    for (let w = zone.start >>> 5; w + words <= zone.end >>> 5; w += words) {
      let free = true;
      for (let i = w; i < w + words && free; i++) free = used0[i] === 0;
      if (!free) continue;
      const first = w << 5;
      for (let i = w; i < w + words; i++) {
        used0[i] = FULL;
        used1[i >>> 5] |= 1 << (i & 31);
        if (used1[i >>> 5] === FULL) used2[i >>> 10] |= 1 << ((i >>> 5) & 31);
      }
      if (first + HUGE_PAGES > this.fresh[z]) this.fresh[z] = first + HUGE_PAGES;
      this.inUse[z] += HUGE_PAGES;
      for (let p = first; p < first + HUGE_PAGES; p++) this.flags[p] |= PG_LARGE;
      this.refcount[first] = 1;
      return first;
    }
    return -1;
  }

  /** The frame that holds a page's references and lock: the first of its folio. */
  head(pfn: number): number {
    return this.flags[pfn] & PG_LARGE ? pfn - (pfn & (HUGE_PAGES - 1)) : pfn;
  }

  /** Takes a reference: get_page(). */
  get(pfn: number): void {
    this.refcount[this.head(pfn)]++;
  }

  /** References to a page's folio. */
  refs(pfn: number): number {
    return this.refcount[this.head(pfn)];
  }

  /** Drops the last reference of a large folio: all its frames are free. */
  private freeLarge(first: number): void {
    const zone = this.zoneOf(first);
    for (let p = first; p < first + HUGE_PAGES; p++) {
      if (this.mapcount[p] !== 0) {
        throw new Error(`page ${p} is freed while ${this.mapcount[p]} entries map it`);
      }
      this.give(p, zone);
    }
  }

  /** Gives a frame back to its zone. Nothing may refer to it. */
  private give(pfn: number, zone: Zone): void {
    const w = pfn >>> 5, bit = 1 << (pfn & 31), z = zone.number;
    if ((this.used0[w] & bit) === 0) throw new Error(`page ${pfn} is freed twice`);
    this.used0[w] &= ~bit;
    this.used1[w >>> 5] &= ~(1 << (w & 31));
    this.used2[w >>> 10] &= ~(1 << ((w >>> 5) & 31));
    if (pfn < this.lowest[z]) this.lowest[z] = pfn;
    this.inUse[z]--;
    this.flags[pfn] = 0;
    this.mapping[pfn] = this.inode[pfn] = 0;
    this.index[pfn] = 0;
  }

  /** Whether a frame is free. */
  isFree(pfn: number): boolean {
    return (this.used0[pfn >>> 5] & (1 << (pfn & 31))) === 0;
  }

  /** Bit by bit from a frame to the end of its aligned 32: whether each is in use, the frame itself lowest. */
  usedFrom(pfn: number): number {
    return this.used0[pfn >>> 5] >>> (pfn & 31);
  }

  /** Sets the modelled content of a page to zero. */
  clear(pfn: number): void {
    if (this.wordsPerPage === 1) this.word[pfn] = 0;
    else this.word.fill(0, pfn * this.wordsPerPage, (pfn + 1) * this.wordsPerPage);
  }

  /** Whether all modelled words of a page are zero. */
  isZero(pfn: number): boolean {
    const n = this.wordsPerPage;
    for (let i = pfn * n; i < (pfn + 1) * n; i++) if (this.word[i] !== 0) return false;
    return true;
  }

  /** Copies the modelled content of a page. */
  copy(dst: number, src: number): void {
    const n = this.wordsPerPage;
    if (n === 1) this.word[dst] = this.word[src];
    else this.word.copyWithin(dst * n, src * n, (src + 1) * n);
  }

  /** Drops a reference: put_page(). The last one frees the page; a device's memory goes back to its owner. */
  put(a: number, pfn: number): void {
    if (this.flags[pfn] & PG_LARGE) {
      const first = this.head(pfn);
      if (--this.refcount[first] === 0) this.freeLarge(first);
      return;
    }
    const left = --this.refcount[pfn];
    if (left > 0) return;
    if (left < 0) throw new Error(`page ${pfn} lost a reference that nobody held`);
    if (this.mapcount[pfn] !== 0) {
      throw new Error(`page ${pfn} is freed while ${this.mapcount[pfn]} entries map it`);
    }
    if (this.flags[pfn] & PG_LOCKED) throw new Error(`page ${pfn} is freed while it is locked`);
    const zone = this.zoneOf(pfn);
    // The owner hears of it before the frame can be used again: page_free() comes first, as free_zone_device_folio().
    zone.ops?.pageFree(a, pfn);
    this.give(pfn, zone);
  }

  /** Locks a page if it is not locked: trylock_page(). */
  trylock(page: number): boolean {
    const pfn = this.head(page);
    if (this.flags[pfn] & PG_LOCKED) return false;
    this.flags[pfn] |= PG_LOCKED;
    this.watch?.pageLocked(pfn);
    return true;
  }

  /** Unlocks a page and wakes who waits for it. */
  unlock(page: number): void {
    const pfn = this.head(page);
    if (!(this.flags[pfn] & PG_LOCKED)) throw new Error(`page ${pfn} is unlocked but was not locked`);
    this.watch?.pageUnlocked(pfn);
    this.flags[pfn] &= ~PG_LOCKED;
    this.sim.wake(this.unlockQueue(pfn));
  }

  /** The queue on which those sleep who wait for a page's lock. */
  unlockQueue(pfn: number): Wait {
    return this.queues[pfn & (PAGE_QUEUES - 1)];
  }

  /** Sleeps until the page is seen unlocked; it may be locked again by then. */
  *waitUnlocked(a: number, page: number): Proc {
    const pfn = this.head(page);
    this.sim.mightSleep(a, "page lock");
    this.watch?.pageAwaited(a, pfn);
    if (!(this.flags[pfn] & PG_LOCKED)) return;
    this.sim.mark(a, AT_PAGE_LOCK, pfn);
    yield this.unlockQueue(pfn);
  }
}
