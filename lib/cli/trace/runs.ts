/** Folds references into rows (page, read or write, count) as they come. */
import { UsageError } from "../../errors.ts";
import type { TraceRegion } from "../../workloads/trace_file.ts";
import type { ReferenceSink } from "./lackey.ts";

/** Pages that lie further apart than this many untouched ones belong to different regions. */
export const REGION_GAP_PAGES = 256;

/** With a filter, how far a reference may lie behind the first of the row that it is folded into, in references. */
export const FILTER_WINDOW = 65_536;

/** The columns of a trace, as {@link PageRuns} leaves them. */
export interface FoldedRuns {
  /** For each row its page, counted through the regions. */
  readonly page: Uint32Array;
  /** For each row 1 if its references write. */
  readonly write: Uint8Array;
  /** For each row how many references it stands for. */
  readonly count: Uint32Array;
  /** Pages of all regions together, untouched ones in between included. */
  readonly pages: number;
  /** The groups of pages, by ascending address. */
  readonly regions: readonly TraceRegion[];
}

const NONE = -1;

/**
 * Folds a stream of page references into rows.
 *
 * With `filter` 1 a row is a maximal run of references to the same page of the same kind: nothing is lost. With `filter` K a
 * reference whose (page, kind) is among the last K distinct ones used is added to the count of that pair's newest row, as
 * a fully associative TLB of K entries with least-recently-used replacement would hide it; but a row takes no reference that
 * comes `window` references after its first, so a page that stays hot shows again and again. A pair's first reference is
 * never folded, so the first read and the first write of each page keep their place, and the counts of all rows
 * always add up to the references taken.
 */
export class PageRuns implements ReferenceSink {
  /** How many distinct (page, kind) pairs are folded; 1 is exact. */
  readonly filter: number;
  /** References taken. */
  references = 0;
  /** Rows so far. */
  rows = 0;
  /** Distinct pages so far. */
  pages = 0;

  readonly #window: number;
  readonly #maxRows: number;
  #rowKey = new Uint32Array(1 << 16);
  #rowCount = new Uint32Array(1 << 16);

  #lastVpn = NONE;
  #lastWrite = NONE;
  #lastRow = NONE;
  #lastUntil = NONE;

  // Page numbers by open addressing: a slot holds vpn + 1, and zero is free.
  #slotVpn = new Float64Array(1 << 12);
  #slotPage = new Uint32Array(1 << 12);
  #vpnOf = new Float64Array(1 << 11);

  // The last K pairs as a doubly linked list through columns indexed by page * 2 + kind.
  #listed = new Uint8Array(1 << 12);
  #next = new Int32Array(1 << 12);
  #previous = new Int32Array(1 << 12);
  #rowOf = new Uint32Array(1 << 12);
  #rowUntil = new Float64Array(1 << 12);
  #head = NONE;
  #tail = NONE;
  #listLength = 0;

  /**
   * Begins an empty stream.
   *
   * @param filter K, at least 1.
   * @param options `window`: see the class; `maxRows`: more rows than this are refused, so that memory stays bounded.
   * @throws UsageError when filter is not a whole number from 1 to 2^20.
   */
  constructor(
    filter: number = 1,
    { window = FILTER_WINDOW, maxRows = 1 << 24 }: { window?: number; maxRows?: number } = {},
  ) {
    if (!Number.isInteger(filter) || filter < 1 || filter > 1 << 20) {
      throw new UsageError(`Cannot fold references: got filter ${filter}; 1 (exact) to 1048576; write 1`);
    }
    this.filter = filter;
    this.#window = filter === 1 ? Infinity : window;
    this.#maxRows = maxRows;
  }

  /**
   * Takes one reference.
   *
   * @param vpn The virtual page number, an integer below 2^52.
   * @param write 1 for a store, 0 for a load.
   * @throws UsageError when there would be more rows than allowed.
   */
  touch(vpn: number, write: 0 | 1): void {
    const at = this.references++;
    if (vpn === this.#lastVpn && write === this.#lastWrite && at < this.#lastUntil) {
      this.#rowCount[this.#lastRow]++;
      return;
    }
    this.#turn(vpn, write);
  }

  /**
   * Ends the stream: numbers the pages by address and groups them into regions.
   *
   * @returns The columns, one entry a row.
   */
  finish(): FoldedRuns {
    const vpns = this.#vpnOf.slice(0, this.pages);
    const order = Uint32Array.from(vpns.keys()).sort((a, b) => vpns[a] - vpns[b]);
    const numbered = new Uint32Array(this.pages);
    const regions: TraceRegion[] = [];
    let region = { startVpn: 0, pages: 0, firstPage: 0 };
    for (const id of order) {
      const vpn = vpns[id];
      if (regions.length === 0 || vpn - (region.startVpn + region.pages) >= REGION_GAP_PAGES) {
        region = { startVpn: vpn, pages: 0, firstPage: region.firstPage + region.pages };
        regions.push(region);
      }
      region.pages = vpn - region.startVpn + 1;
      numbered[id] = region.firstPage + vpn - region.startVpn;
    }
    const page = new Uint32Array(this.rows);
    const write = new Uint8Array(this.rows);
    for (let row = 0; row < this.rows; row++) {
      page[row] = numbered[this.#rowKey[row] >>> 1];
      write[row] = this.#rowKey[row] & 1;
    }
    const count = this.#rowCount.slice(0, this.rows);
    return { page, write, count, pages: region.firstPage + region.pages, regions };
  }

  #turn(vpn: number, write: 0 | 1): void {
    const key = this.#pageOf(vpn) * 2 + write;
    let row: number;
    const listed = this.#listed[key] === 1;
    if (listed && this.references <= this.#rowUntil[key]) {
      row = this.#rowOf[key];
      this.#rowCount[row]++;
    } else {
      row = this.#addRow(key);
    }
    if (listed) this.#unlink(key);
    else if (this.#listLength === this.filter) this.#unlink(this.#tail);
    this.#linkFirst(key);
    this.#lastUntil = this.#rowUntil[key];
    this.#lastVpn = vpn;
    this.#lastWrite = write;
    this.#lastRow = row;
  }

  #addRow(key: number): number {
    const row = this.rows;
    if (row === this.#rowKey.length) {
      if (row >= this.#maxRows) {
        throw new UsageError(
          `Cannot keep more than ${this.#maxRows} rows: got ${this.references} references folded with filter ` +
            `${this.filter}; a larger filter folds more of them; write --filter ${this.filter * 16}`,
        );
      }
      this.#rowKey = grow(this.#rowKey, new Uint32Array(row * 2));
      this.#rowCount = grow(this.#rowCount, new Uint32Array(row * 2));
    }
    this.#rowKey[row] = key;
    this.#rowCount[row] = 1;
    this.#rowOf[key] = row;
    // The first reference of the row has been counted already.
    this.#rowUntil[key] = this.references - 1 + this.#window;
    this.rows = row + 1;
    return row;
  }

  #linkFirst(key: number): void {
    this.#listed[key] = 1;
    this.#previous[key] = NONE;
    this.#next[key] = this.#head;
    if (this.#head === NONE) this.#tail = key;
    else this.#previous[this.#head] = key;
    this.#head = key;
    this.#listLength++;
  }

  #unlink(key: number): void {
    const before = this.#previous[key];
    const after = this.#next[key];
    if (before === NONE) this.#head = after;
    else this.#next[before] = after;
    if (after === NONE) this.#tail = before;
    else this.#previous[after] = before;
    this.#listed[key] = 0;
    this.#listLength--;
  }

  #pageOf(vpn: number): number {
    const mask = this.#slotVpn.length - 1;
    let slot = hash(vpn) & mask;
    for (let held = this.#slotVpn[slot]; held !== 0; held = this.#slotVpn[slot]) {
      if (held === vpn + 1) return this.#slotPage[slot];
      slot = (slot + 1) & mask;
    }
    const page = this.pages++;
    this.#slotVpn[slot] = vpn + 1;
    this.#slotPage[slot] = page;
    if (page === this.#vpnOf.length) this.#growPages();
    this.#vpnOf[page] = vpn;
    return page;
  }

  #growPages(): void {
    const capacity = this.#vpnOf.length * 2;
    this.#vpnOf = grow(this.#vpnOf, new Float64Array(capacity));
    this.#listed = grow(this.#listed, new Uint8Array(capacity * 2));
    this.#next = grow(this.#next, new Int32Array(capacity * 2));
    this.#previous = grow(this.#previous, new Int32Array(capacity * 2));
    this.#rowOf = grow(this.#rowOf, new Uint32Array(capacity * 2));
    this.#rowUntil = grow(this.#rowUntil, new Float64Array(capacity * 2));
    const oldVpn = this.#slotVpn;
    const oldPage = this.#slotPage;
    this.#slotVpn = new Float64Array(capacity * 2);
    this.#slotPage = new Uint32Array(capacity * 2);
    const mask = capacity * 2 - 1;
    for (let old = 0; old < oldVpn.length; old++) {
      if (oldVpn[old] === 0) continue;
      let slot = hash(oldVpn[old] - 1) & mask;
      while (this.#slotVpn[slot] !== 0) slot = (slot + 1) & mask;
      this.#slotVpn[slot] = oldVpn[old];
      this.#slotPage[slot] = oldPage[old];
    }
  }
}

function hash(vpn: number): number {
  const mixed = Math.imul((vpn | 0) ^ Math.imul(Math.floor(vpn / 2 ** 32), 0x9e3779b1), 0x85ebca6b);
  return mixed ^ (mixed >>> 15);
}

function grow<T extends { set(from: T): void }>(from: T, to: T): T {
  to.set(from);
  return to;
}
