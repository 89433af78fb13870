/**
 * What a migration is about: its range, and one entry a page that says what was there and where it goes.
 * @module
 */

/** The entry's frame number is valid. */
export const MIGRATE_PFN_VALID = 1;
/** The page migrates (after setup) or has migrated (after pages). */
export const MIGRATE_PFN_MIGRATE = 2;
/** The page was mapped writable. */
export const MIGRATE_PFN_WRITE = 8;
/** Frame numbers begin at this bit. */
export const MIGRATE_PFN_SHIFT = 6;

/** Collect ordinary memory. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1;
/** Collect device-private pages of `owner`. */
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 2;
/** Collect device-coherent pages of `owner`. */
export const MIGRATE_VMA_SELECT_DEVICE_COHERENT = 4;

/** The src or dst entry of a frame: migrate_pfn(). */
export function migratePfn(pfn: number): number {
  return ((pfn << MIGRATE_PFN_SHIFT) | MIGRATE_PFN_VALID) >>> 0;
}

/** The frame of an entry, or -1: migrate_pfn_to_page(). */
export function migratePfnToPage(entry: number): number {
  return entry & MIGRATE_PFN_VALID ? entry >>> MIGRATE_PFN_SHIFT : -1;
}

/** What a migration is about: struct migrate_vma. */
export interface MigrateVma {
  /** Address space. */
  readonly mm: number;
  /** The vma that contains the whole range. */
  readonly vma: number;
  /** First page. */
  readonly start: number;
  /** Page past the last. */
  readonly end: number;
  /** What was there: one MIGRATE_PFN_ entry a page, filled by setup. */
  readonly src: Uint32Array;
  /** Where it goes: filled by the caller between setup and pages; destinations are locked. */
  readonly dst: Uint32Array;
  /** MIGRATE_VMA_SELECT_ flags. */
  readonly flags: number;
  /** Owner of the device memory: pgmap_owner. */
  readonly owner: number;
  /** The device page whose CPU fault this migration answers, or -1; the fault holds a reference and the page's lock. */
  readonly faultPage: number;
  /** Pages that were collected and not given up: filled by setup. */
  cpages: number;
}
