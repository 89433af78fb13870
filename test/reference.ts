/** What memory is to a program, without any page table: protection and word by process and page. */
import { ENOMEM } from "../lib/mm/errno.ts";

/** A window over the end of a leaf table, past 32 bits of page number: its first page and its length. */
export const BASE: number = 0x1_0000_0000 + 506;
/** See {@link BASE}. */
export const PAGES = 12;

/** A mapped page. */
export interface Page {
  /** VM_READ, VM_WRITE. */
  flags: number;
  /** Last word written; undefined while no write has made a page of it. */
  word: number | undefined;
}

/** The pages of the window, by process. */
export class Reference {
  readonly spaces = new Map<number, (Page | undefined)[]>([[
    0,
    Array<Page | undefined>(PAGES).fill(undefined),
  ]]);

  pages(p: number): (Page | undefined)[] {
    return this.spaces.get(p)!;
  }

  /** mprotect() stops at the first hole; what lies before it is changed. */
  protect(p: number, at: number, end: number, flags: number): number {
    for (let i = at; i < end; i++) {
      const page = this.pages(p)[i];
      if (page === undefined) return -ENOMEM;
      page.flags = flags;
    }
    return 0;
  }

  resident(p: number): number {
    return this.pages(p).filter((page) => page?.word !== undefined).length;
  }
}
