/**
 * Page references as columns, for policies that run on a trace alone.
 * @module
 */
import { UsageError } from "../../errors.ts";
import type { Accesses } from "../../mm/access.ts";

/** The page references of one program, in their order; a `PageTrace` of lib/workloads is one. */
export interface PageReferences {
  /** How many: the rows of each column. */
  readonly rows: number;
  /** For each row the page, counted through the regions. */
  readonly page: Uint32Array;
  /** For each row 1 if it is a write, else 0. */
  readonly write: Uint8Array;
  /** Pages of all regions together. */
  readonly pages: number;
  /** The mapped regions by ascending address: first virtual page, length, and number of the first page. */
  readonly regions: readonly {
    readonly startVpn: number;
    readonly pages: number;
    readonly firstPage: number;
  }[];
}

/** A mapped range of pages. */
export interface MappedPages {
  /** Virtual page number of its first page. */
  readonly vpn: number;
  /** Its length in pages. */
  readonly pages: number;
}

/**
 * Writes out batches of accesses, as workloads make them, page by page.
 *
 * @param batches columns of accesses, in their order; each may be reused after the next was asked for
 * @param mapped what is mapped, by ascending address and without overlap
 * @returns the references
 * @throws {UsageError} for an access outside of it, or ranges that overlap
 *
 * @example
 * ```ts
 * const twice = { n: 2, vpn: Float64Array.of(512, 513), pages: Uint32Array.of(3, 1), write: Uint8Array.of(0, 1) };
 * console.log([...referencesOf([twice], [{ vpn: 512, pages: 16 }]).page]); // [ 0, 1, 2, 1 ]
 * ```
 */
export function referencesOf(batches: Iterable<Accesses>, mapped: readonly MappedPages[]): PageReferences {
  const regions: { startVpn: number; pages: number; firstPage: number }[] = [];
  let pages = 0, end = 0;
  for (const m of mapped) {
    if (m.vpn < end) {
      throw new UsageError(
        `Cannot take references: got a range at page ${m.vpn} after one up to ${end}; ranges by ascending address and ` +
          "without overlap are allowed; sort them",
      );
    }
    regions.push({ startVpn: m.vpn, pages: m.pages, firstPage: pages });
    pages += m.pages;
    end = m.vpn + m.pages;
  }
  let page = new Uint32Array(1024), write = new Uint8Array(1024), rows = 0, r = 0;
  for (const b of batches) {
    for (let i = 0; i < b.n; i++) {
      const n = b.pages[i], vpn = b.vpn[i];
      const inside = (k: number) =>
        k < regions.length && vpn >= regions[k].startVpn && vpn + n <= regions[k].startVpn + regions[k].pages;
      if (!inside(r)) r = Math.max(0, regions.findIndex((_, k) => inside(k)));
      if (!inside(r)) {
        throw new UsageError(
          `Cannot take references: got an access to pages ${vpn} to ${vpn + n - 1}; pages of one of the ` +
            `${mapped.length} ranges are allowed; map them`,
        );
      }
      if (rows + n > page.length) {
        const more = Math.max(2 * page.length, rows + n);
        const wider = new Uint32Array(more), flags = new Uint8Array(more);
        wider.set(page);
        flags.set(write);
        [page, write] = [wider, flags];
      }
      page.subarray(rows, rows + n).forEach((_, j, out) =>
        out[j] = regions[r].firstPage + vpn - regions[r].startVpn + j
      );
      write.fill(b.write[i] === 0 ? 0 : 1, rows, rows + n);
      rows += n;
    }
  }
  return { rows, page: page.subarray(0, rows), write: write.subarray(0, rows), pages, regions };
}
