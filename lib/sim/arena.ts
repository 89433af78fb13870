/**
 * The state arena: every typed column that decides how the model behaves, so that a snapshot is a copy and two equal
 * states have equal hashes.
 *
 * Columns are reserved at their full length but the operating system backs only what is touched, so an untouched page
 * costs nothing. A column that fills from the front says how many rows are in use; the rest is never read here.
 * @module
 */
import { createHash } from "node:crypto";

type Typed = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

interface Column {
  readonly name: string;
  readonly data: Typed;
  readonly words: Uint32Array;
  readonly rows: () => number;
}

/** A saved state: one copy of the rows in use of every column. */
export interface Snapshot {
  /** Copies in the order of the columns. */
  readonly parts: readonly Uint32Array[];
}

/** Registers columns, and saves, restores and hashes them all. */
export class Arena {
  private readonly columns: Column[] = [];
  /** Bytes reserved by all columns, backed by host memory or not. */
  reservedBytes = 0;

  private add<T extends Typed>(
    name: string,
    length: number,
    bytesEach: number,
    rows: (() => number) | undefined,
    make: (buffer: ArrayBuffer) => T,
  ): T {
    if (this.columns.some((c) => c.name === name)) throw new Error(`the arena has a column "${name}" already`);
    const buffer = new ArrayBuffer((length * bytesEach + 3) & ~3);
    const data = make(buffer);
    this.columns.push({ name, data, words: new Uint32Array(buffer), rows: rows ?? (() => length) });
    this.reservedBytes += buffer.byteLength;
    return data;
  }

  /** Adds a column of bytes; `rows` tells how many of its `length` rows are in use (all, if left out). */
  u8(name: string, length: number, rows?: () => number): Uint8Array {
    return this.add(name, length, 1, rows, (b) => new Uint8Array(b, 0, length));
  }

  /** Adds a column of 16-bit integers. */
  u16(name: string, length: number, rows?: () => number): Uint16Array {
    return this.add(name, length, 2, rows, (b) => new Uint16Array(b, 0, length));
  }

  /** Adds a column of 32-bit integers. */
  u32(name: string, length: number, rows?: () => number): Uint32Array {
    return this.add(name, length, 4, rows, (b) => new Uint32Array(b, 0, length));
  }

  /** Adds a column of signed 32-bit integers. */
  i32(name: string, length: number, rows?: () => number): Int32Array {
    return this.add(name, length, 4, rows, (b) => new Int32Array(b, 0, length));
  }

  /** Adds a column of doubles, for integers up to 2^53 such as virtual page numbers. */
  f64(name: string, length: number, rows?: () => number): Float64Array {
    return this.add(name, length, 8, rows, (b) => new Float64Array(b, 0, length));
  }

  private usedWords(c: Column): number {
    return Math.min(c.words.length, (c.rows() * c.data.BYTES_PER_ELEMENT + 3) >>> 2);
  }

  /** Bytes of the rows in use. */
  get usedBytes(): number {
    return this.columns.reduce((sum, c) => sum + 4 * this.usedWords(c), 0);
  }

  /**
   * Saves the rows in use of every column.
   *
   * @returns a copy that later changes do not touch
   */
  snapshot(): Snapshot {
    return { parts: this.columns.map((c) => c.words.slice(0, this.usedWords(c))) };
  }

  /**
   * Puts a saved state back; rows that came into use since are zeroed.
   *
   * @param saved what {@link snapshot} of this arena returned, after the last column was added
   */
  restore(saved: Snapshot): void {
    if (saved.parts.length !== this.columns.length) throw new Error("the snapshot is of another arena");
    // How many rows are in use is itself read from columns: look before any of them changes.
    const used = this.columns.map((c) => this.usedWords(c));
    this.columns.forEach((c, i) => {
      const part = saved.parts[i];
      c.words.set(part);
      if (used[i] > part.length) c.words.fill(0, part.length, used[i]);
    });
  }

  /**
   * A 53-bit hash of the state, for the explorer's table of visited states.
   *
   * @returns a number that two equal states share and two different ones share with a chance of 2^-53
   */
  hash(): number {
    let h = 0, g = 0, at = 0;
    for (const c of this.columns) {
      const { words } = c, n = this.usedWords(c);
      for (let i = 0; i < n; i++) {
        const w = words[i];
        if (w === 0) continue; // a word's place is mixed in, so zeros need not be
        let x = Math.imul(w ^ Math.imul(at + i + 1, 0x9e3779b1), 0x85ebca6b);
        x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35);
        x ^= x >>> 13;
        h = (h + x) | 0;
        g = (g + Math.imul(x ^ (at + i), 0x27d4eb2f)) ^ (x >>> 7);
      }
      at += words.length;
    }
    return (h >>> 0) * 0x200000 + ((g >>> 0) >>> 11);
  }

  /**
   * A digest of the state that can be published: SHA-256 over the names and rows of all columns.
   *
   * @returns 64 hexadecimal digits
   */
  digest(): string {
    const sha = createHash("sha256");
    for (const c of this.columns) {
      sha.update(c.name);
      sha.update(new Uint8Array(c.words.buffer, 0, 4 * this.usedWords(c)));
    }
    return sha.digest("hex");
  }

  /**
   * Names the columns in which the present state and a saved one differ, for tests and reports.
   *
   * @param saved a snapshot of this arena
   * @returns "column[row]: was → is" of the first difference of each column
   */
  differences(saved: Snapshot): string[] {
    const found: string[] = [];
    this.columns.forEach((c, k) => {
      const part = saved.parts[k], n = Math.max(part.length, this.usedWords(c));
      for (let i = 0; i < n; i++) {
        const was = part[i] ?? 0, is = c.words[i];
        if (was === is) continue;
        const row = Math.floor((i * 4) / c.data.BYTES_PER_ELEMENT);
        found.push(`${c.name}[${row}]: word ${was} → ${is}`);
        break;
      }
    });
    return found;
  }
}
