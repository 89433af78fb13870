/**
 * Queues of chunks in columns: the order that the LRU policies keep.
 * @module
 */
import { UsageError } from "../../../errors.ts";
import type { Arena } from "../../../sim/arena.ts";

/** Chunks in doubly linked lists, each with a head before its oldest and after its newest. */
export class ChunkList {
  private readonly next: Uint32Array;
  private readonly prev: Uint32Array;
  private readonly chunks: number;

  /**
   * Lays two columns; a chunk that is in no list points to itself.
   *
   * @param arena where to
   * @param prefix first part of their names
   * @param chunks how many there are
   * @param lists how many lists they can be in (default 1)
   */
  constructor(arena: Arena, prefix: string, chunks: number, lists = 1) {
    this.next = arena.u32(`${prefix}.next`, chunks + lists);
    this.prev = arena.u32(`${prefix}.prev`, chunks + lists);
    this.chunks = chunks;
    for (let c = 0; c < chunks + lists; c++) this.next[c] = this.prev[c] = c;
  }

  /** Whether a chunk is in a list. */
  holds(c: number): boolean {
    return this.next[c] !== c;
  }

  /** Whether a list has no chunks. */
  isEmpty(list: number): boolean {
    return this.next[this.chunks + list] === this.chunks + list;
  }

  /** Puts a chunk that is in no list last. */
  append(c: number, list = 0): void {
    if (this.holds(c)) {
      throw new UsageError(`Cannot allocate chunk ${c}: got one in use; a free one is allowed`);
    }
    this.link(c, this.chunks + list);
  }

  private link(c: number, head: number): void {
    const { next, prev } = this, last = prev[head];
    next[last] = prev[head] = c;
    prev[c] = last;
    next[c] = head;
  }

  /** Takes a chunk out. */
  remove(c: number): void {
    const { next, prev } = this, n = next[c], p = prev[c];
    if (n === c) throw new UsageError(`Cannot free chunk ${c}: got a free one; one in use is allowed`);
    next[p] = n;
    prev[n] = p;
    next[c] = prev[c] = c;
  }

  /** Moves a chunk to the end of its list, which must be the one given. */
  touch(c: number, list = 0): void {
    const { next, prev } = this, n = next[c], p = prev[c], head = this.chunks + list;
    if (n === head) return;
    next[p] = n;
    prev[n] = p;
    this.link(c, head);
  }

  /** The first chunk of a list, or -1. */
  first(list = 0): number {
    return this.after(this.chunks + list, list);
  }

  /** The chunk after one in its list, or -1. */
  after(c: number, list = 0): number {
    const n = this.next[c];
    return n === this.chunks + list ? -1 : n;
  }

  /** The first chunk of a list that is not busy, or -1. */
  oldest(busy: Uint8Array, list = 0): number {
    let c = this.first(list);
    while (c >= 0 && busy[c] !== 0) c = this.after(c, list);
    return c;
  }
}
