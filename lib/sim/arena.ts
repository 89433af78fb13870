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

/** Which rows of a column are in use: from, to, from, to, … in ascending order; each `from` starts a 32-bit word. */
export type Extents = () => readonly number[];

interface Column {
  readonly name: string;
  readonly data: Typed;
  readonly words: Uint32Array;
  /** Which rows are in use, if not all. */
  readonly rows: (() => number) | Extents | undefined;
  /** Word ranges of the whole column. */
  readonly whole: readonly number[];
}

/** A saved state: one copy of the rows in use of every column. */
export interface Snapshot {
  /** For each column, in their order: first word and words of each extent. */
  readonly parts: readonly (readonly { readonly from: number; readonly words: Uint32Array }[])[];
}

/** Registers columns, and saves, restores and hashes them all. */
export class Arena {
  private readonly columns: Column[] = [];
  /** Bytes reserved by all columns, backed by host memory or not. */
  reservedBytes = 0;

  /** A column name that is not taken: `base`, or `base` with a number, the same in every machine built alike. */
  unique(base: string): string {
    let name = base;
    for (let i = 2; this.columns.some((c) => c.name.startsWith(name)); i++) name = `${base} ${i}`;
    return name;
  }

  /** Reserves a column and registers it for snapshots and hashes. */
  private add<T extends Typed>(
    name: string,
    length: number,
    bytesEach: number,
    rows: (() => number) | Extents | undefined,
    make: (buffer: ArrayBuffer) => T,
  ): T {
    if (this.columns.some((c) => c.name === name)) {
      throw new Error(`the arena has a column "${name}" already`);
    }
    const buffer = new ArrayBuffer(4 * Math.ceil((length * bytesEach) / 4));
    const data = make(buffer);
    const words = new Uint32Array(buffer);
    this.columns.push({ name, data, words, rows, whole: [0, words.length] });
    this.reservedBytes += buffer.byteLength;
    return data;
  }

  /** Adds a column of bytes; `rows` tells how many of its `length` rows are in use (all, if left out). */
  u8(name: string, length: number, rows?: (() => number) | Extents): Uint8Array {
    return this.add(name, length, 1, rows, (b) => new Uint8Array(b, 0, length));
  }

  /** Adds a column of 16-bit integers. */
  u16(name: string, length: number, rows?: (() => number) | Extents): Uint16Array {
    return this.add(name, length, 2, rows, (b) => new Uint16Array(b, 0, length));
  }

  /** Adds a column of 32-bit integers. */
  u32(name: string, length: number, rows?: (() => number) | Extents): Uint32Array {
    return this.add(name, length, 4, rows, (b) => new Uint32Array(b, 0, length));
  }

  /** Adds a column of signed 32-bit integers. */
  i32(name: string, length: number, rows?: (() => number) | Extents): Int32Array {
    return this.add(name, length, 4, rows, (b) => new Int32Array(b, 0, length));
  }

  /** Adds a column of doubles, for integers up to 2^53 such as virtual page numbers. */
  f64(name: string, length: number, rows?: (() => number) | Extents): Float64Array {
    return this.add(name, length, 8, rows, (b) => new Float64Array(b, 0, length));
  }

  /** Word ranges in use of a column: from, to, from, to, … */
  private ranges(c: Column): readonly number[] {
    if (c.rows === undefined) return c.whole;
    const used = c.rows(), rowBytes = c.data.BYTES_PER_ELEMENT, { length } = c.words;
    if (typeof used === "number") return [0, Math.min(length, Math.ceil((used * rowBytes) / 4))];
    const ranges: number[] = [];
    for (let i = 0; i < used.length; i += 2) {
      ranges.push(Math.min(length, Math.floor((used[i] * rowBytes) / 4)));
      ranges.push(Math.min(length, Math.ceil((used[i + 1] * rowBytes) / 4)));
    }
    return ranges;
  }

  /** Bytes of the rows in use. */
  get usedBytes(): number {
    let bytes = 0;
    for (const c of this.columns) this.ranges(c).forEach((w, i) => bytes += i % 2 === 0 ? -4 * w : 4 * w);
    return bytes;
  }

  /**
   * Saves the rows in use of every column.
   *
   * @returns a copy that later changes do not touch
   */
  snapshot(): Snapshot {
    const copy = (c: Column) => {
      const r = this.ranges(c);
      return Array.from({ length: r.length / 2 }, (_, i) => ({
        from: r[2 * i],
        words: c.words.slice(r[2 * i], r[2 * i + 1]),
      }));
    };
    return { parts: this.columns.map(copy) };
  }

  /**
   * Puts a saved state back; rows that came into use since are zeroed.
   *
   * @param saved what {@link snapshot} of this arena returned, after the last column was added
   */
  restore(saved: Snapshot): void {
    if (saved.parts.length !== this.columns.length) throw new Error("the snapshot is of another arena");
    // Which rows are in use is itself read from columns: look before any of them changes.
    const used = this.columns.map((c) => this.ranges(c));
    this.columns.forEach((c, k) => {
      const parts = saved.parts[k], now = used[k];
      const covered = parts.length === 1 && now.length === 2 && parts[0].from <= now[0] &&
        parts[0].from + parts[0].words.length >= now[1];
      if (!covered) { for (let i = 0; i < now.length; i += 2) c.words.fill(0, now[i], now[i + 1]); }
      for (const { from, words } of parts) c.words.set(words, from);
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
      const { words } = c, ranges = this.ranges(c);
      for (let r = 0; r < ranges.length; r += 2) {
        for (let i = ranges[r], end = ranges[r + 1]; i < end; i++) {
          // A word's place is mixed in, so zeros need not be; most words of a small model are.
          while (i + 4 <= end && (words[i] | words[i + 1] | words[i + 2] | words[i + 3]) === 0) i += 4;
          const w = i < end ? words[i] : 0;
          if (w === 0) continue;
          let x = Math.imul(w ^ Math.imul(at + i + 1, 0x9e3779b1), 0x85ebca6b);
          x = Math.imul(x ^ (x >>> 15), 0xc2b2ae35);
          x ^= x >>> 13;
          h = (h + x) | 0;
          g = (g + Math.imul(x ^ (at + i), 0x27d4eb2f)) ^ (x >>> 7);
        }
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
      const ranges = this.ranges(c);
      for (let r = 0; r < ranges.length; r += 2) {
        sha.update(new Uint8Array(c.words.buffer, 4 * ranges[r], 4 * (ranges[r + 1] - ranges[r])));
      }
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
      const was = new Map<number, number>();
      for (const { from, words } of saved.parts[k]) words.forEach((w, i) => w !== 0 && was.set(from + i, w));
      const ranges = this.ranges(c), is = new Map<number, number>();
      for (let r = 0; r < ranges.length; r += 2) {
        for (let i = ranges[r]; i < ranges[r + 1]; i++) if (c.words[i] !== 0) is.set(i, c.words[i]);
      }
      const at = [...new Set([...was.keys(), ...is.keys()])].find((i) => was.get(i) !== is.get(i));
      if (at === undefined) return;
      const row = Math.floor((at * 4) / c.data.BYTES_PER_ELEMENT);
      found.push(`${c.name}[${row}]: word ${was.get(at) ?? 0} → ${is.get(at) ?? 0}`);
    });
    return found;
  }
}
