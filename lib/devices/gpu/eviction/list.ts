/**
 * A queue of chunks in columns: the order that the two LRU policies keep.
 * @module
 */
import { UsageError } from "../../../errors.ts";
import type { EvictionSetup } from "../policy.ts";

/** Chunks in a doubly linked list; `chunks` is the head, before the oldest and after the newest. */
export class ChunkList {
  private readonly next: Uint32Array;
  private readonly prev: Uint32Array;
  private readonly busy: Uint8Array;
  private readonly head: number;

  /** Lays two columns; a chunk that is not in the list points to itself. */
  constructor({ arena, prefix, chunks, busy }: EvictionSetup) {
    this.next = arena.u32(`${prefix}.next`, chunks + 1);
    this.prev = arena.u32(`${prefix}.prev`, chunks + 1);
    this.busy = busy;
    this.head = chunks;
    for (let c = 0; c <= chunks; c++) this.next[c] = this.prev[c] = c;
  }

  /** Puts a chunk that is in no list last. */
  append(c: number): void {
    const { next, prev, head } = this, last = prev[head];
    if (next[c] !== c) {
      throw new UsageError(`Cannot allocate chunk ${c}: got one in use; a free one is allowed`);
    }
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

  /** Moves a chunk to the end. */
  touch(c: number): void {
    const { next, prev, head } = this, n = next[c], p = prev[c];
    if (n === head) return;
    next[p] = n;
    prev[n] = p;
    const last = prev[head];
    next[last] = prev[head] = c;
    prev[c] = last;
    next[c] = head;
  }

  /** The first chunk that is not busy, or -1. */
  oldest(): number {
    const { next, head, busy } = this;
    for (let c = next[head]; c !== head; c = next[c]) if (busy[c] === 0) return c;
    return -1;
  }
}
